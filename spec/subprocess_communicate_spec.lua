--- Popen:communicate: all pipes at once, in pieces, interrupted and gone on
--- with; whatever ends it early, nothing is lost.
local errors = require("errors")
local lu = require("luaunit")
local subprocess = require("subprocess")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local eventually = require("support.eventually")
local raised = require("support.raised")
local struck = require("support.struck")

local PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL
local LONG = 60 -- seconds
local MIB = 1024 * 1024
local MANY = (os.getenv("TIDELOCK_SANITIZER") or "") == "" and 64 or 8 -- MiB

local function start(script, options)
  options = options or {}
  options.args = { "sh", "-c", script }
  options.stdin = options.stdin or PIPE
  options.stdout = options.stdout or PIPE
  return subprocess.Popen(options)
end

--- Text in which each place differs from its neighbours.
local function pattern(n)
  local parts = {}
  for i = 1, n // 8 do parts[i] = ("%07d\n"):format(i) end
  return table.concat(parts)
end

local TestCommunicate = {}

-- Each pipe holds 64 KiB: who serves one of them at a time waits for ever.
function TestCommunicate.testAllPipesAtOnce()
  local text = pattern(MIB)
  local process = start([[
    head -c 1048576 /dev/zero | tr '\0' e >&2 &
    cat
    wait]], { stderr = PIPE })
  local out, err = process:communicate(text, LONG)
  lu.assertTrue(out == text)
  lu.assertTrue(err == ("e"):rep(MIB))
  lu.assertEquals(process.returncode, 0)
end

function TestCommunicate.testSixtyFourMebibytes()
  local text = pattern(MIB):rep(MANY)
  lu.assertTrue(start("exec cat"):communicate(text, LONG) == text)
end

function TestCommunicate.testBytes()
  local bytes = {}
  for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
  local text = table.concat(bytes):rep(10)
  lu.assertEquals(start("exec cat"):communicate(text), text)
end

function TestCommunicate.testWhatIsNoPipeIsNil()
  local process = subprocess.Popen({ "true" })
  lu.assertEquals(table.pack(process:communicate()), { nil, nil, n = 2 })
  process = subprocess.Popen({ "sh", "-c", "echo x >&2" }, { stderr = PIPE })
  lu.assertEquals(table.pack(process:communicate()), { nil, "x\n", n = 2 })
end

function TestCommunicate.testWithoutInputStdinIsClosed()
  lu.assertEquals(start("cat; echo end"):communicate(), "end\n")
  lu.assertEquals(start("cat; echo end"):communicate(""), "end\n")
end

function TestCommunicate.testAnEmptyOutputIsAString()
  lu.assertEquals({ start("exit 3", { stderr = PIPE }):communicate() }, { "", "" })
end

function TestCommunicate.testAChildThatReadsNothingIsNoError()
  for _, script in ipairs({ "exit 3", "exec <&-; echo x; exit 3", "head -c 10; exit 3" }) do
    local process = start(script, { stdout = PIPE })
    process:communicate(pattern(MIB), LONG)
    lu.assertEquals(process.returncode, 3)
  end
end

function TestCommunicate.testWhatIsInTheFilesBuffersComesFirst()
  local process = start([[echo first; echo second; exec cat]])
  lu.assertEquals(process.stdout:read(), "first") -- the buffer has both, perhaps
  process.stdin:write("written ")
  lu.assertEquals(process:communicate("and input"), "second\nwritten and input")
end

function TestCommunicate.testAfterATimeoutItGoesOn()
  local name = os.tmpname()
  os.remove(name)
  local text = pattern(MIB)
  local process = start(([[
    echo before; echo problem >&2
    until [ -e %s ]; do sleep 0.01; done
    exec cat]]):format(name), { stderr = PIPE })
  local problem
  local function has_begun()
    problem = raised(process.communicate, process, problem == nil and text or nil, 0.02)
    return problem.stdout ~= "" and problem.stderr ~= ""
  end
  eventually(has_begun)
  lu.assertTrue(errors.is(problem, subprocess.TimeoutExpired))
  lu.assertTrue(errors.is(problem, errors.TimeoutError))
  lu.assertEquals({ problem.stdout, problem.stderr }, { "before\n", "problem\n" })
  lu.assertEquals({ problem.timeout, problem.cmd }, { 0.02, process.args })
  lu.assertStrContains(tostring(problem), "0.02 s")
  lu.assertNil(process:poll()) -- it is not killed
  lu.assertErrorMsgContains("input", process.communicate, process, "more")
  io.open(name, "w"):close()
  local out, err = process:communicate(nil, LONG)
  os.remove(name)
  lu.assertTrue(out == "before\n" .. text)
  lu.assertEquals(err, "problem\n")
end

-- The pipes have ended, and the child has not.
function TestCommunicate.testATimeoutAfterTheEndOfThePipes()
  local process = subprocess.Popen({ "sh", "-c", "echo text; exec >&-; exec sleep 1000" },
    { stdout = PIPE })
  local problem
  eventually(function()
    problem = raised(process.communicate, process, nil, 0.1)
    return problem.stdout == "text\n"
  end)
  for _ = 1, 3 do
    problem = raised(process.communicate, process, nil, 0.1)
    lu.assertTrue(errors.is(problem, subprocess.TimeoutExpired))
  end
  process:kill()
  lu.assertEquals(process:communicate(), "text\n")
  lu.assertEquals(process.returncode, -9)
end

function TestCommunicate.testATimeoutOfZeroLooks()
  local process = start("echo text", { stdin = DEVNULL })
  lu.assertEquals(process:wait(LONG), 0)
  lu.assertEquals(process:communicate(nil, 0), "text\n")
  process = start("exec cat")
  lu.assertTrue(errors.is(raised(process.communicate, process, "x", 0), subprocess.TimeoutExpired))
  lu.assertEquals(process:communicate(), "x")
end

-- Whoever has inherited a pipe keeps it from ending.
function TestCommunicate.testAGrandchildMayHoldThePipe()
  local process = start("sleep 1000 & echo $!", { stdin = DEVNULL })
  lu.assertEquals(process:wait(LONG), 0)
  local problem = raised(process.communicate, process, nil, 0.1)
  lu.assertTrue(errors.is(problem, subprocess.TimeoutExpired))
  os.execute("kill " .. problem.stdout)
  lu.assertEquals(process:communicate(nil, LONG), problem.stdout)
end

function TestCommunicate.testACancelLosesNothing()
  local text = pattern(MIB)
  local process = start("echo before; sleep 1000 & echo $!; wait $!; exec cat",
    { stderr = DEVNULL })
  local thread = threading.Thread(process.communicate, process, text):start()
  blocked("several things", thread)
  thread:cancel()
  lu.assertTrue(errors.is(raised(thread.result, thread, LONG), errors.Cancelled))
  lu.assertNil(process:poll())
  local problem
  eventually(function()
    problem = raised(process.communicate, process, nil, 0.1)
    return problem.stdout:find("^before\n%d+\n$")
  end)
  os.execute("kill " .. problem.stdout:match("%d+"))
  local out = process:communicate(nil, LONG)
  lu.assertTrue(out == problem.stdout .. text)
end

function TestCommunicate.testOutputSoFarCanBeRead()
  local process <close> = start("echo one; echo two; exec sleep 1000")
  local problem
  eventually(function()
    problem = raised(process.communicate, process, nil, 0.01)
    return problem.stdout == "one\ntwo\n"
  end)
  lu.assertEquals({ process.stdout:read("l", "l") }, { "one", "two" })
  process:kill()
end

function TestCommunicate.testAFileThatTheScriptHasClosed()
  local process = start("cat; exit 2", { stderr = PIPE })
  process.stdin:write("lost")
  process.stdin:close()
  process.stdout:close()
  lu.assertEquals(table.pack(process:communicate()), { nil, "", n = 2 })
end

--- While another thread is inside a file, communicate waits for it.
function TestCommunicate.testAnotherThreadReads()
  local process = start([[read x; echo "$x"; exec cat]])
  local reader = threading.Thread(function() return process.stdout:read() end):start()
  blocked("read", reader)
  local talker = threading.Thread(process.communicate, process, nil, LONG)
  lu.assertTrue(errors.is(raised(process.communicate, process, nil, 0.05),
    subprocess.TimeoutExpired))
  process.stdin:write("line\n"):flush()
  talker:start()
  lu.assertEquals(reader:result(LONG), "line")
  lu.assertEquals(talker:result(LONG), "")
end

-- It has touched nothing yet: the thread that is inside gets all that comes.
function TestCommunicate.testACancelWhileAnotherThreadReads()
  local process = start([[read x; echo "$x"; exec cat]])
  local reader = threading.Thread(function() return process.stdout:read() end):start()
  blocked("read", reader)
  local talker = threading.Thread(process.communicate, process, nil, LONG):start()
  blocked("file", talker)
  talker:cancel()
  lu.assertTrue(errors.is(raised(talker.result, talker, LONG), errors.Cancelled))
  process.stdin:write("line\n"):flush()
  lu.assertEquals(reader:result(LONG), "line")
  lu.assertEquals(process:communicate(nil, LONG), "")
end

-- Each byte goes to one of the two, whoever is first when communicate has read all.
function TestCommunicate.testAThreadThatWantsToReadMeanwhile()
  local name = os.tmpname()
  os.remove(name)
  local process = start(("echo before; until [ -e %s ]; do sleep 0.01; done; echo after")
    :format(name))
  local talker = threading.Thread(process.communicate, process, nil, LONG):start()
  blocked("read", talker)
  local reader = threading.Thread(function()
    local ok, text = pcall(process.stdout.read, process.stdout, "a")
    return ok and text or ""
  end):start()
  blocked("file", reader)
  io.open(name, "w"):close()
  local first, rest = reader:result(LONG), talker:result(LONG)
  os.remove(name)
  lu.assertEquals(first .. rest, "before\nafter\n")
end

function TestCommunicate.testArguments()
  local process <close> = start("exec cat")
  for _, case in ipairs({
    { 1, 5 }, { 1, true }, { 2, "x", "y" }, { 2, nil, -1 }, { 2, nil, 0 / 0 },
    { 1, { input = 5 } }, { 1, { timeout = -1 } }, { 1, { time = 1 } } }) do
    local problem = raised(function()
      local _ = process:communicate(table.unpack(case, 2, 3))
    end)
    lu.assertStrMatches(problem,
      (".*communicate_spec.lua:%%d+: bad argument #%d to 'communicate' .*"):format(case[1]))
  end
  lu.assertEquals(process:communicate { input = "text", timeout = LONG }, "text")
  local other = subprocess.Popen({ "true" })
  lu.assertErrorMsgContains("stdin is not a pipe", other.communicate, other, "x")
  other:communicate()
end

-- The GIL is given up: the child ends when a thread that works has got on.
function TestCommunicate.testOthersRun()
  local name = os.tmpname()
  os.remove(name)
  local process = start(("until [ -e %s ]; do sleep 0.01; done"):format(name))
  local worker = threading.Thread(function()
    blocked("read", threading.main_thread())
    local count = 0
    for i = 1, 1000000 do count = count + i end
    io.open(name, "w"):close()
    return count
  end):start()
  process:communicate(nil, LONG)
  os.remove(name)
  lu.assertEquals(worker:result(LONG), 500000500000)
end

function TestCommunicate.testItReturnsTheSameAgain()
  local process = start("cat; echo problem >&2", { stderr = PIPE })
  lu.assertEquals({ process:communicate("text") }, { "text", "problem\n" })
  lu.assertEquals({ process:communicate() }, { "text", "problem\n" })
  lu.assertStrContains(raised(process.communicate, process, "more"), "has its input already")
  lu.assertEquals(io.type(process.stdout), "closed file")
  lu.assertEquals(io.type(process.stdin), "closed file")
end

function TestCommunicate.testWhoIsStruckAnywhereLosesNothing()
  local n, more, where = 0
  repeat
    n = n + 1
    local process <close> = start("echo text", { stdin = DEVNULL })
    process:wait()
    more, where = struck("tidelock/subprocess", n, "cancel", function() process:communicate() end)
    lu.assertEquals(process:communicate(), "text\n", where)
  until not more
end

function TestCommunicate.testManyAtOnce()
  local text = pattern(MIB // 4)
  local results, problems = bunch(4, function()
    for _ = 1, 5 do
      if start("exec cat"):communicate(text, LONG) ~= text then return false end
    end
    return true
  end)
  lu.assertEquals(problems, {})
  lu.assertEquals(results, { true, true, true, true })
end

function TestCommunicate.testTimeIsTheTimeOfAll()
  local process <close> = start("exec sleep 1000", { stdin = DEVNULL })
  local before = time.monotonic()
  raised(process.communicate, process, nil, 0.3)
  local taken = time.monotonic() - before
  process:kill()
  lu.assertTrue(taken >= 0.18 and taken < LONG)
end

return { TestCommunicate = TestCommunicate }

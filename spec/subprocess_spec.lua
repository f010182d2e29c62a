--- subprocess.Popen: how a program is started, with which streams, descriptors
--- and environment, how a start fails, and how its end is seen.
local errors = require("errors")
local lfs = require("lfs")
local lu = require("luaunit")
local subprocess = require("subprocess")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local cmodules = require("support.cmodules")
local descriptors = require("support.descriptors")
local eventually = require("support.eventually")
local program = require("support.program")
local raised = require("support.raised")

local PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL
local LONG = 60 -- seconds

local function sh(script, options)
  options = options or {}
  options.args = { "sh", "-c", script }
  return options
end

--- What the program writes, started with these options.
local function output(options)
  options.stdout = PIPE
  local process <close> = subprocess.Popen(options)
  return (process:communicate())
end

local function temporary()
  local name = os.tmpname()
  return setmetatable({ name = name }, { __close = function() os.remove(name) end })
end

-- --- What is started --------------------------------------------------------

local TestStart = {}

function TestStart.testArgumentsArriveAsTheyAre()
  local words = { "two words", "", "*", "'\"$x\\", "\n", "\xff" }
  local out = output { args = { "sh", "-c", 'printf "%s|" "$@"', "x", table.unpack(words) } }
  lu.assertEquals(out, table.concat(words, "|") .. "|")
end

function TestStart.testAStringIsTheNameOfAProgram()
  lu.assertEquals(output { args = "pwd", cwd = "/usr" }, "/usr\n")
  local problem = raised(subprocess.Popen, "pwd -P")
  lu.assertTrue(errors.is(problem, errors.OSError))
  lu.assertEquals(problem.code, "ENOENT")
end

function TestStart.testAStringIsALineOfTheShell()
  lu.assertEquals(output { args = "echo a; echo $((1 + 1))", shell = true }, "a\n2\n")
  lu.assertEquals(output { args = { 'echo "$0 $1"', "b", "c d" }, shell = true }, "b c d\n")
end

function TestStart.testBothWaysOfCalling()
  for _, process in ipairs({
    subprocess.Popen({ "cat" }, { stdin = DEVNULL }),
    subprocess.Popen { args = { "cat" }, stdin = DEVNULL },
  }) do
    lu.assertEquals(process:wait(LONG), 0)
    lu.assertEquals(process.args, { "cat" })
  end
end

function TestStart.testTheProgramIsLookedForInTheChildsPath()
  local folder <close> = temporary()
  os.remove(folder.name)
  lfs.mkdir(folder.name)
  local tool = folder.name .. "/only-here"
  local file <close> = io.open(tool, "w")
  file:write("#!/bin/sh\necho $X\n")
  file:close()
  local problem = raised(subprocess.Popen, { "only-here" })
  lu.assertEquals(problem.code, "ENOENT")
  local env = { PATH = "/none/such:" .. folder.name, X = "found" }
  problem = raised(subprocess.Popen, { args = { "only-here" }, env = env })
  lu.assertEquals(problem.code, "EACCES") -- it is not executable yet
  os.execute("chmod +x " .. tool)
  lu.assertEquals(output { args = { "only-here" }, env = env }, "found\n")
  lu.assertEquals(output { args = { "./only-here" }, cwd = folder.name, env = env }, "found\n")
  os.remove(tool)
  lfs.rmdir(folder.name)
end

function TestStart.testTheEnvironmentIsReplaced()
  local out = output { args = { "env" }, env = { PATH = os.getenv("PATH"), A = "1 2", B = "" } }
  local lines = {}
  for line in out:gmatch("[^\n]+") do lines[#lines + 1] = line end
  table.sort(lines)
  lu.assertEquals(lines, { "A=1 2", "B=", "PATH=" .. os.getenv("PATH") })
  lu.assertEquals(output { args = { "/usr/bin/env" }, env = {} }, "")
  lu.assertEquals(output(sh('printf %s "$HOME"')), os.getenv("HOME") or "")
end

function TestStart.testSessionAndGroup()
  local script = "read p c s pp g i x </proc/self/stat; echo $g $i $$"
  local group, session = output(sh(script)):match("(%d+) (%d+)")
  local g, s, pid = output(sh(script, { start_new_session = true })):match("(%d+) (%d+) (%d+)")
  lu.assertEquals({ g, s }, { pid, pid })
  g, s, pid = output(sh(script, { process_group = 0 })):match("(%d+) (%d+) (%d+)")
  lu.assertEquals({ g, s }, { pid, session })
  g, s = output(sh(script, { process_group = math.tointeger(group) })):match("(%d+) (%d+)")
  lu.assertEquals({ g, s }, { group, session })
end

function TestStart.testTheSignalMaskIsTheOneOfTheStartUp()
  local mask = threading.Thread(function()
    return output(sh("grep -E 'SigBlk|SigIgn' /proc/self/status"))
  end):start():result(LONG)
  lu.assertEquals(mask:match("SigBlk:\t(%x+)"), "0000000000000000")
  lu.assertEquals(tonumber(mask:match("SigIgn:\t(%x+)"), 16) & 0x1000, 0) -- SIGPIPE
end

-- --- Streams and descriptors ------------------------------------------------

local TestStreams = {}

function TestStreams.testPipesAreOrdinaryFiles()
  local process <close> = subprocess.Popen { args = { "cat" }, stdin = PIPE, stdout = PIPE }
  lu.assertNil(process.stderr)
  lu.assertEquals(io.type(process.stdin), "file")
  lu.assertEquals(io.type(process.stdout), "file")
  process.stdin:write("one\n", 2, "\nlast"):flush()
  lu.assertEquals({ process.stdout:read("l", "n") }, { "one", 2 })
  process.stdin:close()
  local rest = {}
  for line in process.stdout:lines("L") do rest[#rest + 1] = line end
  lu.assertEquals(rest, { "\n", "last" })
end

function TestStreams.testStdoutAndStderrAreApartOrTogether()
  local script = "echo out; echo err >&2"
  local process = subprocess.Popen(sh(script, { stdout = PIPE, stderr = PIPE }))
  lu.assertEquals({ process:communicate() }, { "out\n", "err\n" })
  process = subprocess.Popen(sh(script, { stdout = PIPE, stderr = STDOUT }))
  lu.assertEquals({ process:communicate() }, { "out\nerr\n" })
  process = subprocess.Popen(sh(script, { stdout = DEVNULL, stderr = PIPE }))
  lu.assertEquals(table.pack(process:communicate()), { nil, "err\n", n = 2 })
end

function TestStreams.testStderrGoesWhereTheStdoutOfThisProcessGoes()
  local out, err = program.eval([[
    local subprocess = require("subprocess")
    subprocess.call("echo err >&2", { shell = true, stderr = subprocess.STDOUT })]])
  lu.assertEquals({ out, err }, { "err\n", "" })
end

function TestStreams.testDevnull()
  local process = subprocess.Popen(sh("cat; echo lost", {
    stdin = DEVNULL, stdout = DEVNULL, stderr = DEVNULL }))
  lu.assertEquals(process:wait(LONG), 0)
end

function TestStreams.testAFileIsFlushedAndWrittenWhereItStands()
  local name <close> = temporary()
  local file = io.open(name.name, "w")
  file:write("before ") -- lies in its buffer
  local process = subprocess.Popen(sh("printf 'during '", { stdout = file }))
  lu.assertEquals(process:wait(LONG), 0)
  file:write("after")
  file:close()
  file = io.open(name.name)
  lu.assertEquals(file:read("a"), "before during after")
  file:seek("set")
  lu.assertEquals(file:read(7), "before ") -- the buffer holds more
  process = subprocess.Popen({ "cat" }, { stdin = file, stdout = PIPE })
  lu.assertEquals(process:communicate(), "during after")
  file:close()
end

function TestStreams.testADescriptorIsGivenByItsNumber()
  local file <close> = io.tmpfile()
  local fd
  for name in lfs.dir("/proc/self/fd") do
    local target = lfs.symlinkattributes("/proc/self/fd/" .. name, "target")
    if target and target:find("/tmp/#?.*deleted") then fd = math.tointeger(name) end
  end
  local process = subprocess.Popen(sh("echo text", { stdout = fd }))
  lu.assertEquals(process:wait(LONG), 0)
  file:seek("set")
  lu.assertEquals(file:read("a"), "text\n")
end

function TestStreams.testOutputComesAfterWhatWasWrittenBefore()
  local out = program.eval([[
    io.write("before ")
    require("subprocess").call({ "printf", "during " })
    io.write("after\n")]])
  lu.assertEquals(out, "before during after\n")
end

--- Its own descriptors; what the shell has open for the loop is left out.
local LIST = "for f in /proc/self/fd/*; do test -e $f && printf '%s ' ${f##*/}; done"

function TestStreams.testNoDescriptorLeaks()
  local leak = cmodules.require("leak")
  local open = leak.open(50) -- without close-on-exec, as a C library may
  local between, above = leak.open(40), leak.open(60)
  local others = { subprocess.Popen({ "cat" }, { stdin = PIPE, stdout = PIPE }) }
  local file <close> = io.tmpfile()
  lu.assertEquals(output(sh(LIST)), "0 1 2 ")
  lu.assertEquals(output(sh(LIST, { pass_fds = { open, 1 } })), "0 1 2 50 ")
  lu.assertEquals(output(sh(LIST, { pass_fds = { open }, close_fds = false })), "0 1 2 50 ")
  local all = output(sh(LIST, { close_fds = false }))
  lu.assertStrContains(all, "40 50 60 ")
  leak.close(open)
  leak.close(between)
  leak.close(above)
  others[1]:communicate()
  file:close()
end

function TestStreams.testADescriptorThatIsPassedMustBeOpen()
  local before = descriptors()
  local problem = raised(subprocess.Popen, { args = { "true" }, pass_fds = { 999 }, stdin = PIPE })
  lu.assertEquals(problem.code, "EBADF")
  problem = raised(subprocess.Popen, { args = { "true" }, stdout = PIPE, stderr = 999 })
  lu.assertEquals(problem.code, "EBADF")
  -- The number that a pipe of the child's is going to get.
  local leak = cmodules.require("leak")
  local free = leak.open(3)
  leak.close(free)
  problem = raised(subprocess.Popen, { args = { "true" }, pass_fds = { free }, stdin = PIPE })
  lu.assertEquals(problem.code, "EBADF")
  lu.assertEquals(descriptors(), before)
end

-- --- Failures ---------------------------------------------------------------

local TestFailures = {}

function TestFailures.testTheProgramIsNamed()
  local before = descriptors()
  for name, code in pairs({ ["none/such"] = "ENOENT", nonesuch = "ENOENT", [""] = "ENOENT",
    ["/etc"] = "EACCES", ["/etc/passwd"] = "EACCES", ["/etc/passwd/x"] = "ENOTDIR" }) do
    local problem = raised(subprocess.Popen, { args = { name }, stdin = PIPE, stdout = PIPE })
    lu.assertTrue(errors.is(problem, errors.OSError))
    lu.assertEquals(problem.code, code)
    lu.assertEquals(type(problem.errno), "number")
    lu.assertStrContains(problem.message, "'" .. name .. "'")
  end
  lu.assertEquals(descriptors(), before)
end

function TestFailures.testTheFolderIsNamed()
  for folder, code in pairs({ ["/none/such"] = "ENOENT", ["/etc/passwd"] = "ENOTDIR" }) do
    local problem = raised(subprocess.Popen, { args = { "true" }, cwd = folder, stdout = PIPE })
    lu.assertEquals(problem.code, code)
    lu.assertStrContains(problem.message, "'" .. folder .. "'")
  end
  local problem = raised(subprocess.Popen, { args = { "nonesuch" }, cwd = "/" })
  lu.assertStrContains(problem.message, "'nonesuch'")
end

function TestFailures.testAScriptWithoutItsFirstLineIsNoProgram()
  local name <close> = temporary()
  local file = io.open(name.name, "w")
  file:write("echo text\n")
  file:close()
  os.execute("chmod +x " .. name.name)
  lu.assertEquals(raised(subprocess.Popen, { name.name }).code, "ENOEXEC")
end

-- There is none left to watch it by: it is not left alone either.
function TestFailures.testAChildThatCannotBeWatchedIsKilled()
  local name <close> = temporary()
  local file = io.open(name.name, "w")
  file:write([[
    local subprocess, threading = require("subprocess"), require("threading")
    local files = {}
    subprocess.call({ "true" }) -- opens what waiting needs
    for i = 1, 100 do files[i] = io.open("/dev/null") end
    local ok, problem = pcall(subprocess.Popen, { "sleep", "1000" })
    print(ok, problem.code, problem.message:match("^[%w_]+"))
    ok, problem = pcall(subprocess.Popen, { args = { "true" }, stdin = subprocess.PIPE })
    print(ok, problem.code)
    for _, file in pairs(files) do file:close() end
    local id = threading.get_native_id()
    print(io.open("/proc/self/task/" .. id .. "/children"):read("a"))
    print(subprocess.call({ "true" }))]])
  file:close()
  local out, err = program.run({ "-c", 'ulimit -n 40; exec "$0" "$1"', program.path, name.name },
    { program = "sh" })
  lu.assertEquals(err, "")
  lu.assertEquals(out, "false\tEMFILE\tpidfd_open\nfalse\tEMFILE\n\n0\n")
end

function TestFailures.testArgumentsAreCheckedAndNamed()
  local closed = io.tmpfile()
  closed:close()
  local cases = {
    { "args", {} },
    { "args", { 1 } },
    { "args", { "a", 2 } },
    { "args", { "a", nil, "c" } },
    { "args", { "a\0b" } },
    { "args", "a\0b" },
    { "args", { "ls", timeout = 1 } },
    { "args", 5 },
    { "args", { args = {} } },
    { "cwd", { "x" }, { cwd = 1 } },
    { "cwd", { "x" }, { cwd = "a\0" } },
    { "env", { "x" }, { env = "A=1" } },
    { "env", { "x" }, { env = { A = 1 } } },
    { "env", { "x" }, { env = { ["A=B"] = "1" } } },
    { "env", { "x" }, { env = { [""] = "1" } } },
    { "env", { "x" }, { env = { A = "1\0" } } },
    { "env", { "x" }, { env = { ["A\0"] = "1" } } },
    { "env", { "x" }, { env = { "1" } } },
    { "stdin", { "x" }, { stdin = STDOUT } },
    { "stdin", { "x" }, { stdin = "file" } },
    { "stdin", { "x" }, { stdin = closed } },
    { "stdout", { "x" }, { stdout = STDOUT } },
    { "stdout", { "x" }, { stdout = -4 } },
    { "stdout", { "x" }, { stdout = 1.5 } },
    { "stderr", { "x" }, { stderr = {} } },
    { "stderr", { "x" }, { stderr = 1 << 40 } },
    { "shell", { "x" }, { shell = 1 } },
    { "close_fds", { "x" }, { close_fds = 1 } },
    { "start_new_session", { "x" }, { start_new_session = 0 } },
    { "process_group", { "x" }, { process_group = -1 } },
    { "pass_fds", { "x" }, { pass_fds = 1 } },
    { "pass_fds", { "x" }, { pass_fds = { -1 } } },
    { "pass_fds", { "x" }, { pass_fds = { "1" } } },
    { "unknown option 'timeout'", { "x" }, { timeout = 1 } },
    { "unknown option 'args'", { "x" }, { args = { "y" } } },
    { "table expected", { "x" }, 5 },
  }
  for i, case in ipairs(cases) do
    local problem = raised(function() local _ = subprocess.Popen(table.unpack(case, 2, 3)) end)
    local n = case[3] == nil and 1 or 2
    lu.assertStrMatches(tostring(problem),
      (".-subprocess_spec.lua:%%d+: bad argument #%d to 'Popen' %%(.*"):format(n), nil, nil, i)
    lu.assertStrContains(problem, case[1])
  end
end

-- --- The end ----------------------------------------------------------------

local TestEnd = {}

function TestEnd.testTheExitCode()
  local process = subprocess.Popen(sh("exit 7"))
  lu.assertEquals(process:wait(), 7)
  lu.assertEquals(process:wait(0), 7)
  lu.assertEquals(process:poll(), 7)
  lu.assertEquals(process.returncode, 7)
  lu.assertEquals(tostring(process), "<Popen \"sh -c 'exit 7'\" finished returncode=7>")
end

function TestEnd.testOneThatRuns()
  local process <close> = subprocess.Popen({ "cat" }, { stdin = PIPE })
  lu.assertNil(process:poll())
  lu.assertNil(process.returncode)
  lu.assertEquals(process:wait(0), false)
  local start = time.monotonic()
  lu.assertEquals(process:wait(0.05), false)
  lu.assertTrue(time.monotonic() - start >= 0.03)
  lu.assertEquals(math.type(process.pid), "integer")
  lu.assertEquals(tostring(process), ('<Popen "cat" started pid=%d>'):format(process.pid))
end

function TestEnd.testSignals()
  local ways = {
    [-15] = function(p) p:terminate() end,
    [-9] = function(p) p:kill() end,
    [-2] = function(p) p:send_signal("INT") end,
    [-10] = function(p) p:send_signal("SIGUSR1") end,
    [-12] = function(p) p:send_signal(12) end,
  }
  for code, send in pairs(ways) do
    local process = subprocess.Popen({ "sleep", "1000" })
    process:send_signal(0) -- none
    send(process)
    lu.assertEquals(process:wait(LONG), code)
    send(process) -- it has ended: nothing
    lu.assertEquals(process.returncode, code)
  end
  local process <close> = subprocess.Popen({ "true" })
  for _, wrong in ipairs({ "NONE", -1, 1000, {}, 1.5 }) do
    lu.assertStrMatches(raised(process.send_signal, process, wrong),
      ".*bad argument #1 to 'send_signal' .*")
  end
end

function TestEnd.testWaitAny()
  local quick = subprocess.Popen({ "true" })
  local slow <close> = subprocess.Popen({ "cat" }, { stdin = PIPE })
  lu.assertEquals(threading.wait_any({ slow, quick }, LONG), { quick })
  lu.assertEquals(threading.wait_any({ slow }, 0), {})
end

function TestEnd.testWaitIsWoken()
  local process <close> = subprocess.Popen({ "cat" }, { stdin = PIPE })
  local waiters = {}
  for i = 1, 3 do waiters[i] = threading.Thread(process.wait, process):start() end
  local cancelled = threading.Thread(process.wait, process, LONG):start()
  blocked("process", cancelled, table.unpack(waiters))
  cancelled:cancel()
  lu.assertTrue(errors.is(raised(cancelled.result, cancelled, LONG), errors.Cancelled))
  lu.assertNil(process:poll())
  process.stdin:close()
  for i = 1, 3 do lu.assertEquals(waiters[i]:result(LONG), 0) end
end

function TestEnd.testAScopeClosesThePipesAndWaits()
  local process
  do
    local scoped <close> = subprocess.Popen({ "cat" }, { stdin = PIPE, stdout = PIPE })
    process = scoped
    scoped.stdin:write("text") -- nobody reads what comes of it
  end
  lu.assertNotNil(process.returncode)
  lu.assertEquals(io.type(process.stdin), "closed file")
  lu.assertEquals(io.type(process.stdout), "closed file")
end

function TestEnd.testOneThatIsForgottenIsReaped()
  local pids = {}
  for i = 1, 10 do pids[i] = subprocess.Popen({ "cat" }, { stdin = PIPE }).pid end
  collectgarbage()
  collectgarbage()
  eventually(function()
    subprocess.call({ "true" }) -- the reaper looks when something is started
    for _, pid in ipairs(pids) do
      if lfs.attributes("/proc/" .. pid) then return false end
    end
    return true
  end)
end

function TestEnd.testAFinalizerNeverWaits()
  local seen
  do
    local process = subprocess.Popen({ "cat" }, { stdin = PIPE })
    setmetatable({}, { __gc = function()
      seen = { pcall(process.wait, process) }
      lu.assertFalse((pcall(process.communicate, process)))
      process:kill()
    end })
  end
  collectgarbage()
  collectgarbage()
  lu.assertEquals(seen[1], false)
  lu.assertStrContains(tostring(seen[2]), "finalizer")
end

function TestEnd.testAttributesAreNotWritten()
  local process <close> = subprocess.Popen({ "true" })
  lu.assertErrorMsgContains("pid", function() process.pid = 1 end)
  lu.assertErrorMsgContains("returncode", function() process.returncode = 1 end)
  process.mine = 5
  lu.assertEquals(process.mine, 5)
end

function TestEnd.testFiveHundredLeaveNothing()
  subprocess.call({ "true" })
  collectgarbage()
  local before = descriptors()
  for _ = 1, 250 do
    subprocess.Popen({ "true" }, { stdin = PIPE, stdout = PIPE, stderr = PIPE }):communicate()
    pcall(subprocess.Popen, { args = { "nonesuch" }, stdin = PIPE, stderr = PIPE })
  end
  lu.assertEquals(descriptors(), before)
end

function TestEnd.testManyThreadsStartAtOnce()
  local before = descriptors()
  local results, problems = bunch(4, function(i)
    for k = 1, 25 do
      local process <close> = subprocess.Popen({ "cat" }, { stdin = PIPE, stdout = PIPE })
      local text = ("%d %d"):format(i, k)
      -- If another child had inherited the pipe, its end would not come.
      if process:communicate(text, LONG) ~= text then return k end
    end
    return true
  end)
  lu.assertEquals(problems, {})
  lu.assertEquals(results, { true, true, true, true })
  collectgarbage()
  lu.assertEquals(descriptors(), before)
end

return {
  TestStart = TestStart,
  TestStreams = TestStreams,
  TestFailures = TestFailures,
  TestEnd = TestEnd,
}

--- subprocess.run and its kin: what they return and raise, and that nothing of
--- theirs is left whatever ends them.
local errors = require("errors")
local lfs = require("lfs")
local lu = require("luaunit")
local subprocess = require("subprocess")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local closing = require("support.closing")
local eventually = require("support.eventually")
local is_running = require("support.is_running")
local program = require("support.program")
local raised = require("support.raised")

local PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL
local LONG = 60 -- seconds
local MOMENT = 0.25 -- seconds: what a child has after Ctrl-C

local function has_ended(pid) return lfs.attributes("/proc/" .. pid) == nil end

local TestRun = {}

function TestRun.testResults()
  local result = subprocess.run({ "sh", "-c", "cat; echo err >&2; exit 3" },
    { input = "text", capture_output = true })
  lu.assertEquals({ result.returncode, result.stdout, result.stderr }, { 3, "text", "err\n" })
  lu.assertEquals(result.args, { "sh", "-c", "cat; echo err >&2; exit 3" })
  lu.assertEquals(tostring(result), [[<CompletedProcess "sh -c 'cat; echo err >&2; exit 3'"]] ..
    [[ returncode=3 stdout="text" stderr="err\n">]])
  local problem = raised(result.check_returncode, result)
  lu.assertTrue(errors.is(problem, subprocess.CalledProcessError))
  result = subprocess.run { args = "true" }
  lu.assertEquals({ result.returncode, result.stdout, result.stderr }, { 0 })
  lu.assertEquals(result.args, "true")
  result:check_returncode()
  lu.assertEquals(tostring(result), '<CompletedProcess "true" returncode=0>')
end

function TestRun.testCheckRaises()
  local problem = raised(subprocess.run, "echo out; echo err >&2; exit 5",
    { shell = true, check = true, capture_output = true })
  lu.assertTrue(errors.is(problem, subprocess.CalledProcessError))
  lu.assertEquals(problem.name, "subprocess.CalledProcessError")
  lu.assertEquals({ problem.returncode, problem.stdout, problem.stderr, problem.cmd },
    { 5, "out\n", "err\n", "echo out; echo err >&2; exit 5" })
  lu.assertStrContains(tostring(problem), "exit code 5")
  problem = raised(subprocess.run, "kill -9 $$", { shell = true, check = true })
  lu.assertEquals(problem.returncode, -9)
  lu.assertStrContains(tostring(problem), "signal 9")
  lu.assertEquals(subprocess.run({ "true" }, { check = true }).returncode, 0)
end

function TestRun.testStreams()
  local result = subprocess.run("echo a; echo b >&2",
    { shell = true, stdout = PIPE, stderr = STDOUT })
  lu.assertEquals({ result.stdout, result.stderr }, { "a\nb\n" })
  result = subprocess.run("cat; echo b >&2", { shell = true, stdin = DEVNULL, stdout = PIPE,
    stderr = DEVNULL, env = { PATH = os.getenv("PATH") }, cwd = "/" })
  lu.assertEquals(result.stdout, "")
end

function TestRun.testCallAndItsKin()
  lu.assertEquals(subprocess.call({ "sh", "-c", "exit 4" }), 4)
  lu.assertEquals(subprocess.call("exit 4", { shell = true, timeout = LONG }), 4)
  lu.assertEquals(subprocess.check_call({ "true" }), 0)
  lu.assertEquals(raised(subprocess.check_call, { "false" }).returncode, 1)
  lu.assertEquals(subprocess.check_output({ "cat" }, { input = "text" }), "text")
  local problem = raised(subprocess.check_output, "echo some; exit 2", { shell = true })
  lu.assertEquals({ problem.returncode, problem.stdout }, { 2, "some\n" })
  lu.assertEquals(subprocess.getoutput("echo a; echo b >&2; echo"), "a\nb\n")
  lu.assertEquals({ subprocess.getstatusoutput("printf x; exit 6") }, { 6, "x" })
  lu.assertEquals({ subprocess.getstatusoutput("kill -15 $$") }, { -15, "" })
end

function TestRun.testArguments()
  local cases = {
    { "run", 2, "input", { "x" }, { input = 5 } },
    { "run", 2, "input", { "x" }, { input = "", stdin = PIPE } },
    { "run", 2, "capture_output", { "x" }, { capture_output = true, stdout = PIPE } },
    { "run", 2, "check", { "x" }, { check = 1 } },
    { "run", 2, "timeout", { "x" }, { timeout = -1 } },
    { "run", 2, "timeout", { "x" }, { timeout = "1" } },
    { "run", 2, "unknown option 'text'", { "x" }, { text = true } },
    { "run", 1, "args", nil },
    { "run", 1, "cwd", { args = "x", cwd = 1 } },
    { "call", 2, "unknown option 'input'", { "x" }, { input = "" } },
    { "check_call", 1, "args", {} },
    { "check_output", 2, "unknown option 'stdout'", { "x" }, { stdout = PIPE } },
    { "check_output", 2, "unknown option 'check'", { "x" }, { check = true } },
    { "getoutput", 1, "string expected", { "x" } },
    { "getstatusoutput", 1, "embedded zero", "a\0" },
  }
  for i, case in ipairs(cases) do
    local name, n, text = table.unpack(case)
    local problem = raised(function() local _ = subprocess[name](table.unpack(case, 4, 5)) end)
    lu.assertStrMatches(tostring(problem),
      (".-run_spec.lua:%%d+: bad argument #%d to '%s' .*"):format(n, name), nil, nil, i)
    lu.assertStrContains(problem, text)
  end
end

-- --- What ends it early -----------------------------------------------------

local TestEarly = {}

--- What run raises when the time is over. That is made longer until the script
--- has said what is wanted before.
local function run_out(wanted, args, options)
  local problem
  options.timeout = 0.25
  eventually(function()
    options.timeout = 2 * options.timeout
    problem = raised(subprocess.run, args, options)
    return problem.stdout:find(wanted)
  end)
  return problem
end

function TestEarly.testATimeoutKillsTheChild()
  local before = time.monotonic()
  local options = { capture_output = true }
  local problem = run_out("%d\n", { "sh", "-c", "echo e >&2; echo $$; exec sleep 1000" }, options)
  lu.assertTrue(time.monotonic() - before >= 0.3)
  lu.assertTrue(errors.is(problem, subprocess.TimeoutExpired))
  lu.assertEquals({ problem.timeout, problem.stderr }, { options.timeout, "e\n" })
  lu.assertTrue(has_ended(problem.stdout:match("%d+"))) -- it is reaped by now
  for _, name in ipairs({ "call", "check_call", "check_output" }) do
    problem = raised(subprocess[name], { "sleep", "1000" }, { timeout = 0.01 })
    lu.assertTrue(errors.is(problem, subprocess.TimeoutExpired))
  end
end

-- The shell is killed, what it had started holds the pipe: it is not waited
-- for.
function TestEarly.testATimeoutDoesNotWaitForGrandchildren()
  local problem = run_out("%d\n", "sleep 1000 & echo $$ $!; wait; echo no",
    { shell = true, capture_output = true })
  local shell, sleeper = problem.stdout:match("(%d+) (%d+)")
  lu.assertTrue(has_ended(shell))
  lu.assertFalse(has_ended(sleeper))
  os.execute("kill -9 " .. sleeper)
end

-- The advice of the documentation.
function TestEarly.testASessionIsEndedAsAWhole()
  local problem = run_out("%d\n", "sleep 1000 & echo $$ $!; wait",
    { shell = true, stdout = PIPE, start_new_session = true })
  local shell, sleeper = problem.stdout:match("(%d+) (%d+)")
  subprocess.call({ "kill", "-9", "--", "-" .. shell })
  eventually(function() return not is_running(sleeper) end)
end

--- In a thread: run's child writes its number into a pipe of ours.
local function runs(body)
  local name = os.tmpname()
  local thread = threading.Thread(body, ("echo $$ >%s; exec sleep 1000"):format(name)):start()
  local pid
  eventually(function()
    local file <close> = io.open(name)
    pid = file:read("n")
    return pid
  end)
  os.remove(name)
  return thread, pid
end

function TestEarly.testACancelKillsTheChild()
  local thread, pid = runs(function(script)
    subprocess.run(script, { shell = true, capture_output = true })
  end)
  blocked("several things", thread)
  thread:cancel()
  lu.assertTrue(errors.is(raised(thread.result, thread, LONG), errors.Cancelled))
  lu.assertTrue(has_ended(pid))
end

function TestEarly.testAKillKillsTheChild()
  closing(true, function()
    local thread, pid = runs(function(script)
      while true do pcall(subprocess.call, script, { shell = true }) end
    end)
    blocked("process", thread)
    local start = time.monotonic()
    thread:kill()
    lu.assertTrue(errors.is(raised(thread.result, thread, LONG), errors.Killed))
    local took, ended = time.monotonic() - start, has_ended(pid)
    if not ended then os.execute("kill -9 " .. pid .. " 2>/dev/null") end
    return ended, took
  end)
end

--- A host of its own, in which another thread sends SIGINT to it, and to the
-- child if 'both', once the child has said that it is there (HERE in its script)
-- and the call has begun. After the call there is the file GO. Returns what the
-- host has said, and for how long the call went on.
local function interrupted(call, child, both)
  local out, err = program.eval(([[
    local subprocess, time, errors, threading = require("subprocess"), require("time"),
      require("errors"), require("threading")
    local name, script = os.tmpname(), %q
    script = script:gsub("HERE", "echo $$ >" .. name):gsub("GO", name .. ".go")
    local pid, process, begun, struck
    threading.Thread(function()
      local text
      repeat
        time.sleep(0.01)
        local file <close> = io.open(name)
        text = file:read("a")
      until text:find("\n") and begun
      os.remove(name)
      struck = time.monotonic()
      pid = text:match("%%d+")
      os.execute("kill -INT $PPID " .. (%s and pid or "")) -- it first: the child's end is seen
    end):start()
    local ok, problem = pcall(function() %s end)
    local took = time.monotonic() - struck
    io.open(name .. ".go", "w"):close()
    print(ok, tostring(problem))
    print(process and process:wait(20) or io.open("/proc/" .. pid) == nil)
    os.remove(name .. ".go")
    print(took)]]):format(child, both, call), { timeout = LONG })
  lu.assertEquals(err, "")
  local said, took = out:match("^(.*\n)(.*)\n$")
  return said, tonumber(took)
end

local RUN = [[begun = true subprocess.run(script, { shell = true, stdout = subprocess.PIPE })]]
local WAIT = [[process = subprocess.Popen(script, { shell = true }) begun = true process:wait()]]

function TestEarly.testAnInterruptEndsTheChildOfRun()
  for script, both in pairs({
    ["HERE; exec sleep 1000"] = true,
    ["trap '' INT; HERE; exec sleep 1000"] = false,
  }) do
    lu.assertEquals({ (interrupted(RUN, script, both)) }, { "false\tinterrupted!\ntrue\n" })
  end
end

-- A child that ends by Ctrl-C in its own way has the time to do so.
function TestEarly.testTheChildOfRunHasAMoment()
  local name = os.tmpname()
  closing({ "false\tinterrupted!\ntrue\n", "ended\n" }, function()
    local said, took = interrupted(RUN,
      ("trap 'kill $!; echo ended >%s; exit 3' INT; sleep 60 & HERE; wait"):format(name), true)
    local file <close> = io.open(name, "r+")
    local text = file:read("a")
    io.open(name, "w"):close()
    return { said, text }, took
  end, MOMENT)
  os.remove(name)
end

function TestEarly.testAnInterruptedWaitLeavesTheChildAlone()
  local said = interrupted(WAIT, "HERE; until [ -e GO ]; do sleep 0.01; done; exit 7", false)
  lu.assertEquals(said, "false\tinterrupted!\n7\n")
end

return { TestRun = TestRun, TestEarly = TestEarly }

--- subprocess.run and its kin: what they return and raise, and that nothing of
--- theirs is left whatever ends them.
local errors = require("errors")
local lfs = require("lfs")
local lu = require("luaunit")
local subprocess = require("subprocess")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local eventually = require("support.eventually")
local is_running = require("support.is_running")
local program = require("support.program")

local PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL
local LONG = 60 -- seconds

local function raised(f, ...)
  local ok, problem = pcall(f, ...)
  lu.assertFalse(ok)
  return problem
end

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

function TestEarly.testATimeoutKillsTheChild()
  local before = time.monotonic()
  local problem = raised(subprocess.run, { "sh", "-c", "echo $$; echo e >&2; exec sleep 1000" },
    { timeout = 0.5, capture_output = true })
  local taken = time.monotonic() - before
  lu.assertTrue(errors.is(problem, subprocess.TimeoutExpired))
  lu.assertTrue(taken >= 0.3 and taken < LONG)
  lu.assertEquals({ problem.timeout, problem.stderr }, { 0.5, "e\n" })
  lu.assertTrue(has_ended(problem.stdout:match("%d+"))) -- it is reaped by now
  for _, name in ipairs({ "call", "check_call", "check_output" }) do
    problem = raised(subprocess[name], { "sleep", "1000" }, { timeout = 0.01 })
    lu.assertTrue(errors.is(problem, subprocess.TimeoutExpired))
  end
end

-- The shell is killed, what it had started holds the pipe: it is not waited
-- for.
function TestEarly.testATimeoutDoesNotWaitForGrandchildren()
  local before = time.monotonic()
  local problem = raised(subprocess.run, "sleep 1000 & echo $$ $!; wait; echo no",
    { shell = true, timeout = 0.5, capture_output = true })
  lu.assertTrue(time.monotonic() - before < LONG)
  local shell, sleeper = problem.stdout:match("(%d+) (%d+)")
  lu.assertTrue(has_ended(shell))
  lu.assertFalse(has_ended(sleeper))
  os.execute("kill -9 " .. sleeper)
end

-- The advice of the documentation.
function TestEarly.testASessionIsEndedAsAWhole()
  local problem = raised(subprocess.run, "sleep 1000 & echo $$ $!; wait",
    { shell = true, timeout = 0.5, stdout = PIPE, start_new_session = true })
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
  local thread, pid = runs(function(script)
    while true do pcall(subprocess.call, script, { shell = true }) end
  end)
  blocked("process", thread)
  thread:kill()
  lu.assertTrue(errors.is(raised(thread.result, thread, LONG), errors.Killed))
  lu.assertTrue(has_ended(pid))
end

--- A host of its own, in which another thread sends SIGINT to it, and to the
-- child if 'both', once the child has said that it is there.
local function interrupted(call, child, both)
  local out, err = program.eval(([[
    local subprocess, time, errors, threading = require("subprocess"), require("time"),
      require("errors"), require("threading")
    local name = os.tmpname()
    local pid
    threading.Thread(function()
      local text
      repeat
        time.sleep(0.01)
        local file <close> = io.open(name)
        text = file:read("a")
      until text:find("\n")
      os.remove(name)
      pid = text:match("%%d+")
      os.execute("kill -INT $PPID " .. (%s and pid or "")) -- it first: the child's end is seen
    end):start()
    local start = time.monotonic()
    local script = "echo $$ >" .. name .. "; " .. %q
    local process
    local ok, problem = pcall(function() %s end)
    print(ok, tostring(problem))
    print(process and process:wait(20) or io.open("/proc/" .. pid) == nil)
    print(time.monotonic() - start < 20)]]):format(both, child, call), { timeout = LONG })
  lu.assertEquals(err, "")
  return out
end

local RUN = [[subprocess.run(script, { shell = true, stdout = subprocess.PIPE })]]
local WAIT = [[process = subprocess.Popen(script, { shell = true }) process:wait()]]

function TestEarly.testAnInterruptEndsTheChildOfRun()
  lu.assertEquals(interrupted(RUN, "exec sleep 1000", true), "false\tinterrupted!\ntrue\ntrue\n")
  lu.assertEquals(interrupted(RUN, "trap '' INT; exec sleep 1000", false),
    "false\tinterrupted!\ntrue\ntrue\n")
end

-- A child that ends by Ctrl-C in its own way has the time to do so.
function TestEarly.testTheChildOfRunHasAMoment()
  local name = os.tmpname()
  lu.assertEquals(interrupted(RUN,
    ("trap 'kill $!; echo ended >%s; exit 3' INT; sleep 1000 & wait"):format(name), true),
    "false\tinterrupted!\ntrue\ntrue\n")
  local file <close> = io.open(name)
  lu.assertEquals(file:read("a"), "ended\n")
  os.remove(name)
end

function TestEarly.testAnInterruptedWaitLeavesTheChildAlone()
  lu.assertEquals(interrupted(WAIT, "sleep 0.3; exit 7", false),
    "false\tinterrupted!\n7\ntrue\n")
end

return { TestRun = TestRun, TestEarly = TestEarly }

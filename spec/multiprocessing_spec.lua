-- Processes: the class and the module's functions, of which multiprocessing_
-- start_methods_spec.lua has what is the same for the three ways to start one.
-- Numbers are those of CPython's behaviours that each test holds tidelock to.
local lfs = require("lfs")
local lu = require("luaunit")
local mp = require("multiprocessing")
local pickle = require("pickle")
local threading = require("threading")
local time = require("time")
local children = require("support.children")
local program = require("support.program")

local LIMIT = 60 -- seconds, for what should take a moment

local TestProcess = {}

--- A child that waits until it is ended.
local function sleeper(options)
  options = options or {}
  options.target = function() time.sleep(LIMIT) end
  return mp.Process(options):start()
end

-- 71
function TestProcess:testExitcodeIsZeroAfterTheTarget()
  lu.assertEquals(children.outcome(function() return 5 end), 0)
end

-- 71
function TestProcess:testExitcodeIsWhatOsExitGets()
  local out, err = children.host([[
    local function code(f) local p = mp.Process(f) p:start() p:join() return p.exitcode end
    print(code(function() os.exit(7) end), code(function() os.exit(true) end),
      code(function() os.exit(false) end), code(function() os.exit(3, true) end),
      code(function() coroutine.wrap(function() os.exit(9) end)() end),
      code(function()
        threading.Thread(function() os.exit(5, true) end):start():join()
      end))]])
  lu.assertEquals({ out, err }, { "7\t0\t1\t3\t9\t5\n", "" })
end

-- 71
function TestProcess:testAnErrorIsReportedWithItsTraceback()
  local out, err, code = children.host([[
    local p = mp.Process{name = "bad", target = function() error("oops") end}
    p:start() p:join() print(p.exitcode)]])
  lu.assertEquals({ out, code }, { "1\n", 0 })
  lu.assertStrMatches(err, "Process bad:\n.*: oops\nstack traceback:\n.*")
end

-- 71
function TestProcess:testAnErrorValueIsReportedAsWhatItSays()
  local out, err = children.host([[
    local errors = require("errors")
    for _, value in ipairs{errors.new(errors.TimeoutError, "late"), {},
        setmetatable({}, {__tostring = function() error("worse") end})} do
      local p = mp.Process(function() error(value) end)
      p:start() p:join() print(p.exitcode)
    end]])
  lu.assertEquals(out, "1\n1\n1\n")
  lu.assertStrContains(err, "TimeoutError: late\nstack traceback:")
  lu.assertStrContains(err, "Process Process-2:\ntable: ")
  lu.assertStrContains(err, "Process Process-3:\n")
end

-- 72
function TestProcess:testNegativeTimeoutsAreErrors()
  local process = sleeper()
  lu.assertErrorMsgContains("bad argument #1 to 'join'", process.join, process, -1)
  lu.assertErrorMsgContains("bad argument #1 to 'join'", process.join, process, 0 / 0)
  lu.assertErrorMsgContains("bad argument #1 to 'join'", process.join, process, "1")
  process:kill()
  process:join()
end

-- 74
function TestProcess:testSentinelTellsTheEnd()
  local process = mp.Process(function() time.sleep(LIMIT) end)
  lu.assertErrorMsgContains("not been started", function() return process.sentinel end)
  process:start()
  local sentinel = process.sentinel
  lu.assertStrContains(lfs.symlinkattributes("/proc/self/fd/" .. sentinel, "target"), "pidfd")
  lu.assertEquals(process.sentinel, sentinel)
  process:kill()
  process:join()
  lu.assertEquals(process.sentinel, sentinel)
  process:close()
end

-- 74
function TestProcess:testWaitAnyWaitsForProcesses()
  local slow, quick = sleeper(), mp.Process(function() end)
  lu.assertErrorMsgContains("has not been started", threading.wait_any, { quick })
  quick:start()
  local ready = threading.wait_any({ slow, quick }, LIMIT)
  lu.assertEquals(#ready, 1)
  lu.assertTrue(rawequal(ready[1], quick))
  lu.assertEquals(#threading.wait_any({ slow }, 0.01), 0)
  lu.assertEquals(threading.active_count(), 1)
  slow:kill()
  lu.assertEquals(#threading.wait_any({ slow }, LIMIT), 1)
  slow:join()
  quick:join()
end

-- 76: how it is elsewhere, multiprocessing_start_methods_spec tells.
function TestProcess:testOnlyTheObjectItselfMayBeUsed()
  for _, copy in ipairs { mp.current_process(), mp.Process(print) } do
    local same = pickle.loads(pickle.dumps(copy), { functions = true })
    lu.assertErrorMsgContains("only the process that made", same.join, same)
  end
end

-- 76: errors are told where the method was called.
function TestProcess:testErrorsNameTheCaller()
  local process = mp.Process(print)
  for _, method in ipairs { "join", "kill", "terminate", "interrupt" } do
    lu.assertErrorMsgMatches(
      ".*multiprocessing_spec.lua:%d+: cannot " .. method .. " a process that has not been started",
      function() process[method](process) end)
  end
  lu.assertErrorMsgMatches(".*multiprocessing_spec.lua:%d+: cannot watch .*not been started",
    function() return process.sentinel end)
  lu.assertErrorMsgMatches(
    ".*multiprocessing_spec.lua:%d+: bad argument #1 to 'set_executable' .*got number%)",
    function() mp.set_executable(5) end)
  lu.assertErrorMsgMatches(
    ".*multiprocessing_spec.lua:%d+: bad argument #1 to 'set_forkserver_preload' .*got number%)",
    function() mp.set_forkserver_preload(5) end)
end

-- The secret of the family is in nothing that is sent, but for what a child is
-- started with.
function TestProcess:testTheKeyDoesNotTravelWithAProcess()
  local idle, key = mp.Process(print), mp.current_process().authkey
  idle.authkey = "one of its own, as long as others" -- is looked for too
  for _, process in ipairs { mp.current_process(), idle } do
    for _, how in ipairs { "dumps", "send" } do
      local bytes
      if how == "dumps" then
        bytes = pickle.dumps { process }
      else
        local listener <close> = mp.connection.Listener()
        local client <close> = mp.connection.Client(listener.address)
        local server <close> = listener:accept()
        client:send { process }
        bytes = server:recv_bytes()
      end
      lu.assertNil(bytes:find(key, 1, true))
      lu.assertNil(bytes:find(idle.authkey, 1, true))
      lu.assertEquals(pickle.loads(bytes, { functions = true })[1].authkey, key)
    end
  end
  local queue = mp.Queue()
  queue:put { idle }
  lu.assertEquals(queue:get()[1].authkey, key)
end

--- Two threads ask for the key of a program that has not had one: the second while
--- the first is at the n-th line of that.
function TestProcess:testTheKeyIsOneFromTheStart()
  for n = 1, 6 do
    local out, err = children.host(([[
      local process, second = mp.current_process(), nil
      local left = %d
      debug.sethook(function()
        if not debug.getinfo(2, "S").source:find("multiprocessing/process", 1, true) then return end
        left = left - 1
        if left == 0 then second = process.authkey end
      end, "l")
      local first = process.authkey
      debug.sethook()
      print(#first, first == (second or first), first == process.authkey)]]):format(n))
    lu.assertEquals({ out, err }, { "32\ttrue\ttrue\n", "" }, n)
  end
end

-- 73: SIGTERM may be ignored, SIGKILL not.
function TestProcess:testKillEndsAChildThatIgnoresTerm()
  local script = [[
    local mp = require("multiprocessing")
    for _, method in ipairs { "fork", "spawn" } do
      local here, there = mp.Pipe()
      local p = mp.get_context(method).Process(function(out)
        while true do out:send(out:recv()) end
      end, there):start()
      p:terminate()
      here:send("alive") -- an answer that came after the signal
      print(here:recv(), p.exitcode)
      p:kill() p:join()
      print(p.exitcode)
    end]]
  local out, err = program.run(
    { "-c", "trap '' TERM; exec \"$0\" -e \"$1\"", program.path, script },
    { program = "sh", timeout = LIMIT })
  lu.assertEquals({ out, err }, { ("alive\tnil\n-9\n"):rep(2), "" })
end

-- The target is called here, by whoever calls run.
function TestProcess:testRunMayBeCalled()
  local seen
  local process = mp.Process(function(...) seen = table.pack(...) end, 1, nil, nil)
  process:run()
  lu.assertEquals(seen, { 1, n = 3 })
  lu.assertNil(process.pid)
  lu.assertErrorMsgContains("no", mp.Process(function() error("no") end).run,
    mp.Process(function() error("no") end))
  local W = mp.Process:subclass { run = function() seen = "its own" end }
  W():run()
  lu.assertEquals(seen, "its own")
end

-- 76
function TestProcess:testItStartsOnce()
  local process = mp.Process(function() end)
  lu.assertErrorMsgContains("has not been started", process.join, process)
  lu.assertErrorMsgContains("has not been started", process.kill, process)
  lu.assertFalse(process:is_alive())
  lu.assertTrue(rawequal(process:start(), process))
  lu.assertErrorMsgContains("twice", process.start, process)
  process:join()
  lu.assertErrorMsgContains("twice", process.start, process)
end

-- 76
function TestProcess:testAProcessCannotJoinItself()
  lu.assertError(function() mp.current_process():join() end)
  local _, message = children.outcome(function(sender)
    sender:send_bytes(tostring(pcall(function() mp.current_process():join() end)))
  end)
  lu.assertEquals(message, "false")
end

-- 77
function TestProcess:testDaemonsAreTerminatedAtTheEnd()
  local out, err, code = children.host([[
    local p = mp.Process{daemon = true, target = function() time.sleep(1000) end}
    p:start() print(p.pid)]])
  lu.assertEquals({ err, code }, { "", 0 })
  lu.assertNil(lfs.attributes("/proc/" .. out:match("%d+")))
end

-- 77
function TestProcess:testChildrenAreJoinedAfterAnError()
  local out, err, code = children.host([[
    mp.Process(function() time.sleep(0.2) io.write("child\n") end):start()
    error("parent")]])
  lu.assertEquals({ out, code }, { "child\n", 1 }, err)
end

-- In a program of its own: shared_memory has a tracker from the next fork on.
function TestProcess.testItsModulesAreThereWhenTheyAreAskedFor()
  local out, err = children.host([[
    for _, name in ipairs { "connection", "managers", "shared_memory" } do
      assert(mp[name] == require("multiprocessing." .. name), name)
    end
    print(mp.no_such_name)]])
  lu.assertEquals({ out, err }, { "nil\n", "" })
end

function TestProcess:testASentinelAskedForAfterTheEndIsADescriptorOfItsOwn()
  local process = mp.Process(function() end):start()
  lu.assertTrue(process:join(LIMIT))
  local sentinel = process.sentinel
  lu.assertStrContains(lfs.symlinkattributes("/proc/self/fd/" .. sentinel, "target"), "eventfd")
  lu.assertEquals(process.sentinel, sentinel)
  process:close()
  lu.assertNil(lfs.symlinkattributes("/proc/self/fd/" .. sentinel))
end

function TestProcess:testNamesAndNumbers()
  local process = mp.Process { target = print, name = "mine", daemon = true }
  lu.assertEquals(tostring(process), '<Process "mine" initial>')
  lu.assertTrue(process.daemon)
  process.name, process.daemon = "other", false
  lu.assertEquals(process.name, "other")
  lu.assertStrMatches(mp.Process(print).name, "Process%-%d+")
  lu.assertErrorMsgContains("name", function() process.name = 1 end)
  lu.assertErrorMsgContains("daemon", function() process.daemon = 1 end)
  lu.assertErrorMsgContains("pid", function() process.pid = 1 end)
  lu.assertEquals(mp.current_process().name, "MainProcess")
  local parent = mp.Process(function(sender)
    sender:send_bytes(mp.current_process().name .. " " .. mp.Process(print).name)
  end)
  lu.assertStrMatches(parent.name, "Process%-%d+")
  local _, names = children.outcome(function(sender)
    sender:send_bytes(mp.current_process().name .. " " .. mp.Process(print).name)
  end)
  lu.assertStrMatches(names, "(Process%-%d+) %1:1")
end

function TestProcess:testTellsWhatItIs()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local go, hold <close> = mp.Pipe(false)
  local process = mp.Process {
    name = "p",
    target = function()
      local me = mp.current_process()
      sender:send_bytes(table.concat({ me.pid, tostring(me), tostring(mp.parent_process()) }, "\n"))
      go:recv_bytes()
    end,
  }
  lu.assertNil(process.pid)
  lu.assertNil(process.exitcode)
  process:start()
  local pid = process.pid
  local told = receiver:recv_bytes()
  lu.assertEquals(told, ('%d\n<Process "p" started pid=%d>\n<ParentProcess "MainProcess" pid=%d>')
    :format(pid, pid, mp.current_process().pid))
  lu.assertEquals(tostring(process), ('<Process "p" started pid=%d>'):format(pid))
  hold:send_bytes("end")
  process:join()
  lu.assertEquals(tostring(process), '<Process "p" stopped exitcode=0>')
  lu.assertEquals({ process.pid, process.exitcode }, { pid, 0 })
  go:close()
end

function TestProcess:testArgumentsTravelWithNils()
  lu.assertEquals(select(2, children.outcome(function(sender, ...)
    sender:send_bytes(select("#", ...) .. tostring((select(2, ...))))
  end, nil, 5, nil)), "35")
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local callable = setmetatable({}, { __call = function(_, a, b)
    sender:send_bytes(tostring(a) .. tostring(b))
  end })
  mp.Process { target = callable, args = { n = 2, nil, 1 } }:start():join()
  lu.assertEquals(receiver:recv_bytes(), "nil1")
  local function count(...) sender:send_bytes(tostring(select("#", ...))) end
  for _, args in ipairs { table.pack(1, nil, nil), table.pack(nil), { 1, 2, n = 1 } } do
    mp.Process { target = count, args = args }:start():join()
    lu.assertEquals(receiver:recv_bytes(), tostring(args.n))
  end
end

function TestProcess:testWrongArgumentsAreNamed()
  local function wrong(message, ...)
    lu.assertErrorMsgContains(message, mp.Process, ...)
  end
  wrong("bad argument #1 to 'Process' (function expected, got no value)")
  wrong("bad argument #1 to 'Process' (function expected, got nil)", nil)
  wrong("function expected, got number", 1, 2)
  wrong("target: function expected, got nil", {})
  wrong("unknown option 'kwargs'", { target = print, kwargs = {} })
  wrong("args: table expected, got number", { target = print, args = 1 })
  for _, n in ipairs { -1, 1.5, "1" } do
    wrong("args: too many", { target = print, args = { n = n } })
  end
  wrong("function expected, got table", { target = print }, 1)
  wrong("name: string expected", { target = print, name = {} })
  wrong("daemon: boolean expected", { target = print, daemon = 1 })
  lu.assertErrorMsgContains("bad argument #1 to 'subclass'", function()
    mp.Process:subclass(1)
  end)
end

function TestProcess:testJoinLetsOtherThreadsRun()
  local process = sleeper()
  local joined = threading.Event()
  local thread = threading.Thread(function()
    process:join()
    joined:set()
  end)
  thread:start()
  lu.assertFalse(joined:wait(0.02))
  process:kill()
  lu.assertTrue(joined:wait(LIMIT))
  lu.assertTrue(process:join(LIMIT))
  thread:join()
end

function TestProcess:testProcessorsAreThoseThatItMayUse()
  local out, err = program.run({ "-c", "0", program.path, "-e",
    "print(require('multiprocessing').cpu_count())" }, { program = "taskset" })
  lu.assertEquals({ out, err }, { "1\n", "" })
end

function TestProcess:testADaemonsProcessesWouldBeDaemons()
  local receiver <close>, sender = mp.Pipe(false)
  local _ <close> = sender
  for _, daemon in ipairs { true, false } do
    local process = mp.Process { daemon = daemon, target = function()
      sender:send(mp.Process(print).daemon)
    end }
    process:start():join()
    lu.assertEquals(receiver:recv(), daemon)
  end
end

--- The context of a method has all that the module has.
function TestProcess:testAContextOffersTheModule()
  for _, method in ipairs(mp.get_all_start_methods()) do
    local context = mp.get_context(method)
    for name in pairs(mp) do lu.assertEquals(type(context[name]), type(mp[name]), name) end
  end
end

function TestProcess:testModule()
  lu.assertEquals(mp.get_start_method(), "fork")
  lu.assertTrue(mp.cpu_count() >= 1)
  lu.assertTrue(mp.current_process():is_alive())
  lu.assertNil(mp.current_process().exitcode)
end

return { TestProcess = TestProcess }

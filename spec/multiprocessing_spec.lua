-- Processes by fork and the pipe between them. Numbers are those of CPython's
-- behaviours that each test holds tidelock to.
local lfs = require("lfs")
local lu = require("luaunit")
local errors = require("errors")
local mp = require("multiprocessing")
local program = require("support.program")
local bunch = require("support.bunch")
local threading = require("threading")
local time = require("time")

local LIMIT = 20 -- seconds, for what should take a moment

local TestProcess, TestPipe = {}, {}

--- Runs f in a child; returns the exit code and what f sent.
local function outcome(f, ...)
  local receiver <close>, sender = mp.Pipe(false)
  local process = mp.Process(f, sender, ...)
  process:start()
  sender:close()
  local messages = {}
  while true do
    local ok, message = pcall(receiver.recv_bytes, receiver)
    if not ok then break end
    table.insert(messages, message)
  end
  lu.assertTrue(process:join(LIMIT))
  return process.exitcode, table.concat(messages, " ")
end

--- A child that waits until it is ended.
local function sleeper(options)
  options = options or {}
  options.target = function() time.sleep(LIMIT) end
  return mp.Process(options):start()
end

local function descriptors()
  collectgarbage()
  collectgarbage()
  local n = 0
  for _ in lfs.dir("/proc/self/fd") do n = n + 1 end
  return n
end

--- Runs a chunk of Lua in a host of its own, with the modules at hand.
local function host(chunk)
  return program.eval("local mp, time, threading = require('multiprocessing'), " ..
    "require('time'), require('threading')\n" .. chunk, { timeout = LIMIT })
end

-- 71
function TestProcess:testExitcodeIsZeroAfterTheTarget()
  lu.assertEquals(outcome(function() return 5 end), 0)
end

-- 71
function TestProcess:testExitcodeIsWhatOsExitGets()
  local out, err = host([[
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
  local out, err, code = host([[
    local p = mp.Process{name = "bad", target = function() error("oops") end}
    p:start() p:join() print(p.exitcode)]])
  lu.assertEquals({ out, code }, { "1\n", 0 })
  lu.assertStrMatches(err, "Process bad:\n.*: oops\nstack traceback:\n.*")
end

-- 71
function TestProcess:testAnErrorValueIsReportedAsWhatItSays()
  local out, err = host([[
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

-- 71
function TestProcess:testExitcodeTellsTheSignal()
  local _, message = outcome(function(sender)
    sender:send_bytes("started")
    os.execute("kill -USR1 $PPID")
  end)
  lu.assertEquals(message, "started")
  lu.assertEquals(outcome(function()
    os.execute("kill -USR1 $PPID")
    time.sleep(LIMIT)
  end), -10)
end

-- 72
function TestProcess:testExitcodeIsNilWhileItRuns()
  local process = sleeper()
  lu.assertNil(process.exitcode)
  lu.assertTrue(process:is_alive())
  lu.assertFalse(process:join(0))
  lu.assertFalse(process:join(0.01))
  process:kill()
  lu.assertTrue(process:join(LIMIT))
  lu.assertFalse(process:is_alive())
  lu.assertEquals(process.exitcode, -9)
  lu.assertTrue(process:join())
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

-- 73
function TestProcess:testTerminateAndKill()
  for method, code in pairs { terminate = -15, kill = -9 } do
    local process = sleeper()
    process[method](process)
    lu.assertTrue(process:join(LIMIT))
    lu.assertEquals(process.exitcode, code)
    process[method](process)
    lu.assertEquals(process.exitcode, code)
  end
end

-- 73
function TestProcess:testInterruptRaisesInTheChild()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local process = mp.Process(function()
    local ok, problem = pcall(function()
      sender:send_bytes("ready")
      time.sleep(LIMIT)
    end)
    sender:send_bytes(tostring(ok) .. tostring(problem))
  end)
  process:start()
  lu.assertEquals(receiver:recv_bytes(), "ready")
  process:interrupt()
  lu.assertEquals(receiver:recv_bytes(), "falseinterrupted!")
  process:join()
  lu.assertEquals(process.exitcode, 0)
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
  slow:kill()
  lu.assertEquals(#threading.wait_any({ slow }, LIMIT), 1)
  slow:join()
  quick:join()
  while threading.active_count() > 1 do time.sleep(0.001) end
end

-- 75
function TestProcess:testClose()
  local process = sleeper()
  lu.assertErrorMsgContains("still running", process.close, process)
  process:kill()
  process:join()
  process:close()
  process:close()
  for _, method in ipairs { "start", "join", "is_alive", "kill", "terminate" } do
    lu.assertErrorMsgContains("closed", process[method], process)
  end
  for _, field in ipairs { "pid", "exitcode", "sentinel" } do
    lu.assertErrorMsgContains("closed", function() return process[field] end)
  end
  lu.assertEquals(tostring(process), ('<Process "%s" closed>'):format(process.name))
  mp.Process(print):close()
end

-- 76
function TestProcess:testOnlyItsCreatorMayUseIt()
  local process = sleeper()
  local idle = mp.Process(print)
  local _, messages = outcome(function(sender)
    for _, method in ipairs { "join", "is_alive", "kill", "close" } do
      local ok, message = pcall(process[method], process)
      sender:send_bytes(tostring(ok))
      sender:send_bytes(message:match("only the process that made it") or message)
    end
    sender:send_bytes(tostring(pcall(idle.start, idle)))
    sender:send_bytes(tostring(process.exitcode))
  end)
  lu.assertEquals(messages,
    ("false only the process that made it "):rep(4) .. "false nil")
  lu.assertTrue(process:is_alive())
  process:kill()
  process:join()
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
  local _, message = outcome(function(sender)
    sender:send_bytes(tostring(pcall(function() mp.current_process():join() end)))
  end)
  lu.assertEquals(message, "false")
end

-- 77
function TestProcess:testDaemonsHaveNoChildren()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local process = mp.Process { daemon = true, target = function()
    local ok, message = pcall(function() mp.Process(print):start() end)
    sender:send_bytes(tostring(ok) .. " " .. message)
  end }
  process:start()
  lu.assertStrContains(receiver:recv_bytes(), "not allowed to have children")
  process:join()
  lu.assertErrorMsgContains("daemon", function() process.daemon = false end)
end

-- 77
function TestProcess:testDaemonsAreTerminatedAtTheEnd()
  local began = time.monotonic()
  local out, err, code = host([[
    local p = mp.Process{daemon = true, target = function() time.sleep(30) end}
    p:start() print(p.pid)]])
  lu.assertEquals({ err, code }, { "", 0 })
  lu.assertTrue(time.monotonic() - began < 10)
  lu.assertNil(lfs.attributes("/proc/" .. out:match("%d+")))
end

-- 77
function TestProcess:testOtherChildrenAreJoinedAtTheEnd()
  local out, err, code = host([[
    io.stdout:setvbuf("no")
    local r, s = mp.Pipe(false)
    mp.Process(function() r:poll(10) io.write("child\n") end):start()
    io.write("parent\n")
    threading.Thread(function() s:send_bytes("go") end):start()]])
  lu.assertEquals({ out, err, code }, { "parent\nchild\n", "", 0 })
end

-- 77
function TestProcess:testChildrenAreJoinedAfterAnError()
  local out, err, code = host([[
    mp.Process(function() time.sleep(0.2) io.write("child\n") end):start()
    error("parent")]])
  lu.assertEquals({ out, code }, { "child\n", 1 }, err)
end

-- 78
function TestProcess:testActiveChildren()
  lu.assertEquals(mp.active_children(), {})
  local a, b = sleeper(), sleeper()
  local active = mp.active_children()
  lu.assertEquals(#active, 2)
  lu.assertTrue(rawequal(active[1], a) and rawequal(active[2], b))
  a:kill()
  threading.wait_any({ a }, LIMIT)
  lu.assertEquals(#mp.active_children(), 1)
  b:kill()
  b:join()
  lu.assertEquals(mp.active_children(), {})
  lu.assertEquals(a.exitcode, -9)
  while threading.active_count() > 1 do time.sleep(0.001) end
end

-- 79
function TestProcess:testAChildJoinsItsThreadsAndChildren()
  local code, messages = outcome(function(sender)
    local gate = threading.Event()
    threading.Thread(function()
      gate:wait()
      sender:send_bytes("thread")
      mp.Process(function() sender:send_bytes("grandchild") end):start()
    end):start()
    threading.Thread(function()
      time.sleep(0.01)
      gate:set()
    end):start()
  end)
  lu.assertEquals({ code, messages }, { 0, "thread grandchild" })
end

-- 79
function TestProcess:testDaemonThreadsDoNotHoldAChild()
  lu.assertEquals(outcome(function()
    threading.Thread { daemon = true, target = function() while true do end end }:start()
  end), 0)
end

-- 79
function TestProcess:testOutputIsFlushedAlsoAfterAnError()
  local out = host([[
    io.stdout:setvbuf("full")
    io.write("parent ")
    local p = mp.Process(function() io.write("child ") error("x") end)
    p:start() p:join()
    p = mp.Process(function() io.write("leaves ") os.exit(0) end)
    p:start() p:join()
    io.write("end\n")]])
  lu.assertEquals(out, "parent child leaves end\n")
end

-- 79
function TestProcess:testFilesAreFlushed()
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write("parent ")
  outcome(function() file:write("child ") end)
  file:write("end")
  file:flush()
  local read <close> = io.open(name)
  lu.assertEquals(read:read("a"), "parent child end")
  os.remove(name)
end

-- 79
function TestProcess:testAChildRunsNothingThatIsTheParents()
  local out = host([[
    Kept = setmetatable({}, {__gc = function() io.write("gc ") end})
    local function child() io.write("child ") end
    local function leaver() io.write("leaver ") os.exit(0, true) end
    local function failing() error("x") end
    do
      local guard <close> = setmetatable({}, {__close = function() io.write("close ") end})
      local function start(f) local p = mp.Process(f) p:start() p:join() end
      pcall(function() start(child) start(leaver) start(failing) end)
      coroutine.wrap(function() start(child) end)()
      threading.Thread(start, child):start():join()
    end
    io.write("end ")]])
  lu.assertEquals(out, "child leaver child child close end gc ")
end

-- 80
function TestProcess:testParentProcess()
  lu.assertNil(mp.parent_process())
  lu.assertTrue(mp.is_main())
  local me = mp.current_process()
  local _, messages = outcome(function(sender)
    local parent = mp.parent_process()
    sender:send_bytes(("%s %d %s %s %s"):format(parent.name, parent.pid,
      parent:is_alive(), parent:join(0), mp.is_main()))
  end)
  lu.assertEquals(messages, ("MainProcess %d true false false"):format(me.pid))
end

-- 80
function TestProcess:testAChildNoticesItsParentsDeath()
  local receiver <close>, sender = mp.Pipe(false)
  local middle = mp.Process(function()
    mp.Process(function()
      local parent = mp.parent_process()
      sender:send_bytes("up")
      local ended = parent:join(LIMIT)
      sender:send_bytes(tostring(ended) .. tostring(parent:is_alive()))
    end):start()
    time.sleep(LIMIT)
  end)
  middle:start()
  sender:close()
  lu.assertEquals(receiver:recv_bytes(), "up")
  middle:kill()
  lu.assertEquals(receiver:recv_bytes(), "truefalse")
  middle:join()
  lu.assertErrorMsgContains("EOFError", receiver.recv_bytes, receiver)
end

-- 81
function TestProcess:testTheTargetIsReleased()
  local weak = setmetatable({}, { __mode = "v" })
  local process
  do
    local argument = {}
    weak[1] = argument
    process = mp.Process(function(x) return x end, argument)
    process:start()
  end
  process:join()
  collectgarbage()
  collectgarbage()
  lu.assertNil(weak[1])
  lu.assertEquals(process.exitcode, 0)
end

-- 87
function TestProcess:testSeveralThreadsStartProcesses()
  local codes, failed = bunch(8, function(i)
    local code, message = outcome(function(sender) sender:send_bytes(tostring(i)) end)
    return code == 0 and message
  end)
  lu.assertEquals(failed, {})
  lu.assertEquals(codes, { "1", "2", "3", "4", "5", "6", "7", "8" })
end

-- 87
function TestProcess:testAThreadThatForksIsTheChildsMainThread()
  local result = bunch(1, function()
    local _, message = outcome(function(sender)
      sender:send_bytes(tostring(threading.current_thread() == threading.main_thread()))
      sender:send_bytes(tostring(threading.active_count()))
    end)
    return message
  end)
  lu.assertEquals(result, { "true 1" })
end

-- 54: in the child only the thread that forked is there, and it is main.
function TestProcess:testTheOtherThreadsAreGoneInAChild()
  local gate = threading.Event()
  local other = threading.Thread { target = gate.wait, args = { gate }, name = "other" }
  other:start()
  local parents_main = threading.main_thread()
  local forker = threading.Thread(function()
    local me = threading.current_thread()
    return outcome(function(sender)
      local list = threading.enumerate()
      for _, value in ipairs {
        #list == 1 and list[1] == me, threading.main_thread() == me, me:is_alive(),
        other:is_alive(), parents_main:is_alive(), other:join(LIMIT), parents_main:join(LIMIT),
        other:cancel(), threading.Thread(function() return 7 end):start():result(LIMIT),
      } do
        sender:send_bytes(tostring(value))
      end
    end)
  end):start()
  local code, values = forker:result(LIMIT)
  gate:set()
  other:join()
  lu.assertEquals(values, "true true true false false true true false 7")
  lu.assertEquals(code, 0)
end

-- 54: what the threads that are gone were in the middle of does not hold a
-- child: neither the library's own locks nor those of files.
function TestProcess:testWhatTheOthersWereDoingHoldsNoChild()
  local out = host([[
    local stop = false
    local function start(f) threading.Thread(function() while not stop do f() end end):start() end
    local null = io.open("/dev/null", "w")
    start(function() null:write("text") end)
    start(function() io.open("/dev/null"):close() end)
    start(function() time.sleep(0) end)
    start(function() package.loaded["tidelock.queue"] = nil require("tidelock.queue") end)
    local reader = threading.Thread{daemon = true, target = function()
      local pipe <close> = io.popen("exec sleep 30")
      pipe:read()
    end}
    reader:start()
    local codes = {}
    for i = 1, 10 do
      local p = mp.Process(function()
        null:write("child")
        null:flush()
        time.sleep(0.001)
        require("tidelock.queue").Queue():put(1)
        collectgarbage()
        os.exit(threading.Thread(function() return i end):start():result(), true)
      end)
      p:start()
      assert(p:join(20), "a child hangs")
      codes[i] = p.exitcode
    end
    stop = true
    reader:cancel()
    print(table.concat(codes, " "))]])
  lu.assertEquals(out, "1 2 3 4 5 6 7 8 9 10\n")
end

-- 86, 87
function TestProcess:testForkBesideBusyThreads()
  local stop, lock = false, threading.Lock()
  local function busy()
    local n = 0
    while not stop do
      local held <close> = lock:guard()
      n = #tostring(n) + #string.rep("x", n % 100)
    end
  end
  local threads = {}
  for i = 1, 4 do threads[i] = threading.Thread(busy):start() end
  local codes = {}
  for i = 1, 10 do
    codes[i] = outcome(function(sender)
      local t = threading.Thread(function() sender:send_bytes(("y"):rep(10)) end)
      t:start()
      t:join()
    end)
  end
  stop = true
  for _, thread in ipairs(threads) do thread:join() end
  lu.assertEquals(codes, { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 })
end

-- 88
function TestProcess:testAChildIsInTheSamePlace()
  local _, messages = outcome(function(sender)
    sender:send_bytes(lfs.currentdir())
    sender:send_bytes(package.path)
    sender:send_bytes(arg[0])
  end)
  lu.assertEquals(messages, table.concat({ lfs.currentdir(), package.path, arg[0] }, " "))
end

-- 89
function TestProcess:testManyProcessesLeaveNothing()
  mp.Process(function() end):start():join()
  local before = descriptors()
  for _ = 1, 100 do
    local process = mp.Process(function() end)
    process:start()
    process:join()
  end
  lu.assertEquals(descriptors(), before)
  lu.assertEquals(mp.active_children(), {})
end

-- 89
function TestProcess:testHandlesThatWereForgottenLeaveNoZombie()
  local before = descriptors()
  for _ = 1, 10 do mp.Process(function() end):start() end
  local deadline = time.monotonic() + LIMIT
  while #mp.active_children() > 0 and time.monotonic() < deadline do time.sleep(0.001) end
  lu.assertEquals(descriptors(), before)
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
  local _, names = outcome(function(sender)
    sender:send_bytes(mp.current_process().name .. " " .. mp.Process(print).name)
  end)
  lu.assertStrMatches(names, "(Process%-%d+) %1:1")
end

function TestProcess:testArgumentsTravelWithNils()
  lu.assertEquals(select(2, outcome(function(sender, ...)
    sender:send_bytes(select("#", ...) .. tostring((select(2, ...))))
  end, nil, 5, nil)), "35")
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local callable = setmetatable({}, { __call = function(_, a, b)
    sender:send_bytes(tostring(a) .. tostring(b))
  end })
  mp.Process { target = callable, args = { n = 2, nil, 1 } }:start():join()
  lu.assertEquals(receiver:recv_bytes(), "nil1")
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
  wrong("name: string expected", { target = print, name = {} })
  wrong("daemon: boolean expected", { target = print, daemon = 1 })
  lu.assertErrorMsgContains("bad argument #1 to 'subclass'", function()
    mp.Process:subclass(1)
  end)
end

function TestProcess:testSubclass()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local Worker = mp.Process:subclass {
    init = function(worker, what) worker.what = what end,
    run = function(worker) sender:send_bytes(worker.what .. " in " .. worker.name) end,
  }
  local worker = Worker("work")
  worker.name = "W"
  worker:start()
  lu.assertEquals(receiver:recv_bytes(), "work in W")
  worker:join()
  lu.assertEquals(worker.exitcode, 0)
end

function TestProcess:testAChildsWriteIsNotSeen()
  local shared = { 1 }
  outcome(function() shared[1] = 2 end)
  lu.assertEquals(shared, { 1 })
end

function TestProcess:testChildrenGetOtherRandomNumbers()
  local function draw(sender) sender:send_bytes(tostring(math.random(0))) end
  local _, a = outcome(draw)
  local _, b = outcome(draw)
  lu.assertNotEquals(a, b)
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

function TestProcess:testJoinCanBeCancelled()
  local process = sleeper()
  local thread = threading.Thread(process.join, process)
  thread:start()
  thread:cancel()
  lu.assertTrue(thread:join(LIMIT))
  lu.assertErrorMsgContains("Cancelled", thread.result, thread)
  lu.assertTrue(process:is_alive())
  process:kill()
  process:join()
end

function TestProcess:testModule()
  lu.assertEquals(mp.get_start_method(), "fork")
  lu.assertTrue(mp.cpu_count() >= 1)
  lu.assertTrue(mp.current_process():is_alive())
  lu.assertNil(mp.current_process().exitcode)
end

function TestPipe:testMessagesKeepTheirBoundaries()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  for _, message in ipairs { "a", "", "b\0c", ("x"):rep(1000) } do
    sender:send_bytes(message)
  end
  lu.assertEquals(receiver:recv_bytes(), "a")
  lu.assertEquals(receiver:recv_bytes(), "")
  lu.assertEquals(receiver:recv_bytes(), "b\0c")
  lu.assertEquals(#receiver:recv_bytes(), 1000)
  lu.assertFalse(receiver:poll())
end

function TestPipe:testLongMessages()
  local big = ("0123456789abcdef"):rep(4 << 16) -- 4 MiB
  local _, size = outcome(function(sender)
    local a <close>, b = mp.Pipe()
    local child = mp.Process(function() b:send_bytes(b:recv_bytes()) end)
    child:start()
    b:close()
    a:send_bytes(big)
    sender:send_bytes(tostring(a:recv_bytes() == big))
    child:join()
  end)
  lu.assertEquals(size, "true")
end

function TestPipe:testTheEndRaises()
  local receiver <close>, sender = mp.Pipe(false)
  sender:send_bytes("last")
  sender:close()
  lu.assertTrue(receiver:poll())
  lu.assertEquals(receiver:recv_bytes(), "last")
  for _ = 1, 2 do
    local _, problem = pcall(receiver.recv_bytes, receiver)
    lu.assertTrue(errors.is(problem, errors.EOFError))
  end
  lu.assertTrue(receiver:poll())
end

function TestPipe:testNobodyReceives()
  local receiver, sender <close> = mp.Pipe(false)
  receiver:close()
  local _, problem = pcall(sender.send_bytes, sender, "x")
  lu.assertEquals(problem.code, "EPIPE")
end

function TestPipe:testAPeerThatDiesInsideAMessage()
  local receiver <close>, sender = mp.Pipe(false)
  local process = mp.Process(function() sender:send_bytes(("x"):rep(1 << 24)) end)
  process:start()
  sender:close()
  lu.assertTrue(receiver:poll(LIMIT))
  process:kill()
  process:join()
  local _, problem = pcall(receiver.recv_bytes, receiver)
  lu.assertTrue(errors.is(problem, errors.EOFError))
  lu.assertStrContains(problem.message, "inside a message")
end

function TestPipe:testPollWaits()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  lu.assertFalse(receiver:poll())
  lu.assertFalse(receiver:poll(0.01))
  local thread = threading.Thread(function() sender:send_bytes("") end):start()
  lu.assertTrue(receiver:poll(nil))
  lu.assertEquals(receiver:recv_bytes(), "")
  thread:join()
  lu.assertError(receiver.poll, receiver, -1)
end

function TestPipe:testAMessageThatIsTooLongStays()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  sender:send_bytes("12345")
  local _, problem = pcall(receiver.recv_bytes, receiver, 4)
  lu.assertTrue(errors.is(problem, errors.BufferTooShort))
  lu.assertTrue(receiver:poll())
  lu.assertEquals(receiver:recv_bytes(5), "12345")
end

function TestPipe:testDirections()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  lu.assertErrorMsgContains("read-only", receiver.send_bytes, receiver, "x")
  lu.assertErrorMsgContains("write-only", sender.recv_bytes, sender)
  lu.assertErrorMsgContains("write-only", sender.poll, sender)
  lu.assertEquals({ receiver.readable, receiver.writable, sender.readable, sender.writable },
    { true, false, false, true })
  local a, b <close> = mp.Pipe()
  local _ <close> = a
  a:send_bytes("to b")
  b:send_bytes("to a")
  lu.assertEquals({ a:recv_bytes(), b:recv_bytes() }, { "to a", "to b" })
end

function TestPipe:testClosed()
  local receiver, sender = mp.Pipe(false)
  lu.assertEquals(tostring(receiver), "<Connection fd=" .. receiver:fileno() .. ">")
  receiver:close()
  receiver:close()
  sender:close()
  lu.assertTrue(receiver.closed)
  lu.assertEquals(tostring(receiver), "<Connection closed>")
  for _, method in ipairs { "recv_bytes", "poll", "fileno" } do
    lu.assertErrorMsgContains("closed", receiver[method], receiver)
  end
  lu.assertErrorMsgContains("closed", sender.send_bytes, sender, "x")
end

function TestPipe:testWrongArguments()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  lu.assertErrorMsgContains("bad argument #1 to 'send_bytes'", function()
    sender:send_bytes({})
  end)
  lu.assertErrorMsgContains("bad argument #1 to 'recv_bytes'", function()
    receiver:recv_bytes(-1)
  end)
  lu.assertErrorMsgContains("(boolean expected, got number)", mp.Pipe, 1)
  lu.assertError(receiver.recv_bytes, 1)
  lu.assertFalse(receiver:poll())
end

function TestPipe:testSendersDoNotCutEachOther()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local long = 1 << 19
  local writers = {}
  for i = 1, 4 do
    writers[i] = threading.Thread(function()
      for _ = 1, 5 do sender:send_bytes(tostring(i):rep(long)) end
    end):start()
  end
  local counts = { 0, 0, 0, 0 }
  for _ = 1, 20 do
    local message = receiver:recv_bytes()
    local who = message:sub(1, 1)
    lu.assertTrue(message == who:rep(long))
    counts[tonumber(who)] = counts[tonumber(who)] + 1
  end
  for _, writer in ipairs(writers) do writer:join() end
  lu.assertEquals(counts, { 5, 5, 5, 5 })
end

function TestPipe:testReceiversShareTheMessages()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local results = bunch(4, function(i)
    if i == 1 then
      for n = 1, 3 do sender:send_bytes(tostring(n)) end
      return 0
    end
    return tonumber(receiver:recv_bytes())
  end)
  lu.assertEquals(results[2] + results[3] + results[4], 6)
end

function TestPipe:testACancelledReceiverLosesNothing()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local thread = threading.Thread(receiver.recv_bytes, receiver):start()
  thread:cancel()
  thread:join()
  sender:send_bytes("kept")
  lu.assertEquals(receiver:recv_bytes(), "kept")
end

function TestPipe:testACancelledSenderEndsTheStreamInsideAMessage()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local thread = threading.Thread(sender.send_bytes, sender, ("x"):rep(1 << 24)):start()
  lu.assertTrue(receiver:poll(LIMIT))
  lu.assertErrorMsgContains("another thread uses", sender.close, sender)
  thread:cancel()
  thread:join()
  lu.assertErrorMsgContains("inside a message", receiver.recv_bytes, receiver)
  lu.assertErrorMsgContains("read-only", sender.send_bytes, sender, "x")
end

return { TestProcess = TestProcess, TestPipe = TestPipe }

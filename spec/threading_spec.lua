--- threading's functions, subclasses, Timer and excepthook: behaviours 41, 46,
--- 48, 50, 53 and 59.
local errors = require("errors")
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local program = require("support.program")

local LONG = 60 -- seconds

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local TestThreading = {}

function TestThreading.testIsOneTableUnderBothNames()
  lu.assertIs(require("threading"), require("tidelock.threading"))
  lu.assertIs(threading.Local, threading["local"])
  lu.assertIs(threading.Cancelled, errors.Cancelled)
  lu.assertIs(threading.Killed, errors.Killed)
  lu.assertIs(threading.BrokenBarrierError, errors.BrokenBarrierError)
end

function TestThreading.testTheMainThread()
  local main = threading.main_thread()
  lu.assertIs(threading.current_thread(), main)
  lu.assertIs(spawn(threading.main_thread):result(LONG), main)
  lu.assertEquals(main.name, "MainThread")
  lu.assertEquals(main.ident, threading.get_ident())
  lu.assertEquals(main.native_id, threading.get_native_id())
  lu.assertFalse(main.daemon)
  lu.assertTrue(main:is_alive())
end

function TestThreading.testCurrentThread()
  local t = threading.Thread(threading.current_thread)
  lu.assertIs(t:start():result(LONG), t)
  -- Also in a coroutine, and in a coroutine that another thread made.
  local co = coroutine.wrap(function()
    while true do coroutine.yield(threading.current_thread()) end
  end)
  lu.assertIs(co(), threading.main_thread())
  t = spawn(co)
  lu.assertIs(t:result(LONG), t)
end

-- 41
function TestThreading.testEnumerateAndActiveCountAgree()
  local go, threads = threading.Event(), {}
  lu.assertEquals(threading.enumerate(), { threading.main_thread() })
  lu.assertEquals(threading.active_count(), 1)
  for i = 1, 5 do threads[i] = spawn(go.wait, go) end
  local unstarted = threading.Thread()
  local found = {}
  for _, t in ipairs(threading.enumerate()) do found[t] = true end
  lu.assertEquals(threading.active_count(), 6)
  lu.assertEquals(#threading.enumerate(), 6)
  lu.assertTrue(found[threading.main_thread()])
  lu.assertNil(found[unstarted])
  for _, t in ipairs(threads) do lu.assertTrue(found[t]) end
  go:set()
  for _, t in ipairs(threads) do t:join() end
  lu.assertEquals(threading.active_count(), 1)
end

function TestThreading.testEnumerateWhileThreadsComeAndGo()
  local stop = false
  local makers = {}
  for i = 1, 3 do
    makers[i] = spawn(function()
      while not stop do spawn(function() end):join() end
    end)
  end
  for _ = 1, 500 do
    local list = threading.enumerate()
    lu.assertTrue(#list >= 4)
    for _, t in ipairs(list) do lu.assertNotNil(t.ident) end
    time.sleep(0)
  end
  stop = true
  for _, maker in ipairs(makers) do lu.assertTrue(maker:join(LONG)) end
end

-- 50
function TestThreading.testStackSize()
  local usual = threading.stack_size()
  if (os.getenv("TIDELOCK_SANITIZER") or "") == "" then lu.assertEquals(usual, 1 << 20) end
  lu.assertTrue(usual >= 1 << 20)
  lu.assertEquals(threading.stack_size(8 << 20), usual)
  lu.assertEquals(spawn(function() return 1 end):result(LONG), 1)
  lu.assertEquals(threading.stack_size(0), 8 << 20)
  lu.assertEquals(threading.stack_size(), usual)
  for _, size in ipairs { 1, 65536, -1, 1.5, "big", {}, 1 << 50, math.mininteger } do
    lu.assertErrorMsgContains("bad argument #1", threading.stack_size, size)
    lu.assertEquals(threading.stack_size(), usual)
  end
  local least = os.getenv("TIDELOCK_SANITIZER") and 4 << 20 or 512 << 10
  lu.assertEquals(threading.Thread { target = function() return 2 end, stack_size = least }
    :start():result(LONG), 2)
end

-- lpeg's nested matches take 13 KiB each: 200 of them, which is what Lua allows,
-- need more than the usual stack.
function TestThreading.testNewThreadsHaveTheSizeThatWasSet()
  local lpeg = require("lpeg")
  local hook, usual = threading.excepthook, threading.stack_size()
  local function nested() return lpeg.match(lpeg.C(1) / nested, "x") end
  threading.excepthook = function() end
  threading.stack_size(math.max(usual, 8 << 20))
  local t = spawn(nested)
  threading.stack_size(usual)
  lu.assertErrorMsgContains("C stack overflow", t.result, t, LONG)
  threading.excepthook = hook
end

local TestSubclass = {}

function TestSubclass.testRunsItsMethod()
  local Worker = threading.Thread:subclass {
    init = function(self, a, b)
      self.sum, self.name = a + b, "summer"
    end,
    run = function(self)
      self.ran = threading.current_thread() == self
      return self:double()
    end,
    double = function(self) return 2 * self.sum end,
  }
  local w = Worker(3, 4)
  lu.assertEquals(w.name, "summer")
  lu.assertFalse(w:is_alive())
  lu.assertEquals(w:start():result(LONG), 14)
  lu.assertTrue(w.ran)
  local other = Worker(1, 1)
  lu.assertNil(other.ran)
  lu.assertErrorMsgContains("attempt to perform arithmetic", Worker)
end

function TestSubclass.testOfASubclass()
  local A = threading.Thread:subclass {
    init = function(self, x) self.x = x end,
    run = function(self) return self:who() .. self.x end,
    who = function() return "A" end,
  }
  local B = A:subclass { who = function() return "B" end }
  lu.assertEquals(A(1):start():result(LONG), "A1")
  lu.assertEquals(B(2):start():result(LONG), "B2")
end

function TestSubclass.testWithoutInitOrRun()
  local Idle = threading.Thread:subclass {}
  lu.assertEquals(select("#", Idle():start():result(LONG)), 0)
  for _, body in ipairs { 1, "run", print } do
    lu.assertErrorMsgContains("bad argument #1 to 'subclass'", function()
      threading.Thread:subclass(body)
    end)
  end
end

function TestSubclass.testIsReadWithTheRightThread()
  local names = {}
  local Named = threading.Thread:subclass {
    init = function(self, name) self.name = name end,
    run = function(self) table.insert(names, self.name) end,
  }
  for _, name in ipairs { "a", "b", "c" } do Named(name):start():join() end
  lu.assertEquals(names, { "a", "b", "c" })
end

-- The methods are reached through the classes, too.
function TestSubclass.testCallsTheMethodsOfItsBase()
  local log = {}
  local A = threading.Thread:subclass { run = function() table.insert(log, "A") end }
  local B = A:subclass {
    run = function(self)
      A.run(self)
      threading.Thread.run(self) -- which has no target
      table.insert(log, "B")
    end,
    join = function(self, timeout)
      self.joined = true
      return threading.Thread.join(self, timeout)
    end,
  }
  local b = B()
  lu.assertTrue(b:start():join(LONG))
  lu.assertTrue(b.joined)
  lu.assertEquals(log, { "A", "B" })
  local plain = threading.Thread(table.insert, log, "target")
  threading.Thread.start(plain)
  lu.assertTrue(threading.Thread.join(plain, LONG))
  lu.assertEquals(log[3], "target")
end

function TestSubclass.testMayHaveAName()
  local Worker = threading.Thread:subclass { __name = "Worker" }
  lu.assertStrContains(tostring(Worker()), "<Worker \"Thread-")
end

local TestTimer = {}

-- 53
function TestTimer.testFires()
  local got
  local start = time.monotonic()
  local t = threading.Timer(0.02, function(...) got = table.pack(...) end, { 1, nil, 3, n = 3 })
  lu.assertFalse(t:is_alive())
  t:start()
  lu.assertTrue(t:join(LONG))
  lu.assertTrue(time.monotonic() - start >= 0.02)
  lu.assertEquals(got, { 1, nil, 3, n = 3 })
end

-- 53
function TestTimer.testCancelBeforeItFires()
  local fired = false
  local t = threading.Timer(LONG, function() fired = true end):start()
  t:cancel()
  lu.assertTrue(t:join(LONG / 2))
  lu.assertFalse(fired)
  t = threading.Timer(0, function() fired = true end)
  t:cancel() -- before the start
  lu.assertTrue(t:start():join(LONG))
  lu.assertFalse(fired)
end

-- 53
function TestTimer.testCancelAfterItFiredIsHarmless()
  local fired = 0
  local t = threading.Timer(0, function() fired = fired + 1 end):start()
  t:join()
  t:cancel()
  lu.assertEquals(fired, 1)
end

-- 53
function TestTimer.testDefaultArgumentsAreNotShared()
  local seen = {}
  local function f(...) table.insert(seen, select("#", ...)) end
  local a = threading.Timer(0, f)
  table.insert(a.args, "only here")
  a:start():join()
  threading.Timer(0, f):start():join()
  lu.assertEquals(seen, { 1, 0 })
end

function TestTimer.testWrongArguments()
  for _, interval in ipairs { -1, 0 / 0, "soon", {} } do
    lu.assertErrorMsgContains("bad argument #1 to 'Timer'", threading.Timer, interval, print)
  end
  lu.assertErrorMsgContains("bad argument #1 to 'Timer'", threading.Timer)
  lu.assertErrorMsgContains("bad argument #2 to 'Timer'", threading.Timer, 1)
  lu.assertErrorMsgContains("bad argument #2 to 'Timer'", threading.Timer, 1, "print")
  lu.assertErrorMsgContains("bad argument #3 to 'Timer'", threading.Timer, 1, print, 1)
  lu.assertErrorMsgContains("bad argument #3 to 'Timer'", threading.Timer, 1, print, { n = -1 })
end

function TestTimer.testTakesOptions()
  local got
  local t = threading.Timer { interval = 0, fn = function(x) got = x end, args = { 5 } }
  t:start():join()
  lu.assertEquals(got, 5)
  local callable = setmetatable({}, { __call = function(_, x) got = x end })
  threading.Timer(0, callable, { 6 }):start():join()
  lu.assertEquals(got, 6)
end

-- 53
function TestTimer.testTrailingNilsAreArguments()
  local got
  local function f(...) got = table.pack(...) end
  for _, args in ipairs { table.pack(1, nil, nil), table.pack(nil), { n = 2 }, { 1, 2, n = 1 } } do
    threading.Timer { interval = 0, fn = f, args = args }:start():join()
    lu.assertEquals(got.n, args.n)
    lu.assertEquals(got[1], args[1])
    threading.Timer(0, f, args):start():join()
    lu.assertEquals(got.n, args.n)
  end
end

function TestTimer.testMayBeKilled()
  local t = threading.Timer(LONG, print):start()
  blocked("event", t)
  t:kill()
  lu.assertTrue(t:join(LONG / 2))
end

local TestExcepthook = {}

function TestExcepthook:setUp() self.hook = threading.excepthook end

function TestExcepthook:tearDown() threading.excepthook = self.hook end

-- 46
function TestExcepthook.testIsCalledOnceWithAllThatIsKnown()
  local calls = {}
  threading.excepthook = function(args)
    args.current = threading.current_thread()
    table.insert(calls, args)
  end
  local value = {}
  local others = spawn(function()
    for _ = 1, 1000 do end
    return "went on"
  end)
  local function fails() error(value) end
  local t = spawn(fails)
  t:join()
  lu.assertEquals(others:result(LONG), "went on")
  lu.assertEquals(#calls, 1)
  lu.assertIs(calls[1].thread, t)
  lu.assertIs(calls[1].current, t)
  lu.assertIs(calls[1].value, value)
  lu.assertStrContains(calls[1].traceback, "stack traceback:")
  lu.assertStrContains(calls[1].traceback, "threading_spec.lua")
end

-- 46: of whatever kind the value is, it arrives as it is.
function TestExcepthook.testTheValueIsWhatWasRaised()
  local args
  threading.excepthook = function(a) args = a end
  local named = setmetatable({}, { __tostring = function() return "named" end })
  for i, value in ipairs { "plain", "", 42, 0.5, true, false, {}, named, print } do
    local t = spawn(function() error(value, 0) end)
    t:join()
    lu.assertIs(args.value, value, i)
    lu.assertIs(args.thread, t)
    lu.assertStrMatches(args.traceback,
      "stack traceback:\n.*threading_spec%.lua:%d+: in .*")
    args = nil
  end
  spawn(function() error() end):join()
  lu.assertNil(args.value)
  lu.assertStrMatches(args.traceback, "stack traceback:\n.*threading_spec%.lua:%d+: in .*")
end

-- 46: a string with its place is Lua's own; it is not added to.
function TestExcepthook.testAMessageHasItsPlaceOnce()
  local args
  threading.excepthook = function(a) args = a end
  spawn(function() error("broken") end):join()
  lu.assertStrMatches(args.value, "[^:]*threading_spec%.lua:%d+: broken")
end

-- 46
function TestExcepthook.testOfAnErrorValueKeepsItsTraceback()
  local args
  threading.excepthook = function(a) args = a end
  spawn(function() error(errors.new(errors.TimeoutError, "too late")) end):join()
  lu.assertTrue(errors.is(args.value, errors.TimeoutError))
  lu.assertStrContains(args.value.traceback, "stack traceback:")
end

-- 48
function TestExcepthook.testTheDefaultIsThereByName()
  lu.assertIs(threading.excepthook, threading.__excepthook__)
end

local function run(chunk)
  return program.eval('local threading = require("threading")\n' .. chunk, { timeout = LONG })
end

-- 46
function TestExcepthook.testTheDefaultWritesAndTheExitCodeIsZero()
  local out, err, code = run([[
    local t = threading.Thread { name = "poor", target = function() error("broken") end }
    t:start():join()
    print("main goes on")
  ]])
  lu.assertEquals(out, "main goes on\n")
  lu.assertEquals(code, 0)
  lu.assertStrMatches(err, "Exception in thread poor:\n.-:2: broken\nstack traceback:\n.*")
  lu.assertNil(err:find("Exception.*Exception"))
end

-- 46
function TestExcepthook.testTheDefaultWritesAnyValue()
  local _, err, code = run([[
    local named = setmetatable({}, { __tostring = function() return "named value" end })
    for _, value in ipairs { "plain", {}, named, false } do
      threading.Thread { name = "poor", target = error, args = { value, 0 } }:start():join()
    end
    threading.Thread { name = "poor", target = error }:start():join()
  ]])
  lu.assertEquals(code, 0)
  local shown = {}
  for text in err:gmatch("Exception in thread poor:\n(.-)\nstack traceback:\n") do
    table.insert(shown, (text:gsub("0x%x+", "ADDRESS")))
  end
  lu.assertEquals(shown, { "plain", "table: ADDRESS", "named value", "false", "nil" })
end

-- 48
function TestExcepthook.testItsOwnFailureIsReportedWithTheOriginal()
  local _, err, code = run([[
    threading.excepthook = function() error("the hook broke") end
    threading.Thread(function() error("the thread broke") end):start():join()
    threading.excepthook = nil
    threading.Thread(function() error("no hook at all") end):start():join()
    threading.excepthook = threading.__excepthook__
    threading.Thread(function() error("as before") end):start():join()
  ]])
  lu.assertEquals(code, 0)
  for _, text in ipairs {
    "the hook broke", "the thread broke", "no hook at all", "Exception in thread", "as before",
  } do
    lu.assertStrContains(err, text)
  end
end

-- 48
function TestExcepthook.testWithoutAStreamNothingBreaks()
  local out, _, code = run([[
    io.stderr:close()
    threading.Thread(function() error("unheard") end):start():join()
    print("still here")
  ]])
  lu.assertEquals(out, "still here\n")
  lu.assertEquals(code, 0)
end

local TestFinalizers = {}

-- 59
function TestFinalizers.testMayReenterWhatTheirThreadIsIn()
  local lock, rlock, event = threading.Lock(), threading.RLock(), threading.Event()
  local condition, semaphore = threading.Condition(), threading.Semaphore(2)
  local ran, failed = 0, {}
  local function finalize()
    local ok, err = pcall(function()
      if lock:acquire(false) then lock:release() end
      rlock:with(function() event:set() end)
      if semaphore:acquire(false) then semaphore:release() end
      condition:with(condition.notify_all, condition)
      threading.enumerate()
      threading.current_thread().visited = true
      threading.Thread(print, 1)
    end)
    ran = ran + 1
    if not ok then table.insert(failed, err) end
  end
  local function collect_inside(f)
    setmetatable({}, { __gc = finalize })
    local before = ran
    f(function() collectgarbage() end)
    collectgarbage()
    lu.assertEquals(ran, before + 1)
  end
  local t = spawn(function()
    collect_inside(function(gc) lock:with(gc) end)
    collect_inside(function(gc) rlock:with(gc) end)
    collect_inside(function(gc) semaphore:with(gc) end)
    collect_inside(function(gc) condition:with(function() condition:wait_for(gc, 0) end) end)
    collect_inside(function(gc) pcall(error, setmetatable({}, { __tostring = gc })) end)
  end)
  t:result(LONG)
  lu.assertEquals(failed, {})
  lu.assertEquals(ran, 5)
end

-- 59: a finalizer that would have to wait raises instead, naming itself.
function TestFinalizers.testCannotWait()
  local messages = {}
  local lock = threading.Lock()
  lock:acquire()
  for _, wait in ipairs {
    function() lock:acquire() end,
    function() threading.Event():wait() end,
    function() time.sleep(0.01) end,
    function() threading.Semaphore(0):acquire(true, 1) end,
    function() spawn(function() end):join() end,
  } do
    setmetatable({}, { __gc = function()
      local ok, err = pcall(wait)
      table.insert(messages, ok or err)
    end })
    collectgarbage()
  end
  lock:release()
  lu.assertEquals(#messages, 5)
  for i = 1, 4 do lu.assertStrContains(messages[i], "finalizer") end
end

-- 217
function TestFinalizers.testTheirErrorsAreWarnings()
  local out, err, code = run([[
    warn("@on")
    threading.Thread(function()
      setmetatable({}, { __gc = function() error("in a finalizer") end })
      collectgarbage()
    end):start():join()
    print("went on")
  ]])
  lu.assertEquals(out, "went on\n")
  lu.assertEquals(code, 0)
  lu.assertStrContains(err, "Lua warning: error in __gc")
  lu.assertStrContains(err, "in a finalizer")
end

return {
  TestThreading = TestThreading,
  TestSubclass = TestSubclass,
  TestTimer = TestTimer,
  TestExcepthook = TestExcepthook,
  TestFinalizers = TestFinalizers,
}

--- Thread:cancel and Thread:kill; behaviours 47, 56 and 57.
local errors = require("errors")
local gil = require("gil")
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local closing = require("support.closing")
local eventually = require("support.eventually")
local program = require("support.program")

local LONG = 60 -- seconds

local function spawn(f, ...) return threading.Thread(f, ...):start() end

--- Spins for ever, telling when it has begun.
local function spinner(started)
  return function()
    started:set()
    while true do end
  end
end

--- Asserts that the thread was ended by an error of that class.
local function assert_ended(t, class, message)
  lu.assertTrue(t:join(LONG))
  local ok, err = pcall(t.result, t)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(err, class), tostring(err))
  if message then lu.assertEquals(err.message, message) end
  lu.assertFalse(t:is_alive())
end

local function scope(close) return setmetatable({}, { __close = close }) end

local TestCancel = {}

function TestCancel:setUp()
  self.hook = threading.excepthook
  self.reported = {}
  threading.excepthook = function(args) table.insert(self.reported, tostring(args.value)) end
end

function TestCancel:tearDown()
  threading.excepthook = self.hook
  lu.assertEquals(self.reported, {}) -- a thread ended by a cancel is silent
end

-- 57
function TestCancel.testReachesATightLoopSoon()
  local soonest = math.huge
  for _ = 1, 20 do
    local started = threading.Event()
    local t = spawn(spinner(started))
    started:wait()
    local start = time.monotonic()
    lu.assertTrue(t:cancel())
    assert_ended(t, threading.Cancelled, "cancelled")
    local took = time.monotonic() - start
    lu.assertTrue(took < 5, took)
    soonest = math.min(soonest, took)
  end
  lu.assertTrue(soonest < 10 * gil.switch_interval(), soonest)
end

-- 57
function TestCancel.testOfAFinishedOrUnstartedThreadIsFalse()
  local t = threading.Thread(function() return 1 end)
  lu.assertFalse(t:cancel())
  lu.assertFalse(t:kill())
  t:start():join()
  lu.assertFalse(t:cancel())
  lu.assertFalse(t:kill())
  lu.assertEquals(t:result(), 1)
end

function TestCancel.testMessageTravels()
  local started = threading.Event()
  local t = spawn(spinner(started))
  started:wait()
  t:cancel("no longer needed")
  assert_ended(t, errors.Cancelled, "no longer needed")
  local _, err = pcall(t.result, t)
  lu.assertEquals(tostring(err), "threading.Cancelled: no longer needed")
end

function TestCancel.testWrongMessageRaises()
  local go = threading.Event()
  local t = spawn(function() return go:wait() end)
  for _, message in ipairs { {}, print, true } do
    lu.assertErrorMsgContains("string expected", t.cancel, t, message)
  end
  go:set()
  lu.assertTrue(t:result(LONG)) -- nothing was raised in it
end

function TestCancel.testEndsEveryWait()
  local lock, event, condition = threading.Lock(), threading.Event(), threading.Condition()
  local semaphore, barrier = threading.Semaphore(0), threading.Barrier(2)
  local other = spawn(function() event:wait() end)
  lock:acquire()
  for what, wait in pairs {
    sleep = function() time.sleep(LONG) end,
    lock = function() lock:acquire() end,
    event = function() event:wait() end,
    condition = function() condition:with(condition.wait, condition) end,
    semaphore = function() semaphore:acquire() end,
    barrier = function() barrier:wait() end,
    thread = function() other:join() end,
    ["event "] = function() threading.wait_any { event } end,
  } do
    for _, how in ipairs { "cancel", "kill" } do
      local t = spawn(wait)
      blocked((what:gsub(" ", "")), t)
      local start = time.monotonic()
      lu.assertTrue(t[how](t))
      assert_ended(t, how == "kill" and errors.Killed or errors.Cancelled)
      lu.assertTrue(time.monotonic() - start < 5, what)
    end
  end
  event:set()
  other:join()
  lock:release()
end

function TestCancel.testBeforeTheThreadGotGoing()
  for i = 1, 200 do
    local t = spawn(function() while true do end end)
    if i % 2 == 0 then t:cancel() else t:kill() end
    assert_ended(t, errors.Cancelled)
  end
end

function TestCancel.testIsRaisedOnceAndMayBeCaught()
  local started, caught = threading.Event(), nil
  local t = spawn(function()
    local ok, err = pcall(spinner(started))
    caught = { ok, err }
    for _ = 1, 1e5 do end
    time.sleep(0.01)
    return "went on"
  end)
  started:wait()
  t:cancel("x")
  lu.assertEquals(t:result(LONG), "went on")
  lu.assertFalse(caught[1])
  lu.assertTrue(errors.is(caught[2], threading.Cancelled))
end

function TestCancel.testMayComeAgain()
  local turns, ready = 0, threading.Semaphore(0)
  local t = spawn(function()
    for _ = 1, 5 do
      pcall(function()
        ready:release()
        while true do end
      end)
      turns = turns + 1
    end
    return turns
  end)
  for i = 1, 5 do
    ready:acquire()
    lu.assertEquals(turns, i - 1)
    t:cancel()
  end
  lu.assertEquals(t:result(LONG), 5)
end

function TestCancel.testCloseVariablesRunInOrder()
  local started, order = threading.Event(), {}
  local t = spawn(function()
    local _a <close> = scope(function(_, err) table.insert(order, { "a", err }) end)
    local _b <close> = scope(function()
      time.sleep(0.01) -- may wait: the cancel was raised already
      table.insert(order, { "b" })
    end)
    spinner(started)()
  end)
  started:wait()
  t:cancel()
  assert_ended(t, errors.Cancelled)
  lu.assertEquals(order[1][1], "b")
  lu.assertEquals(order[2][1], "a")
  lu.assertTrue(errors.is(order[2][2], errors.Cancelled))
end

function TestCancel.testErrorsPcallLetsItThrough()
  local started, tries = threading.Event(), 0
  local t = spawn(function()
    while true do
      errors.pcall(function()
        tries = tries + 1
        started:set()
        if tries % 2 == 0 then error("try again") end
      end)
    end
  end)
  started:wait()
  t:cancel()
  assert_ended(t, errors.Cancelled)
end

function TestCancel.testReachesTheInnermostCoroutine()
  local started, inside = threading.Event(), nil
  local t = spawn(function()
    local gen = coroutine.wrap(function()
      local co = coroutine.create(spinner(started))
      inside = { coroutine.resume(co) }
      coroutine.yield("went on")
    end)
    return gen()
  end)
  started:wait()
  t:cancel()
  lu.assertEquals(t:result(LONG), "went on")
  lu.assertFalse(inside[1])
  lu.assertTrue(errors.is(inside[2], errors.Cancelled))
end

function TestCancel.testOfOneself()
  local reached = false
  local t = spawn(function()
    threading.current_thread():cancel("by myself")
    for _ = 1, 1e5 do end
    reached = true
  end)
  assert_ended(t, errors.Cancelled, "by myself")
  lu.assertFalse(reached)
end

-- 56: how a thread of the program interrupts the main one.
function TestCancel.testReachesTheMainThread()
  local main = threading.main_thread()
  local t = spawn(function()
    blocked("sleep", main)
    return main:cancel("you too")
  end)
  local ok, err = pcall(time.sleep, LONG)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(err, errors.Cancelled))
  lu.assertEquals(err.message, "you too")
  lu.assertTrue(t:result(LONG))
end

-- 47
function TestCancel.testAThreadMayEndItselfSilently()
  local t = spawn(function() error(errors.new(threading.Cancelled, "enough")) end)
  assert_ended(t, threading.Cancelled, "enough")
  t = spawn(function() error(threading.Cancelled) end)
  assert_ended(t, threading.Cancelled)
end

function TestCancel.testWhatCameTooLateIsForgotten()
  for _ = 1, 200 do
    local t = spawn(function() return 1 end)
    t:cancel()
    lu.assertTrue(t:join(LONG))
    local ok, value = pcall(t.result, t)
    lu.assertTrue(ok and value == 1 or errors.is(value, errors.Cancelled))
  end
end

function TestCancel.testManyThreadsCancelOne()
  local started, stop = threading.Event(), false
  local t = spawn(function()
    pcall(function()
      started:set()
      while true do end
    end)
    -- Later ones may come between two calls.
    while not stop do
      pcall(function()
        while not stop do pcall(function() while not stop do end end) end
      end)
    end
  end)
  started:wait()
  local cancellers = {}
  for i = 1, 4 do
    cancellers[i] = spawn(function()
      for _ = 1, 100 do
        t:cancel("from " .. i)
        time.sleep(0)
      end
    end)
  end
  for _, canceller in ipairs(cancellers) do canceller:join() end
  stop = true
  lu.assertTrue(t:join(LONG))
  local ok, err = pcall(t.result, t)
  lu.assertTrue(ok or errors.is(err, errors.Cancelled))
end

function TestCancel.testAFinalizerIsNotCancelled()
  local finished = false
  local t = spawn(function()
    setmetatable({}, { __gc = function()
      threading.current_thread():cancel()
      for _ = 1, 1e5 do end
      finished = true
    end })
    collectgarbage()
    while true do end
  end)
  assert_ended(t, errors.Cancelled)
  lu.assertTrue(finished)
end

-- A kill ends what a cancel does not: see also regress/003.
function TestCancel.testAKillIsRaisedAgain()
  local started, caught = threading.Event(), 0
  local t = spawn(function()
    while true do
      pcall(spinner(started))
      caught = caught + 1
    end
  end)
  started:wait()
  lu.assertTrue(t:kill())
  assert_ended(t, errors.Killed, "killed")
  lu.assertTrue(caught <= 1)
  local _, err = pcall(t.result, t)
  lu.assertTrue(errors.is(err, errors.Cancelled))
  lu.assertEquals(tostring(err), "threading.Killed: killed")
end

function TestCancel.testACancelThenAKill()
  local started = threading.Event()
  local t = spawn(function()
    while true do pcall(spinner(started)) end
  end)
  started:wait()
  t:cancel()
  t:cancel("again")
  t:kill()
  t:kill()
  assert_ended(t, errors.Killed)
end

function TestCancel.testAKilledThreadsCloseVariablesRun()
  closing({ "b", "a" }, function()
    local started, order = threading.Event(), {}
    local t = spawn(function()
      local _a <close> = scope(function(_, err)
        for _ = 1, 1000 do table.insert({}, err) end
        table.insert(order, "a")
      end)
      local _b <close> = scope(function()
        pcall(error, "caught inside")
        time.sleep(0.005)
        table.insert(order, "b")
      end)
      spinner(started)()
    end)
    started:wait()
    t:kill()
    assert_ended(t, errors.Killed)
    return order
  end)
end

function TestCancel.testAKilledThreadsLocksAreFree()
  local lock = threading.Lock()
  for _ = 1, 50 do
    local started = threading.Event()
    local t = spawn(function()
      local held <close> = lock:guard()
      spinner(started)()
    end)
    started:wait()
    t:kill()
    assert_ended(t, errors.Killed)
    lu.assertFalse(lock:locked())
  end
end

function TestCancel.testAKilledBarrierOrConditionServesOthers()
  local condition, woken = threading.Condition(), 0
  local function wait()
    local held <close> = condition:guard()
    condition:wait()
    woken = woken + 1
  end
  local a = spawn(wait)
  blocked("condition", a)
  local b = spawn(wait)
  blocked("condition", b)
  a:kill()
  assert_ended(a, errors.Killed)
  condition:with(condition.notify, condition)
  lu.assertTrue(b:join(LONG))
  lu.assertEquals(woken, 1)
end

function TestCancel.testIsPromptBesideManyBusyThreads()
  local threads = {}
  for i = 1, 6 do
    local started = threading.Event()
    threads[i] = spawn(spinner(started))
    started:wait()
  end
  local start = time.monotonic()
  for i, t in ipairs(threads) do
    if i % 2 == 0 then t:cancel() else t:kill() end
  end
  for _, t in ipairs(threads) do assert_ended(t, errors.Cancelled) end
  lu.assertTrue(time.monotonic() - start < 10)
end

local TestCancelReport = {}

-- Nothing is written for it, and the exit code is not its business.
function TestCancelReport.testIsSilent()
  local out, err, code = program.eval([[
    local threading = require("threading")
    for _, how in ipairs { "cancel", "kill" } do
      local t = threading.Thread(function() while true do end end):start()
      t[how](t)
      t:join()
      print(pcall(t.result, t))
    end
  ]], { timeout = LONG })
  lu.assertEquals(err, "")
  lu.assertEquals(out, "false\tthreading.Cancelled: cancelled\n"
    .. "false\tthreading.Killed: killed\n")
  lu.assertEquals(code, 0)
end

-- A cancel that main does not catch ends the program as an error does.
function TestCancelReport.testAnUncaughtOneInTheMainThreadIsReported()
  local _, err, code = program.eval([[
    require("threading").main_thread():cancel("stop it")
    while true do end
  ]], { timeout = LONG })
  lu.assertStrContains(err, "threading.Cancelled: stop it")
  lu.assertEquals(code, 1)
end

function TestCancelReport.testAThreadWaitsForItsClosers()
  local closed = threading.Event()
  local t = spawn(function()
    local _ <close> = scope(function() closed:set() end)
    time.sleep(LONG)
  end)
  blocked("sleep", t)
  t:cancel()
  eventually(function() return closed:is_set() end)
  t:join()
end

return { TestCancel = TestCancel, TestCancelReport = TestCancelReport }

--- threading.Condition: behaviours 14 to 21.
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local eventually = require("support.eventually")

-- What is tested, and how dump() begins its names: of threading, unless
-- multiprocessing_condition_spec.lua says otherwise.
local _, sync, on = ...
sync, on = sync or threading, on or ""

local function spawn(f, ...) return threading.Thread(f, ...):start() end
local function elsewhere(f, ...) return spawn(f, ...):result(60) end

--- n threads that wait, started one after the other.
local function waiters(cond, n, woken)
  local threads = {}
  for i = 1, n do
    threads[i] = spawn(function()
      local held <close> = cond:guard()
      local notified = cond:wait(60)
      if woken then table.insert(woken, i) end
      return notified
    end)
    blocked(on .. "condition", threads[i])
  end
  return threads
end

--- A thread that waits so long, at the latest once it has timed out.
local function impatient_of(cond, timeout)
  local locked = threading.Event()
  local thread = spawn(function()
    local held <close> = cond:guard()
    locked:set()
    return cond:wait(timeout)
  end)
  lu.assertTrue(locked:wait(60))
  cond:with(function() end) -- free only once it waits
  return thread
end

local TestCondition = {}

-- 14
function TestCondition.testOwnsARecursiveLockByDefault()
  local cond = sync.Condition()
  lu.assertTrue(cond:acquire())
  lu.assertTrue(cond:acquire(false))
  local function try()
    local taken = cond:acquire(false)
    if taken then cond:release() end
    return taken
  end
  lu.assertFalse(elsewhere(try))
  cond:release()
  lu.assertFalse(elsewhere(try))
  cond:release()
  lu.assertTrue(elsewhere(try))
  lu.assertErrorMsgContains("cannot release", cond.release, cond)
end

-- 14: acquire is the lock's own.
function TestCondition.testAcquireMayBeBounded()
  for what, lock in pairs({ lock = sync.Lock(), rlock = sync.RLock() }) do
    local cond, taken, go = sync.Condition(lock), threading.Event(), threading.Event()
    local owner = spawn(function()
      local held <close> = cond:guard()
      taken:set()
      go:wait(60)
    end)
    lu.assertTrue(taken:wait(60))
    local start = time.monotonic()
    lu.assertFalse(cond:acquire(false))
    lu.assertFalse(cond:acquire(true, 0))
    lu.assertFalse(cond:acquire(true, 0.05))
    local took = time.monotonic() - start
    lu.assertTrue(took >= 0.05 and took < 30, took)
    local waiter = spawn(function()
      local got = cond:acquire(true, 60)
      if got then cond:release() end
      return got
    end)
    blocked(on .. what, waiter)
    go:set()
    lu.assertTrue(waiter:result(60))
    owner:join()
    for _, arguments in ipairs({ { false }, { true, 0 }, { true, 60 } }) do
      lu.assertTrue(cond:acquire(table.unpack(arguments)))
      cond:release()
    end
  end
end

-- 14
function TestCondition.testTakesOptions()
  local lock = sync.Lock()
  local cond <close> = sync.Condition({ lock = lock }):guard()
  lu.assertTrue(lock:locked())
  lu.assertStrContains(tostring(sync.Condition({})), "RLock")
  lu.assertStrContains(tostring(cond), "Lock")
end

function TestCondition.testScopesGoThroughToTheLock()
  for _, lock in ipairs({ sync.Lock(), sync.RLock() }) do
    local cond = sync.Condition(lock)
    do
      local held <close> = cond:guard()
      lu.assertIs(held, cond)
      lu.assertTrue(lock:locked())
    end
    lu.assertFalse(lock:locked())
    lu.assertEquals({ cond:with(function(...) return lock:locked(), ... end, 1, 2) },
      { true, 1, 2 })
    lu.assertErrorMsgEquals("inside", function()
      cond:with(function() error("inside", 0) end)
    end)
    lu.assertFalse(lock:locked())
  end
end

-- 14
function TestCondition.testTwoMayShareOneLock()
  local lock = sync.Lock()
  local full, empty = sync.Condition(lock), sync.Condition(lock)
  local item, seen = nil, {}
  local consumer = spawn(function()
    for _ = 1, 200 do
      local held <close> = lock:guard()
      while not item do full:wait() end
      table.insert(seen, item)
      item = nil
      empty:notify()
    end
  end)
  for i = 1, 200 do
    local held <close> = lock:guard()
    while item do empty:wait() end
    item = i
    full:notify()
  end
  lu.assertTrue(consumer:join(60))
  lu.assertEquals(#seen, 200)
  for i = 1, 200 do lu.assertEquals(seen[i], i) end
end

function TestCondition.testKeepsItsLockAlive()
  local weak = setmetatable({}, { __mode = "v" })
  weak.lock = sync.Lock()
  local cond = sync.Condition(weak.lock)
  collectgarbage()
  lu.assertNotNil(weak.lock)
  cond:acquire()
  lu.assertTrue(weak.lock:locked())
end

-- 15
function TestCondition.testNeedsTheLock()
  for _, lock in ipairs({ sync.Lock(), sync.RLock() }) do
    local cond = sync.Condition(lock)
    lu.assertErrorMsgContains("without holding its lock", cond.wait, cond)
    lu.assertErrorMsgContains("without holding its lock", cond.wait, cond, 0)
    lu.assertErrorMsgContains("without holding its lock", cond.wait_for, cond, print)
    lu.assertErrorMsgContains("without holding its lock", cond.notify, cond)
    lu.assertErrorMsgContains("without holding its lock", cond.notify_all, cond)
    lu.assertFalse(lock:locked())
  end
  local cond = sync.Condition()
  cond:acquire()
  local ok, message = elsewhere(function() return pcall(cond.notify, cond) end)
  lu.assertFalse(ok)
  lu.assertStrContains(message, "without holding its lock")
  cond:release()
end

function TestCondition.testWrongArguments()
  lu.assertErrorMsgContains("bad argument #1", sync.Condition, 1)
  lu.assertErrorMsgContains("bad argument #1", sync.Condition, { lock = 1 })
  lu.assertErrorMsgContains("unknown option 'look'", sync.Condition, { look = 1 })
  lu.assertErrorMsgContains("bad argument #1", sync.Condition, threading.Event())
  local cond = sync.Condition()
  local held <close> = cond:guard()
  local function wrong(method, message, ...)
    lu.assertErrorMsgContains(message, cond[method], cond, ...)
    lu.assertStrContains(tostring(cond), "count=1")
  end
  -- Called as functions: self counts.
  for _, timeout in ipairs({ -1, -0.1, 0 / 0, {}, "x" }) do
    wrong("wait", "bad argument #2", timeout)
    wrong("wait_for", "bad argument #3", print, timeout)
  end
  wrong("wait_for", "bad argument #2")
  wrong("wait_for", "bad argument #2", 3)
  wrong("notify", "bad argument #2", -1)
  wrong("notify", "bad argument #2", 1.5)
  wrong("notify", "bad argument #2", "x")
  wrong("acquire", "bad argument #3", true, -3)
  wrong("acquire", "bad argument #3", false, 1)
  wrong("with", "bad argument #2")
  lu.assertErrorMsgContains("bad argument #1", cond.wait, sync.Lock())
end

-- 16
function TestCondition.testWaitRestoresTheDepth()
  local cond = sync.Condition()
  for _ = 1, 3 do cond:acquire() end
  lu.assertFalse(cond:wait(0)) -- times out
  lu.assertStrContains(tostring(cond), "count=3")
  lu.assertFalse(cond:wait(0.01))
  lu.assertStrContains(tostring(cond), "count=3")
  local notifier = spawn(function()
    local held <close> = cond:guard() -- free while the main thread waits
    cond:notify()
    return tostring(cond)
  end)
  lu.assertTrue(cond:wait(60))
  lu.assertStrContains(notifier:result(60), "count=1")
  lu.assertStrContains(tostring(cond), "count=3")
  for _ = 1, 3 do cond:release() end
  lu.assertErrorMsgContains("cannot release", cond.release, cond)
end

-- 16
function TestCondition.testACancelledWaitHoldsTheLockAgain()
  for _, lock in ipairs({ sync.Lock(), sync.RLock() }) do
    local cond = sync.Condition(lock)
    local waiter = spawn(function()
      cond:acquire()
      local ok, err = pcall(cond.wait, cond)
      local held = pcall(cond.notify, cond)
      cond:release()
      return ok, tostring(err), held
    end)
    blocked(on .. "condition", waiter)
    lock:acquire()
    waiter:cancel()
    blocked(on .. "r?lock", waiter) -- it does not go on without the lock
    lock:release()
    local ok, err, held = waiter:result(60)
    lu.assertFalse(ok)
    lu.assertStrContains(err, "Cancelled")
    lu.assertTrue(held)
    lu.assertFalse(lock:locked())
  end
end

-- 17
function TestCondition.testNotifyWakesExactlyNLongestFirst()
  local cond, woken = sync.Condition(), {}
  local threads = waiters(cond, 6, woken)
  local function notify(n)
    local held <close> = cond:guard()
    cond:notify(n)
  end
  notify() -- one
  lu.assertTrue(threads[1]:result(60))
  lu.assertEquals(woken, { 1 })
  notify(2)
  lu.assertTrue(threads[2]:result(60))
  lu.assertTrue(threads[3]:result(60))
  table.sort(woken)
  lu.assertEquals(woken, { 1, 2, 3 })
  notify(0)
  lu.assertStrContains(tostring(cond), "waiters=3")
  notify(math.maxinteger)
  for i = 4, 6 do lu.assertTrue(threads[i]:result(60)) end
  lu.assertStrContains(tostring(cond), "waiters=0")
end

-- 17
function TestCondition.testNotifyAllWakesAll()
  local cond = sync.Condition()
  local threads = waiters(cond, 5)
  cond:with(function() cond:notify_all() end)
  for _, thread in ipairs(threads) do lu.assertTrue(thread:result(60)) end
end

-- 17
function TestCondition.testANotificationIsNotRemembered()
  local cond = sync.Condition()
  local held <close> = cond:guard()
  cond:notify(5)
  cond:notify_all()
  lu.assertFalse(cond:wait(0.01))
end

-- 18
function TestCondition.testWaitTimesOutInTime()
  local cond = sync.Condition()
  local held <close> = cond:guard()
  local start = time.monotonic()
  lu.assertFalse(cond:wait(0.05))
  local took = time.monotonic() - start
  lu.assertTrue(took >= 0.05 and took < 5, took)
end

-- 18
function TestCondition.testNoWakeUpWithoutNotification()
  local cond = sync.Condition()
  local threads = waiters(cond, 3)
  for _ = 1, 20 do
    cond:acquire()
    cond:release()
  end
  lu.assertStrContains(tostring(cond), "waiters=3")
  cond:with(function() cond:notify_all() end)
  for _, thread in ipairs(threads) do lu.assertTrue(thread:result(60)) end
end

-- 19
function TestCondition.testATimedOutWaiterDoesNotEatANotification()
  local cond = sync.Condition()
  local impatient = impatient_of(cond, 0.5)
  local patient = waiters(cond, 1)[1]
  lu.assertFalse(impatient:result(60))
  cond:with(function() cond:notify() end)
  lu.assertTrue(patient:result(60))
end

-- 19
function TestCondition.testATimedOutWaiterThatStillWantsTheLockIsNotNotified()
  local timeout, wants = 0.1, false
  local function seen(thread)
    wants = blocked.is(on .. "rlock", thread) -- timed out, waits for the lock
    return wants or not thread:is_alive()
  end
  repeat -- until it is over while the lock is held here
    timeout = 2 * timeout
    lu.assertTrue(timeout < 60)
    local cond = sync.Condition()
    local impatient = impatient_of(cond, timeout)
    local patient = waiters(cond, 1)[1]
    cond:acquire()
    eventually(function() return seen(impatient) end)
    cond:notify()
    cond:release()
    lu.assertFalse(impatient:result(60))
    lu.assertTrue(patient:result(60))
  until wants
end

-- 20
function TestCondition.testWaitForReturnsThePredicatesLastValue()
  local cond, value = sync.Condition(), nil
  local waiter = spawn(function()
    local held <close> = cond:guard()
    return cond:wait_for(function() return value end, 60)
  end)
  blocked(on .. "condition", waiter)
  for _ = 1, 3 do cond:with(function() cond:notify() end) end
  cond:with(function()
    value = "there"
    cond:notify()
  end)
  lu.assertEquals(waiter:result(60), "there")
  local held <close> = cond:guard()
  lu.assertEquals(cond:wait_for(function() return 7 end), 7)
  lu.assertIsNil(cond:wait_for(function() return nil end, 0))
  lu.assertFalse(cond:wait_for(function() return false end, 0.01))
end

-- 20
function TestCondition.testWaitForBoundsTheTotalTime()
  local cond, over, tests = sync.Condition(), false
  local notifier = spawn(function()
    while not over do
      cond:with(function() cond:notify_all() end)
      time.sleep(0.001)
    end
  end)
  local held <close> = cond:guard()
  local deadline = time.monotonic() + 60
  repeat -- until the notifier has had its turn
    tests = 0
    local start = time.monotonic()
    lu.assertFalse(cond:wait_for(function()
      tests = tests + 1
      return false
    end, 0.1))
    local took = time.monotonic() - start
    lu.assertTrue(took >= 0.1 and took < 5, took)
  until tests > 2 or time.monotonic() > deadline
  over = true
  lu.assertTrue(tests > 2, tests)
  cond:release()
  notifier:join()
  cond:acquire()
end

-- 20: many wake-ups do not use up the C stack.
function TestCondition.testWaitForManyWakeUps()
  local cond, turn, last = sync.Condition(), 0, 20000
  local waiter = spawn(function()
    local held <close> = cond:guard()
    local tests = 0
    cond:wait_for(function()
      tests = tests + 1
      turn = turn + 1
      cond:notify_all()
      return turn >= last
    end)
    return tests
  end)
  cond:with(function()
    cond:wait_for(function()
      turn = turn + 1
      cond:notify_all()
      return turn >= last
    end)
  end)
  lu.assertTrue(waiter:result(60) > last // 4)
end

-- 20
function TestCondition.testThePredicateHasTheLock()
  local cond = sync.Condition(sync.Lock())
  local held <close> = cond:guard()
  local function others()
    return elsewhere(function() return cond:acquire(false) end)
  end
  local got = cond:wait_for(others, 0.01)
  lu.assertFalse(got)
end

-- 20
function TestCondition.testAnErrorInThePredicateGoesOn()
  local cond = sync.Condition()
  cond:acquire()
  lu.assertErrorMsgEquals("pred", cond.wait_for, cond, function() error("pred", 0) end)
  lu.assertStrContains(tostring(cond), "count=1")
  lu.assertErrorMsgContains("without holding its lock", cond.wait_for, cond,
    function() cond:release() end)
  lu.assertStrContains(tostring(cond), "unlocked")
end

function TestCondition.testThePredicateMayYield()
  local cond = sync.Condition()
  local co = coroutine.wrap(function()
    local held <close> = cond:guard()
    return cond:wait_for(function() return coroutine.yield("asked") end)
  end)
  lu.assertEquals(co(), "asked")
  lu.assertEquals(co("yes"), "yes")
end

-- 21
function TestCondition.testANotifiedThreadWaitsForTheLock()
  local cond, released = sync.Condition(), false
  local waiter = spawn(function()
    local held <close> = cond:guard()
    cond:wait(60)
    return released
  end)
  blocked(on .. "condition", waiter)
  cond:acquire()
  cond:notify()
  blocked(on .. "rlock", waiter)
  released = true
  cond:release()
  lu.assertTrue(waiter:result(60))
end

-- A waiter that is notified and cancelled at once was notified: its wait
-- returns, and the cancel is raised after it.
function TestCondition.testACancelDoesNotTakeANotificationAway()
  local cond = sync.Condition()
  for _ = 1, 50 do
    local waiter = spawn(function()
      local raised_in_wait = false
      cond:acquire()
      local ok = pcall(function()
        xpcall(cond.wait, function() raised_in_wait = true end, cond)
        time.sleep(0)
      end)
      cond:release()
      return ok, raised_in_wait
    end)
    blocked(on .. "condition", waiter)
    cond:acquire()
    cond:notify()
    waiter:cancel()
    cond:release()
    local ok, raised_in_wait = waiter:result(60)
    lu.assertFalse(ok)
    lu.assertFalse(raised_in_wait)
  end
end

function TestCondition.testTurnsOfManyThreads()
  local cond, turn, n, rounds = sync.Condition(sync.Lock()), 1, 4, 100
  local _, errors = bunch(n, function(i)
    for _ = 1, rounds do
      local held <close> = cond:guard()
      cond:wait_for(function() return turn == i end)
      turn = turn % n + 1
      cond:notify_all()
    end
  end)
  lu.assertEquals(errors, {})
  lu.assertEquals(turn, 1)
end

function TestCondition.testTostring()
  lu.assertEquals(tostring(sync.Condition()), "<Condition <RLock unlocked> waiters=0>")
  local lock = sync.Lock()
  lock:acquire()
  lu.assertEquals(tostring(sync.Condition(lock)), "<Condition <Lock locked> waiters=0>")
end

return { TestCondition = TestCondition }

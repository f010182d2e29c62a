--- threading.Semaphore and BoundedSemaphore: behaviours 22 to 25.
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")

-- What is tested, and how dump() begins its names: of threading, unless
-- multiprocessing_semaphore_spec.lua says otherwise.
local _, sync, on = ...
sync, on = sync or threading, on or ""

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local function value_of(semaphore)
  return tonumber(tostring(semaphore):match("value=(%d+)"))
end

--- What both kinds promise.
local function suite(new)
  local T = {}

  -- 22
  function T.testWrongValues()
    lu.assertErrorMsgContains("bad argument #1", new, -1)
    lu.assertErrorMsgContains("bad argument #1", new, 1.5)
    lu.assertErrorMsgContains("bad argument #1", new, "x")
    lu.assertErrorMsgContains("bad argument #1", new, { value = -1 })
    lu.assertErrorMsgContains("unknown option 'size'", new, { size = 1 })
    lu.assertErrorMsgContains("unknown option '1'", new, { 2 })
    lu.assertErrorMsgContains("bad argument #1", new, print)
  end

  function T.testValueIsAnArgumentOrAnOption()
    lu.assertEquals(value_of(new()), 1)
    lu.assertEquals(value_of(new(0)), 0)
    lu.assertEquals(value_of(new({ n = 3 })), 3)
    lu.assertEquals(value_of(new({ value = 3 })), 3) -- CPython's name
    lu.assertEquals(value_of(new({})), 1)
  end

  -- 22
  function T.testWrongReleaseChangesNothing()
    local s = new(2)
    s:acquire()
    for _, n in ipairs({ 0, -1, math.mininteger, 1.5, "x", {} }) do
      lu.assertErrorMsgContains("bad argument #2", s.release, s, n)
      lu.assertEquals(value_of(s), 1)
    end
  end

  -- 22
  function T.testWrongAcquireChangesNothing()
    local s = new(1)
    local function wrong(message, ...)
      lu.assertErrorMsgContains(message, s.acquire, s, ...)
      lu.assertEquals(value_of(s), 1)
    end
    -- Called as functions: self counts.
    wrong("bad argument #3", false, 1)
    wrong("bad argument #3", true, -1) -- which a lock takes
    wrong("bad argument #3", true, 0 / 0)
    wrong("bad argument #3", true, {})
    wrong("bad argument #2", 1)
    lu.assertErrorMsgContains("bad argument #2", s.with, s)
    lu.assertErrorMsgContains("bad argument #1", s.acquire, {})
    lu.assertErrorMsgContains("bad argument #1", s.release)
  end

  -- 22
  function T.testReleaseNWakesUpToNWaiters()
    local s = new(5)
    for _ = 1, 5 do s:acquire() end
    local threads = {}
    for i = 1, 5 do
      threads[i] = spawn(function() return s:acquire(true, 60) end)
      blocked(on .. "semaphore", threads[i])
    end
    s:release(3)
    for i = 1, 3 do lu.assertTrue(threads[i]:result(60)) end
    lu.assertEquals(value_of(s), 0)
    blocked(on .. "semaphore", threads[4], threads[5])
    s:release(2)
    for i = 4, 5 do lu.assertTrue(threads[i]:result(60)) end
    lu.assertEquals(value_of(s), 0)
  end

  -- 23
  function T.testExactlyAsManyPassAsThereArePermits()
    local s, lock, inside, most = new(3), threading.Lock(), 0, 0
    local function count(n)
      local held <close> = lock:guard()
      inside = inside + n
      most = math.max(most, inside)
    end
    local _, errors = bunch(8, function()
      for _ = 1, 50 do
        s:acquire()
        count(1)
        repeat time.sleep(0) until most >= 3 -- so many pass
        count(-1)
        s:release()
      end
    end)
    lu.assertEquals(errors, {})
    lu.assertEquals(most, 3)
    lu.assertEquals(value_of(s), 3)
  end

  -- 23
  function T.testTryAcquireAtZeroIsFalse()
    local s = new(2)
    lu.assertTrue(s:acquire(false))
    lu.assertTrue(s:acquire(true, 0))
    lu.assertFalse(s:acquire(false))
    lu.assertFalse(s:acquire(true, 0))
    lu.assertEquals(value_of(s), 0)
    s:release()
    lu.assertTrue(s:acquire(false))
  end

  -- 23
  function T.testTimedAcquireReturnsFalseInTime()
    local s = new(0)
    local start = time.monotonic()
    lu.assertFalse(s:acquire(true, 0.05))
    local took = time.monotonic() - start
    lu.assertTrue(took >= 0.05 and took < 5, took)
    lu.assertEquals(value_of(s), 0)
  end

  -- 25
  function T.testScopesGiveThePermitBack()
    local s = new(2)
    do
      local held <close> = s:guard()
      lu.assertIs(held, s)
      lu.assertEquals(value_of(s), 1)
    end
    lu.assertEquals(value_of(s), 2)
    lu.assertErrorMsgEquals("inside", function()
      local held <close> = s:guard()
      error("inside", 0)
    end)
    lu.assertEquals(value_of(s), 2)
    lu.assertErrorMsgEquals("inside", function()
      s:with(function() error("inside", 0) end)
    end)
    lu.assertEquals(value_of(s), 2)
    lu.assertEquals({ s:with(function(...) return value_of(s), ... end, 5, 6) }, { 1, 5, 6 })
    lu.assertEquals(value_of(s), 2)
  end

  function T.testWaitersAreServedInOrder()
    local s, order, threads = new(1), {}, {}
    s:acquire()
    for i = 1, 5 do
      threads[i] = spawn(function()
        s:acquire()
        table.insert(order, i)
        s:release()
      end)
      blocked(on .. "semaphore", threads[i])
    end
    s:release()
    for _, thread in ipairs(threads) do lu.assertTrue(thread:join(60)) end
    lu.assertEquals(order, { 1, 2, 3, 4, 5 })
    lu.assertEquals(value_of(s), 1)
  end

  function T.testAWaiterIsNotStarved()
    local s, served = new(1), false
    s:acquire()
    local waiter = spawn(function()
      s:acquire()
      served = true
      s:release()
    end)
    blocked(on .. "semaphore", waiter)
    local deadline = time.monotonic() + 30
    while not served and time.monotonic() < deadline do
      s:release()
      s:acquire()
    end
    s:release()
    waiter:join()
    lu.assertTrue(time.monotonic() < deadline)
  end

  function T.testACancelledWaiterTakesNothing()
    local s = new(1)
    s:acquire()
    local waiter = spawn(function() s:acquire() end)
    blocked(on .. "semaphore", waiter)
    waiter:cancel()
    lu.assertTrue(waiter:join(30))
    s:release()
    lu.assertEquals(value_of(s), 1)
  end

  -- Waiters that leave while permits come back leave none behind unused.
  function T.testNoPermitIsForgotten()
    local s = new(4)
    local _, errors = bunch(8, function(i)
      for round = 1, 200 do
        if (i + round) % 3 == 0 then
          if s:acquire(true, 1e-5 * (round % 5)) then s:release() end
        else
          s:acquire()
          if round % 10 == 0 then time.sleep(0) end
          s:release()
        end
      end
    end)
    lu.assertEquals(errors, {})
    lu.assertEquals(value_of(s), 4)
  end

  function T.testACancelledGuardNeverLeaksAPermit()
    local s = new(1)
    for i = 1, 200 do
      local waiter = spawn(function()
        while true do
          local held <close> = s:guard()
        end
      end)
      for _ = 1, i % 7 do time.sleep(0) end
      waiter:cancel()
      lu.assertTrue(waiter:join(30))
      lu.assertEquals(value_of(s), 1)
    end
  end

  return T
end

local TestSemaphore = suite(sync.Semaphore)
local TestBoundedSemaphore = suite(sync.BoundedSemaphore)

-- 24
function TestSemaphore.testGrowsPastItsFirstValue()
  local s = sync.Semaphore(1)
  s:release()
  s:release(10)
  lu.assertEquals(value_of(s), 12)
  lu.assertErrorMsgContains("too large", s.release, s, math.maxinteger)
  lu.assertEquals(value_of(s), 12)
end

-- 24
function TestBoundedSemaphore.testRaisesWhenReleasedTooOften()
  local s = sync.BoundedSemaphore(3)
  lu.assertErrorMsgContains("released too often", s.release, s)
  lu.assertEquals(value_of(s), 3)
  s:acquire()
  s:acquire()
  lu.assertErrorMsgContains("released too often", s.release, s, 3)
  lu.assertEquals(value_of(s), 1)
  lu.assertErrorMsgContains("released too often", s.release, s, math.maxinteger)
  s:release(2)
  lu.assertEquals(value_of(s), 3)
end

function TestSemaphore.testTostring()
  lu.assertEquals(tostring(sync.Semaphore(2)), "<Semaphore value=2>")
end

function TestBoundedSemaphore.testTostring()
  local s = sync.BoundedSemaphore(2)
  s:acquire()
  lu.assertEquals(tostring(s), "<BoundedSemaphore value=1/2>")
end

return { TestSemaphore = TestSemaphore, TestBoundedSemaphore = TestBoundedSemaphore }

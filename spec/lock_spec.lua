--- threading.Lock and threading.RLock: behaviours 1 to 13.
local gil = require("gil")
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local program = require("support.program")

-- What is tested, and how dump() begins its names: of threading, unless
-- multiprocessing_lock_spec.lua says otherwise.
local _, sync, on = ...
sync, on = sync or threading, on or ""

local function spawn(f, ...) return threading.Thread(f, ...):start() end

--- The results of f(...) in a thread of its own.
local function elsewhere(f, ...) return spawn(f, ...):result(60) end

--- The process's id, as a shell has it for its parent.
local function own_pid()
  local pipe = io.popen("echo $PPID")
  local pid = pipe:read("n")
  pipe:close()
  return pid
end

--- What both kinds of lock promise.
local function suite(new)
  local T = {}

  -- 1
  function T.testTryAcquireOfAHeldLockIsFalse()
    local lock = new()
    lu.assertTrue(lock:acquire(false))
    lu.assertFalse(elsewhere(function() return lock:acquire(false) end))
    lu.assertFalse(elsewhere(function() return lock:acquire(true, 0) end))
    lu.assertTrue(lock:locked())
    lock:release()
    lu.assertFalse(lock:locked())
  end

  -- 2
  function T.testReleaseLetsTheNextWaiterProceed()
    local lock = new()
    lock:acquire()
    local waiter = spawn(function()
      local taken = lock:acquire()
      lock:release()
      return taken
    end)
    blocked(on .. "r?lock", waiter)
    lock:release()
    lu.assertTrue(waiter:result(60))
    lu.assertFalse(lock:locked())
  end

  -- 4
  function T.testReleaseOfAFreeLockRaises()
    local lock = new()
    lu.assertErrorMsgContains("cannot release", lock.release, lock)
    lu.assertTrue(lock:acquire())
    lock:release()
    lu.assertErrorMsgContains("cannot release", lock.release, lock)
    lu.assertTrue(lock:acquire(false))
    lock:release()
  end

  -- 5
  function T.testWrongArgumentsRaiseAndChangeNothing()
    local lock = new()
    local function wrong(message, ...)
      lu.assertErrorMsgContains(message, lock.acquire, lock, ...)
      lu.assertFalse(lock:locked())
    end
    -- Called as functions: self counts.
    wrong("bad argument #3", false, 1)
    wrong("bad argument #3", false, 0)
    wrong("bad argument #3", true, -2)
    wrong("bad argument #3", true, -0.5)
    wrong("bad argument #3", true, 0 / 0)
    wrong("bad argument #3", true, {})
    wrong("bad argument #2", 1)
    wrong("bad argument #2", "yes")
    lu.assertErrorMsgContains("bad argument #2 to 'acquire'", function()
      lock:acquire(false, 1)
    end)
    lu.assertErrorMsgContains("bad argument #1", lock.acquire)
    lu.assertErrorMsgContains("bad argument #1", lock.acquire, io.stdout)
    lu.assertErrorMsgContains("bad argument #1", lock.release, {})
    lu.assertErrorMsgContains("function expected", lock.with, lock)
    lu.assertErrorMsgContains("function expected", lock.with, lock, {})
    lu.assertFalse(lock:locked())
  end

  -- 5
  function T.testEveryWayToSayForEver()
    local lock = new()
    for _, args in ipairs({
      { n = 0 }, { true, n = 1 }, { nil, nil, n = 2 }, { true, -1, n = 2 },
      { true, math.huge, n = 2 }, { true, 1e300, n = 2 }, { nil, 10, n = 2 },
    }) do
      lu.assertTrue(lock:acquire(table.unpack(args, 1, args.n)))
      lock:release()
    end
    lu.assertTrue(lock:acquire(false, -1))
    lock:release()
  end

  -- 6
  function T.testTimedAcquireReturnsFalseInTime()
    local lock = new()
    lock:acquire()
    local took = elsewhere(function()
      local start = time.monotonic()
      lu.assertFalse(lock:acquire(true, 0.05))
      return time.monotonic() - start
    end)
    lu.assertTrue(took >= 0.05 and took < 5, took)
    lock:release()
    lu.assertTrue(elsewhere(function()
      local taken = lock:acquire(true, 5)
      lock:release()
      return taken
    end))
  end

  -- 7
  function T.testGuardReleasesAtScopeExit()
    local lock = new()
    do
      local held <close> = lock:guard()
      lu.assertIs(held, lock)
      lu.assertTrue(lock:locked())
    end
    lu.assertFalse(lock:locked())
    local function early()
      local held <close> = lock:guard()
      return lock:locked()
    end
    lu.assertTrue(early())
    lu.assertFalse(lock:locked())
    local ok, message = pcall(function()
      local held <close> = lock:guard()
      error("inside", 0)
    end)
    lu.assertFalse(ok)
    lu.assertEquals(message, "inside")
    lu.assertFalse(lock:locked())
  end

  -- 7
  function T.testWithReturnsTheResultsAndReleases()
    local lock = new()
    local results = table.pack(lock:with(function(...)
      return lock:locked(), select("#", ...), ...
    end, nil, 2, nil))
    lu.assertEquals(results, { true, 3, nil, 2, nil, n = 5 })
    lu.assertFalse(lock:locked())
    lu.assertErrorMsgEquals("inside", function()
      lock:with(function() error("inside", 0) end)
    end)
    lu.assertFalse(lock:locked())
    lu.assertEquals(select("#", lock:with(function() end)), 0)
    local callable = setmetatable({}, { __call = function(_, x) return x + 1 end })
    lu.assertEquals(lock:with(callable, 1), 2)
  end

  function T.testWithMayYield()
    local lock = new()
    local co = coroutine.wrap(function()
      return lock:with(function(a) return a, coroutine.yield(lock:locked()) end, 1)
    end)
    lu.assertTrue(co())
    lu.assertTrue(lock:locked())
    lu.assertEquals({ co(2) }, { 1, 2 })
    lu.assertFalse(lock:locked())
  end

  function T.testClosingACoroutineReleases()
    local lock = new()
    local co = coroutine.create(function()
      lock:with(function() coroutine.yield() end)
    end)
    coroutine.resume(co)
    lu.assertTrue(lock:locked())
    coroutine.close(co)
    lu.assertFalse(lock:locked())
  end

  -- 8
  function T.testLockedIncrementsAreNotLost()
    local lock, count = new(), 0
    local function read() return count end
    local _, errors = bunch(4, function()
      for _ = 1, 2000 do
        lock:acquire()
        local n = read()
        if n % 50 == 0 then time.sleep(0) end
        count = n + 1
        lock:release()
      end
    end)
    lu.assertEquals(errors, {})
    lu.assertEquals(count, 8000)
    lu.assertFalse(lock:locked())
  end

  -- 9
  function T.testLocksAreCollected()
    collectgarbage()
    local before = collectgarbage("count")
    for _ = 1, 20000 do
      local lock = new()
      lock:acquire() -- held or not
    end
    collectgarbage()
    lu.assertTrue(collectgarbage("count") - before < 100)
  end

  -- 9
  function T.testAWaitingThreadKeepsItsLockAlive()
    local weak = setmetatable({}, { __mode = "v" })
    local waiter
    do
      local lock = new()
      lock:acquire()
      weak.lock = lock
      waiter = spawn(function() return weak.lock:acquire(true, 30) end)
      blocked(on .. "r?lock", waiter)
    end
    collectgarbage()
    collectgarbage()
    lu.assertNotNil(weak.lock)
    weak.lock:release()
    lu.assertTrue(waiter:result(60))
  end

  function T.testWaitersAreServedInOrder()
    local lock, order, threads = new(), {}, {}
    lock:acquire()
    for i = 1, 5 do
      threads[i] = spawn(function()
        lock:acquire()
        table.insert(order, i)
        lock:release()
      end)
      blocked(on .. "r?lock", threads[i])
    end
    lock:release()
    for _, thread in ipairs(threads) do thread:join() end
    lu.assertEquals(order, { 1, 2, 3, 4, 5 })
  end

  -- A thread that is never preempted lets a waiter have the lock all the same.
  function T.testAWaiterIsOvertakenForAMomentOnly()
    local interval, lock = gil.switch_interval(), new()
    gil.switch_interval(1000)
    lock:acquire()
    local waiter = spawn(function()
      lock:acquire()
      lock:release()
    end)
    blocked(on .. "r?lock", waiter)
    local deadline = time.monotonic() + 30
    while waiter:is_alive() and time.monotonic() < deadline do
      lock:release()
      lock:acquire()
    end
    gil.switch_interval(interval)
    lock:release()
    lu.assertTrue(waiter:join(30))
    lu.assertTrue(time.monotonic() < deadline)
  end

  -- A running thread may overtake a waiter only for a while.
  function T.testAWaiterIsNotStarved()
    local lock, served = new(), false
    lock:acquire()
    local waiter = spawn(function()
      lock:acquire()
      served = true
      lock:release()
    end)
    blocked(on .. "r?lock", waiter)
    local deadline = time.monotonic() + 30
    while not served and time.monotonic() < deadline do
      lock:release()
      lock:acquire()
    end
    lock:release()
    waiter:join()
    lu.assertTrue(served)
    lu.assertTrue(time.monotonic() < deadline)
  end

  -- 13
  function T.testACancelEndsTheWaitAndTakesNothing()
    local lock = new()
    lock:acquire()
    for _, wait in ipairs({
      function() lock:acquire() end,
      function() lock:acquire(true, 60) end,
      function() local held <close> = lock:guard() end,
      function() lock:with(print) end,
    }) do
      local waiter = spawn(wait)
      blocked(on .. "r?lock", waiter)
      waiter:cancel()
      lu.assertTrue(waiter:join(30)) -- long before its own time is over
      local ok, err = pcall(waiter.result, waiter)
      lu.assertFalse(ok)
      lu.assertStrContains(tostring(err), "Cancelled")
    end
    lock:release()
    lu.assertFalse(lock:locked())
    lu.assertTrue(lock:acquire(false))
    lock:release()
  end

  -- 13
  function T.testCancelledWaitersDoNotTakeTheWakeUpAlong()
    for _ = 1, 50 do
      local lock = new()
      lock:acquire()
      local function hold() local held <close> = lock:guard() end
      local first = spawn(hold)
      blocked(on .. "r?lock", first)
      local second = spawn(hold)
      blocked(on .. "r?lock", second)
      lock:release()
      first:cancel()
      lu.assertTrue(second:join(30))
      lu.assertTrue(first:join(30))
      lu.assertFalse(lock:locked())
    end
  end

  -- 13
  function T.testCtrlCEndsTheWaitOfTheMainThread()
    local lock = new()
    spawn(function() lock:acquire() end):join()
    local pid = own_pid()
    local killer = spawn(function(main)
      blocked(on .. "r?lock", main)
      io.popen("kill -INT " .. pid):close()
    end, threading.main_thread())
    local start = time.monotonic()
    local ok, err = pcall(lock.acquire, lock, true, 60)
    local took = time.monotonic() - start
    killer:join()
    lu.assertFalse(ok)
    lu.assertEquals(tostring(err), "interrupted!")
    lu.assertTrue(took < 30, took)
  end

  -- A cancel never falls between the guard's lock and its variable.
  function T.testACancelledGuardNeverLeaksTheLock()
    local lock = new()
    for i = 1, 300 do
      local waiter = spawn(function()
        while true do
          local held <close> = lock:guard()
        end
      end)
      for _ = 1, i % 7 do time.sleep(0) end
      waiter:cancel()
      lu.assertTrue(waiter:join(30))
      lu.assertFalse(lock:locked(), i)
    end
  end

  -- The script's count hook has the place of ours.
  function T.testACancelReachesALoopOfGuardsUnderACountHook()
    for _, count in ipairs({ 1, 7, 8, 10, 1000, 10000000 }) do
      local lock, begun = new(), threading.Event()
      local waiter = spawn(function()
        debug.sethook(function() end, "", count)
        begun:set()
        while true do
          local held <close> = lock:guard()
        end
      end)
      begun:wait()
      waiter:cancel()
      lu.assertTrue(waiter:join(30), count)
      lu.assertFalse(lock:locked(), count)
    end
  end

  function T.testAFinalizerMayTryButNotWait()
    local lock = new()
    lock:acquire()
    local ok, message, tried
    do
      local _ = setmetatable({}, { __gc = function()
        tried = lock:acquire(false)
        ok, message = pcall(function()
          local other = sync.Lock()
          other:acquire()
          other:acquire()
        end)
      end })
    end
    collectgarbage()
    collectgarbage()
    lock:release()
    lu.assertFalse(ok)
    lu.assertStrContains(message, "finalizer")
    lu.assertEquals(tried, new == sync.RLock)
    if tried then lock:release() end
  end

  return T
end

local TestLock = suite(sync.Lock)
local TestRLock = suite(sync.RLock)

-- 1
function TestLock.testTryAcquireOfOnesOwnLockIsFalse()
  local lock = sync.Lock()
  lock:acquire()
  lu.assertFalse(lock:acquire(false))
  lu.assertTrue(lock:locked())
  lock:release()
end

-- 2
function TestLock.testAnyThreadMayRelease()
  local lock = sync.Lock()
  lock:acquire()
  elsewhere(function() lock:release() end)
  lu.assertFalse(lock:locked())
end

-- 3
function TestLock.testSecondAcquireWaitsForAnotherThread()
  local lock = sync.Lock()
  lock:acquire()
  local helper = spawn(function(main)
    blocked(on .. "lock", main)
    lock:release()
  end, threading.main_thread())
  lu.assertTrue(lock:acquire(true, 60))
  helper:join()
  lock:release()
end

function TestLock.testTostring()
  local lock = sync.Lock()
  lu.assertEquals(tostring(lock), "<Lock unlocked>")
  lock:acquire()
  lu.assertEquals(tostring(lock), "<Lock locked>")
end

-- 10
function TestRLock.testIsFreeAfterAsManyReleases()
  local lock = sync.RLock()
  local function free_for_others()
    return elsewhere(function()
      local taken = lock:acquire(false)
      if taken then lock:release() end
      return taken
    end)
  end
  for _ = 1, 3 do lu.assertTrue(lock:acquire()) end
  for _ = 1, 3 do
    lu.assertTrue(lock:locked())
    lu.assertFalse(free_for_others())
    lock:release()
  end
  lu.assertFalse(lock:locked())
  lu.assertTrue(free_for_others())
end

-- 10
function TestRLock.testGuardAndWithCount()
  local lock = sync.RLock()
  local held <close> = lock:guard()
  lock:with(function()
    local _again <close> = lock:guard()
    lu.assertStrContains(tostring(lock), "count=3")
  end)
  lu.assertStrContains(tostring(lock), "count=1")
end

-- 11
function TestRLock.testReleaseByAnotherThreadRaises()
  local lock = sync.RLock()
  local function release() return pcall(lock.release, lock) end
  lu.assertFalse(elsewhere(release)) -- free
  lock:acquire()
  lock:acquire()
  local ok, message = elsewhere(release)
  lu.assertFalse(ok)
  lu.assertStrContains(message, "RLock that this thread does not hold")
  lu.assertStrContains(tostring(lock), "count=2")
  lock:release()
  lock:release()
  lu.assertFalse(lock:locked())
end

-- 12
function TestRLock.testStaysLockedWhenItsOwnerEnded()
  local lock = sync.RLock()
  local ident
  do
    local owner = spawn(function() lock:acquire() end)
    owner:join()
    ident = owner.ident
  end
  collectgarbage()
  lu.assertTrue(lock:locked())
  for _ = 1, 50 do -- threads that might get the dead one's memory
    lu.assertFalse(elsewhere(function() return lock:acquire(false) end))
    lu.assertFalse(elsewhere(function() return (pcall(lock.release, lock)) end))
  end
  lu.assertFalse(lock:acquire(true, 0.01))
  lu.assertEquals(tostring(lock), ("<RLock locked owner=%d count=1>"):format(ident))
end

function TestRLock.testTostring()
  local lock = sync.RLock()
  lu.assertEquals(tostring(lock), "<RLock unlocked>")
  lock:acquire()
  lock:acquire()
  lu.assertEquals(tostring(lock), ('<RLock locked owner="%s" count=2>'):format(
    threading.current_thread().name))
end

local TestLockInterrupted = {}

-- 13: what does not raise lets the wait go on for the time that is left.
function TestLockInterrupted.testAnInterruptThatRaisesNothingGoesOn()
  local module = sync == threading and "threading" or "multiprocessing"
  local out, _, code = program.eval(([[
    local threading, time = require("threading"), require("time")
    local lock = require("%s").Lock()
    lock:acquire()
    local pipe = io.popen("echo $PPID")
    local pid = pipe:read("n")
    pipe:close()
    local killer = threading.Thread(function()
      for _ = 1, 4 do
        time.sleep(0.05)
        os.execute("kill -QUIT " .. pid) -- writes a report, raises nothing
      end
    end):start()
    local start = time.monotonic()
    local taken = lock:acquire(true, 0.5)
    local took = time.monotonic() - start
    killer:join()
    print(taken, took >= 0.5 and took < 5)
  ]]):format(module), { timeout = 60 })
  lu.assertEquals(code, 0)
  lu.assertEquals(out, "false\ttrue\n")
end

return {
  TestLock = TestLock,
  TestRLock = TestRLock,
  TestLockInterrupted = TestLockInterrupted,
}

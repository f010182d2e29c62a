--- threading.Barrier: behaviours 28 to 35.
local lu = require("luaunit")
local errors = require("errors")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local eventually = require("support.eventually")

-- What is tested, and how dump() begins its names: of threading, unless
-- multiprocessing_barrier_spec.lua says otherwise.
local _, sync, on = ...
sync, on = sync or threading, on or ""

local function spawn(f, ...) return threading.Thread(f, ...):start() end

--- "broken" if the wait raised BrokenBarrierError, else what it returned.
local function wait(barrier, ...)
  local ok, value = pcall(barrier.wait, barrier, ...)
  if ok then return value end
  if errors.is(value, threading.BrokenBarrierError) then return "broken" end
  error(value, 0)
end

--- n threads that wait, in their order of arrival.
local function waiters(barrier, n, ...)
  local threads = {}
  for i = 1, n do
    threads[i] = spawn(wait, barrier, ...)
    blocked(on .. "barrier", threads[i])
  end
  return threads
end

local function results(threads)
  local values = {}
  for i, thread in ipairs(threads) do values[i] = thread:result(60) end
  return values
end

local TestBarrier = {}

-- 28
function TestBarrier.testWrongArguments()
  for _, parties in ipairs({ 0, -1, 1.5, "x", 2 ^ 40 // 1 | 0, math.mininteger }) do
    lu.assertErrorMsgContains("bad argument #1", sync.Barrier, parties)
  end
  lu.assertErrorMsgContains("bad argument #1", sync.Barrier)
  lu.assertErrorMsgContains("bad argument #1", sync.Barrier, {})
  lu.assertErrorMsgContains("unknown option 'partys'", sync.Barrier, { partys = 2 })
  lu.assertErrorMsgContains("bad argument #2", sync.Barrier, 2, "x")
  lu.assertErrorMsgContains("bad argument #2", sync.Barrier, 2, {})
  lu.assertErrorMsgContains("bad argument #3", sync.Barrier, 2, nil, -1)
  lu.assertErrorMsgContains("bad argument #3", sync.Barrier, 2, nil, 0 / 0)
  lu.assertErrorMsgContains("bad argument #3", sync.Barrier, { parties = 2, timeout = "x" })
  local barrier = sync.Barrier(2)
  for _, timeout in ipairs({ -1, 0 / 0, {}, "x" }) do
    -- Called as a function: self counts.
    lu.assertErrorMsgContains("bad argument #2", barrier.wait, barrier, timeout)
  end
  lu.assertErrorMsgContains("bad argument #1", barrier.wait)
  lu.assertErrorMsgContains("no attribute 'parties'", function() barrier.parties = 3 end)
  lu.assertErrorMsgContains("no attribute 'x'", function() barrier.x = 3 end)
  lu.assertNil(barrier.x)
  lu.assertFalse(barrier.broken)
  lu.assertEquals(barrier.n_waiting, 0)
end

-- 28
function TestBarrier.testOnePartyNeverWaits()
  local barrier = sync.Barrier(1)
  for _ = 1, 3 do lu.assertEquals(barrier:wait(), 0) end
  lu.assertEquals(barrier:wait(0), 0)
  local acted = 0
  barrier = sync.Barrier(1, function() acted = acted + 1 end)
  for _ = 1, 3 do lu.assertEquals(barrier:wait(), 0) end
  lu.assertEquals(acted, 3)
end

-- 29
function TestBarrier.testEachGetsAnIndexOfItsOwnAndNobodyLaps()
  local n, passes = 5, 10
  local barrier = sync.Barrier(n)
  local counts, indices = {}, {}
  for pass = 1, passes do counts[pass], indices[pass] = 0, {} end
  local seen, raised = bunch(n, function()
    for pass = 1, passes do
      counts[pass] = counts[pass] + 1
      indices[pass][barrier:wait()] = true
      -- All came to this pass, and nobody can be past the next one.
      if counts[pass] ~= n then return "too early" end
      if pass + 2 <= passes and counts[pass + 2] > 0 then return "lapped" end
    end
    return "done"
  end)
  lu.assertEquals(raised, {})
  for i = 1, n do lu.assertEquals(seen[i], "done") end
  for pass = 1, passes do
    for index = 0, n - 1 do lu.assertTrue(indices[pass][index]) end
  end
  lu.assertFalse(barrier.broken)
  lu.assertEquals(barrier.n_waiting, 0)
end

-- 29
function TestBarrier.testIndicesFollowTheOrderOfArrival()
  local barrier = sync.Barrier(4)
  local threads = waiters(barrier, 3)
  lu.assertEquals(barrier:wait(), 3)
  lu.assertEquals(results(threads), { 0, 1, 2 })
end

-- 29
function TestBarrier.testIndicesAreDistinctAfterACancel()
  local barrier = sync.Barrier(3)
  local threads = waiters(barrier, 2)
  threads[1]:cancel()
  lu.assertTrue(threads[1]:join(30))
  lu.assertEquals(barrier.n_waiting, 1)
  lu.assertFalse(barrier.broken)
  local third = waiters(barrier, 1)[1]
  lu.assertEquals(barrier:wait(), 2)
  lu.assertEquals(results({ threads[2], third }), { 0, 1 })
end

-- 30
function TestBarrier.testTheActionRunsOncePerPassBeforeAnyoneGoesOn()
  local n, passes, acted = 4, 10, 0
  local barrier = sync.Barrier(n, function()
    time.sleep(0)
    acted = acted + 1
  end)
  local _, raised = bunch(n, function()
    for pass = 1, passes do
      barrier:wait()
      -- Nobody begins the next pass before all have left this one's count.
      local seen = acted
      if seen < pass or seen > pass + 1 then error(("%d in pass %d"):format(seen, pass)) end
    end
  end)
  lu.assertEquals(raised, {})
  lu.assertEquals(acted, passes)
end

-- 30
function TestBarrier.testTheActionRunsInOneOfTheThreads()
  local actor
  local barrier = sync.Barrier({
    parties = 2,
    action = function() actor = threading.get_ident() end,
  })
  local waiter = waiters(barrier, 1)[1]
  barrier:wait()
  waiter:join()
  lu.assertEquals(actor, threading.get_ident())
end

-- 30: a thread that comes while the action runs belongs to the next pass.
function TestBarrier.testWhoComesDuringTheActionWaitsForTheNextPass()
  local begun, go = threading.Event(), threading.Event()
  local passes = 0
  local barrier = sync.Barrier(2, function()
    passes = passes + 1
    if passes == 1 then
      begun:set()
      go:wait(60)
    end
  end)
  local first = waiters(barrier, 1)
  first[2] = spawn(wait, barrier)
  lu.assertTrue(begun:wait(60))
  local second = waiters(barrier, 3)
  lu.assertEquals(barrier.n_waiting, 0)
  go:set()
  lu.assertEquals(results(first), { 0, 1 })
  eventually(function() return passes == 2 and barrier.n_waiting == 1 end)
  lu.assertEquals(barrier:wait(60), 1)
  local sorted = results(second)
  table.sort(sorted)
  lu.assertEquals(sorted, { 0, 0, 1 })
  lu.assertEquals(passes, 3)
end

-- 31
function TestBarrier.testAFailingActionBreaksTheBarrier()
  local barrier = sync.Barrier(3, function() error("action", 0) end)
  local threads = waiters(barrier, 2)
  lu.assertErrorMsgEquals("action", barrier.wait, barrier)
  lu.assertEquals(results(threads), { "broken", "broken" })
  lu.assertTrue(barrier.broken)
  lu.assertEquals(wait(barrier), "broken")
  barrier:reset()
  lu.assertFalse(barrier.broken)
end

-- 31
function TestBarrier.testACancelledActionBreaksTheBarrier()
  local begun = threading.Event()
  local barrier = sync.Barrier(2, function()
    begun:set()
    time.sleep(60)
  end)
  local waiter = waiters(barrier, 1)[1]
  local actor = spawn(wait, barrier)
  lu.assertTrue(begun:wait(60))
  actor:cancel()
  lu.assertTrue(actor:join(30))
  lu.assertEquals(waiter:result(60), "broken")
  lu.assertTrue(barrier.broken)
end

-- 31
function TestBarrier.testAnAbandonedActionBreaksTheBarrier()
  local barrier = sync.Barrier(2, function() coroutine.yield() end)
  local waiter = waiters(barrier, 1)[1]
  local actor = coroutine.create(function() barrier:wait() end)
  lu.assertTrue(coroutine.resume(actor))
  coroutine.close(actor)
  lu.assertEquals(waiter:result(60), "broken")
end

function TestBarrier.testTheActionMayYield()
  local barrier = sync.Barrier(2, function() coroutine.yield("acting") end)
  local waiter = waiters(barrier, 1)[1]
  local actor = coroutine.wrap(function() return barrier:wait() end)
  lu.assertEquals(actor(), "acting")
  blocked(on .. "barrier", waiter)
  lu.assertEquals(actor(), 1)
  lu.assertEquals(waiter:result(60), 0)
end

-- 32
function TestBarrier.testATimeoutBreaksTheBarrierForAll()
  local barrier = sync.Barrier(3)
  local patient = waiters(barrier, 1)[1]
  local start = time.monotonic()
  lu.assertEquals(wait(barrier, 0.05), "broken")
  local took = time.monotonic() - start
  lu.assertTrue(took >= 0.05 and took < 5, took)
  lu.assertEquals(patient:result(60), "broken")
  lu.assertTrue(barrier.broken)
  lu.assertEquals(wait(barrier), "broken")
  lu.assertEquals(wait(barrier, 60), "broken")
end

-- 32
function TestBarrier.testNotWaitingBreaksTheBarrier()
  local barrier = sync.Barrier(2)
  lu.assertEquals(wait(barrier, 0), "broken")
  lu.assertTrue(barrier.broken)
end

-- 32
function TestBarrier.testTheConstructorsTimeoutIsTheUsualOne()
  for _, barrier in ipairs({
    sync.Barrier(2, nil, 0.02),
    sync.Barrier({ parties = 2, timeout = 0.02 }),
  }) do
    lu.assertEquals(wait(barrier), "broken")
    barrier:reset()
    local waiter = waiters(barrier, 1, 60)[1] -- has one of its own
    lu.assertEquals(barrier:wait(), 1)
    lu.assertEquals(waiter:result(60), 0)
  end
end

-- 32
function TestBarrier.testATimeoutDuringTheActionBreaksThePass()
  local barrier
  local impatient
  barrier = sync.Barrier(2, function()
    eventually(function() return barrier.broken end)
  end)
  impatient = spawn(wait, barrier, 0.05)
  eventually(function() return barrier.n_waiting == 1 or barrier.broken end)
  lu.assertEquals(wait(barrier), "broken")
  lu.assertEquals(impatient:result(60), "broken")
end

-- 33
function TestBarrier.testAbortBreaksItUntilReset()
  local barrier = sync.Barrier(4)
  local threads = waiters(barrier, 3)
  barrier:abort()
  lu.assertTrue(barrier.broken)
  lu.assertEquals(results(threads), { "broken", "broken", "broken" })
  lu.assertEquals(wait(barrier), "broken")
  barrier:reset()
  lu.assertFalse(barrier.broken)
  threads = waiters(barrier, 3)
  lu.assertEquals(barrier:wait(), 3)
  lu.assertEquals(results(threads), { 0, 1, 2 })
end

-- 33
function TestBarrier.testAbortDuringTheActionEndsEveryWaitAtOnce()
  local begun, go = threading.Event(), threading.Event()
  local barrier = sync.Barrier(2, function()
    begun:set()
    go:wait(60)
  end)
  local threads = waiters(barrier, 1)
  local actor = spawn(wait, barrier)
  begun:wait(60)
  threads[2] = waiters(barrier, 1)[1] -- at the entrance
  barrier:abort()
  lu.assertEquals(results(threads), { "broken", "broken" })
  lu.assertEquals(wait(barrier), "broken")
  go:set()
  lu.assertEquals(actor:result(60), "broken")
  lu.assertTrue(barrier.broken)
end

-- 34
function TestBarrier.testResetTurnsWaitersOutAndLeavesItWhole()
  local barrier = sync.Barrier(4)
  local threads = waiters(barrier, 3)
  barrier:reset()
  lu.assertFalse(barrier.broken)
  lu.assertEquals(barrier.n_waiting, 0)
  lu.assertEquals(results(threads), { "broken", "broken", "broken" })
  barrier:reset()
  threads = waiters(barrier, 3)
  lu.assertEquals(barrier:wait(), 3)
  lu.assertEquals(results(threads), { 0, 1, 2 })
end

-- 34
function TestBarrier.testAbortThenResetThenNewWaits()
  for _ = 1, 20 do
    local barrier = sync.Barrier(3)
    local old = waiters(barrier, 2)
    barrier:abort()
    barrier:reset()
    local new = {}
    for i = 1, 3 do new[i] = spawn(wait, barrier) end
    local sorted = results(new)
    table.sort(sorted)
    lu.assertEquals(sorted, { 0, 1, 2 })
    lu.assertEquals(results(old), { "broken", "broken" })
  end
end

-- 34
function TestBarrier.testResetDuringTheActionBreaksThatPassOnly()
  local begun, go = threading.Event(), threading.Event()
  local barrier = sync.Barrier(2, function()
    begun:set()
    go:wait(60)
  end)
  local threads = waiters(barrier, 1)
  threads[2] = spawn(wait, barrier)
  begun:wait(60)
  barrier:reset()
  lu.assertFalse(barrier.broken)
  go:set()
  lu.assertEquals(results(threads), { "broken", "broken" })
  lu.assertFalse(barrier.broken)
  local waiter = waiters(barrier, 1)[1]
  lu.assertEquals(barrier:wait(), 1)
  lu.assertEquals(waiter:result(60), 0)
end

-- 35
function TestBarrier.testNWaitingCountsThoseWhoFillIt()
  local n = 3
  local barrier
  local during
  barrier = sync.Barrier(n, function() during = barrier.n_waiting end)
  lu.assertEquals(barrier.parties, n)
  lu.assertEquals(barrier.n_waiting, 0)
  local threads = {}
  for i = 1, n - 1 do
    threads[i] = waiters(barrier, 1)[1]
    lu.assertEquals(barrier.n_waiting, i)
  end
  barrier:wait()
  lu.assertEquals(during, 0)
  lu.assertEquals(barrier.n_waiting, 0)
  lu.assertEquals(results(threads), { 0, 1 })
end

function TestBarrier.testTheErrorHasItsClass()
  local barrier = sync.Barrier(2)
  barrier:abort()
  local ok, err = pcall(barrier.wait, barrier)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(err, errors.BrokenBarrierError))
  lu.assertStrContains(tostring(err), "BrokenBarrierError: the barrier is broken")
end

function TestBarrier.testKeepsItsActionAlive()
  local weak = setmetatable({}, { __mode = "v" })
  weak.action = setmetatable({}, { __call = function() end })
  do
    local barrier = sync.Barrier(1, weak.action)
    collectgarbage()
    lu.assertNotNil(weak.action)
    barrier:wait()
  end
  collectgarbage()
  collectgarbage()
  lu.assertNil(weak.action)
end

function TestBarrier.testTostring()
  local barrier = sync.Barrier(2)
  lu.assertEquals(tostring(barrier), "<Barrier parties=2 waiting=0>")
  barrier:abort()
  lu.assertEquals(tostring(barrier), "<Barrier parties=2 broken>")
end

return { TestBarrier = TestBarrier }

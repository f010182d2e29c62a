--- multiprocessing.Semaphore and BoundedSemaphore: what threading's promise
-- (behaviours 22 to 25), and what is between processes: 107, 108.
local lu = require("luaunit")
local mp = require("multiprocessing")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local children = require("support.children")
local killed = require("support.killed")
local leave = require("support.leave")
local shared_suite = require("support.shared_suite")

local LIMIT = 30 -- seconds

local TestSemaphore = {}

-- 107
function TestSemaphore.testItsValueIsThatOfAllProcesses()
  local s = mp.Semaphore(3)
  lu.assertEquals(s:get_value(), 3)
  s:acquire()
  local _, message = children.outcome(function(sender)
    sender:send_bytes(s:get_value())
    s:acquire()
    s:acquire()
    sender:send_bytes(tostring(s:acquire(false)))
    s:release(3)
  end)
  lu.assertEquals(message, "2 false")
  lu.assertEquals(s:get_value(), 3)
end

-- 23, 107
function TestSemaphore.testAReleaseReachesAnotherProcess()
  local s = mp.Semaphore(0)
  local process = mp.Process(function() leave(s:acquire(true, LIMIT) and 5 or 1) end):start()
  time.sleep(0.01)
  s:release()
  lu.assertTrue(process:join(LIMIT))
  lu.assertEquals(process.exitcode, 5)
  lu.assertEquals(s:get_value(), 0) -- it ended in order: consumed
end

-- 24, 107
function TestSemaphore.testTheBoundIsThatOfAllProcesses()
  local s = mp.BoundedSemaphore(2)
  s:acquire()
  lu.assertEquals((children.outcome(function()
    leave(pcall(s.release, s, 2) and 1 or 0)
  end)), 0)
  lu.assertEquals(s:get_value(), 1)
  lu.assertEquals((children.outcome(function() s:release() end)), 0)
  lu.assertErrorMsgContains("released too often", s.release, s)
  lu.assertEquals(s:get_value(), 2)
end

-- 108
function TestSemaphore.testTheDeadsPermitsReturn()
  local s = mp.Semaphore(3)
  killed(function()
    s:acquire()
    s:acquire()
    s:acquire()
    s:release()
  end)
  lu.assertEquals(s:get_value(), 3)
  killed(function() for _ = 1, 3 do s:acquire() end end)
  lu.assertTrue(s:acquire(false))
  lu.assertTrue(s:acquire(true, LIMIT))
  lu.assertEquals(s:get_value(), 1)
end

-- 108
function TestSemaphore.testAWaiterGetsTheDeadsPermit()
  local s, taken = mp.Semaphore(1), mp.Event()
  local process = mp.Process(function()
    s:acquire()
    taken:set()
    time.sleep(LIMIT)
  end):start()
  lu.assertTrue(taken:wait(LIMIT))
  local waiter = threading.Thread(function() return s:acquire(true, LIMIT) end):start()
  blocked("mp semaphore", waiter)
  process:kill()
  process:join()
  lu.assertTrue(waiter:result(LIMIT))
  lu.assertEquals(s:get_value(), 0)
end

-- However a process ends in order, what it acquired is consumed.
function TestSemaphore.testAnOrderlyEndConsumes()
  local s = mp.Semaphore(10)
  for i, ending in ipairs({
    function() end,
    function() leave(0) end,
    function() leave(0, true) end,
    function() threading.Thread(leave, 0, true):start():join() end,
    function() io.stderr:close() error("reported nowhere") end,
  }) do
    children.outcome(function()
      s:acquire()
      ending()
    end)
    lu.assertEquals(s:get_value(), 10 - i)
  end
end

function TestSemaphore.testACollectedHandleConsumes()
  local s = mp.Semaphore(2)
  killed(function()
    s:acquire()
    s = nil
    collectgarbage()
    collectgarbage()
  end)
  lu.assertEquals(s:get_value(), 1)
end

function TestSemaphore.testTooManyPermitsAreRefused()
  lu.assertErrorMsgContains("bad argument #1", mp.Semaphore, 2 ^ 31 | 0)
  local s = mp.Semaphore(2 ^ 31 - 1 | 0)
  lu.assertErrorMsgContains("too large", s.release, s)
  lu.assertEquals(s:get_value(), 2 ^ 31 - 1)
end

local classes = shared_suite("semaphore", {
  testWaitersAreServedInOrder = true, -- nearly: see IPC_LOOK_FIRST
  testReleaseNWakesUpToNWaiters = true, -- which of them is not promised
})
classes.TestMultiprocessingSemaphore = TestSemaphore
return classes

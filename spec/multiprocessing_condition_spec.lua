--- multiprocessing.Condition: what threading's promises (behaviours 14 to 21),
-- and what is between processes: 107, 108.
local lu = require("luaunit")
local errors = require("errors")
local mp = require("multiprocessing")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local children = require("support.children")
local leave = require("support.leave")
local shared_suite = require("support.shared_suite")
local stopped = require("support.stopped")

local LIMIT = 30 -- seconds

local function waiters_of(cond) return tonumber(tostring(cond):match("waiters=(%d+)")) end

--- A process that waits; its exit code tells how that ended.
local function waiter_of(cond, timeout)
  local locked = mp.Semaphore(0)
  local process = mp.Process(function()
    cond:acquire()
    locked:release()
    local notified = cond:wait(timeout or LIMIT)
    cond:release()
    leave(notified and 5 or 6)
  end):start()
  locked:acquire()
  cond:with(function() end) -- free only once it waits
  return process
end

local TestCondition = {}

-- 17, 107
function TestCondition.testNotifiesTheOldestProcesses()
  local cond = mp.Condition()
  local processes = {}
  for i = 1, 4 do processes[i] = waiter_of(cond) end
  cond:with(function() cond:notify(2) end)
  lu.assertEquals(children.exitcode(processes[1]), 5)
  lu.assertEquals(children.exitcode(processes[2]), 5)
  lu.assertEquals(waiters_of(cond), 2)
  cond:with(function() cond:notify_all() end)
  lu.assertEquals(children.exitcode(processes[3]), 5)
  lu.assertEquals(children.exitcode(processes[4]), 5)
end

-- 18, 19, 107
function TestCondition.testATimeoutIsAProcesssOwn()
  local cond = mp.Condition(mp.Lock())
  local impatient = waiter_of(cond, 0.05)
  local patient = waiter_of(cond)
  lu.assertEquals(children.exitcode(impatient), 6)
  cond:with(function() cond:notify() end)
  lu.assertEquals(children.exitcode(patient), 5)
end

-- 108: a killed waiter is not notified in the place of a living one.
function TestCondition.testANotificationPassesOverTheDead()
  local cond = mp.Condition()
  local dead, second = waiter_of(cond), waiter_of(cond)
  dead:kill()
  dead:join()
  cond:with(function() cond:notify() end)
  lu.assertEquals(children.exitcode(second), 5)
  lu.assertEquals(waiters_of(cond), 0)
end

-- 108: nor is one that is killed before it has done anything with it.
function TestCondition.testANotificationOfTheDyingPassesOn()
  local cond = mp.Condition()
  local dying, second = waiter_of(cond), waiter_of(cond)
  stopped(dying.pid)
  cond:with(function() cond:notify() end)
  local late = waiter_of(cond, 0.5)
  dying:kill()
  dying:join()
  lu.assertEquals(children.exitcode(second), 5)
  lu.assertEquals(children.exitcode(late), 6) -- came after it
end

-- 108
function TestCondition.testTheDeathOfTheLocksOwnerEndsTheWaitToldSo()
  for _, new in ipairs({ mp.Lock, mp.RLock }) do
    local cond, held = mp.Condition(new()), mp.Event()
    local waiter = threading.Thread(function()
      cond:acquire()
      local ok, err = pcall(cond.wait, cond)
      local locked = pcall(cond.notify, cond)
      cond:release()
      return ok, errors.is(err, errors.OwnerDied), locked
    end):start()
    blocked("mp condition", waiter)
    local process = mp.Process(function()
      cond:acquire()
      cond:notify()
      held:set()
      time.sleep(LIMIT)
    end):start()
    lu.assertTrue(held:wait(LIMIT))
    process:kill()
    process:join()
    lu.assertEquals({ waiter:result(LIMIT) }, { false, true, true })
  end
end

-- 16, 107
function TestCondition.testTheDepthIsRestored()
  local cond = mp.Condition()
  local _, message = children.outcome(function(sender)
    for _ = 1, 3 do cond:acquire() end
    cond:wait(0.01)
    sender:send_bytes(tostring(cond):match("count=(%d)"))
  end)
  lu.assertEquals(message, "3")
end

-- What is made under the lock in one process is seen in the other.
function TestCondition.testProducerAndConsumer()
  local cond, items = mp.Condition(mp.Lock()), mp.Semaphore(0)
  local process = mp.Process(function()
    local got = 0
    while got < 300 do
      local held <close> = cond:guard()
      cond:wait_for(function() return items:get_value() > 0 end, LIMIT)
      while items:acquire(false) do got = got + 1 end
    end
    leave(got == 300 and 5 or 1)
  end):start()
  for _ = 1, 300 do
    cond:with(function()
      items:release()
      cond:notify()
    end)
  end
  lu.assertEquals(children.exitcode(process), 5)
end

local classes = shared_suite("condition", {})
classes.TestMultiprocessingCondition = TestCondition
return classes

--- The end of the work in a queue: task_done, join and shutdown, behaviours 64 and
-- 66 to 68.
local lu = require("luaunit")
local queue = require("queue")
local threading = require("threading")
local blocked = require("support.blocked")
local queues = require("support.queues")

local each, filled = queues.each, queues.filled

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local TestQueueShutdown = {}

-- 64
function TestQueueShutdown.testTaskDoneAndJoin()
  each(0, function(q)
    q:join() -- nothing was put
    lu.assertErrorMsgContains("task_done", q.task_done, q)
    filled(q, 1, 2, 3)
    local joiner = spawn(q.join, q)
    for _ = 1, 3 do
      blocked("queue's tasks", joiner)
      q:get()
      q:task_done()
    end
    lu.assertTrue(joiner:join(60))
    q:join()
    q:join()
    lu.assertErrorMsgContains("task_done", q.task_done, q)
  end)
end

-- 64: what is handed straight to a getter counts as well
function TestQueueShutdown.testHandedOverItemsAreTasks()
  local q = queue.Queue()
  local getter = spawn(q.get, q)
  blocked("queue", getter)
  q:put(1)
  getter:join()
  local joiner = spawn(q.join, q)
  blocked("queue's tasks", joiner)
  q:task_done()
  lu.assertTrue(joiner:join(60))
end

-- 66
function TestQueueShutdown.testShutdown()
  each(3, function(q)
    filled(q, 1, 1)
    q:shutdown()
    local put, err = q:put(3)
    lu.assertNil(put)
    lu.assertIs(err, queue.ShutDown)
    lu.assertIs(select(2, q:put_nowait(3)), queue.ShutDown)
    lu.assertEquals(q:get(), 1)
    lu.assertEquals(q:get_nowait(), 1)
    local item
    item, err = q:get()
    lu.assertNil(item)
    lu.assertIs(err, queue.ShutDown)
    lu.assertIs(select(2, q:get_nowait()), queue.ShutDown)
    lu.assertIs(select(2, q:get(true, 0.01)), queue.ShutDown)
    lu.assertIs(select(2, q:get_many(2)), queue.ShutDown)
  end)
end

-- 66
function TestQueueShutdown.testShutdownWakesAll()
  each(1, function(q)
    local waiters = {}
    for i = 1, 3 do
      waiters[i] = spawn(q.get, q)
      blocked("queue", waiters[i])
    end
    waiters[4] = spawn(q.get_many, q, 5)
    blocked("queue", waiters[4])
    q:shutdown()
    for _, waiter in ipairs(waiters) do
      local item, err = waiter:result(60)
      lu.assertNil(item)
      lu.assertIs(err, queue.ShutDown)
    end
  end)
  each(1, function(q)
    q:put(1)
    local putters = {}
    for i = 1, 3 do
      putters[i] = spawn(q.put, q, i)
      blocked("full queue", putters[i])
    end
    q:shutdown()
    for _, putter in ipairs(putters) do
      local put, err = putter:result(60)
      lu.assertNil(put)
      lu.assertIs(err, queue.ShutDown)
    end
    lu.assertEquals(q:qsize(), 1)
    lu.assertEquals(q:get(), 1)
  end)
end

-- 67
function TestQueueShutdown.testShutdownAtOnceDropsItems()
  each(0, function(q)
    for i = 1, 100 do q:put(i) end
    local joiner = spawn(q.join, q)
    blocked("queue's tasks", joiner)
    q:shutdown(true)
    lu.assertTrue(joiner:join(60))
    lu.assertEquals(q:qsize(), 0)
    lu.assertIs(select(2, q:get()), queue.ShutDown)
    lu.assertErrorMsgContains("task_done", q.task_done, q)
  end)
end

-- 67: an item at work still counts
function TestQueueShutdown.testShutdownAtOnceWaitsForWorkInHand()
  local q = filled(queue.Queue(), 1, 2, 3)
  q:get()
  q:shutdown(true)
  local joiner = spawn(q.join, q)
  blocked("queue's tasks", joiner)
  q:task_done()
  lu.assertTrue(joiner:join(60))
end

-- 68
function TestQueueShutdown.testShutdownAgain()
  each(0, function(q)
    filled(q, 1, 2)
    q:shutdown()
    q:shutdown()
    lu.assertEquals(q:qsize(), 2)
    q:get()
    q:task_done()
    q:shutdown(true)
    q:shutdown()
    lu.assertTrue(q:empty())
    q:join()
  end)
end

-- 68
function TestQueueShutdown.testTasksOutliveAShutdown()
  each(0, function(q)
    filled(q, 1, 2)
    q:shutdown()
    local joiner = spawn(q.join, q)
    blocked("queue's tasks", joiner)
    for _ = 1, 2 do
      q:get()
      q:task_done()
    end
    lu.assertTrue(joiner:join(60))
  end)
end

function TestQueueShutdown.testIterEndsAtShutdown()
  each(0, function(q)
    local consumer = spawn(function()
      local items = {}
      for item in q:iter() do table.insert(items, item) end
      return items
    end)
    blocked("queue", consumer)
    filled(q, 1, 2)
    q:shutdown()
    lu.assertItemsEquals(consumer:result(60), { 1, 2 })
  end)
end

-- A false item is an item; a nil one ends the loop, but not the queue.
function TestQueueShutdown.testIterGoesOnAfterFalse()
  for _, make in ipairs({ queue.Queue, queue.LifoQueue }) do
    local q = make()
    local consumer = spawn(function()
      local items = {}
      for item in q:iter() do table.insert(items, item) end
      return items
    end)
    for _, item in ipairs({ 1, false, 2, false }) do
      blocked("queue", consumer) -- each is handed over
      q:put(item)
    end
    blocked("queue", consumer)
    q:shutdown()
    lu.assertEquals(consumer:result(60), { 1, false, 2, false })
  end
  local q, items = filled(queue.Queue(), false, 1, false), {}
  q:put(nil)
  q:put("left")
  for item in q:iter() do table.insert(items, item) end
  lu.assertEquals(items, { false, 1, false })
  lu.assertEquals(q:get(), "left")
end

return { TestQueueShutdown = TestQueueShutdown }

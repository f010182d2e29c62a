--- queue.Queue, LifoQueue and PriorityQueue: behaviours 61 to 68 and 70.
local lu = require("luaunit")
local errors = require("errors")
local gil = require("gil")
local queue = require("queue")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local eventually = require("support.eventually")

local kinds = { queue.Queue, queue.LifoQueue, queue.PriorityQueue }

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local function filled(q, ...)
  for _, item in ipairs({ ... }) do lu.assertTrue(q:put(item)) end
  return q
end

local function drained(q)
  local items = {}
  while not q:empty() do table.insert(items, (q:get())) end
  return items
end

--- Runs f for each kind of queue, with a queue of that size.
local function each(maxsize, f)
  for _, make in ipairs(kinds) do f(make(maxsize)) end
end

local TestQueue = {}

function TestQueue.tearDown()
  gil.switch_interval(0.005)
  collectgarbage("incremental", 200, 100, 13)
end

-- 61
function TestQueue.testOrder()
  lu.assertEquals(drained(filled(queue.Queue(), 3, 1, 2)), { 3, 1, 2 })
  lu.assertEquals(drained(filled(queue.LifoQueue(), 3, 1, 2)), { 2, 1, 3 })
  lu.assertEquals(drained(filled(queue.PriorityQueue(), 3, 1, 2)), { 1, 2, 3 })
end

-- 61
function TestQueue.testOrderOfManyItems()
  local fifo, lifo, least = queue.Queue(), queue.LifoQueue(), queue.PriorityQueue()
  local n = 3000
  for i = 1, n do
    fifo:put(i)
    lifo:put(i)
    least:put(i * 7919 % n)
  end
  for i = 1, n do
    lu.assertEquals(fifo:get(), i)
    lu.assertEquals(lifo:get(), n + 1 - i)
    lu.assertEquals(least:get(), i - 1)
  end
end

-- 61: ups and downs over the edges of blocks
function TestQueue.testFifoWhileItGrowsAndShrinks()
  local q, put, got = queue.Queue(), 0, 0
  for round = 1, 200 do
    for _ = 1, round % 97 do
      put = put + 1
      q:put(put)
    end
    for _ = 1, round % 89 do
      if q:empty() then break end
      got = got + 1
      lu.assertEquals(q:get(), got)
    end
    lu.assertEquals(q:qsize(), put - got)
  end
end

-- 61
function TestQueue.testNoMaxsizeMeansNoLimit()
  for _, maxsize in ipairs({ 0, -1, -5 }) do
    each(maxsize, function(q)
      for i = 1, 200 do lu.assertTrue(q:put(i, false)) end
      lu.assertFalse(q:full())
    end)
  end
end

function TestQueue.testOptions()
  lu.assertTrue(filled(queue.Queue({ maxsize = 1 }), 1):full())
  lu.assertTrue(filled(queue.LifoQueue({ maxsize = 1 }), 1):full())
  lu.assertTrue(filled(queue.PriorityQueue({ maxsize = 1 }), 1):full())
  lu.assertErrorMsgContains("unknown option 'size'", queue.Queue, { size = 1 })
  lu.assertErrorMsgContains("bad argument #1", queue.Queue, "many")
  lu.assertErrorMsgContains("bad argument #1", queue.Queue, 1.5)
  lu.assertErrorMsgContains("bad argument #2", queue.PriorityQueue, { key = 1 })
  lu.assertErrorMsgContains("bad argument #3", queue.PriorityQueue, { lt = "<" })
end

function TestQueue.testItemsMayBeNilOrFalse()
  for _, make in ipairs({ queue.Queue, queue.LifoQueue, queue.SimpleQueue }) do
    local q = make()
    for _ = 1, 100 do
      q:put(nil)
      q:put(false)
    end
    lu.assertEquals(q:qsize(), 200)
    local none = 0
    for _ = 1, 200 do
      local results = table.pack(q:get())
      lu.assertEquals(results.n, 1)
      if results[1] == nil then none = none + 1 end
    end
    lu.assertEquals(none, 100)
  end
  local waiter = queue.Queue()
  local thread = spawn(function() return select("#", waiter:get()) end)
  blocked("queue", thread)
  waiter:put(nil)
  lu.assertEquals(thread:result(60), 1)
end

function TestQueue.testPriorityByFirstElement()
  local q = queue.PriorityQueue()
  for i, priority in ipairs({ 5, 1, 5, 1, 3 }) do q:put({ priority, i }) end
  local order = {}
  while not q:empty() do table.insert(order, q:get()[2]) end
  lu.assertEquals(order, { 2, 4, 5, 1, 3 }) -- equal ones keep their order
end

function TestQueue.testPriorityByMetamethod()
  local mt = {}
  function mt.__lt(a, b) return a.rank < b.rank end
  local q = queue.PriorityQueue()
  for _, rank in ipairs({ 4, 2, 9, 1 }) do q:put(setmetatable({ rank = rank }, mt)) end
  local ranks = {}
  while not q:empty() do table.insert(ranks, q:get().rank) end
  lu.assertEquals(ranks, { 1, 2, 4, 9 })
end

function TestQueue.testPriorityByKeyAndLt()
  local calls = 0
  local q = queue.PriorityQueue({
    key = function(item)
      calls = calls + 1
      return #item
    end,
    lt = function(a, b) return a > b end,
  })
  lu.assertEquals(drained(filled(q, "a", "ccc", "bb")), { "ccc", "bb", "a" })
  lu.assertEquals(calls, 3)
  q = queue.PriorityQueue({ lt = function(a, b) return a.x < b.x end })
  lu.assertEquals(drained(filled(q, { x = 2 }, { x = 1 })), { { x = 1 }, { x = 2 } })
  q = queue.PriorityQueue({ key = function(item) return item or 5 end })
  q:put(nil)
  q:put(7)
  q:put(1)
  lu.assertEquals({ q:get(), select("#", q:get()), q:get() }, { 1, 1, 7 })
end

-- 62
function TestQueue.testEmptyAndFullAreToldAtOnce()
  each(1, function(q)
    local item, err = q:get(false)
    lu.assertNil(item)
    lu.assertIs(err, queue.Empty)
    lu.assertIs(select(2, q:get_nowait()), queue.Empty)
    lu.assertIs(select(2, q:get(true, 0)), queue.Empty)
    lu.assertTrue(q:put_nowait(1))
    local put
    put, err = q:put(2, false)
    lu.assertNil(put)
    lu.assertIs(err, queue.Full)
    lu.assertIs(select(2, q:put_nowait(2)), queue.Full)
    lu.assertIs(select(2, q:put(2, true, 0)), queue.Full)
    lu.assertEquals(q:qsize(), 1)
  end)
end

-- 62
function TestQueue.testTimeouts()
  each(1, function(q)
    local start = time.monotonic()
    lu.assertIs(select(2, q:get(true, 0.05)), queue.Empty)
    lu.assertTrue(q:put(1, true, 0.05))
    lu.assertIs(select(2, q:put(2, true, 0.05)), queue.Full)
    local took = time.monotonic() - start
    lu.assertTrue(took > 0.06 and took < 1, took)
    lu.assertEquals(q:get(true, 0.05), 1)
  end)
end

-- 62
function TestQueue.testBadArgumentsChangeNothing()
  each(2, function(q)
    for _, timeout in ipairs({ -1, -0.001, 0 / 0, "soon", {} }) do
      lu.assertErrorMsgContains("bad argument #3 to 'put'", function()
        q:put(1, true, timeout)
      end)
      lu.assertErrorMsgContains("bad argument #2 to 'get'", function()
        q:get(true, timeout)
      end)
      lu.assertErrorMsgContains("bad argument #2 to 'get_many'", function()
        q:get_many(1, timeout)
      end)
    end
    lu.assertErrorMsgContains("bad argument #1 to 'put'", function() q:put() end)
    lu.assertErrorMsgContains("bad argument #1 to 'get'", function() q:get(1.5) end)
    lu.assertErrorMsgContains("bad argument #2 to 'put'", function() q:put(1, 5) end)
    lu.assertErrorMsgContains("bad argument #1 to 'get_many'", function()
      q:get_many(0)
    end)
    lu.assertErrorMsgContains("bad argument #1 to 'get_many'", function()
      q:get_many()
    end)
    lu.assertErrorMsgContains("bad argument #1 to 'shutdown'", function()
      q:shutdown("now")
    end)
    lu.assertError(q.put, {}, 1)
    lu.assertError(q.get, nil)
    lu.assertError(q.get, io.stdout)
    lu.assertEquals(q:qsize(), 0)
    lu.assertTrue(q:put(1, false))
  end)
end

-- 63
function TestQueue.testPutWakesGetter()
  each(0, function(q)
    local getter = spawn(q.get, q)
    blocked("queue", getter)
    lu.assertTrue(q:put(17))
    lu.assertEquals(getter:result(60), 17)
    lu.assertTrue(q:empty())
  end)
end

-- 63
function TestQueue.testGetWakesPutter()
  each(1, function(q)
    q:put(1)
    local putter = spawn(q.put, q, 2)
    blocked("full queue", putter)
    lu.assertEquals(q:qsize(), 1)
    lu.assertEquals(q:get(), 1)
    lu.assertTrue(putter:result(60))
    lu.assertEquals(q:get(), 2)
  end)
end

-- 63
function TestQueue.testWaitersAreServedInOrder()
  local q = queue.Queue()
  local getters = {}
  for i = 1, 4 do
    getters[i] = spawn(q.get, q)
    blocked("queue", getters[i])
  end
  filled(q, "a", "b", "c", "d")
  for i, item in ipairs({ "a", "b", "c", "d" }) do
    lu.assertEquals(getters[i]:result(60), item)
  end
  q = filled(queue.Queue(1), 0)
  local putters = {}
  for i = 1, 4 do
    putters[i] = spawn(q.put, q, i)
    blocked("full queue", putters[i])
  end
  for i = 0, 4 do lu.assertEquals(q:get(), i) end
  for i = 1, 4 do lu.assertTrue(putters[i]:result(60)) end
end

--- Producers put {i, producer}; consumers count what comes, until a stop mark.
local function exchange(q, producers, consumers, n)
  local seen = {}
  local function produce(me)
    for i = 1, n do assert(q:put({ i, me })) end
  end
  local function consume()
    local count = 0
    while true do
      local item = assert(q:get())
      if item[1] == math.huge then return count end
      local key = item[2] * n + item[1]
      if seen[key] then error("delivered twice") end
      seen[key] = true
      count = count + 1
    end
  end
  local threads = {}
  for _ = 1, consumers do table.insert(threads, spawn(consume)) end
  local _, failed = bunch(producers, produce)
  lu.assertEquals(failed, {})
  eventually(function() return q:empty() end)
  for _ = 1, consumers do q:put({ math.huge, 0 }) end
  local total = 0
  for _, thread in ipairs(threads) do total = total + thread:result(60) end
  lu.assertEquals(total, producers * n)
end

-- 63
function TestQueue.testEightByEightEachItemOnce()
  gil.switch_interval(20e-6)
  for _, maxsize in ipairs({ 0, 1, 7 }) do
    each(maxsize, function(q) exchange(q, 8, 8, 300) end)
  end
end

-- 63: the order of one producer holds for each consumer
function TestQueue.testFifoPerProducer()
  gil.switch_interval(20e-6)
  for _, make in ipairs({ queue.Queue, queue.SimpleQueue }) do
    local q = make(5)
    local consumers = {}
    for c = 1, 4 do
      consumers[c] = spawn(function()
        local last = {}
        while true do
          local item = q:get()
          if not item then return true end
          if item[2] <= (last[item[1]] or 0) then return false end
          last[item[1]] = item[2]
        end
      end)
    end
    bunch(4, function(me)
      for i = 1, 500 do q:put({ me, i }) end
    end)
    for _ = 1, 4 do q:put(false) end
    for _, consumer in ipairs(consumers) do lu.assertTrue(consumer:result(60)) end
  end
end

-- 63: a getter whose time is up just when an item comes gets it or leaves it
function TestQueue.testNothingIsLostByTimeouts()
  gil.switch_interval(20e-6)
  each(3, function(q)
    local n, done = 1000, false
    local function consume()
      local sum = 0
      while not done or not q:empty() do
        sum = sum + (q:get(true, math.random() * 0.0002) or 0)
      end
      return sum
    end
    local function produce()
      for i = 1, n do
        while not q:put(i, true, math.random() * 0.0002) do end
      end
    end
    local consumers = {}
    for i = 1, 4 do consumers[i] = spawn(consume) end
    bunch(2, produce)
    done = true
    local sum = 0
    for _, consumer in ipairs(consumers) do sum = sum + consumer:result(60) end
    lu.assertEquals(sum, 2 * n * (n + 1) // 2)
  end)
end

-- 63: an item that is put after a getter was cancelled goes to another one
function TestQueue.testCancelledGetterTakesNothing()
  each(0, function(q)
    for i = 1, 30 do
      local first, second = spawn(q.get, q), spawn(q.get, q)
      blocked("queue", first, second)
      first:cancel()
      q:put(i)
      lu.assertEquals(second:result(60), i)
      local ok, err = pcall(first.result, first, 60)
      lu.assertFalse(ok)
      lu.assertTrue(errors.is(err, errors.Cancelled))
    end
  end)
end

-- 63: or stays where it is
function TestQueue.testItemForACancelledGetterStays()
  each(0, function(q)
    for i = 1, 30 do
      local getter = spawn(q.get, q)
      blocked("queue", getter)
      getter:cancel()
      q:put(i)
      lu.assertTrue(getter:join(60))
      lu.assertEquals(q:get(false), i)
    end
  end)
end

-- 63: an item that comes together with a cancel is delivered or stays
function TestQueue.testCancelsAimedAtGetters()
  gil.switch_interval(20e-6)
  each(0, function(q)
    local delivered, stayed = 0, 0
    for i = 1, 200 do
      local getter = spawn(q.get, q)
      if i % 2 == 0 then blocked("queue", getter) end
      if i % 4 < 2 then q:put(i) end
      if i % 3 == 0 then time.sleep(0) end
      getter:cancel()
      if i % 4 >= 2 then q:put(i) end
      if pcall(getter.result, getter, 60) then
        lu.assertEquals(getter:result(), i)
        delivered = delivered + 1
      else
        lu.assertEquals(q:get(false), i)
        stayed = stayed + 1
      end
      lu.assertTrue(q:empty())
    end
    lu.assertTrue(delivered > 0 and stayed > 0)
  end)
end

-- 63
function TestQueue.testCancelledPutterHasPutNothing()
  each(1, function(q)
    q:put(1)
    local putter = spawn(q.put, q, 2)
    blocked("full queue", putter)
    putter:cancel()
    lu.assertFalse(pcall(putter.result, putter, 60))
    lu.assertEquals(q:get(), 1)
    lu.assertTrue(q:empty())
    lu.assertTrue(q:put(3, false))
  end)
end

-- 64
function TestQueue.testTaskDoneAndJoin()
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
function TestQueue.testHandedOverItemsAreTasks()
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

-- 65
function TestQueue.testComparisonThatRaisesChangesNothing()
  local q = queue.PriorityQueue(3)
  filled(q, 2, 1)
  lu.assertErrorMsgContains("compare", q.put, q, "three")
  lu.assertEquals(q:qsize(), 2)
  lu.assertTrue(q:put(3))
  lu.assertEquals(drained(q), { 1, 2, 3 })

  local strict = false
  q = queue.PriorityQueue({
    lt = function(a, b)
      if strict then error("not now", 0) end
      return a < b
    end,
  })
  filled(q, 4, 3, 2, 1)
  strict = true
  lu.assertErrorMsgEquals("not now", q.put, q, 0)
  lu.assertErrorMsgEquals("not now", q.get, q)
  lu.assertErrorMsgEquals("not now", q.get_many, q, 2)
  lu.assertEquals(q:qsize(), 4)
  strict = false
  lu.assertEquals(drained(q), { 1, 2, 3, 4 })

  q = queue.PriorityQueue({ key = function() error("no key", 0) end })
  lu.assertErrorMsgEquals("no key", q.put, q, 1)
  lu.assertTrue(q:empty())
  q:join()
end

-- 65: a putter that waited for its place and cannot be compared gives it back
function TestQueue.testComparisonThatRaisesAfterTheWait()
  local q = filled(queue.PriorityQueue(2), 1, 2)
  local bad = spawn(function() return pcall(q.put, q, "x") end)
  blocked("full queue", bad)
  local good = spawn(q.put, q, 3)
  blocked("full queue", good)
  lu.assertEquals(q:get(), 1)
  local ok, message = bad:result(60)
  lu.assertFalse(ok)
  lu.assertStrContains(message, "compare")
  lu.assertTrue(good:result(60))
  lu.assertEquals(drained(q), { 2, 3 })
  lu.assertTrue(q:put(1, false))
  lu.assertTrue(q:put(1, false))
  lu.assertIs(select(2, q:put(1, false)), queue.Full)
end

-- 65: get_many delivers what it has when a later comparison raises
function TestQueue.testGetManyLosesNothingToAnError()
  local left = math.huge
  local q = queue.PriorityQueue({
    lt = function(a, b)
      left = left - 1
      if left < 0 then error("enough", 0) end
      return a < b
    end,
  })
  for i = 1, 20 do q:put(i) end
  left = 12
  local some = q:get_many(20)
  lu.assertTrue(some.n >= 1 and some.n < 20)
  lu.assertErrorMsgEquals("enough", q.get, q)
  left = math.huge
  local rest = drained(q)
  lu.assertEquals(#rest, 20 - some.n)
  lu.assertEquals(rest[1], some.n + 1)
end

-- 65: a comparison that lets others use the queue meanwhile
function TestQueue.testComparisonsThatSwitch()
  gil.switch_interval(20e-6)
  local q = queue.PriorityQueue({
    lt = function(a, b)
      time.sleep(0)
      return a < b
    end,
  })
  local results = bunch(6, function(me)
    local sum = 0
    for i = 1, 60 do
      q:put(me * 1000 + i)
      sum = sum + q:get()
    end
    return sum
  end)
  local total, expected = 0, 0
  for me = 1, 6 do
    total = total + results[me]
    for i = 1, 60 do expected = expected + me * 1000 + i end
  end
  lu.assertEquals(total, expected)
  lu.assertTrue(q:empty())
end

-- 65: or uses the queue itself
function TestQueue.testComparisonThatUsesTheQueue()
  local q, again
  q = queue.PriorityQueue({
    lt = function(a, b)
      if again then
        again = false
        q:put(0)
      end
      return a < b
    end,
  })
  filled(q, 5, 3)
  again = true
  q:put(4)
  lu.assertEquals(drained(q), { 0, 3, 4, 5 })
  filled(q, 5, 3, 4)
  again = true
  local first = q:get()
  lu.assertEquals(first, 0)
  lu.assertEquals(drained(q), { 3, 4, 5 })
end

-- 66
function TestQueue.testShutdown()
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
function TestQueue.testShutdownWakesAll()
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
function TestQueue.testShutdownAtOnceDropsItems()
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
function TestQueue.testShutdownAtOnceWaitsForWorkInHand()
  local q = filled(queue.Queue(), 1, 2, 3)
  q:get()
  q:shutdown(true)
  local joiner = spawn(q.join, q)
  blocked("queue's tasks", joiner)
  q:task_done()
  lu.assertTrue(joiner:join(60))
end

-- 68
function TestQueue.testShutdownAgain()
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
function TestQueue.testTasksOutliveAShutdown()
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

-- 70
function TestQueue.testDroppedQueueFreesItems()
  for _, make in ipairs({
    queue.Queue, queue.LifoQueue, queue.PriorityQueue, queue.SimpleQueue,
  }) do
    local items = setmetatable({}, { __mode = "k" })
    local q = make()
    for i = 1, 200 do
      local item = { i }
      items[item] = true
      q:put(item)
    end
    for _ = 1, 100 do q:get() end
    collectgarbage()
    collectgarbage()
    local alive = 0
    for _ in pairs(items) do alive = alive + 1 end
    lu.assertEquals(alive, 100) -- what was taken is not kept
    lu.assertEquals(q:qsize(), 100)
    q = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    lu.assertNil(next(items))
  end
end

-- 70
function TestQueue.testSizes()
  each(2, function(q)
    lu.assertEquals({ q:qsize(), q:empty(), q:full() }, { 0, true, false })
    q:put(1)
    lu.assertEquals({ q:qsize(), q:empty(), q:full() }, { 1, false, false })
    q:put(1)
    lu.assertEquals({ q:qsize(), q:empty(), q:full() }, { 2, false, true })
  end)
end

function TestQueue.testIterEndsAtShutdown()
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

function TestQueue.testGetMany()
  local q = filled(queue.Queue(), 1, 2, 3, 4, 5)
  lu.assertEquals(q:get_many(2), { 1, 2, n = 2 })
  lu.assertEquals(q:get_many(100), { 3, 4, 5, n = 3 })
  lu.assertIs(select(2, q:get_many(1, 0)), queue.Empty)
  lu.assertIs(select(2, q:get_many(1, 0.01)), queue.Empty)
  q:put(nil)
  q:put(false)
  lu.assertEquals(q:get_many(math.maxinteger), { nil, false, n = 2 })
  lu.assertEquals(drained(q), {})
  local getter = spawn(q.get_many, q, 10)
  blocked("queue", getter)
  q:put("x")
  lu.assertEquals(getter:result(60), { "x", n = 1 })
end

function TestQueue.testGetManyAdmitsPutters()
  each(2, function(q)
    filled(q, 1, 1)
    local putters = { spawn(q.put, q, 1), nil }
    blocked("full queue", putters[1])
    putters[2] = spawn(q.put, q, 1)
    blocked("full queue", putters[2])
    local n = 0
    while n < 4 do n = n + q:get_many(4).n end
    for _, putter in ipairs(putters) do lu.assertTrue(putter:result(60)) end
    lu.assertTrue(q:empty())
  end)
end

function TestQueue.testWaitAny()
  each(0, function(q)
    lu.assertEquals(#threading.wait_any({ q }, 0), 0)
    local waiter = spawn(threading.wait_any, { q }, 60)
    eventually(function() return waiter:is_alive() end)
    q:put(1)
    lu.assertIs(waiter:result(60)[1], q)
    lu.assertEquals(q:qsize(), 1)
    lu.assertIs(threading.wait_any({ q }, 0)[1], q)
  end)
end

function TestQueue.testTostring()
  lu.assertEquals(tostring(filled(queue.Queue(), 1, 2, 3)), "<Queue size=3 maxsize=0>")
  lu.assertEquals(tostring(queue.LifoQueue(4)), "<LifoQueue size=0 maxsize=4>")
  lu.assertEquals(tostring(queue.SimpleQueue()), "<SimpleQueue size=0>")
  local q = queue.PriorityQueue()
  q:shutdown()
  lu.assertEquals(tostring(q), "<PriorityQueue size=0 maxsize=0 shut down>")
end

--- Garbage whose finalizers use the queue, at every chance.
local function litter(f)
  local function drop()
    setmetatable({}, { __gc = function() if f() then drop() end end })
  end
  drop()
end

-- 59: a finalizer may interrupt any call, on any thread
function TestQueue.testFinalizersUseTheQueue()
  each(0, function(q)
    local put, on = 0, true
    collectgarbage("incremental", 1, 1000, 4)
    litter(function()
      if not on then return false end
      put = put + 1
      q:put(0)
      return true
    end)
    local got = 0
    for i = 1, 1500 do
      q:put(#("x"):rep(1000 + i) % 7) -- and some garbage
      put = put + 1
      if i % 3 > 0 then
        q:get()
        got = got + 1
      end
    end
    on = false
    collectgarbage()
    lu.assertTrue(put > 1505, "no finalizer ran")
    got = got + #drained(q)
    lu.assertEquals(got, put)
  end)
end

-- 59
function TestQueue.testWaitInAFinalizerRaises()
  local q, message = queue.Queue(), nil
  setmetatable({}, {
    __gc = function() message = select(2, pcall(q.get, q)) end,
  })
  collectgarbage()
  collectgarbage()
  lu.assertStrContains(message, "finalizer")
end

-- 63
function TestQueue.testUnderEachCollector()
  gil.switch_interval(50e-6)
  for _, mode in ipairs({ "generational", "incremental" }) do
    collectgarbage(mode)
    if mode == "incremental" then collectgarbage("incremental", 10, 1000, 5) end
    each(5, function(q) exchange(q, 4, 4, 200) end)
    each(0, function(q) exchange(q, 4, 4, 200) end)
  end
end

return { TestQueue = TestQueue }

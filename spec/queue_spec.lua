--- queue.Queue, LifoQueue and PriorityQueue: items, sizes, arguments; behaviours
-- 61, 62 and 70.
local lu = require("luaunit")
local queue = require("queue")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local queues = require("support.queues")

local each, filled, drained = queues.each, queues.filled, queues.drained

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local TestQueue = {}

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
    lu.assertTrue(took > 0.06 and took < 5, took)
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

function TestQueue.testTostring()
  lu.assertEquals(tostring(filled(queue.Queue(), 1, 2, 3)), "<Queue size=3 maxsize=0>")
  lu.assertEquals(tostring(queue.LifoQueue(4)), "<LifoQueue size=0 maxsize=4>")
  lu.assertEquals(tostring(queue.SimpleQueue()), "<SimpleQueue size=0>")
  local q = queue.PriorityQueue()
  q:shutdown()
  lu.assertEquals(tostring(q), "<PriorityQueue size=0 maxsize=0 shut down>")
end

return { TestQueue = TestQueue }

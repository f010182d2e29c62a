--- Threads that meet at a queue: each item is delivered once, behaviours 59 and 63.
local lu = require("luaunit")
local errors = require("errors")
local gil = require("gil")
local queue = require("queue")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local eventually = require("support.eventually")
local queues = require("support.queues")

local each, filled, drained = queues.each, queues.filled, queues.drained

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local TestQueueWaiting = {}

function TestQueueWaiting.tearDown()
  gil.switch_interval(0.005)
  collectgarbage("incremental", 200, 100, 13)
end

-- 63
function TestQueueWaiting.testPutWakesGetter()
  each(0, function(q)
    local getter = spawn(q.get, q)
    blocked("queue", getter)
    lu.assertTrue(q:put(17))
    lu.assertEquals(getter:result(60), 17)
    lu.assertTrue(q:empty())
  end)
end

-- 63
function TestQueueWaiting.testGetWakesPutter()
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
function TestQueueWaiting.testWaitersAreServedInOrder()
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

function TestQueueWaiting.testGetManyAdmitsPutters()
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

function TestQueueWaiting.testWaitAny()
  each(0, function(q)
    lu.assertEquals(#threading.wait_any({ q }, 0), 0)
    local waiter = spawn(threading.wait_any, { q }, 60)
    blocked("queue", waiter)
    q:put(1)
    lu.assertIs(waiter:result(60)[1], q)
    lu.assertEquals(q:qsize(), 1)
    lu.assertIs(threading.wait_any({ q }, 0)[1], q)
  end)
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
function TestQueueWaiting.testEightByEightEachItemOnce()
  gil.switch_interval(20e-6)
  for _, maxsize in ipairs({ 0, 1, 7 }) do
    each(maxsize, function(q) exchange(q, 8, 8, 300) end)
  end
end

-- 63: the order of one producer holds for each consumer
function TestQueueWaiting.testFifoPerProducer()
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

--- The items of many at a time.
local function take_many(q, max)
  local items = {}
  while true do
    local some, err = q:get_many(max)
    if not some then
      if err ~= queue.ShutDown then error(err) end
      return items
    end
    if some.n < 1 or some.n > max then error(("%d of %d"):format(some.n, max)) end
    table.move(some, 1, some.n, #items + 1, items)
  end
end

local function take_each(q)
  local items = {}
  for item in q:iter() do table.insert(items, item) end
  return items
end

--- Puts n items from each of 4 threads, and asserts that the consumers, which
-- end when the queue is shut down, have got each of them once.
local function assert_shared(q, consumers, n, before_the_end)
  local threads = {}
  for i, consume in ipairs(consumers) do threads[i] = spawn(consume) end
  local _, failed = bunch(4, function(me)
    for i = 1, n do assert(q:put((me - 1) * n + i)) end
  end)
  lu.assertEquals(failed, {})
  before_the_end(threads)
  q:shutdown()
  local all, expected = {}, {}
  for _, thread in ipairs(threads) do
    local items = thread:result(60)
    table.move(items, 1, #items, #all + 1, all)
  end
  table.sort(all)
  for i = 1, 4 * n do expected[i] = i end
  lu.assertEquals(all, expected)
  lu.assertTrue(q:empty())
end

-- 63
function TestQueueWaiting.testManyAtATimeAndIteratorsShareTheItems()
  gil.switch_interval(20e-6)
  local function at_once() end
  local function when_all_wait(threads) blocked("queue", table.unpack(threads)) end
  for _, maxsize in ipairs({ 0, 1, 7 }) do
    for _, before_the_end in ipairs({ at_once, when_all_wait }) do
      each(maxsize, function(q)
        assert_shared(q, {
          function() return take_many(q, 1) end,
          function() return take_many(q, 5) end,
          function() return take_many(q, 1000) end,
          function() return take_each(q) end,
          function() return take_each(q) end,
          function() return take_each(q) end,
        }, 200, before_the_end)
      end)
    end
  end
end

-- 63: a getter whose time is up just when an item comes gets it or leaves it
function TestQueueWaiting.testNothingIsLostByTimeouts()
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

-- 63
function TestQueueWaiting.testUnderEachCollector()
  gil.switch_interval(50e-6)
  for _, mode in ipairs({ "generational", "incremental" }) do
    collectgarbage(mode)
    if mode == "incremental" then collectgarbage("incremental", 10, 1000, 5) end
    each(5, function(q) exchange(q, 4, 4, 200) end)
    each(0, function(q) exchange(q, 4, 4, 200) end)
  end
end

-- 63: an item that is put after a getter was cancelled goes to another one
function TestQueueWaiting.testCancelledGetterTakesNothing()
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
function TestQueueWaiting.testItemForACancelledGetterStays()
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
function TestQueueWaiting.testCancelsAimedAtGetters()
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
function TestQueueWaiting.testCancelledPutterHasPutNothing()
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

--- Garbage whose finalizers use the queue, at every chance.
local function litter(f)
  local function drop()
    setmetatable({}, { __gc = function() if f() then drop() end end })
  end
  drop()
end

-- 59: a finalizer may interrupt any call, on any thread
function TestQueueWaiting.testFinalizersUseTheQueue()
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
function TestQueueWaiting.testWaitInAFinalizerRaises()
  local q, message = queue.Queue(), nil
  setmetatable({}, {
    __gc = function() message = select(2, pcall(q.get, q)) end,
  })
  collectgarbage()
  collectgarbage()
  lu.assertStrContains(message, "finalizer")
end

return { TestQueueWaiting = TestQueueWaiting }

--- What comes first in a queue.PriorityQueue: behaviour 65.
local lu = require("luaunit")
local gil = require("gil")
local queue = require("queue")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local queues = require("support.queues")

local filled, drained = queues.filled, queues.drained

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local TestPriorityQueue = {}

function TestPriorityQueue.tearDown()
  gil.switch_interval(0.005)
end

function TestPriorityQueue.testPriorityByFirstElement()
  local q = queue.PriorityQueue()
  for i, priority in ipairs({ 5, 1, 5, 1, 3 }) do q:put({ priority, i }) end
  local order = {}
  while not q:empty() do table.insert(order, q:get()[2]) end
  lu.assertEquals(order, { 2, 4, 5, 1, 3 }) -- equal ones keep their order
end

function TestPriorityQueue.testPriorityByMetamethod()
  local mt = {}
  function mt.__lt(a, b) return a.rank < b.rank end
  local q = queue.PriorityQueue()
  for _, rank in ipairs({ 4, 2, 9, 1 }) do q:put(setmetatable({ rank = rank }, mt)) end
  local ranks = {}
  while not q:empty() do table.insert(ranks, q:get().rank) end
  lu.assertEquals(ranks, { 1, 2, 4, 9 })
end

function TestPriorityQueue.testPriorityByKeyAndLt()
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

-- 65
function TestPriorityQueue.testComparisonThatRaisesChangesNothing()
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

-- A cancel that a comparison in get_many meets is raised there, or, once an item
-- was taken, by what comes next: with its message.
function TestPriorityQueue.testACancelInAComparisonKeepsItsMessage()
  for k = 1, 6 do
    local calls = -math.huge
    local q = queue.PriorityQueue({
      lt = function(a, b)
        calls = calls + 1
        if calls == k then threading.current_thread():cancel("why") end
        return a < b
      end,
    })
    filled(q, 4, 3, 2, 1)
    local t = threading.Thread(function()
      calls = 0
      q:get_many(4)
      while calls >= k do end -- until it is raised
    end):start()
    local ok, err = pcall(t.result, t, 60)
    lu.assertEquals(ok, calls < k)
    if not ok then lu.assertEquals(err.message, "why") end
  end
end

-- 65: a putter that waited for its place and cannot be compared gives it back
function TestPriorityQueue.testComparisonThatRaisesAfterTheWait()
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
function TestPriorityQueue.testGetManyLosesNothingToAnError()
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
function TestPriorityQueue.testComparisonsThatSwitch()
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
function TestPriorityQueue.testComparisonThatUsesTheQueue()
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

return { TestPriorityQueue = TestPriorityQueue }

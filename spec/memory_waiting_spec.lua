--- Failing allocations in what waits: locks, conditions, barriers, queues. They
--- are whole afterwards: nothing is held, no item is lost or there twice.
local lu = require("luaunit")
local mp = require("multiprocessing")
local queue = require("queue")
local threading = require("threading")
local blocked = require("support.blocked")
local exhaust = require("support.exhaust")

local until_blocked = exhaust.until_blocked

local LONG = 60 -- seconds

local TestMemory = {}

local function add(name, case) exhaust.add(TestMemory, name, case) end

-- Locks and the like ----------------------------------------------------------

local locks = { Lock = threading.Lock, RLock = threading.RLock,
  Condition = threading.Condition, Semaphore = function() return threading.Semaphore(1) end }
for name, make in pairs(locks) do
  local function check(lock)
    lu.assertTrue(lock:acquire(false)) -- it is free
    lock:release()
  end
  add(name .. "With", {
    make = make,
    act = function(lock) return lock:with(function(...) return ... end, 1, 2) end,
    check = check,
  })
  add(name .. "Guard", {
    make = make,
    act = function(lock)
      local held <close> = lock:guard()
      return { {} }
    end,
    check = check,
  })
  add(name .. "Waiting", {
    make = function()
      local lock = make()
      lock:acquire()
      return lock
    end,
    act = function(lock) return lock:with(function() return {} end) end,
    meanwhile = function(lock, thread)
      until_blocked(name == "Condition" and "rlock" or name:lower(), thread)
      lock:release()
    end,
    check = check,
  })
end

add("ConditionWaitAndNotify", {
  make = function() return { c = threading.Condition(), done = false } end,
  act = function(object)
    local held <close> = object.c:guard()
    return object.c:wait_for(function() return object.done end)
  end,
  meanwhile = function(object, thread)
    until_blocked("condition", thread)
    local held <close> = object.c:guard()
    object.done = true
    object.c:notify()
  end,
  check = function(object, failed, value)
    if not failed then lu.assertTrue(value) end
    lu.assertTrue(object.c:acquire(false))
    lu.assertEquals(tostring(object.c):match("waiters=%d+"), "waiters=0")
    object.c:release()
  end,
})

for name, action in pairs({ Barrier = false, BarrierWithAnAction = function() return {} end }) do
  add(name .. "Waiting", {
    make = function() return threading.Barrier(2, action or nil) end,
    act = function(barrier) return barrier:wait() end,
    meanwhile = function(barrier, thread)
      until_blocked("barrier", thread)
      if barrier.n_waiting == 1 then lu.assertEquals(barrier:wait(), 1) end
    end,
    check = function(barrier)
      lu.assertEquals(barrier.n_waiting, 0)
      lu.assertFalse(barrier.broken)
    end,
  })
  add(name .. "Coming", {
    make = function()
      local barrier = threading.Barrier(2, action or nil)
      local other = threading.Thread(pcall, barrier.wait, barrier):start()
      blocked("barrier", other)
      return { barrier = barrier, other = other }
    end,
    act = function(object) return object.barrier:wait() end,
    check = function(object, failed, index)
      local barrier = object.barrier
      if failed then -- before it took part, or in the action
        if barrier.broken then barrier:reset() else lu.assertEquals(barrier:wait(10), 1) end
      else
        lu.assertEquals(index, 1)
      end
      lu.assertTrue(object.other:join(LONG))
      lu.assertEquals(barrier.n_waiting, 0)
      local last = threading.Thread(barrier.wait, barrier, 10):start()
      barrier:wait(10) -- it can be used again
      last:join()
    end,
  })
end

add("WaitAny", {
  make = function() return { threading.Event(), queue.Queue(), threading.Event() } end,
  act = function(list) return threading.wait_any(list) end,
  meanwhile = function(list, thread)
    until_blocked("several things", thread)
    list[2]:put(1)
  end,
  check = function(list, failed, ready)
    if not failed then lu.assertEquals(ready, { list[2] }) end
    lu.assertEquals(list[2]:qsize(), 1)
    list[1]:set()
  end,
})

add("WaitAnyWithConnections", {
  make = function() return { threading.Event(), mp.Pipe() } end,
  act = function(list) return threading.wait_any(list) end,
  meanwhile = function(list, thread)
    until_blocked("several things", thread)
    list[2]:send_bytes("x")
  end,
  check = function(list, failed, ready)
    if not failed then lu.assertEquals(ready, { list[3] }) end
    lu.assertEquals(list[3]:recv_bytes(), "x")
    list[2]:close() -- nobody holds them
    list[3]:close()
  end,
})

-- Queues ----------------------------------------------------------------------

local BLOCK = 63 -- items in a block of a FIFO
local kinds = {
  Queue = queue.Queue,
  LifoQueue = queue.LifoQueue,
  PriorityQueue = queue.PriorityQueue,
  SimpleQueue = queue.SimpleQueue,
  KeyedQueue = function(maxsize)
    return queue.PriorityQueue({ maxsize = maxsize, key = function(x) return tostring(x) end })
  end,
}

--- The items that are in a queue, least first.
local function drain(q)
  local items = {}
  while not q:empty() do items[#items + 1] = q:get_nowait() end
  table.sort(items)
  return items
end

local function numbers(from, to)
  local list = {}
  for i = from, to do list[#list + 1] = i end
  return list
end

for name, make in pairs(kinds) do
  for _, size in ipairs({ 0, 1, 4, BLOCK, BLOCK + 1, 2 * BLOCK }) do
    local function filled()
      local q = make()
      for i = 1, size do q:put(i) end
      return q
    end
    add(("%sPutTo%d"):format(name, size), {
      make = filled,
      act = function(q) return q:put(size + 1) end,
      check = function(q, failed)
        lu.assertEquals(q:qsize(), failed and size or size + 1)
        lu.assertEquals(drain(q), numbers(1, failed and size or size + 1))
      end,
    })
    if size > 0 then
      add(("%sGetOf%d"):format(name, size), {
        make = filled,
        act = function(q) return q:get() end,
        check = function(q, failed, item)
          local items = drain(q)
          if not failed then items[#items + 1] = item end
          table.sort(items)
          lu.assertEquals(items, numbers(1, size))
        end,
      })
      add(("%sGetManyOf%d"):format(name, size), {
        make = filled,
        act = function(q) return q:get_many(size) end,
        check = function(q, failed, got)
          local items = drain(q)
          if not failed then table.move(got, 1, got.n, #items + 1, items) end
          table.sort(items)
          lu.assertEquals(items, numbers(1, size))
        end,
      })
    end
  end
  for _, call in ipairs({ "get", "get_many" }) do
    add(("%sWaitingIn_%s"):format(name, call), {
      make = function() return make() end,
      act = function(q)
        local item = q[call](q, call == "get_many" and 3 or nil)
        return call == "get" and item or item[1]
      end,
      meanwhile = function(q, thread)
        until_blocked("queue", thread)
        q:put(7)
      end,
      check = function(q, failed, item)
        lu.assertEquals(drain(q), failed and { 7 } or {})
        if not failed then lu.assertEquals(item, 7) end
      end,
    })
  end
  if name ~= "SimpleQueue" then
    add(name .. "PutWaiting", {
      make = function()
        local q = make(1)
        q:put(1)
        return q
      end,
      act = function(q) return q:put(2) end,
      meanwhile = function(q, thread)
        until_blocked("full queue", thread)
        lu.assertEquals(q:get(), 1)
      end,
      check = function(q, failed)
        lu.assertEquals(drain(q), failed and {} or { 2 })
        lu.assertTrue(q:put(3, false)) -- its place is free again
        lu.assertFalse(not not q:put(4, false))
      end,
    })
    -- The main thread's get lets a putter in: the one that fails is the getter.
    add(name .. "GetWithAPutter", {
      make = function()
        local q = make(1)
        q:put(1)
        local putter = threading.Thread(q.put, q, 2):start()
        blocked("full queue", putter)
        return { q = q, putter = putter }
      end,
      act = function(object) return object.q:get() end,
      check = function(object, failed, item)
        if failed then item = object.q:get() end
        lu.assertEquals(item, 1)
        lu.assertTrue(object.putter:result(LONG))
        lu.assertEquals(drain(object.q), { 2 })
      end,
    })
  end
end

return { TestMemory = TestMemory }

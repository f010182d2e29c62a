-- What processes synchronise by, in children of each start method. Numbers are
-- those of CPython's behaviours that each test holds tidelock to.
local forkserver = require("tidelock.multiprocessing.forkserver")
local lu = require("luaunit")
local mp = require("multiprocessing")
local threading = require("threading")
local blocked = require("support.blocked")
local children = require("support.children")

local LIMIT = 60 -- seconds, for what should take a moment

local function suite(method)
  local ctx = mp.get_context(method)
  local Test = {}

  -- The fork server would be left over.
  if method == "forkserver" then Test.tearDown = forkserver.stop end

  --- A child that has the objects; returns what waits for it and tells what it
  -- has returned.
  local function child(f, ...)
    local receiver, sender = mp.Pipe(false)
    local process = ctx.Process(function(out, ...) out:send(table.pack(f(...))) end, sender, ...)
    process:start()
    sender:close()
    return function()
      local values = receiver:recv()
      receiver:close()
      lu.assertEquals(children.exitcode(process), 0)
      return table.unpack(values, 1, values.n)
    end
  end

  -- 23, 107
  function Test:testSemaphore()
    local here, there = ctx.Semaphore(0), ctx.Semaphore(0)
    local result = child(function(a, b)
      for _ = 1, 100 do
        if not a:acquire(true, LIMIT) then return false end
        b:release()
      end
      b:release(2)
      return a:acquire(false), b:get_value() >= 2
    end, there, here)
    for _ = 1, 100 do
      there:release()
      lu.assertTrue(here:acquire(true, LIMIT))
    end
    lu.assertEquals({ result() }, { false, true })
    lu.assertEquals({ here:get_value(), there:get_value() }, { 2, 0 })
  end

  -- 24, 107
  function Test:testBoundedSemaphore()
    local s = ctx.BoundedSemaphore(2)
    s:acquire()
    local most, problem = child(function(object)
      object:release()
      local ok, message = pcall(object.release, object)
      return ok, tostring(message)
    end, s)()
    lu.assertFalse(most)
    lu.assertStrContains(problem, "released too often")
    lu.assertEquals(s:get_value(), 2)
  end

  -- 17, 107
  function Test:testCondition()
    local cond, locked = ctx.Condition(), ctx.Semaphore(0)
    local function wait(c, l, limit)
      c:acquire()
      l:release()
      local notified = c:wait(limit)
      c:release()
      return notified
    end
    local results = {}
    for i = 1, 3 do
      results[i] = child(wait, cond, locked, LIMIT)
      locked:acquire()
      cond:with(function() end) -- free only once it waits
    end
    cond:with(function() cond:notify(1) end)
    lu.assertTrue(results[1]())
    cond:with(function() cond:notify_all() end)
    lu.assertTrue(results[2]())
    lu.assertTrue(results[3]())
    lu.assertFalse(child(wait, cond, locked, 0.01)())
    cond:acquire()
    local result = child(function(c) c:with(function() c:notify() end) end, cond)
    lu.assertTrue(cond:wait(LIMIT))
    cond:release()
    result()
  end

  -- 29, 30, 107
  function Test:testBarrier()
    local acted = ctx.Semaphore(0)
    local barrier = ctx.Barrier(2, function() acted:release() end)
    local result = child(function(b, a)
      local indices = {}
      for pass = 1, 50 do
        indices[pass] = b:wait(LIMIT)
        if a:get_value() < pass then return "the action comes first" end
      end
      return indices
    end, barrier, acted)
    local indices = {}
    for pass = 1, 50 do indices[pass] = 1 - barrier:wait(LIMIT) end
    lu.assertEquals(result(), indices)
    lu.assertEquals(acted:get_value(), 50)
    lu.assertFalse(barrier.broken)
  end

  function Test:testJoinableQueue()
    local q, go = ctx.JoinableQueue(), ctx.Semaphore(0)
    local result = child(function(items, may)
      may:acquire()
      local sum = 0
      for _ = 1, 30 do
        sum = sum + items:get(true, LIMIT)
        items:task_done()
      end
      local ok, message = pcall(items.task_done, items)
      return sum, ok, tostring(message)
    end, q, go)
    for i = 1, 30 do q:put(i) end
    local joiner = threading.Thread(q.join, q):start()
    blocked("mp queue's tasks", joiner)
    go:release()
    lu.assertTrue(joiner:join(LIMIT))
    local sum, ok, problem = result()
    lu.assertEquals({ sum, ok }, { 465, false })
    lu.assertStrContains(problem, "called too many times")
  end

  return Test
end

return { TestForkSync = suite("fork"), TestSpawnSync = suite("spawn"),
  TestForkserverSync = suite("forkserver") }

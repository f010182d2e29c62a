--- What holds for Pool and ThreadPool alike. Numbers are those of CPython's
--- behaviours that each test holds them to.
local lu = require("luaunit")
local errors = require("errors")
local mp = require("multiprocessing")
local threading = require("threading")
local eventually = require("support.eventually")

local LIMIT = 60 -- seconds, for what should take a moment

local function range(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

local function counter(n)
  local i = 0
  return function()
    i = i + 1
    if i <= n then return i end
  end
end

local function square(x) return x * x end

local function squares(n)
  local list = {}
  for i = 1, n do list[i] = i * i end
  return list
end

local function drained(iterator)
  local list = {}
  for value in iterator do list[#list + 1] = value end
  return list
end

--- The tests; make(options) makes a pool.
return function(make)
  local Test = {}

  -- 119
  function Test:testArguments()
    for _, options in ipairs({ 0, -1, 1.5, "x", { processes = 0 }, { initializer = 1 },
      { initializer = "f" }, { initargs = 1 }, { unknown = 1 }, { processes = false } }) do
      lu.assertErrorMsgContains("bad argument #1 to '", make, options)
    end
    local pool <close> = make(1)
    for _, call in ipairs({
      function() pool:apply(1) end, function() pool:apply_async(square, 1) end,
      function() pool:map(nil, {}) end, function() pool:map(square, 1) end,
      function() pool:map(square, {}, 0) end,
      function() pool:map_async(square, {}, 1, { x = 1 }) end,
      function() pool:apply_async(square, {}, { callback = 1 }) end,
      function() pool:imap(square, {}, { buffersize = 0 }) end,
      function() pool:imap(square, {}, { x = 0 }) end, function() pool:imap(square, {}, 0) end,
      function() pool:apply_async(square):get(-1) end,
      function() pool:apply_async(square):wait("x") end,
      function() pool:imap(square, {}):next(-1) end,
    }) do
      lu.assertErrorMsgContains("bad argument #", call)
    end
  end

  -- 120
  function Test:testMapKeepsTheOrderForAnyChunkSize()
    local pool <close> = make(3)
    for _, size in ipairs({ 1, 2, 7, 50, 51, 1000 }) do
      lu.assertEquals(pool:map(square, range(50), size), squares(50))
    end
    lu.assertEquals(pool:map(square, range(50)), squares(50))
    lu.assertEquals(pool:map(square, {}), {})
    lu.assertEquals(pool:map(square, {}, 5), {})
    lu.assertEquals(pool:map(square, counter(50), 4), squares(50))
    lu.assertEquals(pool:map(square, counter(0)), {})
  end

  -- 120
  function Test:testStarmapUnpacks()
    local pool <close> = make(2)
    local function sum(a, b, c) return a + b + (c or 0) end
    lu.assertEquals(pool:starmap(sum, { { 1, 2 }, { 3, 4, 5 } }), { 3, 12 })
    lu.assertEquals(pool:starmap_async(sum, { { 1, 2 } }):get(LIMIT), { 3 })
    local function last(...) return (select(select("#", ...), ...)) == nil end
    lu.assertEquals(pool:starmap(last, { { 1, nil, n = 2 } }), { true })
  end

  function Test:testApplyReturnsAllResults()
    local pool <close> = make(2)
    local function swap(a, b) return b, nil, a end
    lu.assertEquals(table.pack(pool:apply(swap, { 1, nil, n = 2 })), { [3] = 1, n = 3 })
    lu.assertEquals(table.pack(pool:apply(swap, { 1, 2 })), { 2, nil, 1, n = 3 })
    lu.assertEquals(select("#", pool:apply(function() end)), 0)
  end

  function Test:testNilResultsKeepTheirPlaces()
    local pool <close> = make(2)
    local function odd(x) if x % 2 == 1 then return x end end
    lu.assertEquals(pool:map(odd, range(5), 2), { 1, nil, 3, nil, 5 })
    lu.assertEquals(drained(pool:imap(odd, range(4))), { 1, false, 3, false })
  end

  -- 121
  function Test:testImapKeepsTheOrderAndUnorderedGivesEachOnce()
    local pool <close> = make(3)
    for _, options in ipairs({ {}, { chunksize = 4 }, { chunksize = 4, buffersize = 2 },
      { buffersize = 1 }, { chunksize = 100 } }) do
      lu.assertEquals(drained(pool:imap(square, counter(40), options)), squares(40))
      local list = drained(pool:imap_unordered(square, range(40), options))
      table.sort(list)
      lu.assertEquals(list, squares(40))
    end
  end

  -- 121
  function Test:testNextTimesOutAndMayBeTriedAgain()
    local pool <close>, gate = make(1), mp.Event()
    local it = pool:imap(function(x) gate:wait() return x end, { 1, 2 })
    local ok, problem = pcall(it.next, it, 0.01)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.TimeoutError))
    gate:set()
    lu.assertEquals({ it:next(LIMIT), it(), it() }, { 1, 2 })
  end

  -- 19 of the pains: an endless input is not swallowed.
  function Test:testImapLooksAheadNoFurtherThanBuffersize()
    local pool <close> = make(2)
    for _, size in ipairs({ 1, 3 }) do
      local taken = 0
      local it = pool:imap(square, function() taken = taken + 1 return taken end,
        { chunksize = size, buffersize = 6 })
      lu.assertEquals(taken, 6)
      lu.assertEquals(it(), 1)
      lu.assertTrue(taken <= 6 + size)
      for i = 2, 20 do lu.assertEquals(it(), i * i) end
      lu.assertTrue(taken <= 20 + 6 + size)
    end
  end

  -- 122
  function Test:testAFailingInputOfImapSurfacesAtItsPlace()
    local pool <close> = make(2)
    for _, size in ipairs({ 1, 2, 10 }) do
      local function failing()
        local i = 0
        return function()
          i = i + 1
          if i == 6 then error("input", 0) end
          return i
        end
      end
      local it = pool:imap(square, failing(), size)
      for i = 1, 5 do lu.assertEquals(it(), i * i) end
      lu.assertEquals({ pcall(it) }, { false, "input" })
      lu.assertNil(it())
      lu.assertEquals({ pcall(pool.map, pool, square, failing()) }, { false, "input" })
      lu.assertEquals(pool:apply(square, { 3 }), 9)
    end
  end

  -- 122: one that fails does not end the iteration.
  function Test:testAFailingItemOfImapSurfacesAtItsPlace()
    local pool <close> = make(2)
    local it = pool:imap(function(x) if x == 2 then error("two", 0) end return x end, range(3))
    lu.assertEquals(it(), 1)
    lu.assertEquals({ pcall(it) }, { false, "two" })
    lu.assertEquals({ it(), it() }, { 3 })
  end

  -- 123
  function Test:testMapRaisesTheFirstFailureWhenAllHaveEnded()
    local pool <close> = make(2)
    local calls = {}
    local result = pool:map_async(function(x)
      if x % 3 == 0 then error("item " .. x, 0) end
      return x
    end, range(9), 1, {
      callback = function() calls[#calls + 1] = "callback" end,
      error_callback = function(problem) calls[#calls + 1] = problem end,
    })
    lu.assertEquals({ pcall(result.get, result, LIMIT) }, { false, "item 3" })
    lu.assertEquals({ pcall(result.get, result) }, { false, "item 3" }) -- each time
    pool:close()
    pool:join()
    lu.assertEquals(calls, { "item 3" })
  end

  -- 124
  function Test:testResults()
    local pool <close>, gate = make(1), mp.Event()
    local slow = pool:apply_async(function() gate:wait() end)
    lu.assertFalse(slow:ready())
    lu.assertErrorMsgContains("not there yet", slow.successful, slow)
    lu.assertEquals(tostring(slow), "<AsyncResult pending>")
    local ok, problem = pcall(slow.get, slow, 0.01)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.TimeoutError))
    lu.assertFalse(slow:wait(0))
    gate:set()
    lu.assertTrue(slow:wait(LIMIT))
    lu.assertTrue(slow:ready())
    lu.assertTrue(slow:successful())
    lu.assertNil(slow:traceback())
    slow:get()
    lu.assertEquals(tostring(slow), "<AsyncResult finished>")
    local failed = pool:apply_async(error, { "x", 0 })
    lu.assertTrue(failed:wait(LIMIT)) -- does not raise
    lu.assertFalse(failed:successful())
    lu.assertEquals(tostring(failed), "<AsyncResult failed>")
  end

  -- 125
  function Test:testAnErrorArrivesAsItWasRaised()
    local pool <close> = make(1)
    local result = pool:apply_async(function() local function inner() error("deep") end inner() end)
    local ok, problem = pcall(result.get, result, LIMIT)
    lu.assertFalse(ok)
    lu.assertStrMatches(problem, "[^:]*pools.lua:%d+: deep")
    lu.assertStrContains(result:traceback(), "stack traceback")
    lu.assertStrContains(result:traceback(), "inner")
    for _, value in ipairs({ "text", 7, false, { code = 3 } }) do
      lu.assertEquals({ pcall(pool.apply, pool, error, { value, 0 }) }, { false, value })
    end
    lu.assertEquals(table.pack(pcall(pool.apply, pool, error, {})), { false, n = 2 })
    ok, problem = pcall(pool.apply, pool,
      function() local e = require("errors") error(e.new(e.Full, "no room", { extra = 5 })) end)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.Full))
    lu.assertEquals({ problem.message, problem.extra }, { "no room", 5 })
    lu.assertStrContains(problem.traceback, "stack traceback")
    lu.assertEquals(pool:apply(square, { 3 }), 9)
  end

  -- 130
  function Test:testAFailingInitializerFailsThePool()
    local pool <close> = make({ processes = 2, initializer = error, initargs = { "no start", 0 } })
    for _ = 1, 3 do
      lu.assertEquals({ pcall(pool.apply, pool, square, { 1 }) }, { false, "no start" })
    end
    lu.assertEquals({ pcall(pool.map, pool, square, range(10), 1) }, { false, "no start" })
    lu.assertEquals({ pcall(pool:imap(square, range(3))) }, { false, "no start" })
  end

  -- 132
  function Test:testClose()
    local pool <close> = make(2)
    lu.assertErrorMsgContains("still running", pool.join, pool)
    local result = pool:map_async(square, range(100), 1)
    pool:close()
    pool:close()
    for _, name in ipairs({ "apply", "apply_async" }) do
      lu.assertErrorMsgContains("the pool is closed", pool[name], pool, square)
    end
    for _, name in ipairs({ "map", "map_async", "starmap", "imap", "imap_unordered" }) do
      lu.assertErrorMsgContains("the pool is closed", pool[name], pool, square, {})
    end
    pool:join()
    pool:join()
    lu.assertEquals(result:get(0), squares(100))
    lu.assertStrContains(tostring(pool), "closed")
  end

  -- 132: CPython's pool sends all that imap was given.
  function Test:testImapGoesOnAfterClose()
    local pool <close> = make(2)
    local first, second = pool:imap(square, counter(50)), pool:imap_unordered(square, range(50))
    lu.assertEquals(first(), 1)
    pool:close()
    lu.assertEquals(first(), 4)
    pool:join()
    lu.assertEquals(#drained(first), 48)
    local list = drained(second)
    table.sort(list)
    lu.assertEquals(list, squares(50))
  end

  -- 133
  function Test:testTerminateEndsAtOnceAndFailsWhatIsLeft()
    local pool <close> = make(2)
    local result = pool:map_async(function() require("time").sleep(0.1) end, range(10000), 1)
    local it = pool:imap(require("time").sleep, { 1000, 1000 })
    pool:terminate()
    pool:terminate()
    local ok, problem = pcall(result.get, result)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.WorkerLost))
    lu.assertStrContains(problem.message, "terminated")
    lu.assertFalse((pcall(it)))
    lu.assertErrorMsgContains("the pool is terminated", pool.apply, pool, square)
    pool:join()
  end

  -- 133
  function Test:testLeavingTheScopeTerminates()
    local result
    do
      local pool <close> = make(2)
      result = pool:apply_async(require("time").sleep, { 60 })
    end
    lu.assertFalse((pcall(result.get, result)))
  end

  -- 134
  function Test:testADroppedPoolEnds()
    local weak = setmetatable({}, { __mode = "v" })
    do
      local pool = make(2)
      weak[1] = pool
      pool:apply(square, { 2 })
      local it = pool:imap(square, counter(1000))
      it()
    end
    eventually(function()
      collectgarbage()
      return weak[1] == nil and threading.active_count() == 1
    end)
  end

  -- 134: what was submitted to it is still done.
  function Test:testResultsOfADroppedPoolArrive()
    local result = make(2):map_async(square, range(20), 1)
    collectgarbage()
    collectgarbage()
    lu.assertEquals(result:get(LIMIT), squares(20))
  end

  -- 135
  function Test:testCallbacksRunInOneThread()
    local pool <close> = make(3)
    local main, seen = threading.current_thread(), {}
    local function note(value)
      seen[#seen + 1] = { value, threading.current_thread() }
    end
    for i = 1, 20 do pool:apply_async(square, { i }, { callback = note }) end
    pool:map_async(square, {}, 1, { callback = note })
    pool:apply_async(error, { "bad", 0 }, { callback = note, error_callback = note })
    pool:close()
    pool:join()
    lu.assertEquals(#seen, 22)
    local sum = 0
    for _, pair in ipairs(seen) do
      lu.assertNotEquals(pair[2], main)
      if type(pair[1]) == "number" then sum = sum + pair[1] end
    end
    lu.assertEquals(sum, 20 * 21 * 41 // 6)
  end

  -- 135: a slow callback does not hold up the pool.
  function Test:testACallbackMayWait()
    local pool <close> = make(1)
    local gate, called = threading.Event(), threading.Event()
    pool:apply_async(square, { 2 }, { callback = function() called:set() gate:wait() end })
    lu.assertTrue(called:wait(LIMIT))
    lu.assertEquals(pool:map(square, range(5), 1), squares(5))
    gate:set()
  end

  function Test:testSeveralThreadsShareAPool()
    local pool <close> = make(2)
    local results, failed = require("support.bunch")(6, function(i)
      local sum = 0
      for k = 1, 30 do sum = sum + pool:apply(square, { k }) end
      for value in pool:imap_unordered(square, range(10), i) do sum = sum + value end
      return sum + #pool:map(square, range(7), i)
    end)
    lu.assertEquals(failed, {})
    for i = 1, 6 do lu.assertEquals(results[i], 30 * 31 * 61 // 6 + 385 + 7) end
  end

  --- A thread that is cancelled while it waits for all takes nothing with it.
  function Test:testAWaiterIsCancelledAndAnotherGoesOn()
    local pool <close> = make(2)
    local results = {}
    for i = 1, 40 do results[i] = pool:apply_async(require("time").sleep, { 0.01 }) end
    local waiters = {}
    for i = 1, 9 do
      waiters[i] = threading.Thread(function() return results[40]:wait(LIMIT) end):start()
    end
    for i = 1, 8 do if i % 2 == 0 then waiters[i]:cancel() else waiters[i]:kill() end end
    for i = 1, 40 do lu.assertTrue(results[i]:wait(LIMIT)) end
    for i = 1, 8 do lu.assertTrue(waiters[i]:join(LIMIT)) end
    lu.assertTrue(waiters[9]:result(LIMIT))
  end

  return Test
end

--- What holds for Pool and ThreadPool alike. Numbers are those of CPython's
--- behaviours that each test holds them to.
local lu = require("luaunit")
local errors = require("errors")
local mp = require("multiprocessing")
local threading = require("threading")
local time = require("time")
local eventually = require("support.eventually")

local LIMIT = 60 -- seconds, for what should take a moment
local FILE = debug.getinfo(1, "S").short_src

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

  --- Where a call raises: its line in this file, and what it says.
  local function assertRaisesHere(expected, call)
    local ok, problem = pcall(call)
    lu.assertFalse(ok)
    local line = debug.getinfo(call, "S").linedefined
    lu.assertEquals(problem, ("%s:%d: %s"):format(FILE, line, expected))
  end

  -- 119
  function Test:testConstructorArguments()
    local name = tostring(make(1)):match("<(%w+)")
    for _, case in ipairs({
      { "#1", "integer >= 1 expected, got 0", 0 },
      { "#1", "integer >= 1 expected, got 1.5", 1.5 },
      { "#1", "integer >= 1 expected, got string", "2" },
      { "#1", "integer >= 1 expected, got table", {}, print },
      { "#2", "function expected, got 1", 1, 1 },
      { "#3", "table of arguments expected, got 1", 1, print, 1 },
      { "#3", "table of arguments expected, got table", 1, nil, { n = -1 } },
      { "#1", "processes: integer >= 1 expected, got 0", { processes = 0 } },
      { "#1", "processes: integer >= 1 expected, got boolean", { processes = false } },
      { "#1", "initializer: function expected, got string", { initializer = "f" } },
      { "#1", "initargs: table of arguments expected, got 1", { initargs = 1 } },
      { "#1", "unknown option 'unknown'", { unknown = 1 } },
    }) do
      assertRaisesHere(("bad argument %s to '%s' (%s)"):format(case[1], name, case[2]),
        function() local pool = make(table.unpack(case, 3)) return pool end)
    end
    lu.assertStrContains(tostring(make(2.0)), "pool_size=2")
    lu.assertStrContains(tostring(make(nil)), "pool_size=" .. mp.cpu_count())
  end

  -- 119: positional, in the order of the names.
  function Test:testTheInitializerIsCalledWithItsArguments()
    for _, options in ipairs({ { 1, rawset, { _G, "Begun", 5 } },
      { { processes = 1, initializer = rawset, initargs = { _G, "Begun", 5 } } } }) do
      local pool <close> = make(table.unpack(options))
      lu.assertEquals(pool:apply(function() return _G.Begun end), 5)
      _G.Begun = nil
    end
  end

  -- 119
  function Test:testArguments()
    local pool <close> = make(1)
    local f, none = square, {}
    local cases = {
      { "#2 to 'apply' (table of arguments expected, got number)",
        function() pool:apply(f, 1) end },
      { "#2 to 'apply_async' (table of arguments expected, got boolean)",
        function() pool:apply_async(f, false) end },
      { "#2 to 'apply_async' (table of arguments expected, got table)",
        function() pool:apply_async(f, { n = 1.5 }) end },
      { "#3 to 'apply_async' (table expected, got number)",
        function() pool:apply_async(f, none, 1) end },
      { "#3 to 'apply_async' (callback: function expected, got 1)",
        function() pool:apply_async(f, none, { callback = 1 }) end },
      { "#3 to 'apply_async' (unknown option 'call_back')",
        function() pool:apply_async(f, none, { call_back = f }) end },
      { "#2 to 'starmap' (item 2: table of arguments expected, got number)",
        function() pool:starmap(f, { none, 2 }) end },
      { "#1 to 'get' (timeout must be a number of seconds >= 0)",
        function() pool:apply_async(f, { 1 }):get(-1) end },
      { "#1 to 'wait' (timeout must be a number of seconds >= 0)",
        function() pool:apply_async(f, { 1 }):wait("x") end },
      { "#1 to 'next' (timeout must be a number of seconds >= 0)",
        function() pool:imap(f, none):next(-1) end },
    }
    local function add(text, name, call) cases[#cases + 1] = { text:format(name), call } end
    for _, name in ipairs({ "apply", "apply_async", "map", "map_async", "starmap",
      "starmap_async", "imap", "imap_unordered" }) do
      add("#1 to '%s' (function expected, got number)", name, function() pool[name](pool, 1) end)
    end
    for _, name in ipairs({ "map", "map_async", "starmap", "starmap_async", "imap",
      "imap_unordered" }) do
      add("#2 to '%s' (list or iterator expected, got number)", name,
        function() pool[name](pool, f, 1) end)
      add("#3 to '%s' (chunksize: integer >= 1 expected, got 0)", name,
        function() pool[name](pool, f, none, 0) end)
      add("#3 to '%s' (chunksize: integer >= 1 expected, got 1.5)", name,
        function() pool[name](pool, f, none, 1.5) end)
    end
    for _, name in ipairs({ "map_async", "starmap_async" }) do
      add("#4 to '%s' (unknown option 'x')", name,
        function() pool[name](pool, f, none, 1, { x = 1 }) end)
    end
    for _, name in ipairs({ "imap", "imap_unordered" }) do
      add("#3 to '%s' (buffersize: integer >= 1 expected, got 0)", name,
        function() pool[name](pool, f, none, { buffersize = 0 }) end)
      add("#3 to '%s' (chunksize: integer >= 1 expected, got 0)", name,
        function() pool[name](pool, f, none, { chunksize = 0 }) end)
      add("#3 to '%s' (unknown option 'x')", name,
        function() pool[name](pool, f, none, { x = 0 }) end)
    end
    for _, case in ipairs(cases) do assertRaisesHere("bad argument " .. case[1], case[2]) end
    lu.assertEquals(pool:map(square, range(5), 2.0), squares(5))
    lu.assertEquals(drained(pool:imap(square, range(5), { chunksize = 2.0, buffersize = 4.0 })),
      squares(5))
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

  -- 120: an iterator, and an object with items.
  function Test:testAllThatHasItemsIsTaken()
    local pool <close> = make(2)
    local function packed(n)
      local next_one = counter(n)
      return function() local i = next_one() return i and { i } end
    end
    lu.assertEquals(pool:map_async(square, counter(50), 4):get(LIMIT), squares(50))
    lu.assertEquals(pool:starmap(square, packed(50), 4), squares(50))
    lu.assertEquals(pool:starmap_async(square, packed(50)):get(LIMIT), squares(50))
    local callable = setmetatable({}, { __call = counter(9) })
    lu.assertEquals(pool:map(square, callable), squares(9))
    local array = mp.Array("int32", range(20))
    lu.assertEquals(pool:map(square, array), squares(20))
    lu.assertEquals(drained(pool:imap(square, array, 3)), squares(20))
    local list = setmetatable({}, { __index = function(_, i) return i end,
      __len = function() return 5 end })
    lu.assertEquals(pool:map(square, list), squares(5))
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
    lu.assertEquals(tostring(it), "<IMapIterator 0 of 2 chunks>")
    gate:set()
    lu.assertEquals({ it:next(LIMIT), it(), it() }, { 1, 2 })
    lu.assertEquals(tostring(it), "<IMapIterator 2 of 2 chunks>")
  end

  -- 19 of the pains: an endless input is not swallowed. Whole chunks are taken as
  -- soon as there is room for one; a larger one than there ever is, is cut.
  function Test:testImapLooksAheadNoFurtherThanBuffersize()
    local pool <close> = make(2)
    for _, name in ipairs({ "imap", "imap_unordered" }) do
      for _, case in ipairs({ { 1, 6 }, { 3, 6 }, { 4, 6 }, { 4, 2 }, { 5, 5 }, { 1, 1 },
        { 3, 4 * 2 * 3, true } }) do
        local size, ahead = math.min(case[1], case[2]), case[2]
        local taken = 0
        local it = pool[name](pool, square, function() taken = taken + 1 return taken end,
          { chunksize = case[1], buffersize = not case[3] and ahead or nil })
        for given = 0, 40 do
          lu.assertEquals(taken, (given + ahead) // size * size, name)
          it()
        end
      end
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

  -- 123: not before, though one has failed long since: when the third is taken,
  -- the first has ended and the second waits.
  function Test:testMapRaisesTheFirstFailureWhenAllHaveEnded()
    local pool <close> = make(2)
    local reached, gate = mp.Queue(), mp.Queue()
    local calls = {}
    local result = pool:map_async(function(i)
      if i == 2 then gate:get() end
      if i == 3 then reached:put(i) end
      if i < 3 then error("item " .. i, 0) end
      return i
    end, range(9), 1, {
      callback = function() calls[#calls + 1] = "callback" end,
      error_callback = function(problem) calls[#calls + 1] = problem end,
    })
    lu.assertEquals(reached:get(true, LIMIT), 3)
    lu.assertFalse(result:ready())
    lu.assertEquals(calls, {})
    gate:put(true)
    lu.assertEquals({ pcall(result.get, result, LIMIT) }, { false, "item 1" })
    lu.assertEquals({ pcall(result.get, result) }, { false, "item 1" }) -- each time
    pool:close()
    pool:join()
    lu.assertEquals(calls, { "item 1" })
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
    for _, name in ipairs({ "apply", "apply_async", "map", "map_async", "starmap",
      "starmap_async", "imap", "imap_unordered" }) do
      assertRaisesHere("the pool is closed", function() pool[name](pool, square, {}) end)
    end
    pool:join()
    pool:join()
    lu.assertEquals(result:get(0), squares(100))
    lu.assertStrContains(tostring(pool), "closed")
  end

  --- By the input of a call, as another thread may at that time.
  function Test:testWorkThatFindsThePoolClosedFails()
    local pool <close> = make(1)
    local items = counter(3)
    local result = pool:map_async(square, function() pool:close() return items() end)
    lu.assertEquals({ pcall(result.get, result, LIMIT) }, { false, "the pool is closed" })
    pool:join()
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

  -- 133: nothing that had not begun does.
  function Test:testTerminateEndsAtOnceAndFailsWhatIsLeft()
    local pool <close> = make(2)
    local begun, gate = mp.Queue(), mp.Queue()
    local function wait(i)
      begun:put(i)
      gate:get()
    end
    local result = pool:map_async(wait, range(10000), 1)
    local it = pool:imap(wait, range(10))
    for _ = 1, 2 do lu.assertNotNil(begun:get(true, LIMIT)) end
    pool:terminate()
    pool:terminate()
    local ok, problem = pcall(result.get, result)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.WorkerLost))
    lu.assertStrContains(problem.message, "terminated")
    lu.assertFalse((pcall(it)))
    assertRaisesHere("the pool is terminated", function() pool:apply(square) end)
    pool:join()
    lu.assertNil(begun:get(false))
  end

  -- 133: a busy machine may take longer.
  function Test:testTerminateDoesNotTakeLong()
    local tries, took = 0, math.huge
    while took > 2 and tries < 5 do
      local pool, begun = make(2), mp.Queue()
      local function work(i)
        begun:put(i)
        while true do end
      end
      pool:map_async(work, range(10000), 1)
      for _ = 1, 2 do lu.assertNotNil(begun:get(true, LIMIT)) end
      local start = time.monotonic()
      pool:terminate()
      pool:join()
      took, tries = time.monotonic() - start, tries + 1
    end
    lu.assertTrue(took <= 2, took)
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

  -- 135: one, even where each is called long after the one before.
  function Test:testCallbacksRunInOneThread()
    local pool <close> = make(3)
    local seen, sum, thread = threading.Semaphore(0), 0, nil
    local function note(value)
      if type(value) == "number" then sum = sum + value end
      thread = thread or threading.current_thread()
      if thread == threading.current_thread() then seen:release() end
    end
    for i = 1, 20 do
      pool:apply_async(square, { i }, { callback = note })
      lu.assertTrue(seen:acquire(true, LIMIT))
    end
    lu.assertNotEquals(thread, threading.current_thread())
    pool:map_async(square, {}, 1, { callback = note })
    pool:apply_async(error, { "bad", 0 }, { callback = error, error_callback = note })
    pool:close()
    pool:join()
    lu.assertTrue(seen:acquire(false))
    lu.assertTrue(seen:acquire(false))
    lu.assertFalse(seen:acquire(false))
    lu.assertEquals(sum, 20 * 21 * 41 // 6)
    lu.assertFalse(thread:is_alive())
  end

  -- 135: one that fails is reported, and ends nothing.
  function Test:testAFailingCallbackIsReported()
    local pool <close> = make(2)
    local called, file, stderr = threading.Event(), io.tmpfile(), io.stderr
    io.stderr = file -- luacheck: ignore
    local _ <close> = setmetatable({}, { __close = function()
      io.stderr = stderr -- luacheck: ignore
    end })
    local result = pool:apply_async(square, { 3 }, { callback = function() error("oops") end })
    pool:apply_async(square, { 4 }, { callback = function() called:set() end })
    lu.assertTrue(called:wait(LIMIT))
    lu.assertEquals(result:get(LIMIT), 9)
    pool:close()
    pool:join()
    file:seek("set")
    local text = file:read("a")
    file:close()
    lu.assertStrContains(text, "Exception in a pool's callback:")
    lu.assertStrMatches(text, ".*pools.lua:%d+: oops.*stack traceback.*")
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

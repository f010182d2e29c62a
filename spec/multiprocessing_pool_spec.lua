-- Pool: support/pools.lua for each start method, and what is its own. Numbers are
-- those of CPython's behaviours that each test holds tidelock to.
local lu = require("luaunit")
local mp = require("multiprocessing")
local errors = require("errors")
local pickle = require("pickle")
local threading = require("threading")
local time = require("time")
local children = require("support.children")
local eventually = require("support.eventually")
local is_running = require("support.is_running")
local pools = require("support.pools")

local LIMIT = 60 -- seconds, for what should take a moment

local classes = {}
for _, method in ipairs(mp.get_all_start_methods()) do
  classes["TestPool_" .. method] = pools(mp.get_context(method).Pool)
end

-- The fork server stays until the end.
mp.get_context("forkserver").Process(function() end):start():join()

local TestPool = {}
classes.TestPool = TestPool

--- Ends the process; luaunit, which a forked child has, would object.
local function leave(code)
  local luaunit = package.loaded.luaunit
  if luaunit then luaunit.unregisterCurrentSuite() end
  os.exit(code)
end

local function identity(...) return ... end

local function range(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

-- 119
function TestPool:testArguments()
  for _, options in ipairs({ { maxtasksperchild = 0 }, { context = 1 }, { context = {} },
    { maxtasksperchild = 1.5 } }) do
    lu.assertErrorMsgContains("bad argument #1 to 'Pool'", mp.Pool, options)
  end
  local pool <close> = mp.Pool()
  lu.assertEquals(tostring(pool), ("<Pool running pool_size=%d>"):format(mp.cpu_count()))
  local other <close> = mp.Pool { processes = 1, context = mp.get_context("spawn") }
  lu.assertStrMatches(other:apply(function()
    return require("multiprocessing").current_process().name
  end), "SpawnPoolWorker%-%d+")
end

-- 119
function TestPool:testTheInitializerRunsOnceInEachWorkerAndItsReplacement()
  local count = mp.Queue()
  do
    local pool <close> = mp.Pool { processes = 2, initargs = { 7 }, initializer = function(n)
      _G.Started = n
      count:put(n)
    end }
    lu.assertEquals(pool:map(function() return _G.Started end, range(4), 1), { 7, 7, 7, 7 })
    lu.assertFalse((pcall(pool.apply, pool, leave, { 1 })))
    lu.assertEquals(pool:map(function() return _G.Started end, range(4), 1), { 7, 7, 7, 7 })
    eventually(function() return count:qsize() == 3 end)
  end
  lu.assertEquals(count:qsize(), 3)
end

-- 125, 136: what a worker raises leaves it alive.
function TestPool:testAWorkerOutlivesErrors()
  local pool <close> = mp.Pool(1)
  local pid = pool:apply(function() return require("multiprocessing").current_process().pid end)
  for _ = 1, 5 do pcall(pool.apply, pool, error, { "x" }) end
  lu.assertEquals(pool:apply(function()
    return require("multiprocessing").current_process().pid
  end), pid)
end

-- 126
function TestPool:testWhatCannotTravelFailsItsTaskAlone()
  local pool <close> = mp.Pool(1)
  local before = pool:apply_async(identity, { 1 })
  local bad = pool:apply_async(identity, { 1, { log = { coroutine.create(print) } } })
  lu.assertTrue(bad:ready())
  local ok, problem = pcall(bad.get, bad)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.PicklingError))
  lu.assertStrContains(problem.message, "at args[2].log[1]")
  ok, problem = pcall(pool.apply, pool, function() return 1, { x = coroutine.create(print) } end)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.PicklingError))
  lu.assertStrContains(problem.message, "at result[2].x")
  local thread = coroutine.create(print)
  for _, call in ipairs({ "apply_async", "map_async" }) do
    local failed = pool[call](pool, function() return thread end, range(100))
    ok, problem = pcall(failed.get, failed, LIMIT)
    lu.assertFalse(ok)
    lu.assertStrContains(problem.message, "function upvalue 'thread'")
  end
  -- An error value that cannot travel arrives as its text.
  ok, problem = pcall(pool.apply, pool, function()
    error(setmetatable({}, { __tostring = function() return "odd one" end }))
  end)
  lu.assertFalse(ok)
  lu.assertEquals(problem, "odd one")
  lu.assertEquals(before:get(LIMIT), 1)
  lu.assertEquals(pool:map(identity, range(9)), range(9))
end

-- 126: one chunk's failure is the map's; its other chunks are done.
function TestPool:testAnItemThatCannotTravelFailsItsMap()
  local pool <close> = mp.Pool(2)
  local list = range(10)
  list[5] = coroutine.create(print)
  local ok, problem = pcall(pool.map, pool, identity, list, 1)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.PicklingError))
  local it = pool:imap(identity, list)
  for i = 1, 4 do lu.assertEquals(it(), i) end
  lu.assertFalse((pcall(it)))
  for i = 6, 10 do lu.assertEquals(it(), i) end
end

-- 127
function TestPool:testAKilledWorkerFailsItsTaskAtOnceAndIsReplaced()
  local pool <close> = mp.Pool(2)
  local pids = mp.Queue()
  local result = pool:apply_async(function()
    pids:put(require("multiprocessing").current_process().pid)
    require("time").sleep(600)
  end)
  local others = pool:map_async(identity, range(50), 1)
  os.execute("kill -KILL " .. pids:get())
  local ok, problem = pcall(result.get, result, LIMIT)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, mp.WorkerLost), problem)
  lu.assertStrContains(problem.message, "killed by signal 9")
  lu.assertEquals(others:get(LIMIT), range(50))
  lu.assertEquals(pool:map(identity, range(50), 1), range(50))
  eventually(function() return #mp.active_children() == 2 end)
end

-- 128
function TestPool:testExitFailsItsTask()
  local pool <close> = mp.Pool(2)
  for _, code in ipairs({ 0, 3 }) do
    local it = pool:imap(function(x) if x == 2 then leave(code) end return x end, range(3))
    lu.assertEquals(it(), 1)
    local ok, problem = pcall(it)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, mp.WorkerLost), problem)
    lu.assertStrContains(problem.message, "exit code " .. code)
    lu.assertEquals(it(), 3)
  end
  for _ = 1, 30 do lu.assertFalse((pcall(pool.apply, pool, leave, { 1 }))) end
  lu.assertEquals(pool:apply(identity, { 1 }), 1)
end

-- 129
function TestPool:testAnErrorThatCannotBeRebuiltFailsItsTask()
  local meta = { __name = "pool_spec.Fragile" }
  pickle.register("pool_spec.Fragile", meta, {
    reduce = function(object) return object.text end,
    restore = function(text) error("cannot rebuild " .. text, 0) end,
  })
  function _G.Fragile() return setmetatable({ text = "it" }, meta) end
  local pool <close> = mp.Pool(1)
  local result = pool:apply_async(function() error(_G.Fragile()) end)
  lu.assertEquals({ pcall(result.get, result, LIMIT) }, { false, "cannot rebuild it" })
  lu.assertEquals({ pcall(result.get, result, LIMIT) }, { false, "cannot rebuild it" })
  lu.assertEquals(pool:apply(identity, { 2 }), 2)
end

-- 130
function TestPool:testWorkersThatNeverBeginFailThePool()
  local pool <close> = mp.Pool { processes = 2, initializer = leave, initargs = { 0 } }
  local ok, problem = pcall(pool.apply, pool, identity, { 1 })
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, mp.WorkerLost), problem)
  lu.assertStrContains(problem.message, "before they begin")
  eventually(function() return #mp.active_children() == 0 end)
end

-- 131
function TestPool:testMaxtasksperchild()
  local pool <close> = mp.Pool { processes = 2, maxtasksperchild = 3 }
  local count, most = {}, 0
  for _, name in ipairs(pool:map(function() -- its number may come again
    return require("multiprocessing").current_process().name
  end, range(31), 1)) do
    count[name] = (count[name] or 0) + 1
    most = math.max(most, count[name])
  end
  lu.assertEquals(most, 3)
end

-- 134
function TestPool:testAFailedConstructionLeavesNoWorker()
  local made = 0
  local context = setmetatable({ Process = function(options)
    made = made + 1
    if made == 3 then error("no third", 0) end
    return mp.get_context("fork").Process(options)
  end }, { __index = mp.get_context("fork") })
  lu.assertEquals({ pcall(mp.Pool, { processes = 3, context = context }) }, { false, "no third" })
  lu.assertEquals(#mp.active_children(), 0)
end

-- 135
function TestPool:testAPoolInsideAWorker()
  local context = setmetatable({ Process = function(options)
    local process = mp.get_context("fork").Process(options)
    process.daemon = false
    return process
  end }, { __index = mp.get_context("fork") })
  local pool <close> = mp.Pool { processes = 2, context = context }
  local function inner(n)
    local second <close> = require("multiprocessing").Pool(2)
    local sum = 0
    for _, x in ipairs(second:map(function(x) return x * x end, { n, n + 1 })) do sum = sum + x end
    return sum
  end
  lu.assertEquals(pool:map(inner, { 1, 2 }, 1), { 5, 13 })
  local usual <close> = mp.Pool(1)
  lu.assertErrorMsgContains("daemonic processes are not allowed", usual.apply, usual, inner, { 1 })
end

--- A forked child has a copy of the pool, but it is not its own.
function TestPool:testAForkedChildDoesNotTouchThePool()
  local pool <close> = mp.Pool(1)
  local slow = pool:apply_async(function() require("time").sleep(0.2) return "mine" end)
  local code, messages = children.outcome(function(sender)
    for _, call in ipairs({ "apply", "map", "imap", "close", "terminate" }) do
      local _, problem = pcall(pool[call], pool, identity, {})
      sender:send_bytes(tostring(problem):match("another process") or "?")
    end
    sender:send_bytes(tostring(select(2, pcall(slow.get, slow))):match("another process") or "?")
    do local copy <close> = pool end -- luacheck: ignore
  end)
  lu.assertEquals({ code, messages }, { 0, ("another process "):rep(6):sub(1, -2) })
  lu.assertEquals(slow:get(LIMIT), "mine")
end

function TestPool:testHandlesOfSharedMemoryTravelInTasks()
  for _, method in ipairs(mp.get_all_start_methods()) do
    local pool <close> = mp.get_context(method).Pool(2)
    local queue, second = mp.Queue(), mp.Queue()
    -- Captured, and as an argument; two functions alike but for what they have.
    local function putter(q) return function(x) q:put(x) end end
    pool:map(putter(queue), range(50), 1)
    pool:map(putter(second), range(20), 1)
    pool:starmap(function(q, x) q:put(x) end, { { second, 1 }, { second, 2 } }, 1)
    lu.assertEquals({ queue:qsize(), second:qsize() }, { 50, 22 })
    -- More of them than there may be descriptors at once.
    local jobs = {}
    for i = 1, 300 do jobs[i] = { queue, second, mp.SimpleQueue() } end
    pool:starmap(function(a) a:put(0) end, jobs, 1)
    lu.assertEquals(queue:qsize(), 350)
    local a, b = mp.Pipe()
    local ok, problem = pcall(pool.apply, pool, identity, { a, b })
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.PicklingError))
    a:close()
    b:close()
  end
end

--- The owner of a handle may close or drop it while a task is under way.
function TestPool:testAHandleLastsAsLongAsItsTask()
  local pool <close> = mp.Pool(1)
  local gate = mp.Queue()
  pool:apply_async(function() gate:get() end)
  local queue = mp.Queue()
  local result = pool:apply_async(function(q) q:put(1) return q:qsize() end, { queue })
  queue:close()
  queue = nil -- luacheck: ignore
  collectgarbage()
  gate:put(1)
  lu.assertEquals(result:get(LIMIT), 1)
end

--- A large function that has changed is sent again.
function TestPool:testLargeFunctions()
  for _, method in ipairs(mp.get_all_start_methods()) do
    local pool <close> = mp.get_context(method).Pool(2)
    local list, factor = range(20000), 1
    local function pick(i) return list[i] * factor end
    lu.assertEquals(pool:map(pick, range(3000), 1), range(3000))
    factor = 2
    lu.assertEquals(pool:map(pick, { 1, 2, 3 }, 1), { 2, 4, 6 })
    list[2] = 50
    lu.assertEquals(pool:map(pick, { 1, 2, 3 }, 1), { 2, 100, 6 })
    local results = {}
    for i = 1, 100 do -- more than a worker keeps
      results[i] = pool:apply_async(function() return list[i] + i end)
    end
    for i = 1, 100 do lu.assertEquals(results[i]:get(LIMIT), list[i] + i) end
  end
end

--- To each of the workers.
function TestPool:testALargeFunctionIsSentOnce()
  local restored, meta = mp.Semaphore(0), { __name = "pool_spec.Counted" }
  pickle.register("pool_spec.Counted", meta, {
    reduce = function() return 1 end,
    restore = function()
      restored:release()
      return setmetatable({}, meta)
    end,
  })
  local pool <close> = mp.Pool(2)
  local list, counted = range(20000), setmetatable({}, meta)
  local function pick(i) return counted and list[i] end
  lu.assertEquals(pool:map(pick, range(3000), 1), range(3000))
  local n = restored:get_value()
  lu.assertTrue(n == 1 or n == 2, n)
  list[2] = 0
  lu.assertEquals(pool:apply(pick, { 2 }), 0)
  lu.assertEquals(restored:get_value(), n + 1)
  restored = nil -- what is registered stays
end

function TestPool:testLargeArgumentsAndResults()
  local pool <close> = mp.Pool(2)
  local text = ("x"):rep(5000000)
  lu.assertTrue(pool:apply(identity, { text }) == text)
  local list = pool:map(function(n) return ("y"):rep(n) end, { 1, 3000000, 70000 }, 1)
  lu.assertEquals({ #list[1], #list[2], #list[3] }, { 1, 3000000, 70000 })
end

-- 11 of the pains
function TestPool:testCtrlCEndsABusyPoolWithOneTraceback()
  for _, method in ipairs(mp.get_all_start_methods()) do
    for _, scope in ipairs({ "local pool <close> =", "pool =" }) do
      local out, err, code = children.host(([[
        local pool
        %s mp.get_context("%s").Pool(2)
        pool:map(function() end, {1, 2, 3, 4}, 1)
        local pids = ""
        for _, p in ipairs(mp.active_children()) do pids = pids .. p.pid .. " " end
        io.write(pids):flush()
        threading.Thread{daemon = true, target = function()
          time.sleep(0.3)
          os.execute("kill -INT $PPID " .. pids) -- as a terminal does
        end}:start()
        pool:map(function() while true do end end, {1, 2, 3, 4}, 1)]]):gsub("^%s+", "")
          :format(scope, method))
      lu.assertEquals(code, 130, err)
      local _, count = err:gsub("stack traceback", "")
      lu.assertEquals(count, 1, err)
      for pid in out:gmatch("%d+") do
        eventually(function() return not is_running(pid) end)
      end
    end
  end
end

--- A pool that is left to the end of the program.
function TestPool:testTheProgramEndsWithAPoolAtWork()
  for _, method in ipairs(mp.get_all_start_methods()) do
    local out, err, code = children.host(([[
      Left = mp.get_context("%s").Pool(2)
      Left:apply(function() end)
      Left:map_async(time.sleep, {30, 30, 30, 30}, 1)
      print("end")]]):format(method))
    lu.assertEquals({ out, err, code }, { "end\n", "", 0 })
  end
end

--- Two threads, one of which is killed at any line.
function TestPool:testKilledSubmittersAndCollectors()
  local pool <close> = mp.Pool(2)
  for i = 1, 60 do
    local thread = threading.Thread(function()
      while true do
        pool:map(identity, range(20), 1)
        for _ in pool:imap_unordered(identity, range(10)) do pool:apply(identity, { 1 }) end
      end
    end):start()
    time.sleep(0.0005 * (i % 7))
    thread:kill()
    lu.assertEquals(pool:map_async(identity, range(20), 1):get(LIMIT), range(20))
    lu.assertTrue(thread:join(LIMIT))
  end
  pool:close()
  pool:join()
end

return classes

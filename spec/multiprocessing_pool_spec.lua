-- Pool: support/pools.lua for each start method, and what is its own. Numbers are
-- those of CPython's behaviours that each test holds tidelock to.
local lu = require("luaunit")
local mp = require("multiprocessing")
local errors = require("errors")
local pickle = require("pickle")
local subprocess = require("subprocess")
local threading = require("threading")
local time = require("time")
local children = require("support.children")
local eventually = require("support.eventually")
local is_running = require("support.is_running")
local pools = require("support.pools")
local program = require("support.program")
local struck = require("support.struck")

local LIMIT = 60 -- seconds, for what should take a moment

local classes = {}

-- The fork server stays until the end.
mp.get_context("forkserver").Process(function() end):start():join()

local TestPool = {}
classes.TestPool = TestPool

local EachPool = {} -- tests for each start method: make(options) makes a pool

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
  for _, case in ipairs({
    { "#1 to 'Pool' (maxtasksperchild: integer >= 1 expected, got 0)", { maxtasksperchild = 0 } },
    { "#1 to 'Pool' (context: context expected, got 1)", { context = 1 } },
    { "#1 to 'Pool' (context: context expected, got table)", { context = {} } },
    { "#4 to 'Pool' (integer >= 1 expected, got 1.5)", 1, nil, nil, 1.5 },
    { "#5 to 'Pool' (context expected, got table)", 1, nil, nil, nil, {} },
  }) do
    lu.assertErrorMsgContains("bad argument " .. case[1], mp.Pool, table.unpack(case, 2))
  end
  local pool <close> = mp.Pool()
  lu.assertEquals(tostring(pool), ("<Pool running pool_size=%d>"):format(mp.cpu_count()))
  local other <close> = mp.Pool(1, nil, nil, nil, mp.get_context("spawn"))
  lu.assertStrMatches(other:apply(function()
    return require("multiprocessing").current_process().name
  end), "SpawnPoolWorker%-%d+")
end

-- 119
function EachPool.testTheInitializerRunsOnceInEachWorkerAndItsReplacement(make)
  local count = mp.Queue()
  do
    local pool <close> = make { processes = 2, initargs = { 7 }, initializer = function(n)
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
function EachPool.testAWorkerOutlivesErrors(make)
  local pool <close> = make(1)
  local pid = pool:apply(function() return require("multiprocessing").current_process().pid end)
  for _ = 1, 5 do pcall(pool.apply, pool, error, { "x" }) end
  lu.assertEquals(pool:apply(function()
    return require("multiprocessing").current_process().pid
  end), pid)
end

-- 126
function EachPool.testWhatCannotTravelFailsItsTaskAlone(make)
  local pool <close> = make(1)
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
function EachPool.testAnItemThatCannotTravelFailsItsMap(make)
  local pool <close> = make(2)
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
function EachPool.testAKilledWorkerFailsItsTaskAtOnceAndIsReplaced(make)
  local pool <close> = make(2)
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
function EachPool.testExitFailsItsTask(make)
  local pool <close> = make(2)
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
function EachPool.testAnErrorThatCannotBeRebuiltFailsItsTask(make)
  local meta = { __name = "pool_spec.Fragile" }
  pickle.register("pool_spec.Fragile", meta, {
    reduce = function(object) return object.text end,
    restore = function(text) error("cannot rebuild " .. text, 0) end,
  })
  function _G.Fragile() return setmetatable({ text = "it" }, meta) end
  local pool <close> = make(1)
  local result = pool:apply_async(function() error(_G.Fragile()) end)
  lu.assertEquals({ pcall(result.get, result, LIMIT) }, { false, "cannot rebuild it" })
  lu.assertEquals({ pcall(result.get, result, LIMIT) }, { false, "cannot rebuild it" })
  lu.assertEquals(pool:apply(identity, { 2 }), 2)
end

-- 130: as much as one that fails; a forked worker has it as it is.
function TestPool:testAnInitializerThatCannotBeRebuiltFailsThePool()
  for _, method in ipairs({ "spawn", "forkserver" }) do
    local out, err, code = children.host(([[
      local meta = {__name = "pool_spec.Unborn"}
      require("pickle").register("pool_spec.Unborn", meta, {
        reduce = function() return "it" end,
        restore = function(text) error("cannot rebuild " .. text, 0) end,
      })
      local pool <close> = mp.get_context("%s").Pool(2, print, {setmetatable({}, meta)})
      for _ = 1, 2 do print(pcall(pool.apply, pool, type, {1})) end
      print(pcall(pool.map, pool, type, {1, 2, 3}, 1))]]):format(method))
    lu.assertEquals({ out, err, code }, { ("false\tcannot rebuild it\n"):rep(3), "", 0 })
  end
end

-- 130
function EachPool.testWorkersThatNeverBeginFailThePool(make)
  local pool <close> = make { processes = 2, initializer = leave, initargs = { 0 } }
  local ok, problem = pcall(pool.apply, pool, identity, { 1 })
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, mp.WorkerLost), problem)
  lu.assertStrContains(problem.message, "before they begin")
  eventually(function() return #mp.active_children() == 0 end)
end

-- 131
function EachPool.testMaxtasksperchild(make)
  local pool <close> = make { processes = 2, maxtasksperchild = 3 }
  local count, most = {}, 0
  local names = pool:map(function() -- its number may come again
    return require("multiprocessing").current_process().name
  end, range(31), 1)
  lu.assertEquals(#names, 31)
  for _, name in ipairs(names) do
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

-- 133: it may have been about to start, when terminate did not find it.
function TestPool:testAWorkerThatIsStartedMeanwhileIsTerminated()
  local made, pids = 0, {}
  local pool
  local context = setmetatable({ Process = function(options)
    made = made + 1
    local process = mp.get_context("fork").Process(options)
    if made == 2 then
      pool:terminate()
      process.terminate = function(worker)
        pids[#pids + 1] = worker.pid
        return mp.Process.terminate(worker)
      end
    end
    return process
  end }, { __index = mp.get_context("fork") })
  pool = mp.Pool { processes = 1, context = context }
  lu.assertFalse((pcall(pool.apply, pool, leave, { 1 })))
  eventually(function() return tostring(pool):find("terminated") end)
  pool:join()
  lu.assertEquals({ made, #pids }, { 2, 1 })
  lu.assertFalse(is_running(pids[1]))
end

-- What makes pools with all descriptors in use but so many, from none to enough.
-- Files take them, so they also tell whether any is lost.
local FULL = [[
  local mp, errors = require("multiprocessing"), require("errors")
  local context = mp.get_context("%s")
  local function fill()
    local files = {}
    repeat
      local file = io.open("/dev/null")
      files[#files + 1] = file
    until not file
    return files
  end
  local function clear(files)
    for i = #files, 1, -1 do files[i]:close() end
    collectgarbage()
    collectgarbage()
  end
  do local pool <close> = context.Pool(1) pool:map(type, {1, 2}, 1) end
  mp.Pipe():poll(1e-9) -- what this thread waits with
  clear({})
  local files = fill()
  local most = #files
  clear(files)
  local free, made = 0, false
  repeat
    files = fill()
    assert(#files == most, "a descriptor is lost")
    for _ = 1, free do table.remove(files):close() end
    local problem
    made, problem = pcall(context.Pool, 2)
    if not made then
      assert(errors.is(problem, errors.OSError) and problem.code == "EMFILE", problem)
      assert(#mp.active_children() == 0, "a worker is left")
    else
      assert(problem:apply(function() return 7 end) == 7)
      problem:terminate()
      problem:join()
    end
    problem = nil
    clear(files)
    free = free + 1
  until made
  print(free > 1)]]

-- 134; a fork server that has no descriptors may be replaced, which takes some.
function TestPool:testAPoolWithoutDescriptorsIsNotMade()
  for _, method in ipairs({ "fork", "spawn" }) do
    local out, err, code = program.run({ "-c", 'ulimit -n 40 && exec "$0" -e "$1"', program.path,
      FULL:format(method) }, { program = "sh", timeout = LIMIT })
    lu.assertEquals({ out, err, code }, { "true\n", "", 0 }, method)
  end
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

--- Nor the input of an iterator, when it drops that.
function TestPool:testAForkedChildDoesNotEndTheInputOfAnIterator()
  local pool <close> = mp.Pool(1)
  local i = 0
  local it = pool:imap(identity, function()
    i = i + 1
    if i <= 20 then return i end
  end, { buffersize = 2 })
  pool:close()
  local child = mp.get_context("fork").Process(function()
    it = nil
    collectgarbage()
    collectgarbage()
  end)
  child:start()
  child:join()
  local got = {}
  for value in it do got[#got + 1] = value end
  lu.assertEquals(got, range(20))
end

--- The thread that calls back waits for results when a call is found to be none.
function TestPool:testACallbackIsCalledForWhatCannotTravel()
  local out, err, code = children.host([[
    package.path = package.path .. ";spec/?.lua"
    local blocked = require("support.blocked")
    local pool <close> = mp.Pool(1)
    local told = require("queue").Queue()
    local options = { error_callback = function(problem) told:put(problem) end }
    pool:apply_async(error, { "first", 0 }, options)
    print(told:get())
    local caller
    for _, thread in ipairs(threading.enumerate()) do
      if thread.name == "PoolCallbacks" then caller = thread end
    end
    local Late = { __name = "Late" }
    require("pickle").register("Late", Late, {
      reduce = function()
        blocked("results", caller)
        error("too late", 0)
      end,
      restore = type,
    })
    pool:apply_async(type, { setmetatable({}, Late) }, options)
    print(told:get(true, 60))]])
  lu.assertEquals({ out, err, code }, { "first\ntoo late\n", "", 0 })
end

--- Wherever it is.
function TestPool:testAnInterruptedConstructorLeavesNothing()
  local workers = #mp.active_children()
  for _, how in ipairs({ "cancel", "kill" }) do
    local n = 0
    repeat
      n = n + 1
      local more = struck("multiprocessing/pool", n, how, mp.get_context("fork").Pool, 2)
      collectgarbage() -- what was made at last
      eventually(function()
        return threading.active_count() == 1 and #mp.active_children() == workers
      end)
    until not more
  end
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
    local ok, problem = pcall(pool.apply, pool, identity, { 1, { log = a } })
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.PicklingError))
    lu.assertStrContains(problem.message, "at args[2].log: what is no shared memory")
    ok, problem = pcall(pool.apply, pool, function() return b end)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.PicklingError))
    lu.assertStrContains(problem.message, "at function upvalue 'b': what is no shared memory")
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

-- A program that is interrupted while its pool is busy.
local INTERRUPTED = [[
  local mp = require("multiprocessing")
  local begun, pool = mp.Queue()
  %s mp.get_context("%s").Pool(2)
  local result = pool:map_async(function() begun:put(1) while true do end end, {1, 2, 3, 4}, 1)
  begun:get() begun:get()
  print("ready") io.stdout:flush()
  result:get()]]

--- Interrupts it as a terminal does: with its whole group, workers and fork
--- server. Returns how long it took to end; nothing of it is left.
local function interrupt(scope, method)
  local popen = subprocess.Popen({ program.path, "-e", INTERRUPTED:format(scope, method) },
    { start_new_session = true, stdout = subprocess.PIPE, stderr = subprocess.PIPE })
  lu.assertEquals(popen.stdout:read(), "ready")
  local start = time.monotonic()
  os.execute("kill -INT -" .. popen.pid)
  local _, err = popen:communicate()
  local took = time.monotonic() - start
  lu.assertEquals(popen.returncode, 130, err)
  lu.assertEquals(select(2, err:gsub("stack traceback", "")), 1, err)
  eventually(function() return not os.execute("pgrep -s " .. popen.pid .. " >/dev/null") end)
  return took
end

-- 11 of the pains; a busy machine may take longer.
function TestPool:testCtrlCEndsABusyPoolWithOneTraceback()
  for _, method in ipairs(mp.get_all_start_methods()) do
    for _, scope in ipairs({ "local pool <close> =", "pool =" }) do
      local tries, took = 0, math.huge
      while took > 1 and tries < 5 do took, tries = interrupt(scope, method), tries + 1 end
      lu.assertTrue(took <= 1, ("%s: %.1f s"):format(method, took))
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

for _, method in ipairs(mp.get_all_start_methods()) do
  local make = mp.get_context(method).Pool
  local class = pools(make)
  for name, test in pairs(EachPool) do class[name] = function() test(make) end end
  classes["TestPool_" .. method] = class
end

return classes

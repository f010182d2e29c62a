-- ThreadPool: support/pools.lua, and what is its own.
local lu = require("luaunit")
local mp = require("multiprocessing")
local errors = require("errors")
local queue = require("queue")
local threading = require("threading")
local time = require("time")
local children = require("support.children")
local eventually = require("support.eventually")
local struck = require("support.struck")

local LIMIT = 60 -- seconds, for what should take a moment

local TestThreadPool = require("support.pools")(mp.ThreadPool)

-- 119
function TestThreadPool:testTheInitializerRunsOnceInEachThread()
  local count, lock = 0, threading.Lock()
  do
    local pool <close> = mp.ThreadPool { processes = 3, initargs = { 2 }, initializer = function(n)
      local held <close> = lock:guard()
      count = count + n
    end }
    pool:map(function(x) return x end, { 1, 2, 3 }, 1)
    pool:close()
    pool:join()
  end
  lu.assertEquals(count, 6)
  lu.assertErrorMsgContains("unknown option", mp.ThreadPool, { maxtasksperchild = 1 })
end

-- 136
function TestThreadPool:testValuesAreTheSameObjects()
  local pool <close> = mp.ThreadPool(1)
  local object, problem = {}, setmetatable({}, {})
  lu.assertIs(pool:apply(function(x) return x end, { object }), object)
  local ok, raised = pcall(pool.apply, pool, error, { problem })
  lu.assertFalse(ok)
  lu.assertIs(raised, problem)
end

-- 136
function TestThreadPool:testNoReferencesAreKept()
  local pool <close> = mp.ThreadPool(2)
  local weak = setmetatable({}, { __mode = "k" })
  for _ = 1, 4 do
    local object = {}
    weak[object] = true
    weak[pool:apply(function(x) return { x } end, { object })] = true
    for value in pool:imap(function(x) return { x } end, { object }) do weak[value] = true end
    weak[pool:map(function(x) return { x } end, { object })[1]] = true
  end
  eventually(function() -- a worker may be about to drop the last
    collectgarbage()
    return next(weak) == nil
  end)
end

-- 136
function TestThreadPool:testItsThreadsEndWithIt()
  local before = threading.active_count()
  do
    local pool <close> = mp.ThreadPool(4)
    lu.assertEquals(threading.active_count(), before + 4)
    pool:apply_async(function() while true do end end) -- is interrupted
  end
  lu.assertEquals(threading.active_count(), before)
end

function TestThreadPool:testAKilledThreadFailsItsTaskAndIsReplaced()
  local pool <close> = mp.ThreadPool(1)
  for _ = 1, 3 do
    local result = pool:apply_async(function()
      threading.current_thread():kill()
      while true do end
    end)
    local ok, problem = pcall(result.get, result, LIMIT)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.Killed))
    lu.assertEquals(pool:apply(function() return 5 end), 5)
  end
end

--- Wherever it is, its task is done or fails, and another thread does the next.
function TestThreadPool:testAStruckThreadForgetsNoTask()
  for _, how in ipairs({ "cancel", "kill" }) do
    local n, struck_at = 0
    local function strike_later()
      local left, me = n, threading.current_thread()
      debug.sethook(function()
        local place = debug.getinfo(2, "Sl")
        if not place.source:find("pool/threads.lua", 1, true) then return end
        left = left - 1
        if left > 0 then return end
        debug.sethook()
        struck_at = how .. " at line " .. place.currentline
        me[how](me)
      end, "", 1)
    end
    repeat
      n, struck_at = n + 1, nil
      local pool <close> = mp.ThreadPool(1)
      pool:apply_async(strike_later):wait(LIMIT)
      for i = 1, 2 do
        local result = pool:apply_async(function() return i end)
        lu.assertTrue(result:wait(LIMIT), struck_at)
        local ok, value = pcall(result.get, result)
        lu.assertTrue(ok and value == i or errors.is(value, errors.Cancelled), struck_at)
      end
    until not struck_at
  end
end

--- Wherever it is.
function TestThreadPool:testAnInterruptedConstructorLeavesNothing()
  for _, how in ipairs({ "cancel", "kill" }) do
    local n = 0
    repeat
      n = n + 1
      local more = struck("multiprocessing/pool", n, how, mp.ThreadPool, 2)
      collectgarbage() -- what was made at last
      eventually(function() return threading.active_count() == 1 end)
    until not more
  end
end

--- Wherever it is: what was submitted is done or fails, and its callback is called.
function TestThreadPool:testAnInterruptedCallKeepsNobodyWaiting()
  for name, how in pairs({ apply_async = "cancel", map_async = "kill" }) do
    for _, list in ipairs({ { 1, 2 }, name == "map_async" and {} or nil }) do
      local n = 0
      repeat
        n = n + 1
        local pool = mp.ThreadPool(1)
        local function nothing() end
        local options = { callback = nothing, error_callback = nothing }
        local more, where = struck("multiprocessing/pool", n, how, function()
          if name == "map_async" then return pool:map_async(nothing, list, 1, options) end
          return pool:apply_async(nothing, list, options)
        end)
        pool:close()
        lu.assertTrue(threading.Thread(pool.join, pool):start():join(LIMIT), where)
      until not more
    end
  end
end

--- Also if that takes longer than a thread has that is killed.
function TestThreadPool:testAKilledCallFailsHoweverLongItTakes()
  local pool = mp.ThreadPool(1)
  local engine = pool._engine
  function engine.submit()
    threading.current_thread():kill()
    repeat until false
  end
  function engine.fail_job(...)
    local ending = time.monotonic() + 0.3
    repeat until time.monotonic() > ending
    return getmetatable(engine).fail_job(...)
  end
  local told = queue.Queue()
  local options = { error_callback = function(problem) told:put(problem) end }
  local thread = threading.Thread(pool.apply_async, pool, type, { 1 }, options):start()
  lu.assertTrue(thread:join(LIMIT))
  lu.assertTrue(errors.is(told:get(true, LIMIT), errors.Killed))
  pool:close()
  lu.assertTrue(threading.Thread(pool.join, pool):start():join(LIMIT))
end

--- Takes what is left, one after the other.
local function take_all(it, got)
  repeat
    got[#got + 1] = table.pack(pcall(it.next, it)) -- all that a kill leaves
  until got[#got][1] and got[#got][2] == nil
end

local function is_interrupt(taken)
  return not taken[1] and errors.is(taken[2], errors.Cancelled)
end

--- Whether that is the line of a function with its last return.
local function is_at_end(where, f)
  local line = debug.getinfo(f, "S").lastlinedefined - 1
  return where and where:find("line " .. line .. ",", 1, true) ~= nil
end

--- Wherever it is, another thread goes on with all the rest.
function TestThreadPool:testAnInterruptedIterationLosesNothing()
  if os.getenv("TIDELOCK_SANITIZER") == "thread" then
    lu.skip("hooks count: take_all is interrupted before it has what it was given")
  end
  local function work(i) return i ~= 2 and i or error("two", 0) end
  local function failing()
    local i = 0
    return function()
      i = i + 1
      return i <= 3 and i or error("input", 0)
    end
  end
  local cases = {
    { function() return { 1, 2, 3 } end, { "1", "two", "3", "nil" } },
    { failing, { "1", "two", "3", "input", "nil" } },
  }
  for _, case in ipairs(cases) do
    for name, how in pairs({ imap = "cancel", imap_unordered = "kill" }) do
      local n = 0
      repeat
        n = n + 1
        local pool = mp.ThreadPool(1)
        local it = pool[name](pool, work, case[1](), { buffersize = 2 })
        local got = {}
        local more, where = struck("pool/iterators.lua", n, how, take_all, it, got)
        pool:close()
        lu.assertTrue(threading.Thread(pool.join, pool):start():join(LIMIT), where)
        take_all(it, got)
        local said = {}
        for _, taken in ipairs(got) do
          if not is_interrupt(taken) then said[#said + 1] = tostring(taken[2]) end
        end
        while said[#said - 1] == "nil" do table.remove(said) end
        -- What is handed out at that moment is the interrupted thread's.
        if not is_at_end(where, it.next) then lu.assertEquals(said, case[2], where) end
      until not more
    end
  end
end

--- Another thread asks for the same result. Parts have a number at their head, too,
--- which is zero for such as are values.
function TestThreadPool:testAnInterruptedGetLosesNothing()
  local pool <close> = mp.ThreadPool(1)
  local list = { 0, 7, 0, 8 }
  for _, how in ipairs({ "cancel", "kill" }) do
    local n = 0
    repeat
      n = n + 1
      local result = pool:map_async(function(i) return i end, list, 2)
      result:wait()
      local more, where = struck("pool/jobs.lua", n, how, result.get, result)
      lu.assertEquals(result:get(), list, where)
    until not more
  end
end

--- What a pool is on that is left to the end of the program.
local LEFT = {
  idle = "Left:map(function() end, {1, 2, 3})",
  busy = "R = Left:map_async(function() begun:release() while true do end end, {1, 2, 3}, 1)",
  -- The third is never begun.
  waiting = [[
    R = Left:map_async(function(i)
      begun:release()
      if i == 3 then print("three") end
      gate:wait()
    end, {1, 2, 3}, 1)]],
  calling = [[
    Left:apply_async(type, {1}, {callback = function() begun:release(2) gate:wait() end})]],
}

--- How the program ends, and what it says and returns then.
local ENDS = {
  ["print('end')"] = { "end\n", "", 0 },
  ["os.exit(3, true)"] = { "", "", 3 },
}

-- 134
function TestThreadPool:testTheProgramEndsWithAPoolInSilence()
  for state, work in pairs(LEFT) do
    for how, said in pairs(ENDS) do
      local out, err, code = children.host(([[
        local begun, gate = threading.Semaphore(0), threading.Event()
        Left = mp.ThreadPool(2)
        %s
        if %q ~= "idle" then begun:acquire() begun:acquire() end
        %s]]):format(work, state, how))
      lu.assertEquals({ out, err, code }, said, state)
    end
  end
end

function TestThreadPool:testCtrlCEndsThePoolWithOneTraceback()
  local _, err, code = children.host([[
    local begun, gate = threading.Semaphore(0), threading.Event()
    Left = mp.ThreadPool(2)
    threading.Thread{daemon = true, target = function()
      begun:acquire() begun:acquire()
      os.execute("kill -INT $PPID")
    end}:start()
    Left:map(function() begun:release() gate:wait() end, {1, 2, 3}, 1)]])
  lu.assertEquals(code, 130, err)
  lu.assertEquals(select(2, err:gsub("stack traceback", "")), 1, err)
  lu.assertNil(err:match("Exception in thread"), err)
end

return { TestThreadPool = TestThreadPool }

--- multiprocessing.Lock and RLock: what threading's promise (behaviours 1 to
-- 13), and what is between processes: 107, 108.
local lu = require("luaunit")
local errors = require("errors")
local mp = require("multiprocessing")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local children = require("support.children")
local eventually = require("support.eventually")
local killed = require("support.killed")
local leave = require("support.leave")
local shared_suite = require("support.shared_suite")
local stopped = require("support.stopped")

local LIMIT = 30 -- seconds

local function owner_died(f, ...)
  local ok, err = pcall(f, ...)
  return not ok and errors.is(err, errors.OwnerDied)
end

--- The exit code of a child that does f.
local function in_child(f, ...) return (children.outcome(f, ...)) end

local function suite(new)
  local T = {}

  function T.testItTakesNoArguments()
    lu.assertErrorMsgContains("(no value expected, got table)", new, { timeout = 1 })
  end

  -- 107
  function T.testExcludesOtherProcesses()
    local lock = new()
    lock:acquire()
    lu.assertEquals(in_child(function() leave(lock:acquire(false) and 1 or 0) end), 0)
    lock:release()
    lu.assertEquals(in_child(function() leave(lock:acquire(false) and 5 or 0) end), 5)
  end

  -- 107
  function T.testAProcessWaitsForAnother()
    local lock, held = new(), mp.Event()
    local process = mp.Process(function()
      lock:acquire()
      held:set()
      time.sleep(0.05)
      lock:release()
    end):start()
    lu.assertTrue(held:wait(LIMIT))
    lu.assertTrue(lock:acquire(true, LIMIT))
    lock:release()
    process:join()
    lu.assertEquals(process.exitcode, 0)
  end

  -- 8, 107
  function T.testIncrementsOfManyProcessesAreNotLost()
    local lock, name = new(), os.tmpname()
    local function count(n)
      for _ = 1, n do
        local held <close> = lock:guard()
        local file = io.open(name)
        local value = file:read("n") or 0
        file:close()
        file = io.open(name, "w")
        file:write(value + 1)
        file:close()
      end
    end
    local processes = {}
    for i = 1, 3 do processes[i] = mp.Process(count, 200):start() end
    count(200)
    for _, process in ipairs(processes) do lu.assertTrue(process:join(LIMIT)) end
    local file = io.open(name)
    lu.assertEquals(file:read("n"), 800)
    file:close()
    os.remove(name)
  end

  -- 108
  function T.testTheDeathOfItsOwnerIsToldOnce()
    local lock = new()
    killed(function() lock:acquire() end)
    lu.assertTrue(lock:locked())
    lu.assertTrue(owner_died(lock.acquire, lock))
    lu.assertTrue(lock:locked()) -- by this process now
    lock:release()
    lu.assertTrue(lock:acquire())
    lock:release()
  end

  -- 108
  function T.testWhoDoesNotWaitIsToldAsWell()
    local lock = new()
    killed(function() lock:acquire() end)
    lu.assertTrue(owner_died(lock.acquire, lock, false))
    lock:release()
    lu.assertTrue(lock:acquire(false))
    lock:release()
  end

  -- 108
  function T.testAWaiterIsTold()
    local lock, held = new(), mp.Event()
    local process = mp.Process(function()
      lock:acquire()
      held:set()
      time.sleep(LIMIT)
    end):start()
    lu.assertTrue(held:wait(LIMIT))
    local waiter = threading.Thread(function()
      local died = owner_died(lock.acquire, lock)
      lock:release()
      return died
    end):start()
    blocked("mp r?lock", waiter)
    process:kill()
    process:join()
    lu.assertTrue(waiter:result(LIMIT))
    lu.assertFalse(lock:locked())
  end

  -- 108: a scope that begins so releases it.
  function T.testScopesAreToldAndHoldNothing()
    for _, scope in ipairs({
      function(lock) local held <close> = lock:guard() end,
      function(lock) lock:with(error) end,
    }) do
      local lock = new()
      killed(function() lock:acquire() end)
      lu.assertTrue(owner_died(scope, lock))
      lu.assertFalse(lock:locked())
    end
  end

  -- 108
  function T.testAnOrderlyEndWithTheLockIsToldToo()
    local lock = new()
    lu.assertEquals(in_child(function() lock:acquire() end), 0)
    lu.assertTrue(owner_died(lock.acquire, lock))
    lock:release()
  end

  -- A child of a fork begins while others hammer the lock.
  function T.testForkWhileOthersHammer()
    local lock, over = new(), false
    local threads = {}
    for i = 1, 2 do
      threads[i] = threading.Thread(function()
        while not over do
          lock:acquire()
          lock:release()
        end
      end):start()
    end
    local forker = threading.Thread(function()
      local codes = {}
      for i = 1, 20 do
        codes[i] = in_child(function()
          for _ = 1, 100 do
            if owner_died(lock.acquire, lock) then leave(3) end
            lock:release()
          end
          leave(7)
        end)
      end
      return codes
    end):start()
    local codes = forker:result(60)
    over = true
    for _, thread in ipairs(threads) do lu.assertTrue(thread:join(LIMIT)) end
    for i = 1, 20 do lu.assertEquals(codes[i], 7) end
    lu.assertFalse(lock:locked())
  end

  -- The end of the program does not wait for a lock.
  function T.testTheEndOfTheProgramEndsTheWait()
    local out, err, code = children.host(([[
      local lock = mp.%s()
      lock:acquire()
      threading.Thread{daemon = true, target = function() lock:acquire() end}:start()
      time.sleep(0.05)
      print("end")]]):format(new == mp.Lock and "Lock" or "RLock"))
    lu.assertEquals({ out, code }, { "end\n", 0 }, err)
  end

  return T
end

local TestLock, TestRLock = suite(mp.Lock), suite(mp.RLock)

-- 2, 107
function TestLock.testAnotherProcessMayRelease()
  local lock = mp.Lock()
  lock:acquire()
  lu.assertEquals(in_child(function() lock:release() end), 0)
  lu.assertFalse(lock:locked())
end

-- 11, 107
function TestRLock.testAnotherProcessMayNotRelease()
  local lock = mp.RLock()
  lock:acquire()
  lock:acquire()
  lu.assertEquals(in_child(function() leave(pcall(lock.release, lock) and 1 or 0) end), 0)
  lu.assertStrContains(tostring(lock), "count=2")
  lock:release()
  lock:release()
end

-- 11: nor may the child of a fork for its parent.
function TestRLock.testAChildDoesNotOwnItsParentsLock()
  local lock = mp.RLock()
  lock:acquire()
  local pid = mp.current_process().pid
  local _, message = children.outcome(function(sender)
    sender:send_bytes(tostring(lock:acquire(false)) .. tostring(lock))
  end)
  lu.assertEquals(message, ("false<RLock locked owner=process %d count=1>"):format(pid))
  lock:release()
end

-- 100: of locks and of all else that processes wait for. Each kind is a wait, whose
-- outcome is true when it was granted, and what grants it.
local WAITS = {
  Lock = [[local o = mp.Lock() o:acquire()
    return function(t) return o:acquire(true, t) end, function() o:release() end]],
  RLock = [[local o = mp.RLock() o:acquire()
    return function(t) return o:acquire(true, t) end, function() o:release() end]],
  Semaphore = [[local o = mp.Semaphore(0)
    return function(t) return o:acquire(true, t) end, function() o:release() end]],
  Event = [[local o = mp.Event()
    return function(t) return o:wait(t) end, function() o:set() end]],
  Condition = [[local o, granted = mp.Condition(), mp.Value("bool", false)
    return function(t)
      return o:with(function() return o:wait_for(function() return granted.value end, t) end)
    end, function() o:with(function() granted.value = true o:notify() end) end]],
  Barrier = [[local o = mp.Barrier(2)
    return function(t)
      local ok = pcall(o.wait, o, t)
      if not ok then o:reset() end
      return ok
    end, function() o:wait() end]],
  ["Queue get"] = [[local o = mp.Queue()
    return function(t) return o:get(true, t) or false end, function() o:put(true) end]],
  ["Queue put"] = [[local o = mp.Queue(1) o:put(1)
    return function(t) return o:put(2, true, t) or false end, function() o:get() end]],
  Connection = [[local o, other = mp.Pipe()
    return function(t) return o:poll(t) end, function() other:send_bytes("") end]],
}

for kind, make in pairs(WAITS) do
  TestLock["testSignalsDoNotShortenTheWait_" .. kind:gsub(" ", "")] = function()
    local out, err, code = children.host(("local wait, grant = (function() %s end)()"):format(make)
      .. [[
      local once, twice = mp.Event(), mp.Event()
      local p = mp.Process(function()
        once:set()
        local start = time.monotonic()
        local taken = wait(0.1)
        local took = time.monotonic() - start
        twice:set()
        print(taken, took >= 0.099, wait(nil))
      end):start()
      local function disturb(n)
        for _ = 1, n do
          os.execute(("kill -URG %d; kill -STOP %d; kill -CONT %d"):format(p.pid, p.pid, p.pid))
        end
      end
      once:wait()
      repeat disturb(1) until twice:is_set()
      disturb(10)
      grant()
      p:join()]])
    lu.assertEquals({ out, err, code }, { "false\ttrue\ttrue\n", "", 0 })
  end
end

-- A kill ends the wait, and its __close may wait for its time only.
function TestLock.testAKillEndsTheWait()
  local lock = mp.Lock()
  lock:acquire()
  local waiter = threading.Thread(function()
    local _ <close> = setmetatable({}, { __close = function() lock:acquire() end })
    while true do pcall(lock.acquire, lock) end
  end):start()
  blocked("mp lock", waiter)
  local start, used = time.monotonic(), time.process_time()
  waiter:kill()
  lu.assertTrue(waiter:join(LIMIT))
  local took = time.monotonic() - start
  used = time.process_time() - used
  lu.assertTrue(took > 0.06 and took < 10, took)
  lu.assertTrue(used < took * 0.25, used) -- it slept in its __close
  lock:release()
end

-- Two processes that hammer: a third is served.
function TestLock.testAThirdProcessIsServed()
  local lock, over = mp.Lock(), mp.Event()
  local processes = {}
  for i = 1, 2 do
    processes[i] = mp.Process(function()
      while not over:is_set() do
        lock:acquire()
        lock:release()
      end
    end):start()
  end
  for _ = 1, 50 do
    lu.assertTrue(lock:acquire(true, LIMIT))
    lock:release()
    time.sleep(0.0005)
  end
  over:set()
  for _, process in ipairs(processes) do lu.assertTrue(process:join(LIMIT)) end
end

-- One that is stopped while it waits keeps nobody out.
function TestLock.testAStoppedWaiterKeepsNobodyOut()
  local lock, ready = mp.Lock(), mp.Event()
  lock:acquire()
  local process = mp.Process(function()
    local waiter = threading.Thread(function()
      lock:acquire()
      lock:release()
    end):start()
    blocked("mp lock", waiter)
    ready:set()
    waiter:join(LIMIT)
  end):start()
  lu.assertTrue(ready:wait(LIMIT))
  stopped(process.pid)
  lock:release()
  for _ = 1, 100 do
    lu.assertTrue(lock:acquire(true, LIMIT))
    lock:release()
  end
  os.execute("kill -CONT " .. process.pid)
  lu.assertTrue(process:join(LIMIT))
  eventually(function() return not lock:locked() end)
end

local classes = shared_suite("lock", {
  testWaitersAreServedInOrder = true, -- nearly: see IPC_LOOK_FIRST
  testLocksAreCollected = true, -- multiprocessing_arena_spec.lua
})
classes.TestMultiprocessingLock = TestLock
classes.TestMultiprocessingRLock = TestRLock
return classes

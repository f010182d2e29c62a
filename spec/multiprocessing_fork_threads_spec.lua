-- What a forked child finds of what the threads were doing that it has not. Numbers are those of
-- CPython's behaviours that each test holds tidelock to.
local lu = require("luaunit")
local mp = require("multiprocessing")
local errors = require("errors")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local children = require("support.children")

local TestForkThreads = {}

--- Runs f(wait) in a thread until it calls wait; returns what lets it go on, and ends it.
local function aside(f)
  local inside, go = threading.Event(), threading.Event()
  local thread = threading.Thread(f, function()
    inside:set()
    go:wait()
  end):start()
  inside:wait()
  return function()
    go:set()
    thread:result()
  end
end

local KINDS = {
  Lock = threading.Lock, RLock = threading.RLock, Condition = threading.Condition,
}

-- 86
for name, make in pairs(KINDS) do
  --- The next one has it, and is told once.
  TestForkThreads["testOf" .. name .. "ThatAnotherThreadHoldsAcquireTells"] = function()
    local lock = make()
    local finish = aside(function(wait) lock:with(wait) end)
    local code, messages = children.outcome(function(sender)
      local ok, problem = pcall(lock.acquire, lock, true, 60)
      assert(not ok and errors.is(problem, errors.OwnerDied), problem)
      local other = threading.Thread(function() return lock:acquire(false) end):start()
      sender:send_bytes(tostring(other:result()))
      lock:release()
      assert(lock:acquire(false))
    end)
    lu.assertEquals({ code, messages }, { 0, "false" })
    finish()
    lu.assertTrue(lock:acquire(false))
  end

  --- A scope that is not entered holds nothing.
  TestForkThreads["testOf" .. name .. "ThatAnotherThreadHoldsScopesTell"] = function()
    for _, enter in ipairs({
      function(lock) local _ <close> = lock:guard() end,
      function(lock) lock:with(function() end) end,
    }) do
      local lock = make()
      local finish = aside(function(wait) lock:with(wait) end)
      lu.assertEquals(children.outcome(function()
        local ok, problem = pcall(enter, lock)
        assert(not ok and errors.is(problem, errors.OwnerDied), problem)
        local other = threading.Thread(function() return lock:acquire(false) end):start()
        assert(other:result())
      end), 0)
      finish()
    end
  end
end

--- One that its thread has left locked is no other process's affair.
function TestForkThreads:testALockOfAThreadThatHasEnded()
  local lock = threading.Lock()
  threading.Thread(function() lock:acquire() end):start():join()
  lu.assertEquals(children.outcome(function()
    assert(not lock:acquire(false))
    lock:release()
    assert(lock:acquire(false))
  end), 0)
end

--- What another thread was writing is the parent's to write.
function TestForkThreads:testNothingIsWrittenTwice()
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  local chunk, written, stop = ("x"):rep(70001), 0, false
  local writer = threading.Thread(function()
    while not stop do
      file:write(chunk)
      written = written + #chunk
    end
  end):start()
  for _ = 1, 30 do mp.Process(function() end):start():join() end
  stop = true
  writer:result()
  file:flush()
  local result <close> = assert(io.open(name))
  os.remove(name)
  lu.assertEquals(result:seek("end"), written)
end

--- A thread's hook is its own.
function TestForkThreads:testAHookStaysWithTheParent()
  local n = 0
  debug.sethook(function() n = n + 1 end, "l")
  local code, messages = children.outcome(function(sender)
    sender:send_bytes(tostring(debug.gethook()))
  end)
  debug.sethook()
  lu.assertEquals({ code, messages }, { 0, "nil" })
end

--- The child lives as long as it likes, and its waits are waits.
function TestForkThreads:testAChildOfAThreadThatIsKilled()
  local report, sender = mp.Pipe(false)
  local process, inside = nil, threading.Event()
  local thread = threading.Thread(function()
    local _ <close> = setmetatable({}, { __close = function()
      process = mp.Process(function()
        local begin = time.process_time()
        time.sleep(0.3)
        sender:send(time.process_time() - begin)
      end):start()
    end })
    inside:set()
    while true do end
  end):start()
  inside:wait()
  thread:kill()
  thread:join()
  lu.assertTrue(report:poll(60))
  lu.assertTrue(report:recv() < 0.2)
  while process.exitcode == nil do time.sleep(0.001) end
  report:close()
  sender:close()
end

function TestForkThreads:testNoForkInAFinalizer()
  local ok, problem
  setmetatable({}, { __gc = function()
    local process = mp.Process(function() end)
    ok, problem = pcall(process.start, process)
  end })
  collectgarbage()
  lu.assertEquals(ok, false)
  lu.assertStrContains(problem, "cannot fork in a finalizer")
end

--- A handle that another thread waits at is the child's to close.
function TestForkThreads:testAQueueThatAnotherThreadWaitsAtIsClosed()
  local q = mp.Queue()
  local waiter = threading.Thread(function() return q:get() end):start()
  blocked("mp queue", waiter)
  lu.assertEquals(children.outcome(function() q:close() end), 0)
  q:put(1)
  lu.assertEquals(waiter:result(), 1)
end

return { TestForkThreads = TestForkThreads }

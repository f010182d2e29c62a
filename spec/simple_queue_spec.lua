--- queue.SimpleQueue: behaviours 59, 61, 63, 69.
local lu = require("luaunit")
local gil = require("gil")
local queue = require("queue")
local threading = require("threading")
local blocked = require("support.blocked")
local bunch = require("support.bunch")

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local TestSimpleQueue = {}

function TestSimpleQueue.tearDown()
  gil.switch_interval(0.005)
  collectgarbage("incremental", 200, 100, 13)
end

-- 61
function TestSimpleQueue.testOrder()
  local q = queue.SimpleQueue()
  for i = 1, 1000 do lu.assertTrue(q:put(i)) end
  lu.assertEquals(q:qsize(), 1000)
  for i = 1, 1000 do lu.assertEquals(q:get(), i) end
  lu.assertTrue(q:empty())
end

function TestSimpleQueue.testBlockAndTimeoutOfPutMeanNothing()
  local q = queue.SimpleQueue()
  lu.assertTrue(q:put(1, false))
  lu.assertTrue(q:put(2, true, 1))
  lu.assertTrue(q:put_nowait(3))
  lu.assertEquals({ q:get(), q:get(false), q:get_nowait() }, { 1, 2, 3 })
end

function TestSimpleQueue.testEmptyIsTold()
  local q = queue.SimpleQueue()
  lu.assertIs(select(2, q:get(false)), queue.Empty)
  lu.assertIs(select(2, q:get(true, 0.01)), queue.Empty)
  lu.assertErrorMsgContains("bad argument #2 to 'get'", function() q:get(true, -1) end)
end

function TestSimpleQueue.testHasNoTasksAndNoShutdown()
  local q = queue.SimpleQueue()
  for _, name in ipairs({ "task_done", "join", "shutdown", "full", "iter" }) do
    lu.assertNil(q[name], name)
  end
end

-- 63
function TestSimpleQueue.testPutWakesGetter()
  local q = queue.SimpleQueue()
  local getter = spawn(q.get, q)
  blocked("queue", getter)
  q:put("x")
  lu.assertEquals(getter:result(60), "x")
end

-- 63
function TestSimpleQueue.testEachItemOnce()
  gil.switch_interval(20e-6)
  local q, n = queue.SimpleQueue(), 2000
  local consumers = {}
  for i = 1, 8 do
    consumers[i] = spawn(function()
      local sum = 0
      for item in function() return q:get() end do sum = sum + item end
      return sum
    end)
  end
  bunch(8, function()
    for i = 1, n do q:put(i) end
  end)
  for _ = 1, 8 do q:put(nil) end
  local total = 0
  for _, consumer in ipairs(consumers) do total = total + consumer:result(60) end
  lu.assertEquals(total, 8 * n * (n + 1) // 2)
end

-- 69: each put may be interrupted by a finalizer that puts
function TestSimpleQueue.testPutFromAFinalizer()
  local q = queue.SimpleQueue()
  local on, finalized = true, 0
  local function drop()
    setmetatable({}, {
      __gc = function()
        if not on then return end
        finalized = finalized + 1
        q:put(-finalized)
        drop()
      end,
    })
  end
  collectgarbage("incremental", 1, 1000, 4)
  drop()
  local n = 20000
  for i = 1, n do q:put({ i }) end
  on = false
  lu.assertTrue(finalized > 10, finalized)
  lu.assertEquals(q:qsize(), n + finalized)
  local last, last_finalized = 0, 0
  while not q:empty() do
    local item = q:get()
    if type(item) == "table" then
      lu.assertEquals(item[1], last + 1)
      last = item[1]
    else
      lu.assertEquals(item, last_finalized - 1)
      last_finalized = item
    end
  end
  lu.assertEquals(last, n)
  lu.assertEquals(last_finalized, -finalized)
end

-- 69: or that hands its item to a thread that waits
function TestSimpleQueue.testPutFromAFinalizerWakesGetter()
  local q = queue.SimpleQueue()
  local getter = spawn(q.get, q)
  blocked("queue", getter)
  setmetatable({}, { __gc = function() q:put("from the finalizer") end })
  collectgarbage()
  collectgarbage()
  lu.assertEquals(getter:result(60), "from the finalizer")
end

return { TestSimpleQueue = TestSimpleQueue }

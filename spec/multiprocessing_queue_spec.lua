--- Queue, JoinableQueue and SimpleQueue between processes; behaviours 90 to 94.
local lu = require("luaunit")
local mp = require("multiprocessing")
local pickle = require("pickle")
local queue = require("queue")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local children = require("support.children")
local eventually = require("support.eventually")
local seed = require("support.seed")

local LIMIT = 60 -- seconds, for what should take a moment

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local function child(f, ...) return mp.Process(f, ...):start() end

local function joined(...)
  for _, process in ipairs({ ... }) do
    lu.assertTrue(process:join(LIMIT))
    lu.assertEquals(process.exitcode, 0)
  end
end

-- The fork server stays for the next ones.
mp.get_context("forkserver").Process(function() end):start():join()

local TestQueue = {}

-- 90
function TestQueue.testItemsOfOneProducerComeInOrder()
  local q = mp.Queue()
  local n, producers = 2000, {}
  for k = 1, 3 do
    producers[k] = child(function() for i = 1, n do q:put({ k, i }) end end)
  end
  local last = { 0, 0, 0 }
  for _ = 1, 3 * n do
    local k, i = table.unpack(q:get(true, LIMIT))
    lu.assertEquals(i, last[k] + 1)
    last[k] = i
  end
  joined(table.unpack(producers))
  lu.assertTrue(q:empty())
end

function TestQueue.testEachItemIsDeliveredOnce()
  local q, results = mp.Queue(), mp.Queue()
  local n, consumers = 3000, {}
  for k = 1, 4 do
    consumers[k] = child(function()
      local sum, count = 0, 0
      for item in function() return q:get() end do
        if item == "end" then break end
        sum, count = sum + item, count + 1
      end
      results:put({ sum, count })
    end)
  end
  for i = 1, n do q:put(i) end
  for _ = 1, 4 do q:put("end") end
  local sum, count = 0, 0
  for _ = 1, 4 do
    local part = results:get(true, LIMIT)
    sum, count = sum + part[1], count + part[2]
  end
  lu.assertEquals({ sum, count }, { n * (n + 1) // 2, n })
  joined(table.unpack(consumers))
end

function TestQueue.testWhatTravels()
  local q = mp.Queue()
  local shared = { 1 }
  local cyclic = { shared, shared }
  cyclic.self = cyclic
  local a, b = 1, 2
  q:put(nil)
  q:put(false)
  q:put("")
  q:put(("x"):rep(100000))
  q:put(cyclic)
  q:put(function() a = a + 1 return a + b end)
  lu.assertEquals(table.pack(q:get()), { nil, n = 1 })
  lu.assertIs(q:get(), false)
  lu.assertEquals(q:get(), "")
  lu.assertEquals(q:get(), ("x"):rep(100000))
  local copy = q:get()
  lu.assertIs(copy.self, copy)
  lu.assertIs(copy[1], copy[2])
  local f = q:get()
  lu.assertEquals({ f(), f(), a }, { 4, 5, 1 })
end

-- 91
function TestQueue.testAnItemThatCannotTravelIsRefusedByPut()
  local q = mp.Queue(1)
  local log <close> = assert(io.open("/dev/null"))
  local ok, problem = pcall(q.put, q, { { log = log } })
  lu.assertFalse(ok)
  lu.assertStrMatches(tostring(problem),
    "pickle.PicklingError: cannot pickle a userdata %(FILE%*%) at item%[1%]%.log")
  lu.assertEquals(problem.name, pickle.PicklingError.name)
  lu.assertTrue(q:put("next", false)) -- its place was given back
  lu.assertEquals(q:get(), "next")
end

function TestQueue.testMaxsize()
  local q = mp.Queue(2)
  lu.assertEquals({ q:put(1), q:put(2) }, { true, true })
  lu.assertEquals({ q:full(), q:empty(), q:qsize() }, { true, false, 2 })
  lu.assertEquals(table.pack(q:put(3, false)), { nil, queue.Full, n = 2 })
  lu.assertEquals(table.pack(q:put_nowait(3)), { nil, queue.Full, n = 2 })
  local began = time.monotonic()
  lu.assertEquals(table.pack(q:put(3, true, 0.05)), { nil, queue.Full, n = 2 })
  lu.assertTrue(time.monotonic() - began >= 0.03)
  local process = child(function() time.sleep(0.02) q:get() end)
  lu.assertTrue(q:put(3, true, LIMIT))
  joined(process)
  lu.assertEquals({ q:get(), q:get() }, { 2, 3 })
  for _, maxsize in ipairs({ 0, -1 }) do
    local free = mp.Queue(maxsize)
    for i = 1, 100 do free:put(i) end
    lu.assertFalse(free:full())
  end
end

function TestQueue.testLimit()
  local q = mp.Queue({ limit = 100000 }) -- bytes, rounded up
  local text, n = ("x"):rep(10000), 0
  while q:put(text, false) do n = n + 1 end
  lu.assertTrue(n >= 9 and n < 20, n)
  lu.assertEquals(table.pack(q:put(text, true, 0.01)), { nil, queue.Full, n = 2 })
  lu.assertErrorMsgContains("bad argument #1 to 'put' (larger than the queue's limit)",
    function() q:put(("x"):rep(300000)) end)
  lu.assertEquals(q:get(), text)
  lu.assertTrue(q:put(text, false))
end

function TestQueue.testTheUsualLimitIs256MiB()
  local q = mp.Queue()
  local text, n = ("x"):rep((1 << 20) - 64), 0
  while q:put(text, false) do n = n + 1 end
  lu.assertTrue(n >= 255 and n <= 256, n)
  lu.assertTrue(q:put("short", false))
  q:close()
end

-- 94: whoever has stopped in the middle of a put or a get is not waited for longer.
function TestQueue.testAStoppedProcessHoldsUpNobody()
  local q = mp.Queue()
  local process = child(function()
    while true do
      q:put(("x"):rep(2000))
      q:get()
    end
  end)
  seed()
  for _ = 1, 100 do
    time.sleep(math.random() * 0.0005)
    os.execute("kill -STOP " .. process.pid)
    for _, call in ipairs({
      function() return q:get(true, 0.001) end, q.get_nowait,
      function() return q:put("y", true, 0.001) end, function() return q:put_nowait("y") end,
      q.qsize, q.empty, q.full, tostring,
    }) do
      lu.assertTrue(spawn(call, q):join(LIMIT))
    end
    os.execute("kill -CONT " .. process.pid)
  end
  process:kill()
  process:join()
end

-- 94
function TestQueue.testGetTimesOut()
  local q = mp.Queue()
  lu.assertEquals(table.pack(q:get(false)), { nil, queue.Empty, n = 2 })
  lu.assertEquals(table.pack(q:get_nowait()), { nil, queue.Empty, n = 2 })
  local waiting = child(function() q:get() end)
  local began = time.monotonic()
  lu.assertEquals(table.pack(q:get(true, 0.05)), { nil, queue.Empty, n = 2 })
  lu.assertTrue(time.monotonic() - began >= 0.03)
  q:put(1)
  joined(waiting)
end

-- 92, 93: what was put is there, whatever its process does then
function TestQueue.testNothingHasToBeFlushed()
  local q = mp.Queue()
  local text = ("x"):rep(300000) -- more than a pipe holds
  local process = child(function()
    for _ = 1, 5 do q:put(text) end
    q:close()
    q:join_thread()
  end)
  joined(process) -- before the queue is drained
  for _ = 1, 5 do lu.assertEquals(q:get(true, LIMIT), text) end
  lu.assertTrue(q:empty())
end

-- 92
function TestQueue.testClosed()
  local q = mp.Queue()
  q:put(1)
  q:close()
  q:close()
  q:join_thread()
  q:cancel_join_thread()
  for _, name in ipairs({ "put", "get", "put_nowait", "get_nowait", "qsize", "empty", "full" }) do
    local value = name:find("^put") and 1 or nil
    lu.assertErrorMsgContains("the queue is closed", q[name], q, value)
  end
  lu.assertEquals(tostring(q), "<Queue closed>")
  do
    local scoped <close> = mp.SimpleQueue()
    q = scoped
  end
  lu.assertErrorMsgContains("the queue is closed", q.empty, q)
end

function TestQueue.testOneThatIsWaitedForIsNotClosed()
  local q = mp.Queue()
  local waiter = spawn(q.get, q)
  blocked("mp queue", waiter)
  lu.assertErrorMsgContains("another thread waits for the queue", q.close, q)
  q:put("there")
  lu.assertEquals(waiter:result(LIMIT), "there")
  local tasks = mp.JoinableQueue()
  tasks:put(1)
  local joiner = spawn(tasks.join, tasks)
  blocked("mp queue's tasks", joiner)
  lu.assertErrorMsgContains("another thread waits for the queue", tasks.close, tasks)
  tasks:get()
  tasks:task_done()
  lu.assertTrue(joiner:join(LIMIT))
end

function TestQueue.testOneThatIsClosedByWhatPutRuns()
  local q = mp.Queue()
  local class = {}
  pickle.register("queue_spec.Closing", class, {
    reduce = function()
      q:close()
      return 1
    end,
    restore = function() return {} end,
  })
  lu.assertErrorMsgContains("the queue is closed", q.put, q, setmetatable({}, class))
end

--- Does it until it is not refused, which takes 10 ms each time.
local function insist(f, ...)
  repeat
    local began = time.monotonic()
    local done = f(...)
    assert(done or time.monotonic() - began > 0.009)
  until done
end

-- A lock that others hold for some instructions is no reason to refuse, unless
-- its holder gets no processor for so long.
function TestQueue.testOnlyAFullOrEmptyOneRefuses()
  local q, rounds = mp.Queue(), 20000
  for i = 1, 100 do q:put(i) end
  local function work()
    for i = 1, rounds do
      insist(q.put_nowait, q, i)
      insist(q.get_nowait, q)
    end
  end
  local others = { child(work), child(work) }
  work()
  joined(table.unpack(others))
  lu.assertEquals(q:qsize(), 100)
end

function TestQueue.testWaitsEndWhenInterrupted()
  local q, full = mp.Queue(), mp.Queue(1)
  full:put(1)
  for _, wait in ipairs({
    function() q:get() end, function() q:get(true, LIMIT) end, function() full:put(2) end,
  }) do
    for _, how in ipairs({ "cancel", "kill" }) do
      local thread = spawn(wait)
      blocked("mp queue", thread)
      thread[how](thread)
      lu.assertTrue(thread:join(LIMIT))
    end
  end
  q:put("kept") -- nobody took it
  lu.assertEquals({ q:get(false), full:get(false), full:qsize() }, { "kept", 1, 0 })
end

function TestQueue.testCtrlCEndsAWait()
  local _, err, code = children.host([[
    local q, main = mp.Queue(), mp.current_process().pid
    mp.Process(function()
      time.sleep(0.1)
      os.execute("kill -INT " .. main)
    end):start()
    q:get()]])
  lu.assertEquals(code, 130, err)
end

--- Several threads of one process wait for one queue.
function TestQueue.testThreadsOfOneProcess()
  local q, got, threads = mp.Queue(), {}, {}
  for k = 1, 4 do
    threads[k] = spawn(function()
      for item in function() return q:get() end do
        if item == 0 then break end
        table.insert(got, item)
      end
    end)
  end
  blocked("mp queue", table.unpack(threads))
  local process = child(function()
    for i = 1, 500 do q:put(i) end
    for _ = 1, 4 do q:put(0) end
  end)
  for _, thread in ipairs(threads) do lu.assertTrue(thread:join(LIMIT)) end
  joined(process)
  table.sort(got)
  lu.assertEquals(#got, 500)
  for i = 1, 500 do lu.assertEquals(got[i], i) end
end

function TestQueue.testItTravelsToProcessesOfEveryMethod()
  for _, method in ipairs(mp.get_all_start_methods()) do
    local there, back = mp.Queue(), mp.SimpleQueue()
    local process = mp.get_context(method).Process(function(a, b)
      b:put(a:get() * 2)
    end, there, back):start()
    there:put(21)
    lu.assertEquals(back:get(), 42)
    joined(process)
  end
end

--- Whoever dies in the middle leaves each item whole, and nobody waiting.
function TestQueue.testKilledProcesses()
  seed()
  for _ = 1, 30 do
    local q = mp.Queue(20)
    local putter = child(function()
      local i = 0
      while true do
        i = i + 1
        q:put({ i, ("x"):rep(i % 300) })
      end
    end)
    local getter = child(function() while true do q:get() end end)
    time.sleep(math.random() * 0.02)
    putter:kill()
    time.sleep(math.random() * 0.002)
    getter:kill()
    putter:join()
    getter:join()
    local last = 0
    for item in function() return q:get(false) end do
      lu.assertEquals(#item[2], item[1] % 300)
      lu.assertTrue(item[1] > last)
      last = item[1]
    end
    lu.assertTrue(q:put("on", true, LIMIT))
    lu.assertEquals(q:get(true, LIMIT), "on")
  end
end

function TestQueue.testJoinable()
  local q = mp.JoinableQueue()
  q:join() -- nothing was put
  local worker = mp.Process({ target = function()
    while true do
      q:get()
      time.sleep(0.001)
      q:task_done()
    end
  end, daemon = true }):start()
  for i = 1, 30 do q:put(i) end
  q:join()
  lu.assertTrue(q:empty())
  lu.assertErrorMsgContains("task_done() called too many times", q.task_done, q)
  worker:kill() -- it is on nothing
  worker:join()
  q:put("last")
  local joiner = spawn(q.join, q)
  blocked("mp queue's tasks", joiner)
  lu.assertEquals(q:get(), "last")
  q:task_done()
  lu.assertTrue(joiner:join(LIMIT))
end

--- In CPython this waits for ever.
function TestQueue.testTasksOfADeadProcessAreLost()
  local q, ready = mp.JoinableQueue(), mp.Queue()
  for i = 1, 5 do q:put(i) end
  local worker = child(function()
    q:get()
    q:task_done()
    q:get()
    q:get()
    ready:put(true)
    time.sleep(LIMIT)
  end)
  ready:get()
  local joiner = spawn(function() return pcall(q.join, q) end)
  blocked("mp queue's tasks", joiner)
  worker:kill()
  worker:join()
  local ok, problem = joiner:result(LIMIT)
  lu.assertFalse(ok)
  lu.assertEquals(tostring(problem),
    "OwnerDied: 2 tasks were lost with a process that died")
  joiner = spawn(q.join, q)
  blocked("mp queue's tasks", joiner) -- the other two are still there
  for _ = 1, 2 do
    q:get()
    q:task_done()
  end
  lu.assertTrue(joiner:join(LIMIT))
end

-- More processes than there is room for have come and gone.
function TestQueue.testTasksOfOneOfManyProcessesAreLost()
  local q = mp.JoinableQueue()
  local function take(done)
    local worker = child(function()
      q:get()
      if done then q:task_done() end
    end)
    lu.assertTrue(worker:join(LIMIT))
  end
  for i = 1, 140 do
    q:put(i)
    take(true)
  end
  q:put("lost")
  take(false)
  local ok, problem = pcall(q.join, q)
  lu.assertFalse(ok)
  lu.assertStrContains(tostring(problem), "1 tasks were lost")
end

function TestQueue.testJoinEndsWhenInterrupted()
  local q = mp.JoinableQueue()
  q:put(1)
  local joiner = spawn(q.join, q)
  blocked("mp queue's tasks", joiner)
  joiner:cancel()
  lu.assertTrue(joiner:join(LIMIT))
end

function TestQueue.testSimple()
  local q = mp.SimpleQueue()
  lu.assertEquals({ q:empty(), q:put("x"), q:empty(), q:get() }, { true, true, false, "x" })
  lu.assertNil(q.task_done)
  lu.assertEquals(tostring(q), "<SimpleQueue qsize=0>")
  lu.assertErrorMsgContains("(no value expected, got table)", mp.SimpleQueue, { maxsize = 5 })
end

function TestQueue.testTellsWhatItIs()
  local q = mp.Queue()
  q:put(1)
  lu.assertEquals(tostring(q), "<Queue qsize=1>")
  lu.assertEquals(tostring(mp.JoinableQueue(3)), "<JoinableQueue qsize=0>")
end

function TestQueue.testWrongArguments()
  local q = mp.Queue()
  local function wrong(message, f) lu.assertErrorMsgContains(message, f) end
  wrong("Queue' (number expected, got string)", function() mp.Queue("many") end)
  wrong("Queue' (unknown option 'size')", function() mp.Queue({ size = 1 }) end)
  wrong("Queue' (limit out of range)", function() mp.Queue({ limit = 0 }) end)
  wrong("Queue' (maxsize too big)", function() mp.Queue(1 << 24) end)
  wrong("bad argument #1 to 'put' (value expected)", function() q:put() end)
  wrong("bad argument #2 to 'put'", function() q:put(1, "yes") end)
  wrong("bad argument #3 to 'put' (timeout must be a number of seconds >= 0)",
    function() q:put(1, true, -1) end)
  wrong("bad argument #1 to 'get'", function() q:get(1) end)
  wrong("bad argument #2 to 'get' (timeout must be a number of seconds >= 0)",
    function() q:get(true, 0 / 0) end)
  wrong("Queue expected", function() q.get(io.stdout) end)
  lu.assertTrue(q:empty())
end

--- Memory that a burst took is given back.
function TestQueue.testMemoryIsGivenBack()
  local q = mp.Queue()
  local function memory()
    local total = 0
    for line in io.lines("/proc/self/smaps") do
      if line:find("tidelock%-channel") then total = -1 end
      local kib = total == -1 and line:match("^Rss:%s*(%d+)")
      if kib then return tonumber(kib) end
    end
  end
  local text = ("x"):rep(1 << 20)
  for _ = 1, 20 do q:put(text) end
  for _ = 1, 20 do q:get() end
  local large = memory()
  lu.assertTrue(large > 10000, large)
  eventually(function()
    for _ = 1, 2000 do
      q:put(1)
      q:get()
    end
    return memory() < large / 4
  end)
end

return { TestQueue = TestQueue }

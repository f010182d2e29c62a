-- The clients of managers' servers. Numbers are those of CPython's behaviours that
-- each test holds tidelock to.
local lu = require("luaunit")
local Server = require("multiprocessing.managers.server")
local connection = require("multiprocessing.connection")
local errors = require("errors")
local lfs = require("lfs")
local managers = require("multiprocessing.managers")
local mp = require("multiprocessing")
local pickle = require("pickle")
local threading = require("threading")
local time = require("time")
local aside = require("support.aside")
local between = require("support.between")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local children = require("support.children")
local eventually = require("support.eventually")
local raised = require("support.raised")
local stopped = require("support.stopped")

local LIMIT = 60 -- seconds, for what should take a moment

-- --- Clients that die ---------------------------------------------------------------

local TestClients = {}

function TestClients:testClientsThatAreKilledAnywhere()
  local m <close> = mp.Manager()
  local d, q, lock = m:dict({ n = 0 }), m:Queue(), m:Lock()
  local function work(seed)
    math.randomseed(seed)
    while true do
      local what = math.random(4)
      if what == 1 then
        q:put(q:get(false) or 1)
      elseif what == 2 then
        managers.apply(d, function(t) t.n = t.n + 1 end)
      elseif what == 3 then
        errors.pcall(function()
          local _ <close> = lock:guard()
          d.x = d.n
        end)
      else
        local l = m:list({ q, lock, d })
        l[3].last = #l
      end
    end
  end
  local round, deadline = 0, time.monotonic() + LIMIT
  repeat
    round = round + 1
    local workers = {}
    for i = 1, 2 do workers[i] = mp.Process(work, round * 10 + i):start() end
    time.sleep(0.003 * round)
    for _, worker in ipairs(workers) do worker:kill() end
    for _, worker in ipairs(workers) do lu.assertTrue(worker:join(LIMIT)) end
  until round >= 12 and d.n > 0 or time.monotonic() > deadline
  local ok, got = pcall(lock.acquire, lock, true, LIMIT)
  lu.assertTrue(ok and got or errors.is(got, errors.OwnerDied), tostring(got))
  lu.assertTrue(d.n > 0)
  d.n = 0
  lu.assertEquals(managers.apply(d, function(t)
    t.n = t.n + 1
    return t.n
  end), 1)
  eventually(function() return m:_number_of_objects() == 3 end)
end

--- What the object's function does in the server ends with its caller.
function TestClients:testACancelledApplyEnds()
  local m <close> = mp.Manager()
  local d, begun, of_child = m:dict(), mp.Event(), mp.Event()
  local _, thread = aside(managers.apply, d, function(t)
    t.begun = true
    begun:set()
    while true do pcall(time.sleep, 0.01) end
  end)
  lu.assertTrue(begun:wait(LIMIT))
  thread:cancel()
  lu.assertTrue(d.begun) -- waits for the lock of d meanwhile
  local child = mp.Process(function()
    managers.apply(d, function(t)
      t.child = true
      of_child:set()
      while true do end -- luacheck: ignore
    end)
  end):start()
  lu.assertTrue(of_child:wait(LIMIT))
  child:kill()
  lu.assertTrue(child:join(LIMIT))
  lu.assertTrue(d.child)
end

--- Cancels a thread in f() whose call the server answers only then.
local function cancel_before_the_answer(f)
  local server = mp.active_children()[1]
  stopped(server.pid)
  local result, thread = aside(f)
  blocked("read", thread)
  thread:cancel()
  lu.assertFalse((result()))
  os.execute("kill -CONT " .. server.pid)
end

--- What the server gives to one that has gone goes again: an object, the reference of
--- a message that is not sent, that of one that was received, those of a child.
function TestClients:testWhatNobodyReceivesGoesAgain()
  local m <close> = mp.Manager()
  local kept, d = m:dict(), m:dict()
  local function await(n)
    kept.x = n -- the server is awake
    eventually(function()
      collectgarbage()
      return m:_number_of_objects() == n
    end)
  end
  cancel_before_the_answer(function() return m:dict() end)
  await(2)
  cancel_before_the_answer(function() return pickle.dumps(d) end)
  local first, second = pickle.dumps(d), pickle.dumps(d)
  d = pickle.loads(first)
  cancel_before_the_answer(function() d.x = 1 end)
  d.x = 2
  cancel_before_the_answer(function() mp.Process(print):start() end)
  d = nil -- luacheck: ignore
  await(2) -- for the second message
  d = pickle.loads(second)
  lu.assertEquals(d.x, 2)
  d = nil -- luacheck: ignore
  await(1)
end

--- A call that its caller gives up leaves nothing in the server.
function TestClients:testAbandonedCallsLeaveNoConnections()
  local Mine = managers.BaseManager:subclass()
  Mine:register("Counter", function()
    return { count = function()
      local n = 0
      for _ in require("lfs").dir("/proc/self/fd") do n = n + 1 end
      return n
    end }
  end)
  local m <close> = Mine():start()
  local shared <close> = mp.Manager()
  local begun = shared:Semaphore(0)
  m:register("Slow", function()
    return { nap = function()
      begun:release()
      require("threading").Event():wait()
    end }
  end)
  local counter, slow = m:Counter(), m:Slow()
  local before = counter:count()
  for _ = 1, 10 do
    local result, thread = aside(slow.nap, slow)
    begun:acquire()
    thread:cancel()
    result()
  end
  eventually(function() return counter:count() <= before + 4 end)
end

--- Another thread's call, wherever it comes between, has a connection of its own.
function TestClients:testTwoCallsAtATime()
  local m <close> = mp.Manager()
  local d = m:dict({ x = 1 })
  local n, more = 0
  repeat
    n = n + 1
    local e, woken = m:Event(), nil
    more = between("managers/client", n, function()
      lu.assertEquals(d.x, 1)
      e:set()
    end, function() woken = e:wait(LIMIT) end)
    lu.assertEquals(woken, more or nil)
  until not more
  lu.assertTrue(n > 5)
end

-- --- Connecting -------------------------------------------------------------------

local TestConnect = {}

-- 118
function TestConnect:testOnlyWithTheKey()
  local m <close> = mp.Manager()
  local wrong = managers.SyncManager { address = m.address, authkey = "wrong" }
  local problem = raised(wrong.connect, wrong)
  lu.assertTrue(errors.is(problem, errors.AuthenticationError), tostring(problem))
  -- One who says nothing holds up nobody.
  local silent = connection.Client(m.address)
  local right = managers.SyncManager { address = m.address,
    authkey = mp.current_process().authkey }:connect()
  local d = right:dict()
  d.x = 1
  lu.assertEquals(d.x, 1)
  silent:close()
  lu.assertStrContains(select(2, pcall(right.shutdown, right)), "another process has started")
  lu.assertStrContains(select(2, pcall(right.join, right)), "not started")
  local nobody = managers.SyncManager("/no/such/socket")
  lu.assertFalse((pcall(nobody.connect, nobody)))
end

-- 118
function TestConnect:testFromAProgramOfItsOwn()
  local Mine = managers.SyncManager:subclass()
  local shared = {}
  Mine:register("shared", function() return shared end, { proxytype = "dict" })
  local m <close> = Mine { authkey = "our secret" }:start()
  local out, err = children.host(([[
    local managers = require("multiprocessing.managers")
    local Mine = managers.SyncManager:subclass()
    Mine:register("shared")
    local m = Mine{address = %q, authkey = "our secret"}:connect()
    m:shared().x = "from outside"
    local q = m:Queue()
    q:put(m:shared())
    print(q:get().x)
  ]]):format(m.address))
  lu.assertEquals(err, "")
  lu.assertEquals(out, "from outside\n")
  lu.assertEquals(m:shared().x, "from outside")
end

-- 118
function TestConnect:testTCP()
  local m <close> = managers.SyncManager { address = { "127.0.0.1", 0 }, authkey = "k" }:start()
  lu.assertTrue(m.address[2] > 0)
  lu.assertStrContains(tostring(m), "127.0.0.1 port")
  local other = managers.SyncManager { address = { "127.0.0.1", m.address[2] }, authkey = "k" }
  other:connect()
  local d, inner = other:dict(), other:dict({ x = 1 })
  d.inner = inner
  lu.assertTrue(d.inner == inner)
  d.inner.x = 2
  lu.assertEquals(inner.x, 2)
  local child = mp.Process(function() d.inner.x = 3 end):start()
  lu.assertTrue(child:join(LIMIT))
  lu.assertEquals(inner.x, 3)
end

--- From threads and processes, all that there is.
local START = [[
  local managers = require("multiprocessing.managers")
  local ctx = mp.get_context(METHOD)
  local m <close> = ctx.Manager()
  m:register("Box", function(v)
    local box = { v = v }
    function box:get() return self.v end
    return box
  end)
  local function count(t) t.n = (t.n or 0) + 1 end
  local d, l, q, box = m:dict(), m:list(), m:Queue(), m:Box(7)
  d.l, d.q = l, q
  local p = ctx.Process(function(dict, b)
    local apply = require("multiprocessing.managers").apply
    for _ = 1, 20 do apply(dict, count) end
    dict.l:append(b:get())
    dict.q:put("started")
  end, d, box)
  p:start()
  local threads = {}
  for i = 1, 4 do
    threads[i] = threading.Thread(function()
      for _ = 1, 20 do managers.apply(d, count) end
    end):start()
  end
  for _, thread in ipairs(threads) do thread:result() end
  p:join()
  print(p.exitcode, d.n, l:copy()[1], q:get())
]]

-- 118
function TestConnect:testStartMethods()
  for _, method in ipairs(mp.get_all_start_methods()) do
    local out, err = children.host((START:gsub("METHOD", '"' .. method .. '"')))
    lu.assertEquals(err, "")
    lu.assertEquals(out, "0\t100\t7\tstarted\n")
  end
end

--- Each client of a process is another one in its children.
function TestConnect:testAForkOfAProcessWithTwoClients()
  local m <close> = mp.Manager()
  local second = managers.SyncManager { address = m.address,
    authkey = mp.current_process().authkey }:connect()
  local receiver <close>, sender = mp.Pipe(false)
  local child = mp.Process(function()
    local kept = second:list()
    sender:send(#kept)
    mp.Event():wait()
  end):start()
  lu.assertEquals(receiver:recv(), 0)
  lu.assertEquals(m:_number_of_objects(), 1)
  child:kill()
  lu.assertTrue(child:join(LIMIT))
  eventually(function() return m:_number_of_objects() == 0 end)
end

--- Threads that fork at once.
function TestConnect:testEachForkIsAnother()
  local server = Server.new({}, { address = "none" })
  local caller, objects, other = { client = server.own }, server.objects, nil
  local function fork() return select(2, server:invoke(caller, 0, "fork")) end
  function objects:copy(refs)
    self.copy = nil
    other = fork()
    return self:copy(refs)
  end
  local one = fork()
  lu.assertNotEquals(one, other)
end

function TestConnect:testAServerOfThisProcess()
  local receiver <close>, sender = mp.Pipe(false)
  local child = mp.Process(function()
    local server = managers.SyncManager { authkey = "k" }:get_server()
    sender:send(server.address)
    local thread = threading.Thread(server.serve_forever, server):start()
    mp.parent_process():join()
    thread:cancel()
  end):start()
  local m = managers.SyncManager { address = receiver:recv(), authkey = "k" }:connect()
  local d = m:dict({ x = 1 })
  lu.assertEquals(d.x, 1)
  local path = m.address
  child:terminate()
  lu.assertTrue(child:join(LIMIT))
  lu.assertTrue(errors.is(raised(function() return d.x end), errors.EOFError))
  os.remove(path)
  os.remove(path:match("^(.*)/"))
end

function TestConnect:testInAPool()
  local m <close> = mp.Manager()
  local d = m:dict({ n = 0 })
  local pool <close> = mp.Pool(2)
  pool:map(function(proxy)
    managers.apply(proxy, function(t) t.n = t.n + 1 end)
  end, { d, d, d, d, d, d })
  lu.assertEquals(d.n, 6)
end

function TestConnect:testAPoolInTheServer()
  local m <close> = mp.Manager()
  local pool = m:Pool(2)
  local function double(x) return x * 2 end
  local child = mp.Process(function()
    assert(pool:apply(double, { 4 }) == 8)
  end):start()
  lu.assertEquals(pool:map(double, { 1, 2, 3 }), { 2, 4, 6 })
  lu.assertEquals(pool:apply_async(double, { 5 }):get(LIMIT), 10)
  local sum = 0
  for x in pool:imap(double, { 1, 2, 3 }) do sum = sum + x end
  lu.assertEquals(sum, 12)
  lu.assertFalse((pcall(pool.apply, pool, error, { "x" })))
  lu.assertTrue(child:join(LIMIT))
  lu.assertEquals(child.exitcode, 0)
  pool:close()
  pool:join()
end

-- A descriptor for each call at a time, and they are used again.
function TestConnect:testConnectionsAreUsedAgain()
  local m <close> = mp.Manager()
  local d = m:dict({ x = 1 })
  local function count()
    local n = 0
    for _ in lfs.dir("/proc/self/fd") do n = n + 1 end
    return n
  end
  bunch(4, function() return d.x end)
  local before = count()
  for _ = 1, 5 do bunch(4, function() return d.x end) end
  lu.assertTrue(count() <= before + 4)
end

return { TestClients = TestClients, TestConnect = TestConnect }

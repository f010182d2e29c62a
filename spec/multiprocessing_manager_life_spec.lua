-- The lives of managers' servers and of their clients. Numbers are those of
-- CPython's behaviours that each test holds tidelock to.
local lu = require("luaunit")
local connection = require("multiprocessing.connection")
local errors = require("errors")
local lfs = require("lfs")
local Server = require("multiprocessing.managers.server")
local managers = require("multiprocessing.managers")
local mp = require("multiprocessing")
local threading = require("threading")
local time = require("time")
local bunch = require("support.bunch")
local children = require("support.children")
local eventually = require("support.eventually")
local program = require("support.program")

local LIMIT = 60 -- seconds, for what should take a moment

local function aside(f, ...)
  local thread = threading.Thread(pcall, f, ...):start()
  return function() return thread:result(LIMIT) end, thread
end

local function raises(class, f, ...)
  local ok, problem = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, class), tostring(problem))
  return problem
end

local function exists(path) return lfs.attributes(path) ~= nil end

--- The process of the one manager that there is.
local function only_server()
  local found
  for _, process in ipairs(mp.active_children()) do
    if process.name:find("^Manager") then
      lu.assertNil(found)
      found = process
    end
  end
  return found
end

-- --- Start and end ----------------------------------------------------------------

local TestLife = {}

-- 117
function TestLife:testShutdownFreesEverything()
  local m = mp.Manager()
  local d, path, server = m:dict(), m.address, only_server()
  lu.assertStrContains(tostring(m), "<Manager started " .. path)
  lu.assertEquals(lfs.attributes(path, "mode"), "socket")
  m:shutdown()
  m:shutdown()
  lu.assertFalse(exists(path))
  lu.assertFalse(exists(path:match("^(.*)/")))
  lu.assertEquals(server.exitcode, 0)
  raises(errors.EOFError, function() return d.x end)
  lu.assertStrContains(select(2, pcall(m.dict, m)), "cannot use a manager that is shut down")
  lu.assertStrContains(tostring(m), "<Manager shut down")
  lu.assertStrContains(tostring(d), "cannot be asked")
end

-- 117
function TestLife:testShutdownDoesNotWaitForCalls()
  local m = mp.Manager()
  local q, d = m:Queue(), m:dict()
  local waits = aside(q.get, q)
  local works = aside(managers.apply, d, function() while true do end end)
  time.sleep(0.05)
  m:shutdown()
  for _, result in ipairs({ waits, works }) do
    local ok, problem = result()
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.EOFError), tostring(problem))
  end
end

function TestLife:testScopesAndTheCollector()
  local path, server
  do
    local m <close> = mp.Manager()
    path, server = m.address, only_server()
  end
  lu.assertFalse(exists(path))
  lu.assertFalse(server:is_alive())
  local d
  do
    local m = mp.Manager()
    path, d = m.address, m:dict({ x = 1 })
  end
  collectgarbage()
  collectgarbage()
  lu.assertEquals(d.x, 1) -- it lives as long as its proxies
  d = nil -- luacheck: ignore
  eventually(function()
    collectgarbage()
    return not exists(path)
  end)
  eventually(function() return only_server() == nil end)
end

-- 117
function TestLife:testAnyOtherEndOfTheStarter()
  for _, last in ipairs({ "", "os.exit(0)", "os.exit(0, true)", "error('x')",
    "os.execute('kill -9 $PPID')" }) do
    local out = children.host([[
      local m = mp.Manager()
      local d = m:dict()
      print(m.address)
      io.stdout:flush()
    ]] .. last)
    local path = out:match("%S+")
    lu.assertStrContains(path, "/listener")
    eventually(function() return not exists(path) end)
  end
end

-- 117
function TestLife:testTheServerIgnoresInterrupts()
  local m <close> = mp.Manager()
  local d = m:dict({ x = 1 })
  only_server():interrupt()
  time.sleep(0.02)
  lu.assertEquals(d.x, 1)
end

function TestLife:testAServerThatDoesNotStart()
  local problem = raises(errors.OSError, function()
    managers.SyncManager("/no/such/folder/socket"):start()
  end)
  lu.assertEquals(problem.code, "ENOENT")
  local ok, text = pcall(function()
    managers.SyncManager():start(function() error("in the initializer", 0) end)
  end)
  lu.assertFalse(ok)
  lu.assertEquals(text, "in the initializer")
  raises(errors.EOFError, function()
    managers.SyncManager():start(os.execute, { "kill -9 $PPID" })
  end)
  local m <close> = managers.SyncManager():start(function(v) _G.given = v end, { 5 })
  lu.assertEquals(managers.apply(m:dict(), function() return _G.given end), 5)
  lu.assertStrContains(select(2, pcall(m.start, m)), "cannot start a manager that is started")
end

--- A context whose processes are started by f(process), which can call its start.
local function context_with(f)
  return { Process = function(options)
    local process = mp.Process(options)
    rawset(process, "start", function(self)
      rawset(self, "start", nil)
      return f(self)
    end)
    return process
  end }
end

function TestLife:testAStartThatIsInterruptedLeavesNoServer()
  local m = managers.SyncManager { ctx = context_with(function(process)
    process:start()
    error("interrupted", 0)
  end) }
  local ok, problem = pcall(m.start, m)
  lu.assertFalse(ok)
  lu.assertEquals(problem, "interrupted")
  lu.assertNil(only_server())
end

--- What a child by fork has of a start that was under way in another thread.
function TestLife:testAForkDuringAStart()
  local go, other = mp.Event(), nil
  local m = managers.SyncManager { ctx = context_with(function(process)
    other = mp.Process(function() go:wait() end):start()
    return process:start()
  end) }
  local started = aside(m.start, m, os.execute, { "kill -9 $PPID" })
  local ok, outcome, problem = pcall(started)
  go:set()
  lu.assertTrue(other:join(LIMIT))
  lu.assertTrue(ok, tostring(outcome))
  lu.assertTrue(errors.is(problem, errors.EOFError), tostring(problem))
end

function TestLife:testAScopeDoesNotHideWhatHappened()
  local ok, problem = pcall(function()
    local m <close> = managers.BaseManager()
    m:start(function() error("in the initializer", 0) end)
  end)
  lu.assertFalse(ok)
  lu.assertEquals(problem, "in the initializer")
  local mine <close> = mp.Manager()
  local d
  do
    local m <close> = managers.SyncManager { address = mine.address,
      authkey = mp.current_process().authkey }
    m:connect()
    d = m:dict({ x = 1 })
  end
  lu.assertEquals(d.x, 1)
  lu.assertEquals(mine:dict({ x = 2 }).x, 2)
end

function TestLife:testAShutdownThatIsCancelledCanBeRepeated()
  local m = managers.SyncManager { shutdown_timeout = 10 * LIMIT }:start()
  local server = only_server()
  os.execute("kill -STOP " .. server.pid)
  local result, thread = aside(m.shutdown, m)
  eventually(function() return tostring(m):find("shut down") end)
  thread:cancel()
  lu.assertFalse((result()))
  local again = aside(m.shutdown, m)
  os.execute("kill -CONT " .. server.pid)
  lu.assertTrue((again()))
  lu.assertEquals(server.exitcode, 0)
end

function TestLife:testMisuse()
  local function refused(text, f, ...)
    local ok, problem = pcall(f, ...)
    lu.assertFalse(ok)
    lu.assertStrContains(problem, text)
  end
  refused("unknown option 'no'", managers.SyncManager, { no = 1 })
  refused("authkey: string expected, got number", managers.SyncManager, { authkey = 1 })
  refused("shutdown_timeout", managers.SyncManager, { shutdown_timeout = -1 })
  refused("#2 to 'SyncManager' (authkey: string", managers.SyncManager, "x", 1)
  refused("#2 to 'SyncManager' (no value", managers.SyncManager, { address = "x" }, "key")
  refused("address: a path or {host, port} expected", managers.SyncManager, 5)
  refused("bad argument #1 to 'BaseManager'", managers.BaseManager, { no = 1 })
  refused("manager_life_spec.lua:", function() return (managers.SyncManager { no = 1 }) end)
  refused("bad argument #1 to 'Manager' (no value expected, got number)", mp.Manager, 5)
  refused("bad argument #1 to 'Manager'", mp.get_context("fork").Manager, { no = 1 })
  local m = managers.SyncManager()
  refused("cannot use a manager that is initial", m.dict, m)
  refused("cannot connect a manager without an address", m.connect, m)
  refused("cannot shut down a manager that is initial", m.shutdown, m)
  refused("function expected, got number", m.start, m, 1)
  refused("table of arguments expected", m.start, m, print, 1)
  refused("table expected, got number", m.subclass, m, 1)
end

-- 117
function TestLife:testAServerThatDoesNotEndIsKilled()
  local m = managers.SyncManager { shutdown_timeout = 0.05 }:start()
  local server = only_server()
  os.execute("kill -STOP " .. server.pid)
  m:shutdown()
  lu.assertEquals(server.exitcode, -9)
  lu.assertFalse(exists(m.address))
end

function TestLife:testDaemonsInCallsEndSilentlyWithTheProgram()
  local out, err, code = program.eval([[
    local mp, threading = require "multiprocessing", require "threading"
    m = mp.Manager()
    local q, e, lock, c = m:Queue(), m:Event(), m:Lock(), m:Condition()
    local begun = m:Semaphore(0)
    lock:acquire()
    local function daemon(f)
      threading.Thread { target = function() begun:release() f() end, daemon = true }:start()
    end
    daemon(function() q:get() end)
    daemon(function() e:wait() end)
    daemon(function() lock:acquire() end)
    daemon(function() c:with(c.wait, c) end)
    daemon(function() while true do q:qsize() end end)
    daemon(function() while true do local _ <close> = c:guard() end end)
    for _ = 1, 6 do begun:acquire() end
    print("end")
  ]], { timeout = LIMIT })
  lu.assertEquals(out .. err, "end\n")
  lu.assertEquals(code, 0)
end

-- --- A server that dies -------------------------------------------------------------

function TestLife:testAKilledServer()
  local m = mp.Manager()
  local d, q, lock, path = m:dict(), m:Queue(), m:Lock(), m.address
  local waiting = { (aside(q.get, q)), (aside(function()
    lock:acquire()
    lock:acquire()
  end)) }
  eventually(function() return lock:locked() end)
  only_server():kill()
  for _, result in ipairs(waiting) do
    local ok, problem = result()
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.EOFError), tostring(problem))
  end
  for _ = 1, 3 do
    lu.assertStrContains(tostring(raises(errors.EOFError, function() d.x = 1 end)),
      "the manager's server has ended")
  end
  raises(errors.EOFError, m.dict, m)
  raises(errors.EOFError, require("pickle").dumps, d)
  local child = mp.Process(function()
    local ok, problem = pcall(function() return d.x end)
    assert(not ok and errors.is(problem, errors.EOFError))
  end):start() -- the fork does not fail for it
  lu.assertTrue(child:join(LIMIT))
  lu.assertEquals(child.exitcode, 0)
  m:shutdown()
  lu.assertFalse(exists(path))
  lu.assertFalse(exists(path:match("^(.*)/")))
end

function TestLife:testAKilledServerThatNobodyWants()
  local path
  do
    local m = mp.Manager()
    path = m.address
    local server = only_server()
    server:kill()
    server:join(LIMIT)
  end
  eventually(function()
    collectgarbage()
    return not exists(path:match("^(.*)/"))
  end)
end

-- --- Clients that die ---------------------------------------------------------------

function TestLife:testClientsThatAreKilledAnywhere()
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
function TestLife:testACancelledApplyEnds()
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

--- A call that its caller gives up leaves nothing in the server.
function TestLife:testAbandonedCallsLeaveNoConnections()
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

--- A server that cannot start a thread refuses one connection, not all.
function TestLife:testAThreadThatDoesNotStart()
  local m <close> = mp.Manager()
  managers.apply(m:dict(), function()
    local module = require("threading")
    local Thread = module.Thread
    module.Thread = function()
      module.Thread = Thread
      error("there is no memory")
    end
  end)
  local function connect()
    return managers.SyncManager { address = m.address,
      authkey = mp.current_process().authkey }:connect()
  end
  lu.assertFalse((pcall(connect)))
  local d = connect():dict({ x = 1 })
  lu.assertEquals(d.x, 1)
  local server = only_server()
  m:shutdown()
  lu.assertEquals(server.exitcode, 0)
end

-- --- Connecting -------------------------------------------------------------------

local TestConnect = {}

-- 118
function TestConnect:testOnlyWithTheKey()
  local m <close> = mp.Manager()
  local wrong = managers.SyncManager { address = m.address, authkey = "wrong" }
  raises(errors.AuthenticationError, wrong.connect, wrong)
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
  raises(errors.EOFError, function() return d.x end)
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

return { TestLife = TestLife, TestConnect = TestConnect }

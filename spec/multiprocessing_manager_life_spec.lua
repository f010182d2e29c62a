-- The lives of managers' servers. Numbers are those of CPython's behaviours that
-- each test holds tidelock to.
local lu = require("luaunit")
local errors = require("errors")
local lfs = require("lfs")
local managers = require("multiprocessing.managers")
local mp = require("multiprocessing")
local time = require("time")
local aside = require("support.aside")
local blocked = require("support.blocked")
local children = require("support.children")
local eventually = require("support.eventually")
local program = require("support.program")
local stopped = require("support.stopped")

local LIMIT = 60 -- seconds, for what should take a moment

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
  local waits, waiter = aside(q.get, q)
  local works, worker = aside(managers.apply, d, function() while true do end end)
  blocked("read", waiter, worker)
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
  stopped(server.pid)
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
  stopped(server.pid)
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

return { TestLife = TestLife }

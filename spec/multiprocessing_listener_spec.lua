-- Listener and Client. Numbers are those of CPython's behaviours that each test
-- holds tidelock to.
local lu = require("luaunit")
local connection = require("multiprocessing.connection")
local errors = require("errors")
local lfs = require("lfs")
local mp = require("multiprocessing")
local time = require("time")
local forkserver = require("tidelock.multiprocessing.forkserver")
local aside = require("support.aside")
local assert_code = require("support.assert_code")
local blocked = require("support.blocked")
local children = require("support.children")
local listeners = require("support.listeners")

local Client, Listener = connection.Client, connection.Listener
local pair, assert_works = listeners.pair, listeners.assert_works

local LIMIT = 60 -- seconds, for what should take a moment

local function exists(path) return lfs.attributes(path) ~= nil end

local function new_path()
  local path = os.tmpname()
  os.remove(path)
  return path
end

local TestListener = {}

-- 104
function TestListener:testAPathOfItsOwn()
  local listener = Listener()
  local path = listener.address
  local folder = path:match("^(.+)/[^/]+$")
  lu.assertEquals(lfs.attributes(path, "mode"), "socket")
  lu.assertEquals(lfs.attributes(folder, "permissions"), "rwx------")
  assert_works(pair(listener))
  lu.assertEquals(listener.last_accepted, "")
  lu.assertEquals(tostring(listener), "<Listener " .. path .. ">")
  lu.assertFalse(listener.closed)
  listener:close()
  listener:close()
  lu.assertTrue(listener.closed)
  lu.assertEquals(tostring(listener), "<Listener closed>")
  lu.assertFalse(exists(path))
  lu.assertFalse(exists(folder))
end

-- 104: the file of one that is never closed goes with its process.
function TestListener:testNothingIsLeftOfAProcessThatEnds()
  for _, ending in ipairs { "os.exit(0)", "os.exit(3, true)", "error('x')", "kept = listener" } do
    for _, address in ipairs { "nil", ("%q"):format(new_path()) } do
      local out = children.host(([[
        local listener = mp.connection.Listener(%s)
        local path = listener.address
        mp.Process(function() os.exit(0) end):start():join() -- does not remove it
        print(path, mp.connection.Client(path) ~= nil)
        %s]]):format(address, ending))
      local path, rest = out:match("^(%S+)\t(.*)")
      lu.assertEquals(rest, "true\n")
      lu.assertFalse(exists(path))
      if address == "nil" then lu.assertFalse(exists(path:match("^(.+)/"))) end
    end
  end
end

-- 104: the starter and the child have it; the last one of them removes the file.
function TestListener:testOneThatIsSharedLastsAsLongAsItsProcesses()
  for _, method in ipairs { "spawn", "forkserver" } do
    for _, first in ipairs { "starter", "child" } do
      local listener <close> = Listener()
      local path = listener.address
      local here <close>, there = mp.Pipe()
      local process = mp.get_context(method).Process(function(l, go)
        go:recv()
        l:accept():send("child")
      end, listener, there):start()
      there:close()
      if first == "starter" then listener:close() end
      here:send("go")
      local client <close> = Client(path)
      lu.assertEquals(client:recv(), "child")
      lu.assertTrue(process:join(LIMIT))
      if first == "child" then
        assert_works(pair(listener))
        listener:close()
      end
      lu.assertFalse(exists(path))
      lu.assertFalse(exists(path:match("^(.+)/")))
    end
  end
  forkserver.stop()
end

-- 104
function TestListener:testAGivenPath()
  local path = new_path()
  do
    local listener <close> = Listener(path)
    lu.assertEquals(listener.address, path)
    lu.assertTrue(exists(path))
    assert_code("EADDRINUSE", Listener, path)
    lu.assertTrue(exists(path)) -- it is the first one's
    assert_works(pair(listener))
  end
  lu.assertFalse(exists(path))
  assert_code("ENOENT", Client, path)
end

-- 104
function TestListener:testTCP()
  for _, address in ipairs { { "127.0.0.1", 0 }, { "localhost", 0 }, { "", 0 } } do
    local listener <close> = Listener(address)
    local host, port = table.unpack(listener.address)
    lu.assertTrue(port > 0)
    lu.assertStrContains(tostring(listener), host .. " port " .. port)
    assert_code("EADDRINUSE", Listener, { host, port })
    local accepted = aside(listener.accept, listener)
    local client = Client { address = { "localhost", port }, family = "AF_INET" }
    local _, server = accepted()
    lu.assertStrContains(listener.last_accepted[1], "127.0.0.1")
    lu.assertTrue(listener.last_accepted[2] > 0)
    listener:close()
    -- The server's socket keeps others from the port.
    assert_code("ECONNREFUSED", Client, { "127.0.0.1", port })
    assert_works(client, server)
  end
end

function TestListener:testFamilies()
  local listener <close> = Listener { family = "AF_INET" }
  lu.assertEquals(listener.address[1], "127.0.0.1")
  local other <close> = Listener(nil, { family = "AF_UNIX" })
  lu.assertEquals(type(other.address), "string")
  local abstract <close> = Listener("\0tidelock " .. new_path())
  assert_works(pair(abstract))
  lu.assertStrContains(tostring(abstract), "<Listener @tidelock")
end

function TestListener:testNamesThatAreNotThere()
  local name = ("x"):rep(64) .. ".invalid" -- too long to be asked for
  local _, problem = pcall(Client, { name, 1 })
  lu.assertTrue(errors.is(problem, errors.OSError), tostring(problem))
  lu.assertStrContains(problem.message, name)
  assert_code("ENAMETOOLONG", Listener, "/tmp/" .. ("x"):rep(200))
  assert_code("ENAMETOOLONG", Client, "/tmp/" .. ("x"):rep(200))
  assert_code("ENOENT", Listener, "/no/such/folder/socket")
end

local function count_descriptors()
  local n = 0
  for _ in lfs.dir("/proc/self/fd") do n = n + 1 end
  return n
end

--- Who tries until somebody listens does not run out of descriptors before the
--- collector comes.
function TestListener:testARefusedClientIsClosedAtOnce()
  local listener = Listener { "127.0.0.1", 0 }
  local address = listener.address
  listener:close()
  collectgarbage("stop")
  local before = count_descriptors()
  for _, nobody in ipairs { new_path(), address } do
    for _ = 1, 20 do lu.assertFalse((pcall(Client, nobody))) end
  end
  local after = count_descriptors()
  collectgarbage("restart")
  lu.assertEquals(after, before)
end

-- 104
function TestListener:testAfterClose()
  local listener = Listener()
  listener:close()
  assert_code("EBADF", listener.accept, listener)
  assert_code("EBADF", listener.fileno, listener)
  assert_code("EBADF", connection.wait, { listener }, 0)
end

function TestListener:testAListenerThatIsCollectedRemovesItsFile()
  local path = new_path()
  do local _ = Listener(path) end -- luacheck: ignore
  collectgarbage()
  collectgarbage()
  lu.assertFalse(exists(path))
end

function TestListener:testAcceptIsInterrupted()
  local listener <close> = Listener()
  local accepted, thread = aside(listener.accept, listener)
  blocked("accept", thread)
  assert_code("EBUSY", listener.close, listener)
  thread:cancel()
  local ok, problem = accepted()
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.Cancelled))
  assert_works(pair(listener))
end

--- Where there is no room in the queue a client waits.
function TestListener:testAFullQueue()
  local listener <close> = Listener { backlog = 0 }
  local first = Client(listener.address)
  local waiting, canceled = {}, {}
  for i = 1, 2 do
    local wait, thread = aside(Client, listener.address)
    waiting[i], canceled[i] = wait, thread
    blocked("connect", thread)
  end
  time.sleep(0.12) -- longer than one attempt
  canceled[1]:cancel()
  local ok, problem = waiting[1]()
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.Cancelled))
  assert_works(first, listener:accept())
  local server = listener:accept()
  local _, client = waiting[2]()
  assert_works(client, server)
end

--- A child has a listener, too; the file is the parent's.
function TestListener:testAChildAccepts()
  local listener <close> = Listener()
  local process = mp.Process(function()
    local server <close> = listener:accept()
    server:send_bytes(server:recv_bytes() .. " too")
    listener:close()
  end)
  process:start()
  local client <close> = Client(listener.address)
  client:send_bytes("me")
  lu.assertEquals(client:recv_bytes(), "me too")
  lu.assertTrue(process:join(LIMIT))
  lu.assertEquals(process.exitcode, 0)
  lu.assertTrue(exists(listener.address))
end

--- Two processes that accept share the clients.
function TestListener:testTwoProcessesAccept()
  local listener <close> = Listener { backlog = 20 }
  local processes = {}
  for i = 1, 2 do
    processes[i] = mp.Process(function()
      while true do
        local server <close> = listener:accept()
        if server:recv_bytes() == "stop" then break end
      end
    end)
    processes[i]:start()
  end
  for i = 1, 20 do
    local client <close> = Client(listener.address)
    client:send_bytes(i > 18 and "stop" or "go on")
  end
  for _, process in ipairs(processes) do
    lu.assertTrue(process:join(LIMIT))
    lu.assertEquals(process.exitcode, 0)
  end
end

function TestListener:testWrongArguments()
  for text, arguments in pairs {
    ["unknown family 'AF_X'"] = { nil, { family = "AF_X" } },
    ["a path or {host, port} expected, got number"] = { 1 },
    ["a path or {host, port} expected, got table"] = { { "a", 1 }, { family = "AF_UNIX" } },
    ["a path or {host, port} expected, got string"] = { "a", { family = "AF_INET" } },
    ["the path is empty"] = { "" },
    ["'Listener' (address: the path has a zero byte)"] = { "a\0b" },
    ["{host, port} expected, port"] = { { "127.0.0.1\0b", 0 } },
    ["port from 0 to 65535"] = { { "a", 65536 } },
    ["port from 0 to 65535)"] = { { "a" } },
    ["authkey: string expected, got number"] = { nil, { authkey = 1 } },
    ["backlog: number expected"] = { nil, { backlog = "a" } },
    ["backlog must be an integer >= 0"] = { nil, { backlog = 0.5 } },
    ["handshake_timeout must be a number of seconds >= 0"] = { nil, { handshake_timeout = -1 } },
    ["unknown option 'key'"] = { { key = 1 } },
    ["bad argument #2 to 'Listener' (table expected, got string)"] = { nil, "key" },
  } do
    lu.assertErrorMsgContains(text, Listener, table.unpack(arguments, 1, 2))
  end
  lu.assertErrorMsgContains("got nil", Client)
  lu.assertErrorMsgContains("unknown option 'backlog'", Client, "a", { backlog = 1 })
  local _, problem = pcall(function() Listener("") end)
  lu.assertStrContains(problem, "listener_spec.lua")
  _, problem = pcall(function() Listener { authkey = 1 } end)
  lu.assertStrContains(problem, "listener_spec.lua")
end

return { TestListener = TestListener }

-- Values through connections. Numbers are those of CPython's behaviours that each
-- test holds tidelock to.
local lfs = require("lfs")
local lu = require("luaunit")
local connection = require("multiprocessing.connection")
local errors = require("errors")
local mp = require("multiprocessing")
local threading = require("threading")
local children = require("support.children")

local Client, Listener = connection.Client, connection.Listener

local LIMIT = 60 -- seconds, for what should take a moment

--- Both ends of a connection to a listener with these arguments.
local function connect(address, options)
  local listener <close> = Listener(address, options)
  local thread = threading.Thread(listener.accept, listener):start()
  local client = Client(listener.address, options)
  return client, thread:result(LIMIT)
end

-- The kinds of connections, and whether functions and handles travel.
local KINDS = {
  { open = mp.Pipe, family = true, handles = true },
  { open = function() return connect() end },
  { open = function() return connect(nil, { authkey = "k" }) end, family = true, handles = true },
  { open = function() return connect { "127.0.0.1", 0 } end },
  {
    open = function() return connect({ "127.0.0.1", 0 }, { authkey = "k" }) end,
    family = true,
  },
}

--- Runs f(a, b, kind) over each kind.
local function each_kind(f)
  for _, kind in ipairs(KINDS) do
    local a, b = kind.open()
    f(a, b, kind)
    a:close()
    b:close()
  end
end

local TestSend = {}

function TestSend:testValues()
  each_kind(function(a, b)
    local cycle = { 1, 2.5, "three", { four = true } }
    cycle.self = cycle
    for _, value in ipairs { 1, math.mininteger, 0.5, "", "text", true, false } do
      a:send(value)
      lu.assertIs(b:recv(), value)
    end
    a:send(nil)
    lu.assertNil(b:recv())
    a:send(cycle)
    local copy = b:recv()
    lu.assertIs(copy.self, copy)
    lu.assertEquals({ copy[1], copy[2], copy[3], copy[4].four }, { 1, 2.5, "three", true })
    lu.assertFalse(b:poll())
  end)
end

-- 95
function TestSend:testLongValues()
  each_kind(function(a, b)
    for _, size in ipairs { 65000, 65536, 1 << 20, (1 << 24) + 1 } do
      local text = ("0123456789abcdef"):rep(size // 16 + 1)
      local thread = threading.Thread(a.send, a, { text, text }):start()
      local copy = b:recv()
      thread:result(LIMIT)
      lu.assertTrue(copy[1] == text and copy[2] == text)
    end
  end)
end

--- Functions are loaded only from one's own family.
function TestSend:testFunctions()
  each_kind(function(a, b, kind)
    local n = 0
    a:send { "first", function() n = n + 1 return n end }
    local ok, problem = pcall(function()
      local got = b:recv()[2]
      return got() + got()
    end)
    if kind.family then
      lu.assertEquals(problem, 3)
    else
      lu.assertFalse(ok)
      lu.assertTrue(errors.is(problem, errors.UnpicklingError), tostring(problem))
    end
    lu.assertEquals(n, 0)
    a:send("next")
    lu.assertEquals(b:recv(), "next")
  end)
end

-- 101
function TestSend:testConnectionsTravel()
  each_kind(function(a, b, kind)
    local near, far = mp.Pipe()
    local ok, problem = pcall(a.send, a, { one = { near } })
    if kind.handles then
      lu.assertTrue(ok, tostring(problem))
      near:close() -- the sender's copy
      local got = b:recv().one[1]
      got:send { "through", far }
      local through = far:recv()
      lu.assertEquals(through[1], "through")
      through[2]:send("another")
      lu.assertEquals(got:recv(), "another")
      through[2]:close()
      lu.assertTrue(got.readable and got.writable)
      far:close()
      lu.assertTrue(got:poll(LIMIT))
      lu.assertErrorMsgContains("ended", got.recv, got)
      got:close()
    else
      lu.assertFalse(ok)
      lu.assertTrue(errors.is(problem, errors.PicklingError), tostring(problem))
      lu.assertStrContains(problem.message, "at value.one[1]")
      lu.assertFalse(b:poll())
      near:close()
      far:close()
    end
  end)
end

-- 101: to a process that has started before there was the pipe.
function TestSend:testToAnotherProcess()
  local a, b = mp.Pipe()
  local process = mp.Process(function()
    a:close()
    local sender = b:recv()
    assert(not sender.readable and sender.writable)
    sender:send { "from", mp.current_process().pid }
    sender:close()
    for _ = 1, 2 do
      local listener = b:recv()
      local server <close> = listener:accept()
      server:send(server:recv() .. "!")
      listener:close()
    end
  end)
  process:start()
  b:close()
  local receiver, sender = mp.Pipe(false)
  a:send(sender)
  sender:close()
  lu.assertEquals(receiver:recv(), { "from", process.pid })
  lu.assertErrorMsgContains("ended", receiver.recv, receiver)
  receiver:close()
  for _, address in ipairs { { "127.0.0.1", 0 }, false } do
    local listener = Listener(address or nil, { authkey = "key" })
    local place = listener.address
    a:send(listener)
    listener:close() -- the sender's copy
    local client <close> = Client(place, { authkey = "key" })
    client:send("with a key")
    lu.assertEquals(client:recv(), "with a key!")
    lu.assertErrorMsgContains("ended", client.recv, client)
    if not address then lu.assertNil(lfs.attributes(place)) end -- the last has closed it
  end
  a:close()
  lu.assertTrue(process:join(LIMIT))
  lu.assertEquals(process.exitcode, 0)
end

--- What is closed is named by its path.
function TestSend:testClosedHandlesAreNamed()
  local a, b <close> = mp.Pipe()
  local _ <close> = a
  local closed, other <close> = mp.Pipe()
  local objects = { connection = closed, queue = mp.Queue(), listener = Listener() }
  for kind, object in pairs(objects) do
    object:close()
    local ok, problem = pcall(a.send, a, { list = { 1, object } })
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.PicklingError))
    lu.assertStrMatches(problem.message, "cannot pickle a userdata %(multiprocessing%.%w+%) at "
      .. "value%.list%[2%].*: the " .. kind .. " is closed")
  end
  lu.assertFalse(b:poll())
  lu.assertFalse(other.closed)
end

--- A connection over TCP is a handle like others.
function TestSend:testAnyConnectionTravels()
  local a, b <close> = mp.Pipe()
  local _ <close> = a
  local client, server <close> = connect { "127.0.0.1", 0 }
  a:send(client)
  client:close()
  client = b:recv()
  client:send_bytes("stream")
  lu.assertEquals(server:recv_bytes(), "stream")
  client:close()
  -- One that has had to leave a message where it was cannot.
  local x, y <close> = mp.Pipe()
  y:send_bytes("12345")
  pcall(x.recv_bytes, x, 3)
  lu.assertErrorMsgContains("inside a message", a.send, a, x)
  lu.assertEquals(x:recv_bytes(), "12345")
  x:close()
  lu.assertErrorMsgContains("closed", a.send, a, x)
  lu.assertFalse(b:poll())
end

--- Many descriptors at once, up to a limit.
function TestSend:testManyHandles()
  local a, b <close> = mp.Pipe()
  local _ <close> = a
  local near, far <close> = mp.Pipe()
  local many = {}
  -- The same object would travel once: each of these has been received.
  for i = 1, 126 do
    a:send(near)
    many[i] = b:recv()
  end
  local two = { many, many }
  a:send(two)
  local got = b:recv()
  lu.assertIs(got[1], got[2])
  got[1][126]:send_bytes("last")
  lu.assertEquals(far:recv_bytes(), "last")
  for i = 1, 126 do got[1][i]:close() end
  for i = 127, 251 do
    a:send(near)
    many[i] = b:recv()
  end
  local ok, problem = pcall(a.send, a, many)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.PicklingError))
  lu.assertStrContains(problem.message, "too many descriptors")
  lu.assertFalse(b:poll())
  for i = 1, 251 do many[i]:close() end
  near:close()
end

--- What is not read as a value leaves no descriptors, nor do messages that nobody
--- reads.
function TestSend:testHandlesThatNobodyTakes()
  local a, b <close> = mp.Pipe()
  local near, far <close> = mp.Pipe()
  a:send { near, "1" }
  lu.assertTrue(#b:recv_bytes() > 0)
  a:send { near, ("x"):rep(1 << 20) }
  lu.assertTrue(#b:recv_bytes() > 1 << 20)
  a:send { near, "unread" }
  near:close()
  lu.assertFalse(far:poll())
  a:close()
  b:close()
  lu.assertTrue(far:poll(LIMIT)) -- the last copy is gone
end

--- Sends a message that is refused, with the only other end of a pipe in it, which is
--- let go at once, not when the garbage is collected. Returns the problem.
local function refused_with_an_end(conn, ...)
  local receiver <close>, sender = mp.Pipe(false)
  collectgarbage("stop")
  local ok, problem = pcall(conn.send, conn, { sender, ... })
  sender:close()
  local ended = receiver:poll(0)
  collectgarbage("restart")
  lu.assertFalse(ok)
  lu.assertTrue(ended)
  lu.assertErrorMsgContains("ended", receiver.recv, receiver)
  return problem
end

function TestSend:testHandlesOfAFailedSend()
  local a <close>, b = mp.Pipe()
  b:close()
  lu.assertEquals(refused_with_an_end(a).code, "EPIPE")
end

function TestSend:testHandlesBesideWhatCannotTravel()
  local a, b <close> = mp.Pipe()
  local _ <close> = a
  local problem = refused_with_an_end(a, coroutine.create(print))
  lu.assertStrContains(problem.message, "a thread at value[2]")
  lu.assertFalse(b:poll())
end

--- What is no value is gone, and the next message is understood.
function TestSend:testGarbage()
  each_kind(function(a, b)
    for _, bytes in ipairs { "", "x", ("\255"):rep(100), "#CHALLENGE#" .. ("x"):rep(32) } do
      a:send_bytes(bytes)
      local ok, problem = pcall(b.recv, b)
      lu.assertFalse(ok)
      lu.assertTrue(errors.is(problem, errors.UnpicklingError), tostring(problem))
    end
    a:send("next")
    lu.assertEquals(b:recv(), "next")
  end)
end

function TestSend:testErrors()
  local receiver, sender = mp.Pipe(false)
  lu.assertErrorMsgContains("bad argument #1 to 'send' (value expected)", function()
    sender:send()
  end)
  local ok, problem = pcall(sender.send, sender, { log = coroutine.create(print) })
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.PicklingError))
  lu.assertStrContains(problem.message, "at value.log")
  lu.assertFalse(receiver:poll())
  lu.assertErrorMsgContains("read-only", receiver.send, receiver, 1)
  lu.assertErrorMsgContains("write-only", sender.recv, sender)
  sender:send(1)
  sender:close()
  lu.assertEquals(receiver:recv(), 1)
  ok, problem = pcall(receiver.recv, receiver)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.EOFError))
  lu.assertErrorMsgContains("closed", sender.send, sender, 1)
  receiver:close()
  lu.assertErrorMsgContains("closed", receiver.recv, receiver)
  receiver, sender = mp.Pipe(false)
  receiver:close()
  ok, problem = pcall(sender.send, sender, 1)
  lu.assertFalse(ok)
  lu.assertEquals(problem.code, "EPIPE")
  sender:close()
end

-- 103
function TestSend:testThreadsShareAConnection()
  each_kind(function(a, b)
    local sum, threads = 0, {}
    for i = 1, 4 do
      threads[i] = threading.Thread(function()
        for n = 1, 50 do a:send { i, n, ("x"):rep(i * n) } end
      end):start()
    end
    for i = 5, 6 do
      threads[i] = threading.Thread(function()
        for _ = 1, 100 do
          local got = b:recv()
          assert(#got[3] == got[1] * got[2])
          sum = sum + got[2]
        end
      end):start()
    end
    for _, thread in ipairs(threads) do thread:result(LIMIT) end
    lu.assertEquals(sum, 4 * 50 * 51 // 2)
  end)
end

-- 106
function TestSend:testBothDirectionsAtOnce()
  each_kind(function(a, b)
    local value = { ("x"):rep(1 << 22), ("y"):rep(1 << 22) }
    local threads = {}
    for i, side in ipairs { a, b } do
      threads[i] = threading.Thread(function()
        for _ = 1, 3 do side:send(value) end
      end):start()
      threads[i + 2] = threading.Thread(function()
        for _ = 1, 3 do assert(side:recv()[2] == value[2]) end
      end):start()
    end
    for _, thread in ipairs(threads) do thread:result(LIMIT) end
  end)
end

--- The receiver's code runs while the message is read: it may fork and wait.
function TestSend:testARestoreFunctionMayDoAnything()
  local pickle = require("pickle")
  local meta = {}
  pickle.register("multiprocessing_send_spec.Busy", meta, {
    reduce = function() return 1 end,
    restore = function()
      threading.Event():wait(0.001)
      local code, said = children.outcome(function(sender) sender:send_bytes("in a child") end)
      return { code, said }
    end,
  })
  local a, b <close> = mp.Pipe()
  a:send { setmetatable({}, meta), ("x"):rep(1 << 17) }
  lu.assertEquals(b:recv()[1], { 0, "in a child" })
  a:close()
end

return { TestSend = TestSend }

-- Listener and Client. Numbers are those of CPython's behaviours that each test
-- holds tidelock to.
local lu = require("luaunit")
local connection = require("multiprocessing.connection")
local errors = require("errors")
local hmac = require("tidelock._hmac")
local lfs = require("lfs")
local mp = require("multiprocessing")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")

local Client, Listener = connection.Client, connection.Listener

-- What is made of the authkey "secret".
local SECRET = hmac.digest("tidelock authkey", "secret")

local LIMIT = 60 -- seconds, for what should take a moment

local function exists(path) return lfs.attributes(path) ~= nil end

--- f(...) in a thread: wait() gives what pcall does.
local function aside(f, ...)
  local thread = threading.Thread(pcall, f, ...):start()
  return function() return thread:result(LIMIT) end, thread
end

--- A connection to the listener, from both sides.
local function pair(listener, options)
  local accepted = aside(listener.accept, listener)
  local client = Client(listener.address, options)
  local ok, server = accepted()
  lu.assertTrue(ok, tostring(server))
  return client, server
end

local function assert_works(client, server)
  for _, size in ipairs { 0, 1, 70000 } do
    client:send_bytes(("x"):rep(size))
    lu.assertEquals(#server:recv_bytes(), size)
    server:send_bytes(("y"):rep(size))
    lu.assertEquals(#client:recv_bytes(), size)
  end
  client:close()
  lu.assertTrue(server:poll(LIMIT))
  local _, problem = pcall(server.recv_bytes, server)
  lu.assertTrue(errors.is(problem, errors.EOFError))
  server:close()
end

local function assert_code(code, f, ...)
  local ok, problem = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.OSError), tostring(problem))
  lu.assertEquals(problem.code, code)
end

local function new_path()
  local path = os.tmpname()
  os.remove(path)
  return path
end

-- --- Addresses ----------------------------------------------------------------

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

-- --- The handshake --------------------------------------------------------------

local TestHandshake = {}

local PLACES = { unix = function() end, tcp = function() return { "127.0.0.1", 0 } end }

--- Runs f(listen) for each kind of socket; listen(options) gives a listener.
local function each_kind(f)
  for _, place in pairs(PLACES) do
    f(function(options) return Listener(place(), options) end)
  end
end

--- Both fail, and the listener goes on.
local function assert_refused(listener, client_options, said_here, said_there)
  local accepted = aside(listener.accept, listener)
  local ok, problem = pcall(Client, listener.address, client_options)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.AuthenticationError), tostring(problem))
  lu.assertStrContains(problem.message, said_there)
  ok, problem = accepted()
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.AuthenticationError), tostring(problem))
  lu.assertStrContains(problem.message, said_here)
end

-- 105
function TestHandshake:testTheSameKey()
  for _, key in ipairs { "", "k", ("long\0"):rep(1000) } do
    each_kind(function(listen)
      local listener <close> = listen { authkey = key }
      assert_works(pair(listener, { authkey = key }))
    end)
  end
end

-- 105, 118
function TestHandshake:testAnotherKey()
  for _, keys in ipairs { { "a", "b" }, { "", "b" }, { "a", "" }, { "a", "a\0" } } do
    each_kind(function(listen)
      local listener <close> = listen { authkey = keys[1] }
      assert_refused(listener, { authkey = keys[2] },
        "another authkey, or none", "did not accept our authkey")
      assert_works(pair(listener, { authkey = keys[1] }))
    end)
  end
end

--- Connects without a key and plays the other side: script(client).
local function assert_rejected(said, script)
  each_kind(function(listen)
    local listener <close> = listen { authkey = "secret", handshake_timeout = LIMIT }
    local accepted = aside(listener.accept, listener)
    do
      local client <close> = Client(listener.address)
      script(client)
      local ok, problem = accepted()
      lu.assertFalse(ok)
      lu.assertTrue(errors.is(problem, errors.AuthenticationError), tostring(problem))
      lu.assertStrContains(problem.message, said)
      -- It hangs up.
      repeat until not pcall(client.recv_bytes, client)
    end
    assert_works(pair(listener, { authkey = "secret" }))
  end)
end

-- 105
function TestHandshake:testGarbage()
  assert_rejected("another authkey, or none", function(client)
    client:send_bytes("garbage")
  end)
  assert_rejected("another authkey, or none", function(client)
    client:send_bytes("")
  end)
  assert_rejected("another authkey, or none", function(client)
    client:send_bytes(("x"):rep(256))
  end)
end

-- 105
function TestHandshake:testOversizedMessages()
  for _, size in ipairs { 257, 70000, 5 << 20 } do
    assert_rejected("too long for a handshake", function(client)
      aside(client.send_bytes, client, ("x"):rep(size))()
    end)
  end
end

-- 105
function TestHandshake:testAClientThatHangsUp()
  assert_rejected("ended the handshake", function(client)
    client:recv_bytes()
    client:close()
  end)
end

--- What the listener asks is never its answer, nor is it what it would answer.
function TestHandshake:testReflection()
  assert_rejected("another authkey, or none", function(client)
    client:send_bytes(client:recv_bytes():sub(#"#CHALLENGE#" + 1))
  end)
  assert_rejected("another authkey, or none", function(client)
    client:send_bytes(client:recv_bytes())
  end)
  -- The answer of the other role, from one who has the key.
  assert_rejected("another authkey, or none", function(client)
    local nonce = client:recv_bytes():sub(#"#CHALLENGE#" + 1)
    client:send_bytes(hmac.digest(SECRET, "tidelock listener\0" .. nonce))
  end)
  -- A challenge comes back.
  assert_rejected("our own challenge", function(client)
    local message = client:recv_bytes()
    local nonce = message:sub(#"#CHALLENGE#" + 1)
    client:send_bytes(hmac.digest(SECRET, "tidelock client\0" .. nonce))
    lu.assertEquals(client:recv_bytes(), "#WELCOME#")
    client:send_bytes(message)
  end)
end

--- A client does not take part in what a false listener does.
function TestHandshake:testFalseListeners()
  for said, script in pairs {
    ["no challenge"] = function(server) server:send_bytes("#WELCOME#") end,
    ["what came is no challenge"] = function(server) server:send_bytes("#CHALLENGE#short") end,
    ["did not accept our authkey"] = function(server)
      server:send_bytes("#CHALLENGE#" .. ("n"):rep(32))
      server:recv_bytes()
      server:send_bytes("#FAILURE#")
    end,
    ["another authkey, or none"] = function(server)
      server:send_bytes("#CHALLENGE#" .. ("n"):rep(32))
      local answer = server:recv_bytes()
      server:send_bytes("#WELCOME#")
      server:recv_bytes()
      server:send_bytes(answer)
    end,
    ["too long for a handshake"] = function(server)
      server:send_bytes("#CHALLENGE#" .. ("n"):rep(1000))
    end,
    ["ended the handshake"] = function() end,
  } do
    each_kind(function(listen)
      local listener <close> = listen {}
      local played = aside(function()
        local server <close> = listener:accept()
        script(server)
      end)
      local _, problem = pcall(Client, listener.address, { authkey = "secret" })
      lu.assertTrue(errors.is(problem, errors.AuthenticationError), tostring(problem))
      lu.assertStrContains(problem.message, said)
      played()
    end)
  end
end

--- A false listener asks one client what another has asked it.
function TestHandshake:testAClientDoesNotAnswerForAListener()
  each_kind(function(listen)
    local listener <close> = listen { backlog = 2 }
    local first = aside(Client, listener.address, { authkey = "secret" })
    local server <close> = listener:accept()
    server:send_bytes("#CHALLENGE#" .. ("n"):rep(32))
    server:recv_bytes()
    server:send_bytes("#WELCOME#")
    local second = aside(Client, listener.address, { authkey = "secret" })
    local other <close> = listener:accept()
    other:send_bytes(server:recv_bytes())
    server:send_bytes(other:recv_bytes())
    other:close()
    local ok, problem = first()
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.AuthenticationError), tostring(problem))
    lu.assertStrContains(problem.message, "another authkey, or none")
    lu.assertFalse((second()))
  end)
end

--- One side without a key: an error that says so, no hang.
function TestHandshake:testAKeyOnOneSide()
  each_kind(function(listen)
    local listener <close> = listen {}
    local client = aside(Client, listener.address, { authkey = "k", handshake_timeout = 0.05 })
    local server <close> = listener:accept()
    local _, problem = client()
    lu.assertTrue(errors.is(problem, errors.AuthenticationError))
    lu.assertStrContains(problem.message, "within 0.05 s: has it an authkey?")
    lu.assertFalse(pcall(server.recv_bytes, server))
  end)
  each_kind(function(listen)
    local listener <close> = listen { authkey = "k", handshake_timeout = 0.05 }
    local accepted = aside(listener.accept, listener)
    local client <close> = Client(listener.address)
    local _, problem = accepted()
    lu.assertTrue(errors.is(problem, errors.AuthenticationError))
    lu.assertStrContains(problem.message, "within 0.05 s")
    lu.assertStrContains(client:recv_bytes(), "#CHALLENGE#")
    lu.assertFalse(pcall(client.recv_bytes, client))
  end)
end

--- Bytes that are not even messages, over TCP; the shell holds the socket open.
function TestHandshake:testRawBytes()
  for bytes, said in pairs {
    ["\\x7f\\xff\\xff\\xff"] = "too long",
    ["\\xff\\xff\\xff\\xff"] = "ended the handshake",
    ["\\0\\0"] = "within 0.3 s", -- half a header
    ["\\0\\0\\0\\x20abc"] = "within 0.3 s", -- less than it says
    ["GET / HTTP/1.0\\r\\n\\r\\n"] = "too long",
  } do
    local listener <close> = Listener({ "127.0.0.1", 0 },
      { authkey = "k", handshake_timeout = said == "within 0.3 s" and 0.3 or LIMIT })
    local shell = io.popen(("exec bash -c 'exec 2>/dev/null 3<>/dev/tcp/127.0.0.1/%d; " ..
      "printf \"%s\" >&3; cat <&3 >/dev/null'"):format(listener.address[2], bytes))
    local ok, problem = pcall(listener.accept, listener)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.AuthenticationError), tostring(problem))
    lu.assertStrContains(problem.message, said)
    shell:close() -- cat has seen the end
  end
end

function TestHandshake:testACancelInTheHandshakeLeavesNothing()
  local listener <close> = Listener { authkey = "k", handshake_timeout = LIMIT }
  local accepted, thread = aside(listener.accept, listener)
  local client <close> = Client(listener.address)
  client:recv_bytes()
  blocked("read", thread)
  thread:cancel()
  local ok, problem = accepted()
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.Cancelled))
  lu.assertFalse(pcall(client.recv_bytes, client))
end

-- --- Over TCP, a message is a part of a stream -------------------------------------

local TestStream = {}

local function tcp_pair()
  local listener <close> = Listener { "127.0.0.1", 0 }
  return pair(listener)
end

-- 95
function TestStream:testSizes()
  local client, server <close> = tcp_pair()
  local _ <close> = client
  for _, size in ipairs { 0, 1, 16383, 16384, 16385, 65535, 65536, 65537, 1 << 24 } do
    local text = ("%08x"):format(size):rep(size // 8 + 1):sub(1, size)
    local sent = aside(client.send_bytes, client, text)
    lu.assertTrue(server:recv_bytes() == text)
    lu.assertTrue(sent())
  end
end

function TestStream:testAPeerThatDiesInsideAMessage()
  local listener <close> = Listener { "127.0.0.1", 0 }
  local process = mp.Process(function()
    local sender <close> = Client(listener.address)
    sender:send_bytes(("x"):rep(1 << 26))
  end)
  process:start()
  local receiver <close> = listener:accept()
  lu.assertTrue(receiver:poll(LIMIT))
  process:kill()
  process:join()
  local _, problem = pcall(receiver.recv_bytes, receiver)
  lu.assertTrue(errors.is(problem, errors.EOFError))
  lu.assertStrContains(problem.message, "inside a message")
end

function TestStream:testACancelledSenderEndsTheStreamInsideAMessage()
  local receiver, sender <close> = tcp_pair()
  local _ <close> = receiver
  local _, thread = aside(sender.send_bytes, sender, ("x"):rep(1 << 26))
  blocked("write", thread)
  lu.assertErrorMsgContains("another thread uses", sender.close, sender)
  thread:cancel()
  thread:join()
  lu.assertErrorMsgContains("inside a message", receiver.recv_bytes, receiver)
  lu.assertErrorMsgContains("read-only", sender.send_bytes, sender, "x")
end

--- What has been received of a message when a receiver is cancelled stays.
function TestStream:testACancelledReceiverLosesNothing()
  local listener <close> = Listener { "127.0.0.1", 0 }
  local text = ("0123456789abcdef"):rep(1 << 20)
  local go <close>, gone = mp.Pipe(false)
  local _ <close> = gone
  local accepted = aside(listener.accept, listener)
  local process = mp.Process(function()
    local sender <close> = Client(listener.address)
    sender:send_bytes(text)
    go:recv_bytes()
  end)
  process:start()
  local _, receiver = accepted()
  local got
  for _ = 1, 200 do -- at any moment
    local received, thread = aside(receiver.recv_bytes, receiver)
    time.sleep(0.0001)
    thread:cancel()
    local ok, message = received()
    if ok then
      got = message
      break
    end
  end
  got = got or receiver:recv_bytes()
  lu.assertTrue(got == text)
  gone:send_bytes("")
  lu.assertTrue(process:join(LIMIT))
  receiver:close()
end

function TestStream:testSendersDoNotCutEachOther()
  local receiver, sender <close> = tcp_pair()
  local _ <close> = receiver
  local writers = {}
  for i = 1, 4 do
    writers[i] = threading.Thread(function()
      for _ = 1, 5 do sender:send_bytes(tostring(i):rep(1 << 19)) end
    end):start()
  end
  for _ = 1, 20 do
    local message = receiver:recv_bytes()
    lu.assertTrue(message == message:sub(1, 1):rep(1 << 19))
  end
  for _, writer in ipairs(writers) do writer:join() end
end

-- 106
function TestStream:testBothDirectionsAtOnce()
  local a, b <close> = tcp_pair()
  local _ <close> = a
  local text = ("both"):rep(1 << 20)
  local reads = { (aside(a.recv_bytes, a)), (aside(b.recv_bytes, b)) }
  local sends = { (aside(a.send_bytes, a, text)), (aside(b.send_bytes, b, text)) }
  for _, wait in ipairs(sends) do lu.assertTrue(wait()) end
  for _, wait in ipairs(reads) do
    local ok = wait()
    lu.assertTrue(ok)
  end
end

return { TestHandshake = TestHandshake, TestListener = TestListener, TestStream = TestStream }

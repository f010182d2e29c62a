-- How Listener and Client make sure of each other. Numbers are those of CPython's
-- behaviours that each test holds tidelock to.
local lu = require("luaunit")
local connection = require("multiprocessing.connection")
local errors = require("errors")
local hmac = require("tidelock._hmac")
local aside = require("support.aside")
local blocked = require("support.blocked")
local listeners = require("support.listeners")
local raw_client = require("support.raw_client")

local Client, Listener = connection.Client, connection.Listener
local pair, assert_works = listeners.pair, listeners.assert_works

-- What is made of the authkey "secret".
local SECRET = hmac.digest("tidelock authkey", "secret")

local LIMIT = 60 -- seconds, for what should take a moment

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
    local shell = raw_client(listener.address, bytes, true)
    local ok, problem = pcall(listener.accept, listener)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.AuthenticationError), tostring(problem))
    lu.assertStrContains(problem.message, said)
    shell:close() -- it has seen the end
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

return { TestHandshake = TestHandshake }

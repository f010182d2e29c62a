-- Connections over TCP, where a message is a part of a stream. Numbers are those
-- of CPython's behaviours that each test holds tidelock to.
local lu = require("luaunit")
local connection = require("multiprocessing.connection")
local errors = require("errors")
local mp = require("multiprocessing")
local threading = require("threading")
local time = require("time")
local aside = require("support.aside")
local assert_code = require("support.assert_code")
local blocked = require("support.blocked")
local listeners = require("support.listeners")

local Client, Listener = connection.Client, connection.Listener

local LIMIT = 60 -- seconds, for what should take a moment

local TestStream = {}

local function tcp_pair()
  local listener <close> = Listener { "127.0.0.1", 0 }
  return listeners.pair(listener)
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
  collectgarbage()
  local before = collectgarbage("count")
  local _, problem = pcall(receiver.recv_bytes, receiver)
  collectgarbage()
  -- Memory is taken for what has come, and not for what was to come.
  lu.assertTrue(collectgarbage("count") - before < 1 << 15)
  lu.assertTrue(errors.is(problem, errors.EOFError))
  lu.assertStrContains(problem.message, "inside a message")
end

--- The shell says so of a message, and holds the socket open.
function TestStream:testALengthOverTheLimit()
  local listener <close> = Listener { "127.0.0.1", 0 }
  local shell = io.popen(("exec bash -c 'exec 2>/dev/null 3<>/dev/tcp/127.0.0.1/%d; " ..
    "printf \"\\x80\\0\\0\\0\" >&3; cat <&3 >/dev/null'"):format(listener.address[2]))
  do
    local receiver <close> = listener:accept()
    for _ = 1, 2 do assert_code("EBADMSG", receiver.recv_bytes, receiver) end
  end
  shell:close() -- cat has seen the end
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

return { TestStream = TestStream }

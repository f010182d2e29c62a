-- The pipe between processes. Numbers are those of CPython's
-- behaviours that each test holds tidelock to.
local lu = require("luaunit")
local errors = require("errors")
local mp = require("multiprocessing")
local bunch = require("support.bunch")
local threading = require("threading")
local children = require("support.children")

local LIMIT = 20 -- seconds, for what should take a moment

local TestPipe = {}

function TestPipe:testMessagesKeepTheirBoundaries()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  for _, message in ipairs { "a", "", "b\0c", ("x"):rep(1000) } do
    sender:send_bytes(message)
  end
  lu.assertEquals(receiver:recv_bytes(), "a")
  lu.assertEquals(receiver:recv_bytes(), "")
  lu.assertEquals(receiver:recv_bytes(), "b\0c")
  lu.assertEquals(#receiver:recv_bytes(), 1000)
  lu.assertFalse(receiver:poll())
end

function TestPipe:testLongMessages()
  local big = ("0123456789abcdef"):rep(4 << 16) -- 4 MiB
  local _, size = children.outcome(function(sender)
    local a <close>, b = mp.Pipe()
    local child = mp.Process(function() b:send_bytes(b:recv_bytes()) end)
    child:start()
    b:close()
    a:send_bytes(big)
    sender:send_bytes(tostring(a:recv_bytes() == big))
    child:join()
  end)
  lu.assertEquals(size, "true")
end

function TestPipe:testTheEndRaises()
  local receiver <close>, sender = mp.Pipe(false)
  sender:send_bytes("last")
  sender:close()
  lu.assertTrue(receiver:poll())
  lu.assertEquals(receiver:recv_bytes(), "last")
  for _ = 1, 2 do
    local _, problem = pcall(receiver.recv_bytes, receiver)
    lu.assertTrue(errors.is(problem, errors.EOFError))
  end
  lu.assertTrue(receiver:poll())
end

function TestPipe:testNobodyReceives()
  local receiver, sender <close> = mp.Pipe(false)
  receiver:close()
  local _, problem = pcall(sender.send_bytes, sender, "x")
  lu.assertEquals({ problem.code, problem.errno }, { "EPIPE", 32 })
  lu.assertTrue(errors.is(problem, errors.OSError))
end

function TestPipe:testAPeerThatDiesInsideAMessage()
  local receiver <close>, sender = mp.Pipe(false)
  local process = mp.Process(function() sender:send_bytes(("x"):rep(1 << 24)) end)
  process:start()
  sender:close()
  lu.assertTrue(receiver:poll(LIMIT))
  process:kill()
  process:join()
  local _, problem = pcall(receiver.recv_bytes, receiver)
  lu.assertTrue(errors.is(problem, errors.EOFError))
  lu.assertStrContains(problem.message, "inside a message")
end

function TestPipe:testPollWaits()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  lu.assertFalse(receiver:poll())
  lu.assertFalse(receiver:poll(0.01))
  local thread = threading.Thread(function() sender:send_bytes("") end):start()
  lu.assertTrue(receiver:poll(nil))
  lu.assertEquals(receiver:recv_bytes(), "")
  thread:join()
  lu.assertError(receiver.poll, receiver, -1)
end

function TestPipe:testAMessageThatIsTooLongStays()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  sender:send_bytes("12345")
  local _, problem = pcall(receiver.recv_bytes, receiver, 4)
  lu.assertTrue(errors.is(problem, errors.BufferTooShort))
  lu.assertTrue(receiver:poll())
  lu.assertEquals(receiver:recv_bytes(5), "12345")
end

function TestPipe:testDirections()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  lu.assertErrorMsgContains("read-only", receiver.send_bytes, receiver, "x")
  lu.assertErrorMsgContains("write-only", sender.recv_bytes, sender)
  lu.assertErrorMsgContains("write-only", sender.poll, sender)
  lu.assertEquals({ receiver.readable, receiver.writable, sender.readable, sender.writable },
    { true, false, false, true })
  local a, b <close> = mp.Pipe()
  local _ <close> = a
  a:send_bytes("to b")
  b:send_bytes("to a")
  lu.assertEquals({ a:recv_bytes(), b:recv_bytes() }, { "to a", "to b" })
end

function TestPipe:testClosed()
  local receiver, sender = mp.Pipe(false)
  lu.assertEquals(tostring(receiver), "<Connection fd=" .. receiver:fileno() .. ">")
  receiver:close()
  receiver:close()
  sender:close()
  lu.assertTrue(receiver.closed)
  lu.assertEquals(tostring(receiver), "<Connection closed>")
  for _, method in ipairs { "recv_bytes", "poll", "fileno" } do
    lu.assertErrorMsgContains("closed", receiver[method], receiver)
  end
  lu.assertErrorMsgContains("closed", sender.send_bytes, sender, "x")
end

function TestPipe:testTakesOptions()
  local a, b = mp.Pipe { duplex = false }
  lu.assertTrue(a.readable and b.writable)
  lu.assertFalse(a.writable or b.readable)
  a:close()
  b:close()
end

function TestPipe:testWrongArguments()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  lu.assertErrorMsgContains("bad argument #1 to 'send_bytes'", function()
    sender:send_bytes({})
  end)
  lu.assertErrorMsgContains("bad argument #1 to 'recv_bytes'", function()
    receiver:recv_bytes(-1)
  end)
  lu.assertErrorMsgContains("(boolean expected, got number)", mp.Pipe, 1)
  lu.assertErrorMsgContains("(boolean expected, got string)", mp.Pipe, { duplex = "no" })
  lu.assertErrorMsgContains("unknown option 'simplex'", mp.Pipe, { simplex = true })
  lu.assertError(receiver.recv_bytes, 1)
  lu.assertFalse(receiver:poll())
end

function TestPipe:testSendersDoNotCutEachOther()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local long = 1 << 19
  local writers = {}
  for i = 1, 4 do
    writers[i] = threading.Thread(function()
      for _ = 1, 5 do sender:send_bytes(tostring(i):rep(long)) end
    end):start()
  end
  local counts = { 0, 0, 0, 0 }
  for _ = 1, 20 do
    local message = receiver:recv_bytes()
    local who = message:sub(1, 1)
    lu.assertTrue(message == who:rep(long))
    counts[tonumber(who)] = counts[tonumber(who)] + 1
  end
  for _, writer in ipairs(writers) do writer:join() end
  lu.assertEquals(counts, { 5, 5, 5, 5 })
end

function TestPipe:testReceiversShareTheMessages()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local results = bunch(4, function(i)
    if i == 1 then
      for n = 1, 3 do sender:send_bytes(tostring(n)) end
      return 0
    end
    return tonumber(receiver:recv_bytes())
  end)
  lu.assertEquals(results[2] + results[3] + results[4], 6)
end

function TestPipe:testACancelledReceiverLosesNothing()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local thread = threading.Thread(receiver.recv_bytes, receiver):start()
  thread:cancel()
  thread:join()
  sender:send_bytes("kept")
  lu.assertEquals(receiver:recv_bytes(), "kept")
end

function TestPipe:testACancelledSenderEndsTheStreamInsideAMessage()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local thread = threading.Thread(sender.send_bytes, sender, ("x"):rep(1 << 24)):start()
  lu.assertTrue(receiver:poll(LIMIT))
  lu.assertErrorMsgContains("another thread uses", sender.close, sender)
  thread:cancel()
  thread:join()
  lu.assertErrorMsgContains("inside a message", receiver.recv_bytes, receiver)
  lu.assertErrorMsgContains("read-only", sender.send_bytes, sender, "x")
end

return { TestPipe = TestPipe }

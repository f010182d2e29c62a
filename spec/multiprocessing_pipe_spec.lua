-- The pipe between processes. Numbers are those of CPython's
-- behaviours that each test holds tidelock to.
local lu = require("luaunit")
local errors = require("errors")
local mp = require("multiprocessing")
local threading = require("threading")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local children = require("support.children")
local eventually = require("support.eventually")

local LIMIT = 60 -- seconds, for what should take a moment

-- Bytes of messages: in a record, at the edge of that, in segments that are kept
-- and in one that is not.
local ROUND_SIZES = { 1, 65536, 65537, 1 << 20, (4 << 20) + 1 }

local TestPipe = {}

-- 95
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

-- 96
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

-- 96
function TestPipe:testNobodyReceives()
  local receiver, sender <close> = mp.Pipe(false)
  receiver:close()
  local _, problem = pcall(sender.send_bytes, sender, "x")
  lu.assertEquals({ problem.code, problem.errno }, { "EPIPE", 32 })
  lu.assertTrue(errors.is(problem, errors.OSError))
end

--- A process that is killed at any moment leaves whole messages and the end.
function TestPipe:testAKilledSenderLeavesWholeMessages()
  for round = 1, 30 do
    local size = ROUND_SIZES[round % #ROUND_SIZES + 1]
    local receiver <close>, sender = mp.Pipe(false)
    local process = mp.Process(function()
      while true do sender:send_bytes(("x"):rep(size)) end
    end)
    process:start()
    sender:close()
    for _ = 1, round % 7 do lu.assertEquals(#receiver:recv_bytes(), size) end
    process:kill()
    local problem
    repeat
      local ok, message = pcall(receiver.recv_bytes, receiver)
      if ok then lu.assertEquals(#message, size) else problem = message end
    until problem
    lu.assertTrue(errors.is(problem, errors.EOFError), tostring(problem))
    lu.assertEquals(problem.message, "the connection has ended")
    lu.assertTrue(process:join(LIMIT))
  end
end

--- One that dies in the middle of receiving lets the sender know.
function TestPipe:testAKilledReceiverEndsTheSender()
  for round = 1, 30 do
    local size = ROUND_SIZES[round % #ROUND_SIZES + 1]
    local receiver, sender <close> = mp.Pipe(false)
    local ready <close>, started = mp.Pipe(false)
    local process = mp.Process(function()
      started:send_bytes("")
      for _ = 1, round % 7 do receiver:recv_bytes() end
      threading.Event():wait()
    end)
    process:start()
    receiver:close()
    started:close()
    ready:recv_bytes()
    local killer = threading.Thread(process.kill, process):start()
    local problem
    repeat
      local _, raised = pcall(sender.send_bytes, sender, ("x"):rep(size))
      problem = raised
    until problem
    lu.assertEquals(problem.code, "EPIPE")
    killer:join()
    lu.assertTrue(process:join(LIMIT))
  end
end

--- Of several receivers one dies with messages of its own: others go on.
function TestPipe:testAKilledReceiverDoesNotStopOthers()
  local size = 1 << 20
  local receiver <close>, sender = mp.Pipe(false)
  local ready <close>, started = mp.Pipe(false)
  local process = mp.Process(function()
    sender:close()
    for _ = 1, 50 do -- some are left for the others
      receiver:recv_bytes()
      started:send_bytes("")
    end
    threading.Event():wait()
  end)
  process:start()
  started:close()
  local thread = threading.Thread(function()
    for _ = 1, 200 do sender:send_bytes(("x"):rep(size)) end
    sender:close()
  end):start()
  ready:recv_bytes()
  process:kill()
  local n = 0
  while pcall(function() lu.assertEquals(#receiver:recv_bytes(), size) end) do n = n + 1 end
  lu.assertTrue(thread:join(LIMIT))
  lu.assertTrue(n > 0 and n < 200)
  lu.assertTrue(process:join(LIMIT))
end

-- 99
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

-- 98
function TestPipe:testAMessageThatIsTooLongStays()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  sender:send_bytes("12345")
  local _, problem = pcall(receiver.recv_bytes, receiver, 4)
  lu.assertTrue(errors.is(problem, errors.BufferTooShort))
  lu.assertEquals(problem.message, "the message has 5 bytes, more than the 4 asked for")
  lu.assertTrue(receiver:poll())
  lu.assertEquals(receiver:recv_bytes(5), "12345")
end

-- 97
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

function TestPipe:testAScopeAndTheCollectorClose()
  local receiver <close>, other = mp.Pipe(false)
  do local _ <close> = other end
  lu.assertTrue(other.closed)
  lu.assertErrorMsgContains("EOFError", receiver.recv, receiver)
  local kept <close>, _ = mp.Pipe()
  _ = nil -- luacheck: ignore
  collectgarbage()
  collectgarbage()
  lu.assertErrorMsgContains("EOFError", kept.recv, kept)
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

-- 103
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
  blocked("read", thread)
  thread:cancel()
  thread:join()
  sender:send_bytes("kept")
  lu.assertEquals(receiver:recv_bytes(), "kept")
end

--- Whatever a sender waits for: room in the socket, or for long messages.
function TestPipe:testACancelledSenderLeavesWholeMessages()
  for _, size in ipairs { 10, 60000, 1 << 18, 9 << 20 } do
    local receiver, sender <close> = mp.Pipe(false)
    local _ <close> = receiver
    local sent, threads = 0, {}
    for i = 1, 6 do
      threads[i] = threading.Thread(function()
        while true do
          sender:send_bytes(("x"):rep(size))
          sent = sent + 1
        end
      end):start()
    end
    for _, thread in ipairs(threads) do
      eventually(function()
        return blocked.is("write", thread) or blocked.is("several things", thread)
      end)
    end
    lu.assertErrorMsgContains("another thread uses", sender.close, sender)
    for i = 2, #threads do
      threads[i]:cancel()
      threads[i]:join()
    end
    lu.assertTrue(sent > 0)
    lu.assertEquals(#receiver:recv_bytes(), size)
    threads[1]:cancel()
    threads[1]:join()
    sender:send_bytes("last")
    local n, message = 1, receiver:recv_bytes()
    while message ~= "last" do
      lu.assertEquals(#message, size)
      n, message = n + 1, receiver:recv_bytes()
    end
    -- One may have been cancelled after it had sent, before it counted.
    lu.assertTrue(n >= sent and n <= sent + #threads)
    lu.assertFalse(receiver:poll())
  end
end

-- 95
function TestPipe:testSizes()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local sizes = { 0, 1, 1 << 24, (1 << 22) - 1, 1 << 22, (1 << 22) + 1 }
  for _, edge in ipairs { 1 << 14, 1 << 16, 1 << 17 } do
    for size = edge - 17, edge + 17 do sizes[#sizes + 1] = size end
  end
  for _, size in ipairs(sizes) do
    local text = ("%08x"):format(size):rep(size // 8 + 1):sub(1, size)
    local thread = threading.Thread(sender.send_bytes, sender, text):start()
    lu.assertTrue(receiver:recv_bytes() == text, size)
    thread:join()
  end
  lu.assertFalse(receiver:poll())
end

-- 98
function TestPipe:testPartsOfAString()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  for wanted, arguments in pairs {
    ["abcdef"] = { 0 }, ["cdef"] = { 2 }, [""] = { 6 }, ["cd"] = { 2, 2 }, ["ab"] = { nil, 2 },
    ["f"] = { 5, 1 },
  } do
    sender:send_bytes("abcdef", arguments[1], arguments[2])
    lu.assertEquals(receiver:recv_bytes(), wanted)
  end
  for argument, wrong in pairs { [2] = { -1 }, [3] = { 0, -1 } } do
    lu.assertErrorMsgContains(("bad argument #%d to 'send_bytes'"):format(argument), function()
      sender:send_bytes("abcdef", wrong[1], wrong[2])
    end)
  end
  for _, wrong in ipairs { { 7 }, { 0, 7 }, { 6, 1 }, { math.maxinteger, 1 } } do
    lu.assertErrorMsgContains("beyond the end", sender.send_bytes, sender, "abcdef",
      wrong[1], wrong[2])
  end
  lu.assertFalse(receiver:poll())
end

-- 106
function TestPipe:testBothDirectionsAtOnce()
  for size, times in pairs { [1 << 20] = 20, [1 << 26] = 2 } do
    local a, b <close> = mp.Pipe()
    local _ <close> = a
    local text = ("both"):rep(size // 4)
    local process = mp.Process(function()
      a:close()
      local reader = threading.Thread(function()
        for _ = 1, times do assert(b:recv_bytes() == text) end
      end):start()
      for _ = 1, times do b:send_bytes(text) end
      reader:result()
    end)
    process:start()
    b:close()
    local reader = threading.Thread(function()
      for _ = 1, times do assert(a:recv_bytes() == text) end
    end):start()
    for _ = 1, times do a:send_bytes(text) end
    reader:result(LIMIT)
    lu.assertTrue(process:join(LIMIT))
    lu.assertEquals(process.exitcode, 0)
  end
end

-- 100: whatever waits or copies, signals do not disturb it.
function TestPipe:testASignalStorm()
  local _ <close> = io.popen("trap '' URG; n=0; while kill -URG " ..
    mp.current_process().pid .. " 2>/dev/null && [ $n -lt 20000 ]; do n=$((n + 1)); done")
  for _, size in ipairs { 8, 1 << 16, 1 << 20 } do
    local a, b <close> = mp.Pipe()
    local _ <close> = a
    local process = mp.Process(function()
      a:close()
      while true do
        local text = b:recv_bytes()
        if text == "" then break end
        b:send_bytes(text)
      end
    end)
    process:start()
    b:close()
    local text = ("x"):rep(size)
    for _ = 1, 300 do
      a:send_bytes(text)
      lu.assertTrue(a:poll(LIMIT))
      lu.assertEquals(#a:recv_bytes(), size)
    end
    lu.assertFalse(a:poll(0.001))
    a:send_bytes("")
    lu.assertTrue(process:join(LIMIT))
  end
end

--- Processes that share one end: each message goes to one of them, whole.
function TestPipe:testProcessesShareAnEnd()
  for _, size in ipairs { 10, 70000, 1 << 20 } do
    local receiver, sender = mp.Pipe(false)
    local count, counted = mp.Pipe(false)
    local processes = {}
    for i = 1, 3 do
      processes[i] = mp.Process(function()
        sender:close()
        local n = 0
        while true do
          local ok, text = pcall(receiver.recv_bytes, receiver)
          if not ok then break end
          assert(text == text:sub(1, 1):rep(size))
          n = n + 1
        end
        counted:send_bytes(tostring(n))
      end)
      processes[i]:start()
    end
    for i = 4, 5 do
      processes[i] = mp.Process(function()
        for _ = 1, 20 do sender:send_bytes(tostring(i):rep(size)) end
      end)
      processes[i]:start()
    end
    for _ = 1, 20 do sender:send_bytes("m" .. ("m"):rep(size - 1)) end
    sender:close()
    receiver:close()
    counted:close()
    local sum = 0
    for _ = 1, 3 do sum = sum + tonumber(count:recv_bytes()) end
    lu.assertEquals(sum, 60)
    count:close()
    for _, process in ipairs(processes) do
      lu.assertTrue(process:join(LIMIT))
      lu.assertEquals(process.exitcode, 0)
    end
  end
end

--- What a thread of the parent does does not bind a child.
function TestPipe:testAForkBesideAReceiverAndASender()
  local a, b <close> = mp.Pipe()
  local _ <close> = a
  local reader = threading.Thread(a.recv_bytes, a):start()
  blocked("read", reader)
  local writer = threading.Thread(function()
    pcall(function() while true do a:send_bytes(("x"):rep(1 << 20)) end end)
  end):start()
  eventually(function()
    return blocked.is("write", writer) or blocked.is("several things", writer)
  end)
  lu.assertEquals({ children.outcome(function(sender)
    a:poll(0.001)
    a:close()
    sender:send_bytes(tostring(a.closed))
  end) }, { 0, "true" })
  writer:cancel()
  writer:join()
  b:send_bytes("for the thread")
  lu.assertEquals(reader:result(LIMIT), "for the thread")
end

return { TestPipe = TestPipe }

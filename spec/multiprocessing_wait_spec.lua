-- connection.wait. Numbers are those of CPython's behaviours that each test holds
-- tidelock to.
local lu = require("luaunit")
local connection = require("multiprocessing.connection")
local errors = require("errors")
local mp = require("multiprocessing")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")

local LIMIT = 60 -- seconds, for what should take a moment

local TestWait = {}

--- A process that lasts until it is told to end.
local function lasting()
  local receiver, sender = mp.Pipe(false)
  local process = mp.Process(function() pcall(receiver.recv_bytes, receiver) end)
  process:start()
  receiver:close()
  return process, function()
    sender:send_bytes("")
    sender:close()
  end
end

-- 102
function TestWait:testExactlyTheReadyOnesInOrder()
  local ends, writers = {}, {}
  for i = 1, 6 do ends[i], writers[i] = mp.Pipe(false) end
  lu.assertEquals(connection.wait(ends, 0), {})
  writers[5]:send_bytes("")
  writers[2]:send_bytes(("x"):rep(70000))
  writers[3]:close() -- the end can be read
  for _ = 1, 2 do -- nothing is taken
    lu.assertEquals(connection.wait(ends), { ends[2], ends[3], ends[5] })
  end
  lu.assertEquals(ends[5]:recv_bytes(), "")
  lu.assertEquals(connection.wait(ends, 0), { ends[2], ends[3] })
  for i = 1, 6 do
    ends[i]:close()
    writers[i]:close()
  end
end

-- 74, 102
function TestWait:testSentinelsAndOthers()
  local process, finish = lasting()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local listener <close> = connection.Listener()
  local event = threading.Event()
  local sentinel = process.sentinel
  local objects = { receiver, sentinel, listener, process, event, listener:fileno() }
  lu.assertEquals(connection.wait(objects, 0), {})
  finish()
  lu.assertTrue(process:join(LIMIT))
  lu.assertEquals(connection.wait(objects), { sentinel, process })
  sender:send_bytes("")
  event:set()
  lu.assertEquals(connection.wait(objects), { receiver, sentinel, process, event })
  local client <close> = connection.Client(listener.address)
  lu.assertEquals(#connection.wait(objects), 6)
  local server <close> = listener:accept()
  lu.assertEquals(#connection.wait(objects), 4)
  lu.assertEquals(connection.wait({ server, client, listener }, 0), {})
end

-- 102
function TestWait:testWaitsUntilOneIsReady()
  local process, finish = lasting()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local sentinel = process.sentinel
  for _, object in ipairs { receiver, sentinel } do
    local thread = threading.Thread(function()
      return connection.wait({ receiver, sentinel }, LIMIT)
    end):start()
    blocked("several things", thread)
    if object == receiver then sender:send_bytes("") else finish() end
    lu.assertEquals(thread:result(LIMIT), { object })
    if object == receiver then receiver:recv_bytes() end
  end
  lu.assertTrue(process:join(LIMIT))
end

-- 102
function TestWait:testTheTimePasses()
  local receiver, _ <close> = mp.Pipe(false)
  local _ <close> = receiver
  local before = time.monotonic()
  lu.assertEquals(connection.wait({ receiver }, 0.05), {})
  lu.assertTrue(time.monotonic() - before >= 0.03)
  lu.assertEquals(connection.wait({}, 0), {})
  lu.assertErrorMsgContains("timeout must be", connection.wait, { receiver }, -1)
end

--- Anything with a method fileno.
function TestWait:testObjectsWithADescriptor()
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  local object = { fileno = function() return receiver:fileno() end }
  lu.assertEquals(connection.wait({ object }, 0), {})
  sender:send_bytes("")
  lu.assertEquals(connection.wait({ object }, 0), { object })
end

function TestWait:testWhatCannotBeWaitedFor()
  local receiver, sender <close> = mp.Pipe(false)
  local fd = receiver:fileno()
  receiver:close()
  for _, bad in ipairs { fd, -1, 1 << 40, { fileno = function() return fd end } } do
    local ok, problem = pcall(connection.wait, { bad }, 0)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.OSError), tostring(problem))
    lu.assertEquals(problem.code, "EBADF")
  end
  for _, bad in ipairs { "1", 1.5, {}, { fileno = 1 }, { fileno = function() return "x" end } } do
    lu.assertErrorMsgContains("object 1 cannot be waited for", connection.wait, { bad }, 0)
  end
  lu.assertErrorMsgContains("write-only", connection.wait, { sender }, 0)
end

-- Which of them, as for one of a wrong type.
function TestWait:testOneThatIsClosedIsNamed()
  local receiver <close>, sender = mp.Pipe(false)
  for _, bad in ipairs { sender, 999 } do
    local ok, problem = pcall(connection.wait, { receiver, bad }, 0)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.OSError))
    lu.assertEquals(problem.code, "EBADF")
    lu.assertStrContains(problem.message,
      bad == 999 and "object 2: descriptor 999" or "object 2: the connection is write-only")
  end
  sender:close()
  lu.assertErrorMsgContains("object 1: the connection is closed", connection.wait,
    { sender, receiver }, 0)
end

return { TestWait = TestWait }

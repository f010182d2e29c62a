--- threading.wait_any: beyond Python.
local lu = require("luaunit")
local mp = require("multiprocessing")
local queue = require("queue")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local program = require("support.program")

local function spawn(f, ...) return threading.Thread(f, ...):start() end

--- Closes the connections at the end of a block.
local function closing(...)
  local connections = { ... }
  return setmetatable({}, { __close = function()
    for _, connection in ipairs(connections) do connection:close() end
  end })
end

local TestWaitAny = {}

function TestWaitAny.testReturnsThoseThatAreReadyInTheirOrder()
  local a, b, c = threading.Event(), threading.Event(), threading.Event()
  lu.assertEquals(threading.wait_any({ a, b, c }, 0), {})
  c:set()
  lu.assertEquals(threading.wait_any({ a, b, c }), { c })
  a:set()
  local ready = threading.wait_any({ a, b, c }, 0)
  lu.assertEquals(#ready, 2)
  lu.assertIs(ready[1], a)
  lu.assertIs(ready[2], c)
  lu.assertTrue(c:is_set())
end

function TestWaitAny.testWaitsForAnEvent()
  local a, b = threading.Event(), threading.Event()
  local waiter = spawn(function() return threading.wait_any({ a, b })[1] == b end)
  blocked("several things", waiter)
  b:set()
  lu.assertTrue(waiter:result(60))
  lu.assertFalse(a:is_set())
end

function TestWaitAny.testWaitsForAThread()
  local go = threading.Event()
  local sleeper = spawn(function() go:wait(60) end)
  local never = threading.Event()
  local waiter = spawn(function()
    local ready = threading.wait_any({ never, sleeper })
    return #ready, ready[1] == sleeper
  end)
  blocked("several things", waiter)
  go:set()
  lu.assertEquals({ waiter:result(60) }, { 1, true })
  lu.assertTrue(sleeper:join(60))
  lu.assertEquals(#threading.wait_any({ sleeper }), 1) -- nothing was taken
end

function TestWaitAny.testWaitsForAQueueAndTakesNothing()
  local q, never = queue.Queue(), threading.Event()
  local waiter = spawn(function() return threading.wait_any({ never, q })[1] == q end)
  blocked("several things", waiter)
  q:put("item")
  lu.assertTrue(waiter:result(60))
  lu.assertEquals(q:qsize(), 1)
  lu.assertEquals(q:get(), "item")
  lu.assertEquals(threading.wait_any({ q }, 0), {})
end

-- Each kind of queue is ready with an item, and once it is shut down.
function TestWaitAny.testWaitsForQueuesOfEachKind()
  for _, kind in ipairs { "Queue", "LifoQueue", "PriorityQueue", "SimpleQueue" } do
    local q = queue[kind]()
    local waiter = spawn(function() return threading.wait_any({ q, threading.Event() }) end)
    blocked("several things", waiter)
    q:put(1)
    lu.assertEquals(waiter:result(60), { q })
    lu.assertEquals(q:get(), 1)
    if q.shutdown then
      waiter = spawn(function() return threading.wait_any({ q, threading.Event() }) end)
      blocked("several things", waiter)
      q:shutdown()
      lu.assertEquals(waiter:result(60), { q })
    end
  end
end

-- A message is not taken; its beginning and the end are seen as well.
function TestWaitAny.testWaitsForAConnection()
  local receiver, sender = mp.Pipe(false)
  local other, silent = mp.Pipe()
  local _ <close> = closing(receiver, sender, other, silent)
  lu.assertEquals(threading.wait_any({ receiver, other }, 0), {})
  local waiter = spawn(threading.wait_any, { other, receiver })
  blocked("several things", waiter)
  sender:send_bytes("message")
  lu.assertEquals(waiter:result(60), { receiver })
  lu.assertEquals(receiver:recv_bytes(), "message")
  local alone = spawn(threading.wait_any, { receiver })
  blocked("read", alone)
  sender:close()
  lu.assertEquals(alone:result(60), { receiver })
  lu.assertErrorMsgContains("ended", receiver.recv_bytes, receiver)
  lu.assertEquals(threading.wait_any({ silent, receiver, other }), { receiver })
end

function TestWaitAny.testWaitsForConnectionsBesideOthers()
  local a, b = mp.Pipe()
  local _ <close> = closing(a, b)
  local event, q = threading.Event(), queue.Queue()
  local go = threading.Event()
  local thread = spawn(go.wait, go)
  local all = { a, event, q, thread }
  for wake, ready in pairs {
    [function() event:set() end] = event,
    [function() b:send_bytes("") end] = a,
    [function() q:put(1) end] = q,
  } do
    local waiters = {}
    for i = 1, 3 do waiters[i] = spawn(threading.wait_any, all) end
    blocked("several things", table.unpack(waiters))
    wake()
    for _, waiter in ipairs(waiters) do lu.assertEquals(waiter:result(60), { ready }) end
    event:clear()
    if ready == a then lu.assertEquals(a:recv_bytes(), "") end
    if ready == q then lu.assertEquals(q:get(), 1) end
  end
  local waiter = spawn(threading.wait_any, all)
  blocked("several things", waiter)
  go:set()
  lu.assertEquals(waiter:result(60), { thread })
end

function TestWaitAny.testAConnectionStaysOpenWhileItIsWaitedFor()
  local a, b = mp.Pipe()
  local _ <close> = closing(a, b)
  local waiter = spawn(threading.wait_any, { a, threading.Event() })
  blocked("several things", waiter)
  lu.assertErrorMsgContains("another thread uses the connection", a.close, a)
  b:send_bytes("x")
  lu.assertEquals(waiter:result(60), { a })
  waiter = spawn(threading.wait_any, { a, threading.Event() }, 0.01)
  lu.assertEquals(waiter:result(60), { a })
  a:close()
  lu.assertErrorMsgContains("closed", threading.wait_any, { a })
end

function TestWaitAny.testTimesOutAndIsCancelledWithAConnection()
  local a, b = mp.Pipe()
  local _ <close> = closing(a, b)
  local start = time.monotonic()
  lu.assertEquals(threading.wait_any({ a, threading.Event() }, 0.02), {})
  lu.assertTrue(time.monotonic() - start >= 0.02)
  local waiter = spawn(threading.wait_any, { a, b, threading.Event() })
  blocked("several things", waiter)
  waiter:cancel()
  lu.assertTrue(waiter:join(60))
  lu.assertErrorMsgContains("cancelled", waiter.result, waiter)
end

-- Without a descriptor to be woken by it says so, and lets the connection go.
function TestWaitAny.testWithoutADescriptorForWaking()
  local out, err, code = program.run({ "-c", 'ulimit -n 40; exec "$0" -e "$1"', program.path, [[
    local errors, mp, threading = require("errors"), require("multiprocessing"),
      require("threading")
    local a, b = mp.Pipe()
    local open = {}
    repeat
      local file = io.open("/dev/null")
      open[#open + 1] = file
    until not file
    local ok, e = pcall(threading.wait_any, { a, threading.Event() }, 10)
    for _, file in ipairs(open) do file:close() end
    collectgarbage()
    print(ok, errors.is(e, errors.OSError), e.code)
    b:send_bytes("x")
    print(threading.wait_any({ a, threading.Event() }, 10)[1] == a)
    print(#threading.wait_any({ b, threading.Event() }, 0.01), pcall(a.close, a), pcall(b.close, b))
  ]] }, { program = "sh", timeout = 60 })
  lu.assertEquals({ out, err, code }, { "false\ttrue\tEMFILE\ntrue\n0\ttrue\ttrue\n", "", 0 })
end

function TestWaitAny.testAWriteOnlyConnectionCannotBeWaitedFor()
  local receiver, sender = mp.Pipe(false)
  local _ <close> = closing(receiver, sender)
  lu.assertErrorMsgContains("write-only", threading.wait_any, { receiver, sender })
end

function TestWaitAny.testSeveralMayWatchTheSame()
  local event, threads = threading.Event(), {}
  for i = 1, 4 do
    threads[i] = spawn(function() return #threading.wait_any({ event, event }) end)
  end
  blocked("several things", table.unpack(threads))
  local plain = spawn(function() return event:wait(60) end)
  blocked("event", plain)
  event:set()
  for _, thread in ipairs(threads) do lu.assertEquals(thread:result(60), 2) end
  lu.assertTrue(plain:result(60))
end

function TestWaitAny.testTimesOutInTime()
  local start = time.monotonic()
  lu.assertEquals(threading.wait_any({ threading.Event() }, 0.05), {})
  local took = time.monotonic() - start
  lu.assertTrue(took >= 0.05 and took < 5, took)
end

function TestWaitAny.testNothingToWaitForReturnsAtOnce()
  lu.assertEquals(threading.wait_any({}), {})
  lu.assertEquals(threading.wait_any({}, 10), {})
end

function TestWaitAny.testACancelEndsIt()
  local waiter = spawn(function()
    threading.wait_any({ threading.Event(), threading.Event() })
  end)
  blocked("several things", waiter)
  waiter:cancel()
  lu.assertTrue(waiter:join(30))
  lu.assertFalse((pcall(waiter.result, waiter)))
end

function TestWaitAny.testTheListMayChangeMeanwhile()
  local event, go = threading.Event(), threading.Event()
  local list = { event, threading.Event() }
  local waiter = spawn(function() return threading.wait_any(list)[1] == event end)
  blocked("several things", waiter)
  list[1], list[2] = nil, nil
  collectgarbage()
  event:set()
  lu.assertTrue(waiter:result(60))
  go:set()
end

-- An object of Lua takes part by naming what to wait for in its place.
function TestWaitAny.testAnObjectMayNameAnother()
  local Future = { __waitable = function(self) return self.done end }
  local future = setmetatable({ done = threading.Event() }, Future)
  lu.assertEquals(threading.wait_any({ future }, 0), {})
  future.done:set()
  local ready = threading.wait_any({ threading.Event(), future })
  lu.assertIs(ready[1], future)
end

function TestWaitAny.testManyObjects()
  local events = {}
  for i = 1, 500 do events[i] = threading.Event() end
  local waiter = spawn(function() return threading.wait_any(events) end)
  blocked("several things", waiter)
  events[400]:set()
  local ready = waiter:result(60)
  lu.assertEquals(#ready, 1)
  lu.assertIs(ready[1], events[400])
end

function TestWaitAny.testWrongArguments()
  local wait_any, event = threading.wait_any, threading.Event()
  event:set()
  lu.assertErrorMsgContains("bad argument #1", wait_any)
  lu.assertErrorMsgContains("bad argument #1", wait_any, event)
  lu.assertErrorMsgContains("object 2 cannot be waited for", wait_any, { event, 1.5 })
  lu.assertErrorMsgContains("object 1 cannot be waited for", wait_any, { {}, event })
  lu.assertErrorMsgContains("object 1 cannot be waited for", wait_any, { threading.Lock() })
  for _, timeout in ipairs({ -1, 0 / 0, {}, "x" }) do
    lu.assertErrorMsgContains("bad argument #2", wait_any, { event }, timeout)
  end
end

return { TestWaitAny = TestWaitAny }

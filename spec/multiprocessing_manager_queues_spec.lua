-- Queues of managers. Numbers are those of CPython's behaviours that each test
-- holds tidelock to.
local lu = require("luaunit")
local connection = require("multiprocessing.connection")
local mp = require("multiprocessing")
local queue = require("queue")
local time = require("time")
local aside = require("support.aside")
local killed_in = require("support.killed_in")
local with_manager = require("support.with_manager")

local LIMIT = 60 -- seconds, for what should take a moment

local TestQueues = with_manager({})

function TestQueues:testAQueue()
  local q = self.m:Queue(2)
  lu.assertTrue(q:put(1))
  lu.assertTrue(q:put(false))
  lu.assertEquals({ q:put(3, false) }, { nil, queue.Full })
  lu.assertEquals({ q:put(3, true, 0.01) }, { nil, queue.Full })
  lu.assertEquals({ q:put_nowait(3) }, { nil, queue.Full })
  lu.assertTrue(q:full())
  lu.assertEquals(q:qsize(), 2)
  lu.assertEquals(q:get(), 1)
  lu.assertEquals(q:get(), false)
  lu.assertEquals({ q:get_nowait() }, { nil, queue.Empty })
  lu.assertEquals({ q:get(true, 0.01) }, { nil, queue.Empty })
  lu.assertTrue(q:empty())
  q:put(nil)
  lu.assertEquals({ q:get() }, {})
  lu.assertErrorMsgContains("bad argument #1 to 'get'", q.get, q, 1)
  lu.assertErrorMsgContains("bad argument #2 to 'get'", q.get, q, true, -3)
  local result = aside(q.get, q)
  q:put("for who waits")
  lu.assertEquals({ result() }, { true, "for who waits" })
  q:put(1)
  q:put(2)
  result = aside(q.put, q, 3)
  lu.assertEquals(q:get_many(5), { 1, 2 })
  lu.assertEquals({ result() }, { true, true })
  lu.assertEquals(q:get(), 3)
  q:put("last")
  result = aside(function()
    local items = {}
    for item in q:iter() do items[#items + 1] = item end
    return items
  end)
  q:shutdown()
  lu.assertEquals({ result() }, { true, { "last" } })
  lu.assertEquals({ q:put(1) }, { nil, queue.ShutDown })
  lu.assertEquals({ q:get() }, { nil, queue.ShutDown })
end

function TestQueues:testAJoinableQueue()
  local q = self.m:JoinableQueue()
  for i = 1, 5 do q:put(i) end
  local result, thread = aside(q.join, q)
  local child = mp.Process(function()
    for _ = 1, 5 do
      q:get()
      q:task_done()
    end
  end):start()
  lu.assertTrue((result()))
  lu.assertFalse(thread:is_alive())
  lu.assertTrue(child:join(LIMIT))
  lu.assertErrorMsgContains("too many times", q.task_done, q)
end

-- 118
function TestQueues:testEachItemOnce()
  local items, seen = self.m:Queue(3), self.m:Queue()
  local function work()
    for item in items:iter() do seen:put(item) end
  end
  local children = {}
  for i = 1, 2 do children[i] = mp.Process(work):start() end
  local threads = {}
  for i = 1, 3 do threads[i] = aside(work) end
  for i = 1, 60 do items:put(i) end
  items:shutdown()
  for _, child in ipairs(children) do lu.assertTrue(child:join(LIMIT)) end
  for _, result in ipairs(threads) do lu.assertTrue((result())) end
  local got = {}
  for _ = 1, 60 do got[#got + 1] = seen:get(false) end
  table.sort(got)
  for i = 1, 60 do lu.assertEquals(got[i], i) end
end

function TestQueues:testACancelledGetTakesNothing()
  local q = self.m:Queue()
  local n, cancelled = 0, 0
  for i = 1, 40 do
    local result, thread = aside(q.get, q)
    if i % 2 == 0 then time.sleep(0.0005 * (i % 7)) end
    q:put(i)
    if i % 3 == 0 then time.sleep(0.0003 * (i % 5)) end
    thread:cancel()
    if result() then n = n + 1 else cancelled = cancelled + 1 end
  end
  lu.assertEquals(n + cancelled, 40)
  for _ = 1, cancelled do lu.assertNotNil((q:get(true, LIMIT))) end
  lu.assertTrue(q:empty())
end

function TestQueues:testAKilledGetTakesNothing()
  local q = self.m:Queue()
  for i = 1, 8 do
    local kill = killed_in(function(tell)
      tell()
      q:get()
    end)
    if i % 2 == 0 then time.sleep(0.005) end
    kill()
  end
  q:put("for the living")
  lu.assertEquals(q:get(true, LIMIT), "for the living")
end

--- What was given and not received: the other side's own words.
function TestQueues:testAnAnswerThatIsNotAcknowledgedIsTakenBack()
  local q, options = self.m:Queue(), { authkey = mp.current_process().authkey }
  q:put("once")
  local control <close> = connection.Client(self.m.address, options)
  control:send({})
  local number = control:recv().number
  local call = connection.Client(self.m.address, options)
  call:send({ call = number })
  call:send({ 1, "get", 1, n = 3 })
  lu.assertTrue(call:poll(LIMIT))
  lu.assertTrue(q:empty())
  call:close()
  lu.assertEquals(q:get(true, LIMIT), "once")
end

return { TestQueues = TestQueues }

--- threading.Event: behaviours 26 and 27.
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")

-- What is tested, and how dump() begins its names: of threading, unless
-- multiprocessing_event_spec.lua says otherwise.
local _, sync, on = ...
sync, on = sync or threading, on or ""

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local TestEvent = {}

function TestEvent.testFlag()
  local event = sync.Event()
  lu.assertFalse(event:is_set())
  event:set()
  event:set()
  lu.assertTrue(event:is_set())
  event:clear()
  event:clear()
  lu.assertFalse(event:is_set())
end

-- 26
function TestEvent.testWaitOnASetEventReturnsAtOnce()
  local event = sync.Event()
  event:set()
  for _, timeout in ipairs({ 0, 0.0, 10, math.huge }) do
    lu.assertTrue(event:wait(timeout))
  end
  lu.assertTrue(event:wait())
  lu.assertTrue(event:is_set())
end

-- 26
function TestEvent.testWaitZeroOnAClearEventIsFalse()
  local event = sync.Event()
  local start = time.monotonic()
  for _ = 1, 100 do lu.assertFalse(event:wait(0)) end
  lu.assertTrue(time.monotonic() - start < 5)
end

function TestEvent.testWaitTimesOutInTime()
  local event = sync.Event()
  local start = time.monotonic()
  lu.assertFalse(event:wait(0.05))
  local took = time.monotonic() - start
  lu.assertTrue(took >= 0.05 and took < 5, took)
end

local function waiters(event, n)
  local threads = {}
  for i = 1, n do
    threads[i] = spawn(function() return event:wait(60) end)
  end
  blocked(on .. "event", table.unpack(threads))
  return threads
end

function TestEvent.testSetWakesEveryWaiter()
  local event = sync.Event()
  local threads = waiters(event, 6)
  event:set()
  for _, thread in ipairs(threads) do lu.assertTrue(thread:result(60)) end
  lu.assertTrue(event:is_set())
end

-- 27
function TestEvent.testSetThenClearWakesEveryWaiter()
  for _ = 1, 20 do
    local event = sync.Event()
    local threads = waiters(event, 4)
    event:set()
    event:clear()
    for _, thread in ipairs(threads) do lu.assertTrue(thread:result(60)) end
    lu.assertFalse(event:is_set())
    lu.assertFalse(event:wait(0))
  end
end

function TestEvent.testPingPong()
  local ping, pong, rounds = sync.Event(), sync.Event(), 500
  local results, errors = bunch(2, function(i)
    local mine, other = ping, pong
    if i == 2 then mine, other = pong, ping end
    if i == 1 then other:set() end
    for _ = 1, rounds do
      if not mine:wait(60) then return false end
      mine:clear()
      other:set()
    end
    return true
  end)
  lu.assertEquals(errors, {})
  lu.assertEquals(results, { true, true })
end

function TestEvent.testACancelEndsTheWait()
  local event = sync.Event()
  local waiter = spawn(function() event:wait() end)
  blocked(on .. "event", waiter)
  waiter:cancel()
  lu.assertTrue(waiter:join(30))
  event:set()
end

function TestEvent.testAWaitingThreadKeepsItsEventAlive()
  local weak = setmetatable({ event = sync.Event() }, { __mode = "v" })
  local waiter = spawn(function() return weak.event:wait(60) end)
  blocked(on .. "event", waiter)
  collectgarbage()
  weak.event:set()
  lu.assertTrue(waiter:result(60))
  collectgarbage()
  lu.assertNil(weak.event)
end

function TestEvent.testWrongArguments()
  local event = sync.Event()
  for _, timeout in ipairs({ -1, -1e-9, 0 / 0, {}, "x", true }) do
    -- Called as a function: self counts.
    lu.assertErrorMsgContains("bad argument #2", event.wait, event, timeout)
  end
  lu.assertErrorMsgContains("bad argument #1", event.set)
  lu.assertErrorMsgContains(".Event expected", event.set, threading.Lock())
  lu.assertFalse(event:is_set())
  event:set()
  lu.assertErrorMsgContains("bad argument #2", event.wait, event, -1)
end

function TestEvent.testTostring()
  local event = sync.Event()
  lu.assertEquals(tostring(event), "<Event unset>")
  event:set()
  lu.assertEquals(tostring(event), "<Event set>")
end

return { TestEvent = TestEvent }

--- threading.dump: behaviours 218 and 221, as far as they concern Lua code.
local lu = require("luaunit")
local gil = require("gil")
local mp = require("multiprocessing")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local program = require("support.program")

local LONG = 60 -- seconds

local function spawn(name, f, ...)
  return threading.Thread { name = name, target = f, args = table.pack(...) }:start()
end

--- The report as a string.
local function dump()
  local text = {}
  threading.dump({
    write = function(self, ...)
      for _, s in ipairs { ... } do table.insert(text, s) end
      return self
    end,
  })
  return table.concat(text)
end

--- The part of the report about one thread.
local function section(report, thread)
  local start = report:find(('Thread "%s" ident=%d'):format(thread.name, thread.ident), 1, true)
  lu.assertNotNil(start, report)
  local stop = report:find('\n\nThread "', start, true) or #report
  return report:sub(start, stop)
end

local TestDump = {}

-- 221
function TestDump.testOfTheMainThreadAlone()
  local function marked_function() return dump() end
  local report = marked_function()
  lu.assertStrContains(report, "Threads of this interpreter: 1")
  local main = section(report, threading.main_thread())
  lu.assertStrContains(main, ": running")
  lu.assertStrContains(main, "stack traceback:")
  lu.assertStrContains(main, "dump_spec.lua")
end

-- 221
function TestDump.testNamesEveryStateAndItsCause()
  local lock, event = threading.Lock(), threading.Event()
  local condition, semaphore = threading.Condition(), threading.Semaphore(0)
  local rlock, barrier = threading.RLock(), threading.Barrier(9)
  lock:acquire()
  rlock:acquire()
  local threads = {
    lock = spawn("l", function() lock:acquire() end),
    rlock = spawn("r", function() rlock:acquire() end),
    event = spawn("e", function() event:wait() end),
    condition = spawn("c", function() condition:with(condition.wait, condition) end),
    semaphore = spawn("s", function() semaphore:acquire() end),
    barrier = spawn("b", function() barrier:wait() end),
    sleep = spawn("z", function() time.sleep(LONG) end),
  }
  threads.thread = spawn("j", function() threads.event:join() end)
  for what, t in pairs(threads) do blocked(what, t) end
  local report = dump()
  lu.assertStrContains(report, "Threads of this interpreter: 9")
  for what, t in pairs(threads) do
    local part = section(report, t)
    lu.assertStrMatches(part, ".-: blocked on " .. what .. " for %d+%.%d+ s.*")
    lu.assertStrContains(part, "dump_spec.lua")
  end
  -- Who holds what it waits for.
  lu.assertStrContains(section(report, threads.rlock), 'owned by "MainThread"')
  lu.assertStrContains(section(report, threads.lock), 'owned by "MainThread"')
  for _, t in pairs(threads) do t:cancel() end
  for _, t in pairs(threads) do lu.assertTrue(t:join(LONG)) end
  lock:release()
  rlock:release()
end

-- 221: for how long, to the millisecond that it is written to.
function TestDump.testTellsForHowLong()
  local event, mp_event = threading.Event(), mp.Event()
  local receiver, sender = mp.Pipe(false)
  local earliest = time.monotonic()
  local threads = {
    spawn("parked", function() event:wait() end),
    spawn("asleep", function() time.sleep(LONG) end),
    spawn("outside", function() receiver:recv_bytes() end),
    spawn("beside", function() mp_event:wait() end),
  }
  blocked("event", threads[1])
  blocked("sleep", threads[2])
  blocked("read", threads[3])
  blocked("mp event", threads[4])
  local latest = time.monotonic()
  local before
  for _ = 1, 2 do
    local start = time.monotonic()
    local report = dump()
    local stop = time.monotonic()
    local now = {}
    for i, t in ipairs(threads) do
      local seconds = tonumber(section(report, t):match("blocked [io]n [%a ]+ for (%d+%.%d+) s"))
      lu.assertTrue(seconds >= start - latest - 0.001, t.name)
      lu.assertTrue(seconds <= stop - earliest + 0.001, t.name)
      if before then lu.assertTrue(seconds - before[i] >= 0.1 - 0.002, t.name) end
      now[i] = seconds
    end
    before = now
    time.sleep(0.1)
  end
  event:set()
  mp_event:set()
  sender:send_bytes("")
  threads[2]:cancel()
  for _, t in ipairs(threads) do lu.assertTrue(t:join(LONG)) end
  receiver:close()
  sender:close()
end

-- A thread that is to wait for a descriptor first looks, with the GIL given up,
-- and may have to wait for the GIL after that: it is not blocked in a read yet.
-- (It was: the time of the report began anew when the wait began.)
function TestDump.testLookingIsNotBlocking()
  local receiver, sender = mp.Pipe(false)
  local interval = gil.switch_interval()
  gil.policy("cpython")
  gil.switch_interval(0.02)
  for _ = 1, 20 do
    local t = spawn("looks", function() receiver:recv_bytes() end)
    local earliest, latest = -math.huge, math.huge -- when the wait began, by all reports
    local stop = time.monotonic() + 0.06
    repeat
      local now = time.monotonic()
      local seconds = section(dump(), t):match("blocked in read for (%d+%.%d+) s")
      if seconds then
        earliest = math.max(earliest, now - tonumber(seconds) - 0.0005)
        latest = math.min(latest, time.monotonic() - tonumber(seconds) + 0.0005)
      end
    until now > stop
    sender:send_bytes("")
    lu.assertTrue(t:join(LONG))
    lu.assertTrue(earliest <= latest)
  end
  gil.policy("fair")
  gil.switch_interval(interval)
  receiver:close()
  sender:close()
end

-- An owner that has ended is not taken for one that lives.
function TestDump.testAnOwnerThatHasEnded()
  local lock = threading.Lock()
  local ident
  do
    local t = spawn("gone", function() lock:acquire() end)
    t:join()
    ident = t.ident
  end
  collectgarbage()
  local waiting = spawn("w", function() lock:acquire() end) -- perhaps in its place
  local others = {}
  for i = 1, 20 do others[i] = spawn("o", function() time.sleep(LONG) end) end
  blocked("lock", waiting)
  lu.assertStrContains(section(dump(), waiting),
    ("owned by thread %d, which has ended"):format(ident))
  lock:release()
  lu.assertTrue(waiting:join(LONG))
  for _, t in ipairs(others) do t:cancel() end
  for _, t in ipairs(others) do t:join() end
end

-- 221
function TestDump.testOfAThreadThatRuns()
  local started, stop = threading.Event(), false
  local t = spawn("spinner", function()
    local function deep_inside()
      started:set()
      while not stop do end
    end
    deep_inside()
  end)
  started:wait()
  local part = section(dump(), t)
  stop = true
  t:join()
  lu.assertStrContains(part, ": ready, waiting for the GIL")
  lu.assertStrContains(part, "deep_inside")
end

-- 221: the innermost coroutine's frames are what it is doing.
function TestDump.testOfAThreadInACoroutine()
  local stop = threading.Event()
  local t = spawn("generator", function()
    coroutine.wrap(function()
      local function inside_the_coroutine()
        stop:wait()
        return true
      end
      return (inside_the_coroutine())
    end)()
  end)
  blocked("event", t)
  local part = section(dump(), t)
  stop:set()
  t:join()
  lu.assertStrContains(part, "inside_the_coroutine")
end

-- 218: newest frame first.
function TestDump.testTheNewestFrameComesFirst()
  local stop = threading.Event()
  local t = spawn("nested", function()
    local function innermost()
      stop:wait()
      return true
    end
    local function in_between()
      innermost()
      return true
    end
    in_between()
  end)
  blocked("event", t)
  local part = section(dump(), t)
  stop:set()
  t:join()
  local first = part:find("innermost", 1, true)
  local second = part:find("in_between", 1, true)
  lu.assertTrue(first and second and first < second, part)
end

function TestDump.testTellsDaemons()
  local stop = threading.Event()
  local t = threading.Thread { target = stop.wait, args = { stop }, name = "d", daemon = true }
  t:start()
  blocked("event", t)
  lu.assertStrContains(dump(), ('Thread "d" ident=%d daemon: '):format(t.ident))
  stop:set()
  t:join()
end

function TestDump.testWhileThreadsComeAndGo()
  local stop, makers = false, {}
  for i = 1, 3 do
    makers[i] = spawn("maker", function()
      while not stop do spawn("brief", function() time.sleep(0) end):join() end
    end)
  end
  for _ = 1, 200 do
    lu.assertStrContains(dump(), 'Thread "MainThread"')
    time.sleep(0)
  end
  stop = true
  for _, t in ipairs(makers) do lu.assertTrue(t:join(LONG)) end
end

function TestDump.testWritesToAFileOrStandardError()
  local out, err, code = program.eval([[
    local threading = require("threading")
    threading.dump()
    threading.dump(io.stdout)
  ]], { timeout = LONG })
  lu.assertEquals(code, 0)
  lu.assertStrContains(err, 'Thread "MainThread" ident=1: running')
  lu.assertStrContains(out, 'Thread "MainThread" ident=1: running')
end

function TestDump.testWrongFileRaises()
  for _, file in ipairs { 1, "x", {}, print, coroutine.create(print) } do
    lu.assertErrorMsgContains("bad argument #1 to 'dump'", threading.dump, file)
  end
end

return { TestDump = TestDump }

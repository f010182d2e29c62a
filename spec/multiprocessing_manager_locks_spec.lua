-- Locks of managers. Numbers are those of CPython's behaviours that each test holds
-- tidelock to; 2.1 to 2.3 are those of threading.
local lu = require("luaunit")
local errors = require("errors")
local mp = require("multiprocessing")
local queues = require("multiprocessing.managers.queues")
local referents = require("multiprocessing.managers.locks")
local threading = require("threading")
local time = require("time")
local aside = require("support.aside")
local assert_raises = require("support.assert_raises")
local bunch = require("support.bunch")
local eventually = require("support.eventually")
local killed_in = require("support.killed_in")
local program = require("support.program")
local struck = require("support.struck")
local with_manager = require("support.with_manager")

local LIMIT = 60 -- seconds, for what should take a moment
local SOON = 0.05 -- seconds, for what is not to come

--- A child that holds the lock: a call kills it.
local function held_in_a_child(lock)
  return killed_in(function(tell)
    lock:acquire()
    tell()
  end)
end

--- What acquire gives to one that waits when the holder is killed.
local function acquired_from_the_dead(lock)
  local kill = held_in_a_child(lock)
  lu.assertFalse(lock:acquire(false))
  local result = aside(lock.acquire, lock)
  kill()
  return result()
end

-- --- Lock and RLock -------------------------------------------------------------

local TestLocks = with_manager({})

-- 107
function TestLocks:testALock()
  local lock = self.m:Lock()
  lu.assertTrue(lock:acquire())
  lu.assertTrue(lock:locked())
  lu.assertFalse(lock:acquire(false))
  local start = time.monotonic()
  lu.assertFalse(lock:acquire(true, 0.1))
  lu.assertTrue(time.monotonic() - start >= 0.06)
  local result = aside(lock.acquire, lock)
  lock:release()
  lu.assertEquals({ result() }, { true, true })
  lock:release() -- another thread's: a lock has no owner
  lu.assertFalse(lock:locked())
  assert_raises("unlocked", lock.release, lock)
  do
    local held <close> = lock:guard()
    lu.assertTrue(held:locked())
  end
  lu.assertEquals(lock:with(function(x) return lock:locked(), x end, 5), true)
  assert_raises("inside", lock.with, lock, function() error("inside") end)
  lu.assertFalse(lock:locked())
  assert_raises("bad argument #1 to 'acquire'", lock.acquire, lock, 1)
  assert_raises("bad argument #2 to 'acquire'", lock.acquire, lock, false, 1)
  assert_raises("bad argument #2 to 'acquire'", lock.acquire, lock, true, -2)
end

-- 107
function TestLocks:testAnRLockIsAThreads()
  local lock = self.m:RLock()
  lock:acquire()
  lu.assertTrue(lock:acquire(false))
  local other = aside(function() return lock:acquire(false) end)
  lu.assertEquals({ other() }, { true, false })
  other = aside(function() lock:release() end)
  lu.assertFalse((other()))
  lock:release()
  lu.assertTrue(lock:locked())
  lock:release()
  assert_raises("unlocked", lock.release, lock)
end

-- 107, 118
function TestLocks:testOneAtATime()
  local lock, d = self.m:Lock(), self.m:dict({ n = 0 })
  local function count(l, t)
    for _ = 1, 10 do
      local _ <close> = l:guard()
      t.n = t.n + 1
    end
  end
  local child = mp.Process(count, lock, d):start()
  local _, problems = bunch(8, function() count(lock, d) end)
  lu.assertEquals(problems, {})
  lu.assertTrue(child:join(LIMIT))
  lu.assertEquals(d.n, 90)
end

-- 108
function TestLocks:testTheDeathOfAHolderIsTold()
  for _, name in ipairs({ "Lock", "RLock" }) do
    local lock = self.m[name](self.m)
    local ok, problem = acquired_from_the_dead(lock)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(problem, errors.OwnerDied))
    lu.assertTrue(lock:locked()) -- by who was told
  end
end

-- 108
function TestLocks:testAScopeOfADeadHoldersLockIsFreeAgain()
  for _, name in ipairs({ "Lock", "RLock", "Condition" }) do
    local lock = self.m[name](self.m)
    for _, take in ipairs({ "guard", "with" }) do
      held_in_a_child(lock)()
      local ok, problem = pcall(lock[take], lock, function() error("it was called") end)
      lu.assertFalse(ok)
      lu.assertTrue(errors.is(problem, errors.OwnerDied), name)
      lu.assertFalse(lock:locked())
      lu.assertTrue(lock:acquire()) -- and told once
      lock:release()
    end
  end
end

local INTERRUPTIONS = { "cancel", "kill" }

--- Interrupts threads that call f over and over, so that it falls everywhere;
--- is_free() then says that nothing is held any more, once the server has seen the
--- end of the call.
local function interrupt_all_over(f, is_free)
  for i = 1, 60 do
    local rounds = 0
    local victim = threading.Thread(function()
      while true do
        f()
        rounds = rounds + 1
      end
    end):start()
    eventually(function() return rounds > i % 4 end)
    victim[INTERRUPTIONS[i % 2 + 1]](victim)
    lu.assertTrue(victim:join(LIMIT))
    eventually(is_free)
  end
end

function TestLocks:testInterruptedScopesLeaveNothingHeld()
  for _, name in ipairs({ "Lock", "RLock", "Condition" }) do
    local lock = self.m[name](self.m)
    local function is_free() return not lock:locked() end
    interrupt_all_over(function() local _ <close> = lock:guard() end, is_free)
    interrupt_all_over(function() lock:with(function() end) end, is_free)
  end
  local s = self.m:Semaphore(1)
  local function is_whole() return s:get_value() == 1 end
  interrupt_all_over(function() local _ <close> = s:guard() end, is_whole)
end

function TestLocks:testACancelledCallTakesNoLock()
  local lock = self.m:Lock()
  lock:acquire()
  for _ = 1, 5 do
    local result, thread = aside(lock.acquire, lock)
    time.sleep(0.01) -- anywhere in the call
    thread:cancel()
    lu.assertFalse((result()))
  end
  lock:release()
  lu.assertTrue(lock:acquire(true, LIMIT))
end

function TestLocks:testAKilledWaiterTakesNoLock()
  local lock = self.m:Lock()
  lock:acquire()
  local kill = killed_in(function(tell)
    tell()
    lock:acquire()
  end)
  time.sleep(SOON) -- it waits, as like as not
  kill()
  lock:release()
  local ok, got = pcall(lock.acquire, lock, true, LIMIT)
  lu.assertTrue(ok and got or errors.is(got, errors.OwnerDied))
  lu.assertTrue(lock:locked())
end

--- One that is killed in the server, whatever it does there, is in nobody's way.
function TestLocks:testAKilledWaiterLeavesItsPlace()
  local conn <close>, other = mp.Pipe()
  local _ <close> = other
  local lock = referents.Lock.create()
  lock:acquire({ client = { holds = {} } })
  local n, more = 0
  repeat
    n = n + 1
    local caller = { client = { holds = {} }, conn = conn }
    local where
    more, where = struck("managers/monitor", n, "kill", lock.acquire, lock, caller, true, 0.001)
    lu.assertEquals(lock:waiting("acquire"), 0, where)
  until not more
  lu.assertTrue(n > 10)
end

-- --- Semaphore, Condition, Event, Barrier ----------------------------------------

-- 107, 108
function TestLocks:testSemaphores()
  local s = self.m:Semaphore(2)
  lu.assertTrue(s:acquire())
  lu.assertTrue(s:acquire(false))
  lu.assertFalse(s:acquire(false))
  s:release(3)
  lu.assertEquals(s:get_value(), 3)
  local b = self.m:BoundedSemaphore(1)
  assert_raises("too many times", b.release, b)
  assert_raises("bad argument #1 to 'release'", s.release, s, 0)
  assert_raises("bad argument #1 to 'Semaphore'", self.m.Semaphore, self.m, -1)
  lu.assertEquals({ acquired_from_the_dead(b) }, { true, true })
end

-- 107
function TestLocks:testACondition()
  local c, d = self.m:Condition(), self.m:dict()
  assert_raises("not held", c.wait, c)
  assert_raises("not held", c.notify, c)
  do
    local _ <close> = c:guard()
    lu.assertFalse(c:wait(0.01))
  end
  local waiters = {}
  for i = 1, 3 do
    waiters[i] = aside(function()
      local _ <close> = c:guard()
      return c:wait_for(function() return d.go end, LIMIT)
    end)
  end
  local child = mp.Process(function()
    local _ <close> = c:guard()
    d.go = "went"
    c:notify_all()
  end):start()
  for i = 1, 3 do lu.assertEquals({ waiters[i]() }, { true, "went" }) end
  lu.assertTrue(child:join(LIMIT))
  lu.assertFalse(c:locked())
  local lock = self.m:Lock()
  local over = self.m:Condition(lock)
  over:acquire()
  lu.assertTrue(lock:locked())
  over:release()
  assert_raises("a proxy of a Lock", self.m.Condition, self.m, 5)
end

--- A thread in c:wait(), whose lock it holds 'depth' times; what ended the wait, and
--- how deep the lock was held then.
local function waiting_in(c, depth)
  local about = threading.Event()
  local result, thread = aside(function()
    for _ = 1, depth do c:acquire() end
    about:set()
    local _, problem = pcall(c.wait, c)
    local held = 0
    while pcall(c.release, c) do held = held + 1 end
    return problem, held
  end)
  lu.assertTrue(about:wait(LIMIT))
  return thread, function()
    local _, problem, held = result()
    return problem, held
  end
end

function TestLocks:testAnInterruptedWaitHasTheLockBackFirst()
  for _, case in ipairs({ { self.m:Lock(), 1 }, { self.m:RLock(), 3 } }) do
    local lock, depth = table.unpack(case)
    local c = self.m:Condition(lock)
    local thread, result = waiting_in(c, depth)
    lu.assertTrue(lock:acquire(true, LIMIT)) -- it waits
    thread:cancel()
    lu.assertFalse(thread:join(SOON))
    lu.assertTrue(lock:locked()) -- by who took it
    lock:release()
    local problem, held = result()
    lu.assertTrue(errors.is(problem, errors.Cancelled), tostring(problem))
    lu.assertEquals(held, depth)
    lu.assertFalse(lock:locked())
  end
end

function TestLocks:testACancelledWaitInAScopeIsToldAsThat()
  local c = self.m:Condition()
  local about = threading.Event()
  local result, thread = aside(c.with, c, function()
    about:set()
    c:wait()
  end)
  lu.assertTrue(about:wait(LIMIT))
  c:with(function() end) -- it waits
  thread:cancel()
  local ok, problem = result()
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.Cancelled), tostring(problem))
  lu.assertFalse(c:locked())
end

function TestLocks:testKeyboardInterruptInAWait()
  local out, err = program.eval([[
    local errors, mp, threading = require "errors", require "multiprocessing", require "threading"
    local m <close> = mp.Manager()
    local lock = m:Lock()
    local c = m:Condition(lock)
    local other = threading.Thread(function()
      about:wait()
      lock:with(function() os.execute("kill -INT $PPID") end)
    end)
    about = threading.Event()
    other:start()
    local ok, problem = pcall(c.with, c, function() about:set() c:wait() end)
    print(ok, errors.is(problem, errors.KeyboardInterrupt), lock:locked())
  ]], { timeout = LIMIT })
  lu.assertEquals(out .. err, "false\ttrue\tfalse\n")
end

--- What has come when it is cancelled, it has.
function TestLocks:testNotifiedAndCancelledAtOnceIsNotified()
  local lock = self.m:Lock()
  local c = self.m:Condition(lock)
  lock:acquire()
  local thread = threading.Thread(c.wait, c):start() -- gives it up
  lu.assertTrue(lock:acquire(true, LIMIT))
  c:notify()
  thread:cancel()
  lu.assertFalse(thread:join(SOON))
  lock:release()
  lu.assertTrue(thread:result(LIMIT))
  lu.assertTrue(lock:locked())
end

-- 107
function TestLocks:testNotifyWakesAsManyAsItSays()
  local c, ready, woken = self.m:Condition(), self.m:Semaphore(0), self.m:Queue()
  local waiters = {}
  for i = 1, 3 do
    waiters[i] = aside(function()
      local _ <close> = c:guard()
      ready:release()
      c:wait()
      woken:put(i)
    end)
  end
  for _ = 1, 3 do ready:acquire() end
  c:with(function() c:notify(2) end) -- held: all three are in wait
  lu.assertNotNil(woken:get(true, LIMIT))
  lu.assertNotNil(woken:get(true, LIMIT))
  lu.assertNil((woken:get(true, SOON)))
  c:with(function() c:notify() end)
  for i = 1, 3 do lu.assertTrue((waiters[i]())) end
end

-- 107
function TestLocks:testAnEvent()
  local e = self.m:Event()
  lu.assertFalse(e:is_set())
  lu.assertFalse(e:wait(0.01))
  local waiters = {}
  for i = 1, 4 do waiters[i] = aside(e.wait, e) end
  local child = mp.Process(function() e:set() end):start()
  for i = 1, 4 do lu.assertEquals({ waiters[i]() }, { true, true }) end
  lu.assertTrue(child:join(LIMIT))
  e:clear()
  lu.assertFalse(e:wait(0))
  assert_raises("bad argument #1 to 'wait'", e.wait, e, -1)
end

--- The states in the server, with others in the middle of what they do.
function TestLocks:testOthersThatAreNotReadyYet()
  local e = referents.Event.create()
  e._queues.set = { { event = threading.Event() } } -- one that has not left yet
  e:set()
  lu.assertTrue(e:wait_set({}, 0))
  local q, tell = queues.create(), nil
  q.tell = function(...) -- a shutdown right after the item was stored
    q._shut = true
    tell(...)
  end
  tell = getmetatable(q).tell
  lu.assertEquals({ q:put({}, "item") }, { true })
  lu.assertEquals({ q:put({}, "more") }, { nil, errors.ShutDown })
  lu.assertEquals(q:get({}), "item")
  local s, caller = referents.BoundedSemaphore.create(nil, 1), { client = { holds = {} } }
  lu.assertTrue(s:acquire(caller))
  s.enter = function() -- another one releases it first
    s.enter = nil
    s:release(caller)
    return s:enter()
  end
  assert_raises("released too many times", s.release, s, caller)
  lu.assertEquals(s:get_value(), 1)
end

-- 107, 108
function TestLocks:testABarrier()
  local b = self.m:Barrier(4)
  for _ = 1, 3 do
    local indices = bunch(4, function() return b:wait(LIMIT) end)
    table.sort(indices)
    lu.assertEquals(indices, { 0, 1, 2, 3 })
  end
  lu.assertEquals({ b.parties, b.n_waiting, b.broken }, { 4, 0, false })
  local result = aside(b.wait, b)
  eventually(function() return b.n_waiting == 1 end)
  b:abort()
  local _, problem = result()
  lu.assertTrue(errors.is(problem, errors.BrokenBarrierError))
  lu.assertTrue(b.broken)
  b:reset()
  local kill = killed_in(function(tell)
    tell()
    b:wait()
  end)
  eventually(function() return b.n_waiting == 1 end)
  result = aside(b.wait, b)
  kill()
  _, problem = result()
  lu.assertTrue(errors.is(problem, errors.BrokenBarrierError))
  b:reset()
  assert_raises("broken", b.wait, b, 0.01)
  assert_raises("bad argument #1 to 'Barrier'", self.m.Barrier, self.m, 0)
  local d = self.m:dict()
  local with_action = self.m:Barrier(2, function() d.done = true end)
  bunch(2, function() return with_action:wait(LIMIT) end)
  lu.assertTrue(d.done)
end

function TestLocks:testADeathInItsActionBreaksABarrier()
  local begun = self.m:Event()
  local b = self.m:Barrier(2, function()
    begun:set()
    require("threading").Event():wait()
  end)
  local first = aside(b.wait, b)
  eventually(function() return b.n_waiting == 1 end)
  local last = mp.Process(function() b:wait() end):start()
  begun:wait()
  last:kill()
  local ok, problem = first()
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.BrokenBarrierError), tostring(problem))
  lu.assertTrue(b.broken)
  lu.assertTrue(last:join(LIMIT))
end

function TestLocks:testWhoIsCancelledLeavesABarrier()
  local b = self.m:Barrier(3)
  local first = aside(b.wait, b)
  eventually(function() return b.n_waiting == 1 end)
  local result, thread = aside(b.wait, b)
  eventually(function() return b.n_waiting == 2 end)
  thread:cancel()
  local _, problem = result()
  lu.assertTrue(errors.is(problem, errors.Cancelled), tostring(problem))
  lu.assertEquals({ b.n_waiting, b.broken }, { 1, false })
  local second = aside(b.wait, b)
  eventually(function() return b.n_waiting == 2 end)
  lu.assertEquals(b:wait(LIMIT), 2)
  lu.assertEquals({ first() }, { true, 0 })
  lu.assertEquals({ second() }, { true, 1 })
end

-- --- Timeouts -------------------------------------------------------------------

--- Calls with a timeout of every kind of object: f(timeout), and the number of it
--- among the arguments of 'name'.
local function timed_calls(m)
  local lock, rlock, s, b = m:Lock(), m:RLock(), m:Semaphore(1), m:BoundedSemaphore(1)
  local c, e, barrier = m:Condition(), m:Event(), m:Barrier(1)
  local q, full, jq = m:Queue(), m:Queue(1), m:JoinableQueue()
  local result = m:Pool(1):apply_async(math.abs, { 1 })
  full:put(1)
  e:set()
  c:acquire()
  return {
    { "acquire", 2, function(t) return lock:acquire(true, t) end, -1 },
    { "acquire", 2, function(t) return rlock:acquire(true, t) end, -1 },
    { "acquire", 2, function(t) return c:acquire(true, t) end, -1 },
    { "acquire", 2, function(t) return s:acquire(true, t) end },
    { "acquire", 2, function(t) return b:acquire(true, t) end },
    { "wait", 1, function(t) return c:wait(t) end, waits = true },
    { "wait_for", 2, function(t) return c:wait_for(function() return true end, t) end },
    { "wait", 1, function(t) return e:wait(t) end },
    { "wait", 1, function(t) return barrier:wait(t) == 0 end },
    { "Barrier", 3, function(t) return m:Barrier(1, nil, t) end },
    { "get", 2, function(t) return q:get(true, t) end },
    { "put", 3, function(t) return q:put(1, true, t) end },
    { "put", 3, function(t) return full:put(1, true, t) end, waits = true },
    { "get_many", 2, function(t) return q:get_many(1, t) end },
    { "get", 2, function(t) return jq:get(true, t) end, waits = true },
    { "get", 1, function(t) return result:get(t) end },
    { "wait", 1, function(t) return result:wait(t) end },
  }, q
end

function TestLocks:testTimeouts()
  local calls, q = timed_calls(self.m)
  for i, case in ipairs(calls) do
    local name, number, f, allowed = table.unpack(case)
    for _, timeout in ipairs({ -1, -2, -0.5, 0 / 0, -math.huge, "x", {} }) do
      if timeout ~= allowed then
        local what = ("bad argument #%d to '%s'"):format(number, name)
        lu.assertStrContains(assert_raises("bad argument", f, timeout), what, false, false, i)
      end
    end
  end
  lu.assertTrue(q:empty()) -- they did nothing
  for i = 1, 3 do q:put(i) end
  for _, case in ipairs(calls) do
    if not case.waits then lu.assertTrue(case[3](math.huge) and true) end
  end
  lu.assertTrue(calls[2][3](-1))
  local c = self.m:Condition()
  local problem = assert_raises("bad argument #1 to 'wait_for' (function expected, got number)",
    function() return (c:wait_for(1)) end)
  lu.assertStrContains(problem, "manager_locks_spec.lua:")
end

return { TestLocks = TestLocks }

--- Switching between threads: behaviours 211 to 216.
local gil = require("gil")
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")

local LONG = 60 -- seconds

local function spawn(f, ...) return threading.Thread(f, ...):start() end

--- Restores the interval and the policy.
local function settings()
  local interval, policy = gil.switch_interval(), gil.policy()
  return setmetatable({}, { __close = function()
    gil.policy(policy)
    gil.switch_interval(interval)
  end })
end

--- n threads that spin until the returned value is closed.
local function busy(n)
  local stop, threads, begun = false, {}, threading.Barrier(n + 1)
  for i = 1, n do
    threads[i] = spawn(function()
      begun:wait()
      while not stop do end
    end)
  end
  begun:wait()
  return setmetatable({}, { __close = function()
    stop = true
    for _, t in ipairs(threads) do t:join() end
  end })
end

local TestSwitching = {}

-- 211
function TestSwitching.testTheIntervalIsKept()
  local _ <close> = settings()
  lu.assertAlmostEquals(gil.switch_interval(), 0.005, 1e-6)
  for _, s in ipairs { 1e-5, 0.001, 0.25, 10 } do
    gil.switch_interval(s)
    lu.assertAlmostEquals(gil.switch_interval(), s, 1e-6)
    local results = bunch(2, function(i)
      local n = 0
      for _ = 1, 1e5 do n = n + i end
      return n
    end)
    lu.assertEquals(results, { 1e5, 2e5 })
  end
end

-- 211
function TestSwitching.testWrongIntervalsRaise()
  local before = gil.switch_interval()
  for _, s in ipairs { 0, -1, -1e-9, 0 / 0, "soon", {}, true } do
    lu.assertErrorMsgContains("bad argument #1", gil.switch_interval, s)
    lu.assertEquals(gil.switch_interval(), before)
  end
  lu.assertErrorMsgContains("bad argument #1", gil.policy, "unfair")
  lu.assertErrorMsgContains("bad argument #1", gil.policy, 1)
  lu.assertEquals(gil.policy(), "fair")
end

-- 212
function TestSwitching.testEveryBusyThreadGetsOn()
  local _ <close> = settings()
  for _, policy in ipairs { "fair", "cpython" } do
    gil.policy(policy)
    gil.switch_interval(0.001)
    local stop, turns = false, {}
    local threads = {}
    for i = 1, 6 do
      turns[i] = 0
      threads[i] = spawn(function()
        while not stop do turns[i] = turns[i] + 1 end
      end)
    end
    -- In each of some windows of time each of them advances.
    for _ = 1, 5 do
      local before = { table.unpack(turns) }
      local deadline = time.monotonic() + LONG
      local all
      repeat
        time.sleep(0.02)
        all = true
        for i = 1, 6 do all = all and turns[i] > before[i] end
      until all or time.monotonic() > deadline
      lu.assertTrue(all, policy)
    end
    stop = true
    for _, t in ipairs(threads) do lu.assertTrue(t:join(LONG)) end
  end
end

-- 213
function TestSwitching.testALoopWithoutCallsGivesWay()
  local other, _ = 0, nil
  local t = spawn(function()
    while true do end
  end)
  for _ = 1, 20 do
    spawn(function() other = other + 1 end):join()
  end
  lu.assertEquals(other, 20)
  t:cancel()
  lu.assertTrue(t:join(LONG))
end

-- 213: one long C call is not cut, and hands the GIL over at its end.
function TestSwitching.testALongCCallIsNotCut()
  local _ <close> = settings()
  gil.switch_interval(0.001)
  local _spinning <close> = busy(1)
  local text, pattern = ("a"):rep(16), ("a?"):rep(16) .. ("a"):rep(16) .. "b"
  local took, least = 0, math.huge
  for _ = 1, 5 do -- a switch just before or after the call is no fault
    local before, start = gil.stats().switches, time.monotonic()
    local found = text:find(pattern)
    for _ = 1, 2000 do end -- where hooks count, one comes every 1000 instructions
    least = math.min(least, gil.stats().switches - before)
    took = math.max(took, time.monotonic() - start)
    lu.assertNil(found)
  end
  lu.assertTrue(took > 0.01, took) -- ten intervals
  lu.assertTrue(least >= 1 and least <= 4, least)
end

-- 214
function TestSwitching.testBlockingCallsLetOthersRun()
  local lock, event, semaphore = threading.Lock(), threading.Event(), threading.Semaphore(0)
  local condition, barrier = threading.Condition(), threading.Barrier(2)
  local sleeper = spawn(function() event:wait() end)
  lock:acquire()
  for what, wait in pairs {
    sleep = function() time.sleep(LONG) end,
    lock = function() lock:acquire() end,
    event = function() event:wait() end,
    semaphore = function() semaphore:acquire() end,
    condition = function() condition:with(condition.wait, condition) end,
    barrier = function() barrier:wait() end,
    thread = function() sleeper:join() end,
  } do
    local t = spawn(wait)
    blocked(what, t) -- this thread runs on
    local n = 0
    for _ = 1, 1e5 do n = n + 1 end
    lu.assertEquals(n, 1e5)
    t:cancel()
    t:join()
  end
  event:set()
  sleeper:join()
  lock:release()
end

-- 215: whoever comes back from a wait outside asks at once, not after the
-- interval.
function TestSwitching.testASleeperWakesSoonBesideBusyThreads()
  local _ <close> = settings()
  gil.switch_interval(5)
  local started, stop = threading.Event(), false
  local function waker()
    local late = {}
    for i = 1, 20 do
      local start = time.monotonic()
      time.sleep(0.001)
      late[i] = time.monotonic() - start - 0.001
    end
    stop = true
    table.sort(late)
    return late[10]
  end
  local sleeper = spawn(function()
    started:wait()
    return waker()
  end)
  local spinner = spawn(function()
    started:set()
    while not stop do end
  end)
  local median = sleeper:result(LONG * 2)
  spinner:join()
  lu.assertTrue(median < 1, median)
end

-- 215: CPython's algorithm makes it wait a whole interval.
function TestSwitching.testUnderTheOtherPolicyItWaitsAnInterval()
  local _ <close> = settings()
  gil.policy("cpython")
  gil.switch_interval(0.05)
  local _spinning <close> = busy(1)
  local longest = 0 -- the busy one need not run during each of them
  for _ = 1, 20 do
    local start = time.monotonic()
    time.sleep(0.001)
    longest = math.max(longest, time.monotonic() - start)
  end
  lu.assertTrue(longest >= 0.05 * 0.6, longest)
end

--- Calls f(trip), where trip() asks a process that sends back what it gets and
--- returns how many seconds that took.
local function with_echo(f)
  local name = os.tmpname()
  os.remove(name)
  assert(os.execute(("mkfifo '%s'"):format(name)))
  local there <close> = assert(io.popen(("exec cat >'%s'"):format(name), "w"))
  local back <close> = assert(io.open(name))
  os.remove(name)
  there:setvbuf("no")
  f(function()
    local start = time.monotonic()
    there:write("question\n")
    lu.assertEquals(back:read(), "question")
    return time.monotonic() - start
  end)
end

-- 215: I/O does not queue behind work.
function TestSwitching.testRoundTripsAreSoonBesideBusyThreads()
  local _ <close> = settings()
  local took = 0
  with_echo(function(trip)
    local _spinning <close> = busy(2)
    gil.switch_interval(5)
    for _ = 1, 20 do took = took + trip() end
  end)
  lu.assertTrue(took < 5, took) -- not even one interval
end

-- 215: by CPython's algorithm each that lets the busy thread begin waits for an
-- interval.
function TestSwitching.testUnderTheOtherPolicyRoundTripsWait()
  local _ <close> = settings()
  gil.policy("cpython")
  gil.switch_interval(0.05)
  local longest, deadline = 0, time.monotonic() + LONG / 2
  with_echo(function(trip)
    local _spinning <close> = busy(1)
    repeat
      longest = math.max(longest, trip())
    until longest >= 0.05 * 0.6 or time.monotonic() > deadline
  end)
  lu.assertTrue(longest >= 0.05 * 0.6, longest)
end

-- 216
function TestSwitching.testACompoundOperationMayInterleave()
  local _ <close> = settings()
  gil.switch_interval(20e-6)
  local each, deadline = 5000, time.monotonic() + LONG
  local n
  repeat
    n = 0
    local start = threading.Barrier(2)
    local function read() return n end
    bunch(2, function()
      start:wait()
      for _ = 1, each do
        local seen = read()
        for _ = 1, 20 do end
        n = seen + 1
      end
    end)
    lu.assertTrue(n >= 2 and n <= 2 * each)
  until n < 2 * each or time.monotonic() > deadline
  lu.assertTrue(n < 2 * each)
end

-- 216: so is a plain increment, of whatever kind of variable: no thread is made
-- to give way between its read and its write. README says so.
function TestSwitching.testAnIncrementIsWhole()
  local _ <close> = settings()
  for _, policy in ipairs { "fair", "cpython" } do
    gil.policy(policy)
    gil.switch_interval(20e-6)
    local switches = gil.stats().switches
    local up, shared, each = 0, { field = 0 }, 300000
    _G.spec_count = 0
    local _, errors = bunch(4, function()
      for _ = 1, each do
        up = up + 1
        shared.field = shared.field + 1
        spec_count = spec_count + 1 -- luacheck: ignore
      end
    end)
    lu.assertEquals(errors, {})
    lu.assertEquals({ up, shared.field, _G.spec_count }, { 4 * each, 4 * each, 4 * each })
    lu.assertTrue(gil.stats().switches > switches + 10)
    _G.spec_count = nil
  end
end

-- 216: what is one instruction is never cut.
function TestSwitching.testASingleAccessIsWhole()
  local _ <close> = settings()
  gil.switch_interval(20e-6)
  local shared = {}
  local _, errors = bunch(4, function(i)
    for round = 1, 3000 do
      local key = round % 50
      shared[key] = { i, round, i + round }
      local got = shared[(key * 7) % 50]
      if got and got[1] + got[2] ~= got[3] then error("torn") end
      shared[round % 30] = nil
      local _ = #shared
    end
  end)
  lu.assertEquals(errors, {})
end

-- 216
function TestSwitching.testIterationBesideInsertsIsSane()
  local _ <close> = settings()
  gil.switch_interval(20e-6)
  local shared, stop = {}, false
  for i = 1, 100 do shared["k" .. i] = i end
  local inserter = spawn(function()
    local i = 0
    while not stop do
      i = i + 1
      shared[i % 1000] = i
      shared["x" .. i % 500] = nil
      shared["x" .. (i + 250) % 500] = i
    end
  end)
  local failed
  for _ = 1, 200 do
    local ok, err = pcall(function()
      for k, v in pairs(shared) do
        if k == nil or type(v) ~= "number" then error("insane") end
      end
    end)
    if not ok then failed = err end
    ok, err = pcall(table.sort, { table.unpack(shared) })
    if not ok then failed = err end
  end
  stop = true
  lu.assertTrue(inserter:join(LONG))
  if failed then lu.assertStrContains(tostring(failed), "'next'") end
end

-- Settings change while others run and wait.
function TestSwitching.testThePolicyMayChangeAtAnyTime()
  local _ <close> = settings()
  gil.switch_interval(50e-6)
  local _spinning <close> = busy(2)
  local event, stop = threading.Event(), false
  local waiters, turns, begun = {}, { 0, 0, 0 }, threading.Barrier(4)
  for i = 1, 3 do
    waiters[i] = spawn(function()
      begun:wait()
      while not stop do
        event:wait(0.0005)
        turns[i] = turns[i] + 1
      end
    end)
  end
  begun:wait()
  for i = 1, 300 do
    gil.policy(i % 2 == 0 and "fair" or "cpython")
    if i % 3 == 0 then time.sleep(0) end
    if i % 5 == 0 then
      event:set()
      event:clear()
    end
  end
  gil.policy("fair")
  -- Nobody is left behind: all go on under the last policy.
  for i, before in ipairs { table.unpack(turns) } do
    local deadline = time.monotonic() + LONG
    while turns[i] == before and time.monotonic() < deadline do time.sleep(0.001) end
    lu.assertTrue(turns[i] > before)
  end
  stop = true
  for _, t in ipairs(waiters) do lu.assertTrue(t:join(LONG)) end
end

function TestSwitching.testStatisticsCountWhatHappened()
  local _ <close> = settings()
  gil.switch_interval(0.001)
  local before = gil.stats()
  -- Two that the system runs one after the other need not be asked.
  local last = time.monotonic() + LONG
  repeat
    bunch(2, function()
      local deadline = time.monotonic() + 0.1
      while time.monotonic() < deadline do end
    end)
    time.sleep(0.001)
  until gil.stats().forced_switches > before.forced_switches or time.monotonic() > last
  local after = gil.stats()
  for _, name in ipairs {
    "switches", "forced_switches", "voluntary_releases", "acquires", "contended_acquires",
    "wait_time", "held_time",
  } do
    lu.assertTrue(after[name] > before[name], name)
  end
  lu.assertEquals(#after.threads, 1)
  lu.assertEquals(after.threads[1].name, "MainThread")
  lu.assertTrue(after.held_time >= 0.1)
end

return { TestSwitching = TestSwitching }

--- The module gil: behaviours 211 to 213.
local lu = require("luaunit")
local gil = require("gil")
local threading = require("threading")
local time = require("time")
local bunch = require("support.bunch")
local eventually = require("support.eventually")

local COUNTERS = {
  "switches", "forced_switches", "voluntary_releases", "acquires",
  "contended_acquires", "boosts",
}

local TestGil = {}

function TestGil.tearDown()
  gil.switch_interval(0.005)
  gil.policy("fair")
end

-- 211
function TestGil.testSwitchInterval()
  lu.assertEquals(gil.switch_interval(), 0.005)
  for _, seconds in ipairs({ 1e-5, 0.0001, 0.3, 10, 1 }) do
    gil.switch_interval(seconds)
    lu.assertAlmostEquals(gil.switch_interval(), seconds, 1e-6)
  end
  lu.assertEquals(gil.switch_interval(0.25), 1)
  gil.switch_interval(math.huge)
  lu.assertTrue(gil.switch_interval() > 1e8)
  gil.switch_interval(1e-300)
  lu.assertAlmostEquals(gil.switch_interval(), 1e-6, 1e-9)
end

-- 211
function TestGil.testBadSwitchIntervals()
  for _, seconds in ipairs({ 0, -1, -0.0, 0 / 0, -math.huge, "fast", {}, true }) do
    lu.assertErrorMsgContains("bad argument #1 to 'switch_interval'", function()
      gil.switch_interval(seconds)
    end)
  end
  lu.assertErrorMsgContains("bad argument #1", function() gil.switch_interval(nil) end)
  lu.assertEquals(gil.switch_interval(), 0.005)
end

local function count(n)
  while n > 0 do n = n - 1 end
  return n
end

-- 211
function TestGil.testProgramsFinishAtAnyInterval()
  for _, seconds in ipairs({ 1e-5, 10, math.huge }) do
    gil.switch_interval(seconds)
    local results = bunch(3, function() return count(200000) end)
    lu.assertEquals(results, { 0, 0, 0 })
  end
end

function TestGil.testPolicy()
  lu.assertEquals(gil.policy(), "fair")
  lu.assertEquals(gil.policy("cpython"), "fair")
  lu.assertEquals(gil.policy(), "cpython")
  lu.assertEquals(gil.policy("fair"), "cpython")
  for _, name in ipairs({ "unfair", "", 1, {}, false }) do
    lu.assertErrorMsgContains("bad argument #1 to 'policy'", function() gil.policy(name) end)
  end
  lu.assertEquals(gil.policy(), "fair")
end

function TestGil.testPolicyMayChangeUnderLoad()
  gil.switch_interval(50e-6)
  local running = true
  local threads = {}
  for i = 1, 4 do
    threads[i] = threading.Thread(function()
      local n = 0
      while running do
        n = n + 1
        if n % 100 == 0 then time.sleep(0) end
      end
      return n
    end):start()
  end
  for i = 1, 200 do
    gil.policy(i % 2 == 0 and "fair" or "cpython")
    time.sleep(0.0001)
  end
  gil.policy("fair")
  running = false
  for _, thread in ipairs(threads) do lu.assertTrue(thread:result(60) > 0) end
end

-- 212
function TestGil.testEveryThreadProgresses()
  for _, policy in ipairs({ "fair", "cpython" }) do
    gil.policy(policy)
    gil.switch_interval(0.001)
    local turns, running = { 0, 0, 0, 0 }, true
    local threads = {}
    for i = 1, 4 do
      threads[i] = threading.Thread(function()
        while running do turns[i] = turns[i] + 1 end
      end):start()
    end
    for _ = 1, 3 do
      local before = { table.unpack(turns) }
      eventually(function()
        for i = 1, 4 do
          if turns[i] == before[i] then return false end
        end
        return true
      end)
    end
    running = false
    for _, thread in ipairs(threads) do lu.assertTrue(thread:join(60)) end
  end
end

-- 213
function TestGil.testALoopWithoutCallsIsPreempted()
  local stop = false
  local spinner = threading.Thread(function()
    while not stop do end
    return "stopped"
  end):start()
  time.sleep(0.001)
  stop = true
  lu.assertEquals(spinner:result(60), "stopped")
end

function TestGil.testStats()
  local before = gil.stats()
  for _, name in ipairs(COUNTERS) do
    lu.assertEquals(math.type(before[name]), "integer", name)
  end
  lu.assertEquals(math.type(before.wait_time), "float")
  lu.assertEquals(math.type(before.held_time), "float")
  gil.switch_interval(0.0005)
  -- Two that the system runs one after the other need not be asked.
  local last = time.monotonic() + 60
  repeat
    bunch(2, function()
      local start = time.thread_time()
      while time.thread_time() < start + 0.02 do end
    end)
  until gil.stats().forced_switches > before.forced_switches or time.monotonic() > last
  local after = gil.stats()
  for _, name in ipairs(COUNTERS) do lu.assertTrue(after[name] >= before[name], name) end
  lu.assertTrue(after.switches > before.switches)
  lu.assertTrue(after.forced_switches > before.forced_switches)
  lu.assertTrue(after.voluntary_releases > before.voluntary_releases)
  -- Two threads that are gone held it for 20 ms each.
  lu.assertTrue(after.held_time - before.held_time >= 0.03)
  lu.assertTrue(after.wait_time > before.wait_time)
end

-- 215: who comes back from a wait outside asks at once, and is counted.
function TestGil.testStatsCountBoosts()
  local before, stop = gil.stats().boosts, false
  local busy = threading.Thread(function() while not stop do end end):start()
  local deadline = time.monotonic() + 60
  repeat time.sleep(0.001) until gil.stats().boosts > before or time.monotonic() > deadline
  stop = true
  busy:join()
  lu.assertTrue(gil.stats().boosts > before)
end

function TestGil.testStatsOfThreads()
  local event = threading.Event()
  local thread = threading.Thread({
    target = function() event:wait() end,
    name = "sleeper",
  }):start()
  eventually(function()
    for _, one in ipairs(gil.stats().threads) do
      if one.name == "sleeper" and one.voluntary_releases > 0 then return true end
    end
    return false
  end)
  local stats = gil.stats()
  lu.assertEquals(#stats.threads, 2)
  local sum = 0
  for _, one in ipairs(stats.threads) do
    lu.assertIsString(one.name)
    lu.assertEquals(math.type(one.ident), "integer")
    sum = sum + one.acquires
    for name, value in pairs(stats) do
      if name ~= "threads" then
        lu.assertEquals(math.type(one[name]), math.type(value), name)
        lu.assertTrue(one[name] >= 0 and one[name] <= gil.stats()[name], name)
      end
    end
  end
  lu.assertTrue(sum <= stats.acquires)
  event:set()
  thread:join()
  lu.assertEquals(#gil.stats().threads, 1)
end

function TestGil.testEnabled()
  lu.assertIs(gil.enabled(), true)
end

return { TestGil = TestGil }

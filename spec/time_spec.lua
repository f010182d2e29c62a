--- The module time. Parts of behaviours 13, 214, 215.
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local eventually = require("support.eventually")

local TestTime = {}

function TestTime.testSleepTakesItsTime()
  local start = time.monotonic()
  time.sleep(0.05)
  local took = time.monotonic() - start
  lu.assertTrue(took >= 0.05 and took < 5, took)
end

function TestTime.testSleepReturnsNothing()
  lu.assertEquals(select("#", time.sleep(0)), 0)
  lu.assertEquals(select("#", time.sleep(1e-6)), 0)
end

function TestTime.testBadDurations()
  for _, seconds in ipairs({ -1, -1e-9, -math.huge, 0 / 0, "soon", {}, false }) do
    lu.assertErrorMsgContains("bad argument #1 to 'sleep'", function()
      time.sleep(seconds)
    end)
  end
  lu.assertErrorMsgContains("bad argument #1 to 'sleep'", function() time.sleep() end)
  lu.assertErrorMsgContains("bad argument #1 to 'sleep'", function() time.sleep(nil) end)
end

-- 214
function TestTime.testSleepLetsOthersRun()
  local start = time.monotonic()
  local threads = {}
  for i = 1, 20 do threads[i] = threading.Thread(time.sleep, 0.3):start() end
  for _, thread in ipairs(threads) do thread:join() end
  lu.assertTrue(time.monotonic() - start < 4) -- not one after the other
end

-- 214: sleep(0) gives way to a thread that waits for the GIL
function TestTime.testSleepZeroGivesWay()
  local turns, running = 0, true
  local other = threading.Thread(function()
    while running do
      turns = turns + 1
      time.sleep(0)
    end
  end):start()
  eventually(function() return turns > 0 end)
  local before, spins = turns, 0
  while turns < before + 1000 and spins < 1e6 do
    spins = spins + 1
    time.sleep(0)
  end
  running = false
  other:join()
  lu.assertTrue(turns >= before + 1000, turns - before)
end

-- 13
function TestTime.testCancelEndsASleep()
  for _, seconds in ipairs({ 1000, math.huge, 1e300 }) do
    local sleeper = threading.Thread(time.sleep, seconds):start()
    sleeper:cancel()
    lu.assertTrue(sleeper:join(10))
    lu.assertErrorMsgContains("Cancelled", sleeper.result, sleeper)
  end
end

function TestTime.testSleepInAFinalizer()
  local message
  setmetatable({}, {
    __gc = function()
      time.sleep(0)
      message = select(2, pcall(time.sleep, 1))
    end,
  })
  collectgarbage()
  collectgarbage()
  lu.assertStrContains(message, "finalizer")
end

function TestTime.testTimeIsTheTimeOfDay()
  lu.assertTrue(math.abs(time.time() - os.time()) <= 2)
  lu.assertTrue(math.abs(time.time_ns() // 1000000000 - os.time()) <= 2)
end

function TestTime.testMonotonicNeverGoesBack()
  for _, clock in ipairs { time.monotonic_ns, time.perf_counter_ns, time.perf_counter } do
    local first = clock()
    local last = first
    for _ = 1, 10000 do
      local now = clock()
      lu.assertTrue(now >= last)
      last = now
    end
    lu.assertTrue(last > first)
  end
end

function TestTime.testSecondsAreFloatsAndNanosecondsIntegers()
  for _, clock in ipairs({ "time", "monotonic", "perf_counter", "thread_time", "process_time" }) do
    local ns = time[clock .. "_ns"]()
    local s = time[clock]()
    lu.assertEquals(math.type(s), "float")
    lu.assertEquals(math.type(ns), "integer")
    lu.assertTrue(math.abs(s - ns / 1e9) < 1, clock)
  end
end

function TestTime.testProcessorTimes()
  local function spin()
    local start = time.thread_time()
    while time.thread_time() < start + 0.2 do end
  end
  local mine, all = time.thread_time(), time.process_time()
  local thread = threading.Thread(spin):start()
  thread:join()
  lu.assertTrue(time.process_time() - all >= 0.2)
  lu.assertTrue(time.thread_time() - mine < 0.2)
  local start = time.process_time()
  time.sleep(0.5)
  lu.assertTrue(time.process_time() - start < 0.4)
end

return { TestTime = TestTime }

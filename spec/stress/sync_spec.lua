--- Eight threads at the shortest switch interval on all that threads wait on,
-- with timeouts and cancels: nothing is lost, nobody hangs.
local lu = require("luaunit")
local gil = require("gil")
local threading = require("threading")
local time = require("time")
local bunch = require("support.bunch")
local seed = require("support.seed")

local THREADS = 8
local SANITIZED = (os.getenv("TIDELOCK_SANITIZER") or "") ~= ""
local SECONDS = SANITIZED and 1 or 2

local TestSync = {}

function TestSync.setUp()
  seed()
  TestSync.interval = gil.switch_interval()
  gil.switch_interval(20e-6)
end

function TestSync.tearDown() gil.switch_interval(TestSync.interval) end

--- Calls body(i) again and again in each thread until the time has passed.
local function hammer(body)
  local deadline = time.monotonic() + SECONDS
  local _, errors = bunch(THREADS, function(i)
    while time.monotonic() < deadline do body(i) end
  end)
  lu.assertEquals(errors, {})
end

--- Cancels one of the threads now and then; each is replaced when it ends.
local function torment(body)
  local deadline = time.monotonic() + SECONDS
  local threads, cancels = {}, 0
  local function start()
    return threading.Thread(function() while true do body() end end):start()
  end
  for i = 1, THREADS do threads[i] = start() end
  while time.monotonic() < deadline do
    local i = math.random(THREADS)
    threads[i]:cancel()
    lu.assertTrue(threads[i]:join(60))
    threads[i] = start()
    cancels = cancels + 1
  end
  for i = 1, THREADS do threads[i]:cancel() end
  for i = 1, THREADS do lu.assertTrue(threads[i]:join(60)) end
  lu.assertTrue(cancels > 10, cancels)
end

for _, kind in ipairs({ "Lock", "RLock" }) do
  TestSync["test" .. kind .. "ExcludesOthers"] = function()
    local lock, inside = threading[kind](), 0
    hammer(function()
      local wait = math.random() < 0.2
      if wait and not lock:acquire(true, math.random() * 1e-4) then return end
      if not wait then lock:acquire() end
      inside = inside + 1
      if math.random() < 0.05 then time.sleep(0) end
      if inside ~= 1 then error("not alone") end
      inside = inside - 1
      lock:release()
    end)
    lu.assertFalse(lock:locked())
  end

  TestSync["test" .. kind .. "SurvivesCancels"] = function()
    local lock = threading[kind]()
    torment(function()
      local held <close> = lock:guard()
      if math.random() < 0.1 then time.sleep(0) end
    end)
    lu.assertFalse(lock:locked())
  end
end

function TestSync.testSemaphoreKeepsItsPermits()
  local s = threading.BoundedSemaphore(3)
  hammer(function()
    if math.random() < 0.3 then
      if not s:acquire(true, math.random() * 1e-4) then return end
    else
      s:acquire()
    end
    if math.random() < 0.1 then time.sleep(0) end
    s:release()
  end)
  lu.assertEquals(tostring(s), "<BoundedSemaphore value=3/3>")
end

function TestSync.testSemaphoreSurvivesCancels()
  local s = threading.BoundedSemaphore(2)
  torment(function()
    local held <close> = s:guard()
    if math.random() < 0.1 then time.sleep(0) end
  end)
  lu.assertEquals(tostring(s), "<BoundedSemaphore value=2/2>")
end

-- A bounded buffer with two conditions: each item arrives once, in order of
-- its producer.
function TestSync.testConditionsLoseNothing()
  local lock = threading.Lock()
  local filled, emptied = threading.Condition(lock), threading.Condition(lock)
  local buffer, size, producing = {}, 4, THREADS // 2
  local per_producer = SANITIZED and 300 or 3000
  local got = {}
  local _, errors = bunch(THREADS, function(i)
    if i <= THREADS // 2 then
      for n = 1, per_producer do
        local held <close> = lock:guard()
        emptied:wait_for(function() return #buffer < size end)
        table.insert(buffer, { i, n })
        filled:notify()
      end
      lock:with(function()
        producing = producing - 1
        filled:notify_all()
      end)
      return
    end
    local seen = {}
    while true do
      local held <close> = lock:guard()
      while #buffer == 0 and producing > 0 do
        filled:wait(math.random() < 0.1 and 1e-5 or nil)
      end
      local item = table.remove(buffer, 1)
      if not item then return end
      emptied:notify()
      local from, n = item[1], item[2]
      if n <= (seen[from] or 0) then error("out of order") end
      seen[from] = n
      got[from] = (got[from] or 0) + 1
    end
  end)
  lu.assertEquals(errors, {})
  for i = 1, THREADS // 2 do lu.assertEquals(got[i], per_producer) end
end

function TestSync.testConditionSurvivesCancels()
  local cond = threading.Condition()
  torment(function()
    local held <close> = cond:guard()
    if math.random() < 0.5 then
      cond:notify(2)
    else
      cond:wait(math.random() * 1e-4)
    end
  end)
  lu.assertEquals(tostring(cond), "<Condition <RLock unlocked> waiters=0>")
end

function TestSync.testEventsWakeEveryone()
  local rounds, gates = SANITIZED and 50 or 500, {}
  for round = 1, rounds do gates[round] = threading.Event() end
  local barrier = threading.Barrier(THREADS)
  local _, errors = bunch(THREADS, function(i)
    for round = 1, rounds do
      local gate = gates[round]
      if round % THREADS + 1 == i then
        barrier:wait()
        gate:set()
        gate:clear()
        gate:set()
      else
        barrier:wait()
        if not gate:wait(60) then error("not woken") end
      end
    end
  end)
  lu.assertEquals(errors, {})
end

function TestSync.testBarrierPassesTogether()
  local passes, acted = SANITIZED and 100 or 1000, 0
  local barrier = threading.Barrier(THREADS, function() acted = acted + 1 end)
  local sums = {}
  local _, errors = bunch(THREADS, function(i)
    sums[i] = 0
    for pass = 1, passes do
      local index = barrier:wait()
      sums[i] = sums[i] + index
      if acted ~= pass and acted ~= pass + 1 then error("lapped") end
    end
  end)
  lu.assertEquals(errors, {})
  lu.assertEquals(acted, passes)
  local sum = 0
  for i = 1, THREADS do sum = sum + sums[i] end
  lu.assertEquals(sum, passes * THREADS * (THREADS - 1) // 2)
end

function TestSync.testBarrierBreaksAndMends()
  local barrier = threading.Barrier(3)
  hammer(function()
    local ok = pcall(barrier.wait, barrier, math.random() * 1e-3)
    if not ok and math.random() < 0.5 then barrier:reset() end
    if math.random() < 0.01 then barrier:abort() end
  end)
  barrier:reset()
  lu.assertEquals(barrier.n_waiting, 0)
  lu.assertFalse(barrier.broken)
end

function TestSync.testWaitAnySeesEveryone()
  local events = {}
  for i = 1, THREADS do events[i] = threading.Event() end
  hammer(function(i)
    if i % 2 == 0 then
      events[i]:set()
      time.sleep(0)
      events[i]:clear()
    else
      for _, event in ipairs(threading.wait_any(events, 1e-3)) do
        if event.set ~= events[1].set then error("not an event") end
      end
    end
  end)
end

return { TestSync = TestSync }

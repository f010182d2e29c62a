--- 10^5 cancels, and kills, aimed at threads in
--- `local h <close> = lock:guard()`, and a tenth as many at the other kinds,
--- leave no lock held: a raise never falls between the lock's grant and the
--- variable that closes it.
local gil = require("gil")
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")

local SANITIZED = (os.getenv("TIDELOCK_SANITIZER") or "") ~= ""
local CANCELS = SANITIZED and 2000 or 100000
local KILLS = SANITIZED and 100 or 1000
local LONG = 120 -- seconds

local TestGuardCancel = {}

function TestGuardCancel:setUp() self.interval = gil.switch_interval(20e-6) end

function TestGuardCancel:tearDown() gil.switch_interval(self.interval) end

--- Each kind of value that is to be closed: its maker and how to see that
-- nobody holds it.
local kinds = {
  Lock = { threading.Lock, function(l) return not l:locked() end },
  RLock = { threading.RLock, function(l) return not l:locked() end },
  Semaphore = { function() return threading.BoundedSemaphore(1) end, function(s)
    local free = s:acquire(false)
    if free then s:release() end
    return free
  end },
  Condition = { threading.Condition, function(c)
    local free = c:acquire(false)
    if free then c:release() end
    return free
  end },
}

--- Cancels a thread again and again while it takes and gives back. A cancel
-- that falls between two pcalls ends it, and the next one takes over. Of the n
-- cancels and those that follow at least so many are raised.
local function bombard(make, is_free, n, least)
  local lock = make()
  local caught, ended, stop = 0, 0, false
  local function take() local held <close> = lock:guard() end
  local function inner()
    while not stop do
      if not pcall(function() while not stop do take() end end) then caught = caught + 1 end
    end
  end
  local function body()
    while not stop do pcall(inner) end
  end
  local victim = threading.Thread(body):start()
  -- Rivals, so that the victim is also granted what it waited for.
  local rivals = {}
  for i = 1, 2 do
    rivals[i] = threading.Thread(function()
      while not stop do lock:with(function() end) end
    end):start()
  end
  local function cancel()
    if victim:cancel() then return end
    ended = ended + 1
    victim = threading.Thread(body):start()
  end
  for i = 1, n do
    cancel()
    -- A switch, the lock itself, or nothing: the raises fall everywhere.
    if i % 3 == 0 then time.sleep(0) end
    if i % 7 == 0 then lock:with(function() end) end
  end
  -- On a busy machine all that may be over before the victim has run much.
  while caught + ended < least do
    cancel()
    time.sleep(0.0001)
  end
  stop = true
  lu.assertTrue(victim:join(LONG))
  for _, rival in ipairs(rivals) do lu.assertTrue(rival:join(LONG)) end
  lu.assertTrue(is_free(lock))
end

for name, kind in pairs(kinds) do
  TestGuardCancel["testCancelsOf" .. name] = function()
    local n = name == "Lock" and CANCELS or CANCELS // 10
    -- A sixth of them are raised; the others meet one that still stands.
    bombard(kind[1], kind[2], n, SANITIZED and 1 or n // 100)
  end
end

function TestGuardCancel.testKills()
  local lock = threading.Lock()
  for i = 1, KILLS do
    local victim = threading.Thread(function()
      while true do
        local held <close> = lock:guard()
      end
    end):start()
    for _ = 1, i % 4 do time.sleep(0) end
    victim:kill()
    lu.assertTrue(victim:join(LONG))
    lu.assertFalse(lock:locked(), i)
  end
end

return { TestGuardCancel = TestGuardCancel }

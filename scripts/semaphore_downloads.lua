-- Six downloads, of which a semaphore lets two run at the same time.
local threading = require "threading"
local time = require "time"

local duration = os.getenv("TIDELOCK_QUICK") and 0.02 or 0.5
local places = threading.Semaphore(2)
local lock = threading.Lock() -- guards the two counts
local running, most = 0, 0

local function started(n)
  local held <close> = lock:guard()
  running = running + 1
  most = math.max(most, running)
  print(("download %d: started, %d running"):format(n, running))
end

local function done(n)
  local held <close> = lock:guard()
  running = running - 1
  print(("download %d: done"):format(n))
end

local function download(n)
  local held <close> = places:guard()
  started(n)
  time.sleep(duration)
  done(n)
end

local threads = {}
for n = 1, 6 do threads[n] = threading.Thread(download, n):start() end
for _, thread in ipairs(threads) do thread:join() end
print(("At most %d downloads ran at once."):format(most))

-- An event as a start gun: runners wait for it and all set off at once.
local threading = require "threading"
local time = require "time"

local second = os.getenv("TIDELOCK_QUICK") and 0.05 or 1
local gun = threading.Event()
local fired

local function run(lane)
  print(("runner %d is ready"):format(lane))
  gun:wait()
  local delay = time.perf_counter() - fired
  print(("runner %d sets off %.3f ms after the gun"):format(lane, delay * 1e3))
end

local runners = {}
for lane = 1, 5 do runners[lane] = threading.Thread(run, lane):start() end
time.sleep(second)
fired = time.perf_counter()
print("Bang!")
gun:set()
for _, runner in ipairs(runners) do runner:join() end

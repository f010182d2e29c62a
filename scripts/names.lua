-- Three threads run the same function; each prints its own name five times.
-- The names come out mixed: whoever is awake takes its turn.
local threading = require "threading"
local time = require "time"

local pause = os.getenv("TIDELOCK_QUICK") and 0.01 or 0.2

local function worker()
  for _ = 1, 5 do
    print(threading.current_thread().name)
    time.sleep(pause)
  end
end

local threads = {}
for i = 1, 3 do
  threads[i] = threading.Thread{target = worker, name = "worker-" .. i}
  threads[i]:start()
end
for _, thread in ipairs(threads) do thread:join() end
print("All threads have finished.")

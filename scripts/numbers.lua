-- A thread prints numbers while the main thread goes on, then waits for it.
local threading = require "threading"
local time = require "time"

local pause = os.getenv("TIDELOCK_QUICK") and 0.01 or 0.5

local function print_numbers()
  for i = 1, 5 do
    print(i)
    time.sleep(pause)
  end
end

local thread = threading.Thread(print_numbers)
thread:start()
print("Main thread continues...")
thread:join()
print("The thread has finished.")

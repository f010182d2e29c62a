-- Two processes print numbers and letters while the main one goes on. Each runs
-- by itself: who prints when is up to the system.
local mp = require "multiprocessing"
local time = require "time"

local pause = os.getenv("TIDELOCK_QUICK") and 0.01 or 0.5

local function print_numbers()
  for i = 1, 5 do
    print("Number: " .. i)
    time.sleep(pause)
  end
end

local function print_letters()
  for letter in ("ABCDE"):gmatch(".") do
    print("Letter: " .. letter)
    time.sleep(pause)
  end
end

local numbers = mp.Process(print_numbers):start()
local letters = mp.Process(print_letters):start()
print("Main process continues...")
numbers:join()
letters:join()
print("Both processes have finished.")

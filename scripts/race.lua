-- A race on shared state, and its cure. Each thread reads a counter, calls a
-- function, and writes the counter back. When another thread runs between the
-- read and the write, what it counted is lost. (A bare n = n + 1 shows none of
-- this: it is never cut in two, while a call is a place to change threads.)
local gil = require "gil"
local threading = require "threading"

-- Threads change 50 times as often as by default, to lose much in short time.
gil.switch_interval(0.0001)

local THREADS, TIMES = 4, 200000
local counter
local lock = threading.Lock()

local function add_one(n) return n + 1 end

local function count_unsafely()
  for _ = 1, TIMES do
    local read = counter
    local sum = add_one(read)
    counter = sum
  end
end

local function count_safely()
  for _ = 1, TIMES do
    local held <close> = lock:guard()
    local read = counter
    local sum = add_one(read)
    counter = sum
  end
end

local function run(title, target)
  counter = 0
  local threads = {}
  for i = 1, THREADS do threads[i] = threading.Thread(target):start() end
  for _, thread in ipairs(threads) do thread:join() end
  local expected = THREADS * TIMES
  print(("%-15s counted %6d of %d, lost %d")
    :format(title, counter, expected, expected - counter))
end

run("without a lock:", count_unsafely)
run("with a lock:", count_safely)

-- A CPU-bound count to 10^7 beside an I/O-bound wait of 2 s: one after the
-- other, in two threads, in two processes. The wait overlaps with anything;
-- two counts overlap in processes only, and only on two processors.
local mp = require "multiprocessing"
local threading = require "threading"
local time = require "time"

local quick = os.getenv("TIDELOCK_QUICK")
local steps = quick and 1000000 or 10000000
local wait = quick and 0.1 or 2

local function count()
  local n = 0
  while n < steps do n = n + 1 end
end

local function io_bound() time.sleep(wait) end

local function in_turn(first, second)
  first()
  second()
end

local function side_by_side(Worker)
  return function(first, second)
    local a, b = Worker(first), Worker(second)
    a:start()
    b:start()
    a:join()
    b:join()
  end
end

local in_threads = side_by_side(threading.Thread)
local in_processes = side_by_side(mp.Process)

local function timed(title, way, first, second)
  local begun = time.monotonic()
  way(first, second)
  print(("  %-20s %6.3f s"):format(title, time.monotonic() - begun))
end

local function compare(title, first, second)
  print(title)
  timed("one after the other", in_turn, first, second)
  timed("in two threads", in_threads, first, second)
  timed("in two processes", in_processes, first, second)
end

compare("A count and a wait", count, io_bound)
compare("Two counts", count, count)

-- 2 and 4 threads hammering one lock: total ops/s and fairness.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local threading = require("threading")
local time = require("time")

local now, seconds = _bench.now, _bench.seconds
local emit = _bench.emitter("lock_contended")
local devnull = assert(io.open("/dev/null", "w"))
devnull:setvbuf("no")

local function run(nthreads, writing, window)
  local lock = threading.Lock()
  local shared = { 0 }
  local counts = {}
  local stop = { false }
  local go = threading.Event()

  local function hammer(me)
    local n = 0
    go:wait()
    while not stop[1] do
      do
        local _ <close> = lock:guard()
        shared[1] = shared[1] + 1
      end
      n = n + 1
    end
    counts[me] = n
  end

  local function hammer_writing(me)
    local n = 0
    go:wait()
    while not stop[1] do
      do
        local _ <close> = lock:guard()
        shared[1] = shared[1] + 1
        devnull:write("x")
      end
      n = n + 1
    end
    counts[me] = n
  end

  local threads = {}
  for i = 1, nthreads do
    threads[i] = threading.Thread(writing and hammer_writing or hammer, i):start()
  end
  local t0 = now()
  go:set()
  time.sleep(window)
  stop[1] = true
  for _, t in ipairs(threads) do t:join() end
  local elapsed = now() - t0
  local sum = 0
  for _, n in ipairs(counts) do sum = sum + n end
  assert(shared[1] == sum, "the lock lost an update")
  return sum / elapsed, math.min(table.unpack(counts)) / math.max(table.unpack(counts))
end

-- The window of the first form is longer than the peers' 0.4 s: fairness over a
-- short one is mostly a matter of luck. The rate does not depend on it.
for _, case in ipairs{ { "hammer", false, 2 }, { "io_inside", true, 0.4 } } do
  local name, writing, window = table.unpack(case)
  for _, nthreads in ipairs{ 2, 4 } do
    local rate, fair = run(nthreads, writing, seconds(window))
    emit(string.format("%s_%dt_rate", name, nthreads), rate, "ops/s", "higher")
    emit(string.format("%s_%dt_fairness", name, nthreads), fair, "min/max", "higher")
  end
end

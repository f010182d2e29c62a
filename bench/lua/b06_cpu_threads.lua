-- A pure-interpreter loop, whole in one thread, then split over 2 and 4.
--
-- Nine rounds of the three; the medians of the rounds' ratios. A Lua iteration is
-- so short that it takes 100 million of them to cover many switch intervals.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local threading = require("threading")

local now, median = _bench.now, _bench.median
local emit = _bench.emitter("cpu_threads")

local function countdown(n)
  while n > 0 do n = n - 1 end
end

-- Of the calling thread: an ended one's are in no file that Lua can read.
local function context_switches()
  local sum = 0
  for line in io.lines("/proc/thread-self/status") do
    sum = sum + (line:match("ctxt_switches:%s*(%d+)") or 0)
  end
  return sum
end

local function run(nthreads, total)
  local switches = 0

  local function body(n)
    countdown(n)
    local own = context_switches()
    switches = switches + own
  end

  local threads = {}
  for i = 1, nthreads do threads[i] = threading.Thread(body, total // nthreads) end
  local switches0 = context_switches()
  local t0 = now()
  for _, t in ipairs(threads) do t:start() end
  for _, t in ipairs(threads) do t:join() end
  local elapsed = now() - t0
  return { elapsed = elapsed, rate = (switches + context_switches() - switches0) / elapsed }
end

local total = _bench.scaled(tonumber(os.getenv("BENCH_ITERATIONS") or 100000000))
countdown(total // 10)
local rounds = {}
for r = 1, tonumber(os.getenv("BENCH_ROUNDS") or 9) do
  rounds[r] = { run(1, total), run(2, total), run(4, total) }
end

local function median_of(figure)
  local values = {}
  for i, round in ipairs(rounds) do values[i] = figure(round) end
  return median(values)
end

emit("sequential", median_of(function(r) return r[1].elapsed end) / total * 1e9, "ns/iteration",
     "lower")
for i = 2, 3 do
  local nthreads = 1 << (i - 1)
  emit(string.format("relative_%dt", nthreads),
       median_of(function(r) return r[1].elapsed / r[i].elapsed end), "x", "higher")
  emit(string.format("ctxsw_%dt", nthreads), median_of(function(r) return r[i].rate end), "1/s",
       "lower")
end

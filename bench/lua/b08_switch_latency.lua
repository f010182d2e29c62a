-- Two CPU-bound threads: how long one runs before the other gets on.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local gil = require("gil")
local threading = require("threading")
local time = require("time")

local now, percentile, seconds = _bench.now, _bench.percentile, _bench.seconds
local emit = _bench.emitter("switch_latency")

--- Returns the run slices in seconds, and loop iterations/s in total.
local function run(nthreads, window)
  local owner, since = { -1 }, { 0.0 }
  local slices = {}
  local counts = {}
  local stop = { false }

  local function spin(me)
    local n = 0
    while not stop[1] do
      if owner[1] ~= me then
        local t = now()
        if owner[1] >= 0 then slices[#slices + 1] = t - since[1] end
        owner[1] = me
        since[1] = t
      end
      n = n + 1
    end
    counts[me + 1] = n
  end

  local threads = {}
  for i = 1, nthreads do threads[i] = threading.Thread(spin, i - 1) end
  local t0 = now()
  for _, t in ipairs(threads) do t:start() end
  time.sleep(window)
  stop[1] = true
  for _, t in ipairs(threads) do t:join() end
  local sum = 0
  for _, n in ipairs(counts) do sum = sum + n end
  return slices, sum / (now() - t0)
end

run(1, 0.05)
for _, case in ipairs{ { "default", gil.switch_interval() }, { "100us", 0.0001 } } do
  local name, interval = table.unpack(case)
  gil.switch_interval(interval)
  local _, alone = run(1, seconds(0.3)) -- just before: the same weather
  local window = seconds(0.7, 0.1)
  local slices, rate = run(2, window)
  if #slices > 0 then
    for _, p in ipairs{ 50, 99 } do
      emit(string.format("%s_slice_p%d", name, p), percentile(slices, p) * 1e3, "ms", "lower")
    end
    emit(name .. "_slice_max", percentile(slices, 100) * 1e3, "ms", "lower")
  end
  emit(name .. "_switches", #slices / window, "1/s", "higher")
  emit(name .. "_retained", rate / alone, "x of one thread alone", "higher")
end

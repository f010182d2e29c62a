-- CPU-bound tasks of about 50 ms: two workers against one after another.
--
-- The speedup is the median of three rounds of both.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local mp = require("multiprocessing")

local now, scaled = _bench.now, _bench.scaled
local emit = _bench.emitter("pool_speedup")

local function burn(n)
  local total = 0
  for i = 0, n - 1 do total = total + (i & 3) end
  return total
end

--- The loop count that takes 'target' seconds (best of three).
local function calibrate(target)
  local probe, best = 5000000, math.huge
  burn(probe)
  for _ = 1, 3 do
    local t0 = now()
    burn(probe)
    best = math.min(best, now() - t0)
  end
  return math.floor(probe * target / best)
end

local function one_after_another(n, count)
  local t0 = now()
  for _ = 1, count do burn(n) end
  return now() - t0
end

local function repeated(value, count)
  local list = {}
  for i = 1, count do list[i] = value end
  return list
end

local n = calibrate(0.05)
local count = math.max(2, scaled(4) // 2 * 2)
emit("sequential_task", one_after_another(n, count) / count * 1e3, "ms", "lower")

do
  local pool <close> = mp.Pool(2)
  pool:map(burn, repeated(1000, 8)) -- workers up and warm
  local ratios = {}
  for i = 1, 3 do
    local sequential = one_after_another(n, count) -- just before: same noise
    local t0 = now()
    pool:map(burn, repeated(n, count), 1)
    ratios[i] = sequential / (now() - t0)
  end
  local speedup = _bench.median(ratios)
  emit("pool2", speedup, "x", "higher")
  emit("pool2_register_loop", speedup, "x", "higher") -- for its C twin
end

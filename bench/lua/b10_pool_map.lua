-- Cost of one trivial task in a pool of processes, and an idle worker's memory.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local mp = require("multiprocessing")

local now, scaled = _bench.now, _bench.scaled
local emit = _bench.emitter("pool_map")

local function increment(x) return x + 1 end

local function range(n)
  local list = {}
  for i = 1, n do list[i] = i - 1 end
  return list
end

local function sum(list)
  local total = 0
  for i = 1, #list do total = total + list[i] end
  return total
end

local function report(metric, n, call)
  call(10)
  local t0 = now()
  local result = call(n)
  local elapsed = now() - t0
  assert(result == n * (n + 1) // 2, result)
  emit(metric, elapsed / n * 1e6, "us/task", "lower")
end

--- Private memory of a process, and its share of what it shares with others.
local function pss_kib(pid)
  for line in io.lines(("/proc/%d/smaps_rollup"):format(pid)) do
    local kib = line:match("^Pss:%s*(%d+)")
    if kib then return math.tointeger(kib) end
  end
  error("no Pss line")
end

do
  local pool <close> = mp.Pool(2)
  local most = 0
  pool:map(increment, range(8), 1)
  for _, process in ipairs(mp.active_children()) do most = math.max(most, pss_kib(process.pid)) end
  emit("idle_worker_pss", most, "KiB", "lower")

  report("pool_chunk1", scaled(20000, 8), function(n)
    return sum(pool:map(increment, range(n), 1))
  end)
  report("pool_default", scaled(100000, 8), function(n)
    return sum(pool:map(increment, range(n)))
  end)
  report("pool_single", scaled(4000, 8), function(n)
    local total = 0
    for i = 0, n - 1 do total = total + pool:apply_async(increment, { i }):get() end
    return total
  end)
end

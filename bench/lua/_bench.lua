--- Shared helpers of the Lua benchmarks: timing, percentiles, memory, JSON lines.
--
-- Mirrors the peers' python/_bench.py. TIDELOCK_POLICY, if set, names the GIL's
-- policy for the whole script.
local time = require("time")

local _bench = {}

local SCALE = tonumber(os.getenv("BENCH_SCALE") or "1")
local policy = os.getenv("TIDELOCK_POLICY")
if policy then require("gil").policy(policy) end

_bench.now = time.perf_counter

--- A repeat count, shrunk or grown by BENCH_SCALE (smoke tests use 0.05).
---@param count integer
---@param least? integer default 1
---@return integer
function _bench.scaled(count, least) return math.max(least or 1, math.floor(count * SCALE)) end

--- A measuring window, shrunk or grown by BENCH_SCALE.
---@param duration number seconds
---@param least? number seconds, default 0.05
---@return number seconds
function _bench.seconds(duration, least) return math.max(least or 0.05, duration * SCALE) end

--- Returns emit(metric, value, unit, better), which prints one JSON line a call.
---@param bench string
function _bench.emitter(bench)
  local impl = os.getenv("BENCH_IMPL") or "tidelock"
  return function(metric, value, unit, better)
    local form = '{"bench": "%s", "impl": "%s", "metric": "%s", '
      .. '"value": %.9g, "unit": "%s", "better": "%s"}'
    print(form:format(bench, impl, metric, value, unit, better))
    io.stdout:flush()
  end
end

--- Nearest-rank percentile.
---@param values number[]
---@param p number 0 to 100
---@return number
function _bench.percentile(values, p)
  local ordered = table.move(values, 1, #values, 1, {})
  table.sort(ordered)
  return ordered[math.max(1, math.ceil(#ordered * p / 100))]
end

function _bench.median(values) return _bench.percentile(values, 50) end

--- Resident set of this process, exactly (statm is only approximate).
---@return integer KiB
function _bench.rss_kib()
  for line in io.lines("/proc/self/smaps_rollup") do
    local kib = line:match("^Rss:%s*(%d+)")
    if kib then return math.tointeger(kib) end
  end
  error("no Rss line")
end

--- The path of a helper built from bench/c.
---@param name string
---@return string
function _bench.c_tool(name)
  local path = (arg[0]:match("^.*/") or "./") .. "../c/build/" .. name
  local file = io.open(path)
  if not file then error("missing " .. path .. ": start the benchmarks by bench/run", 0) end
  file:close()
  return path
end

--- What a command prints; raises when it fails.
---@param command string
---@return string
function _bench.output_of(command)
  local pipe <close> = assert(io.popen(command))
  local text = pipe:read("a")
  assert(pipe:close(), command .. ": failed")
  return text
end

--- A number from a flat JSON object.
---@param json string
---@param key string
---@return number
function _bench.field(json, key)
  local value = json:match('"' .. key .. '": ([%d.e+-]+)')
  return tonumber(value) or error("no " .. key .. " in " .. json)
end

return _bench

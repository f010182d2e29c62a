--- Processes of the Lua benchmarks.
local _bench = require("_bench")
local mp = require("multiprocessing")

local _processes = {}

local function nothing() end

local function cycles(ctx, n)
  local began = _bench.now()
  for _ = 1, n do
    local p = ctx.Process { target = nothing }
    p:start()
    p:join()
    assert(p.exitcode == 0)
  end
  return (_bench.now() - began) / n * 1e3
end

--- Measures start+join by each start method, after one that also starts the
--- fork server.
---@param counts {[1]: string, [2]: integer}[] start methods, and how often
---@param suffix? string of the metrics, after the method
function _processes.measure(counts, suffix)
  local emit = _bench.emitter("process_spawn")
  for _, row in ipairs(counts) do
    local method, count = table.unpack(row)
    local ctx = mp.get_context(method)
    cycles(ctx, 1)
    emit(method .. (suffix or ""), cycles(ctx, _bench.scaled(count)), "ms", "lower")
  end
end

return _processes

--- mp.Process start+join by each start method.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local mp = require("multiprocessing")

local emit = _bench.emitter("process_spawn")

local function nothing() end

local function run(ctx, n)
  local began = _bench.now()
  for _ = 1, n do
    local p = ctx.Process { target = nothing }
    p:start()
    p:join()
    assert(p.exitcode == 0)
  end
  return (_bench.now() - began) / n * 1e3
end

for _, row in ipairs { { "fork", 400 }, { "spawn", 60 }, { "forkserver", 100 } } do
  local method, count = table.unpack(row)
  local ctx = mp.get_context(method)
  run(ctx, 1) -- also starts the fork server
  emit(method, run(ctx, _bench.scaled(count)), "ms", "lower")
end

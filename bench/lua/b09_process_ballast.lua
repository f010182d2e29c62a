--- mp.Process start+join of a process that has 100 MiB of small tables.
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

local ballast, n = {}, 0
while collectgarbage("count") < 100 * 1024 do
  for _ = 1, 1000 do
    n = n + 1
    ballast[n] = { n }
  end
end
for _, row in ipairs { { "fork", 60 }, { "spawn", 20 }, { "forkserver", 40 } } do
  local method, count = table.unpack(row)
  local ctx = mp.get_context(method)
  run(ctx, 1)
  emit(method .. "_100mib", run(ctx, _bench.scaled(count)), "ms", "lower")
end
assert(#ballast == n)

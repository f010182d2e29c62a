--- A manager's proxies: the rows of b12 that are about managers.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local managers = require("multiprocessing.managers")
local mp = require("multiprocessing")

local emit = _bench.emitter("ipc")

--- Microseconds that one call of f takes.
local function each(n, f)
  for _ = 1, 100 do f() end
  local t0 = _bench.now()
  for _ = 1, n do f() end
  return (_bench.now() - t0) / n * 1e6
end

local manager <close> = mp.Manager()
local d, q = manager:dict({ x = 1 }), manager:Queue()
local n = _bench.scaled(5000)

emit("manager_dict_get", each(n, function() return d.x end), "us", "lower")
emit("manager_dict_set", each(n, function() d.x = 2 end), "us", "lower")
emit("manager_queue_put_get", each(n, function() q:put(1) q:get() end), "us", "lower")
emit("manager_apply", each(n, function()
  managers.apply(d, function(t) t.x = t.x + 1 end)
end), "us", "lower")

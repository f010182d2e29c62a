--- Element access to doubles in memory shared between processes.
--
-- Mirrors the peers' python/b13_shared_memory.py. Each time is the best of five
-- passes.
local mp = require("multiprocessing")
local shared_memory = require("multiprocessing.shared_memory")
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")

local emit = _bench.emitter("shared_memory")
local now, scaled = _bench.now, _bench.scaled

local function write(a, n)
  for i = 1, n do a[i] = 1.5 end
end

local function read(a, n)
  local total = 0.0
  for i = 1, n do total = total + a[i] end
  return total
end

local function best(call, ...)
  local least = math.huge
  for _ = 1, 5 do
    local t0 = now()
    call(...)
    least = math.min(least, now() - t0)
  end
  return least
end

local function elements(name, a, n)
  emit(name .. "_write", best(write, a, n) / n * 1e9, "ns/element", "lower")
  assert(read(a, n) == 1.5 * n)
  emit(name .. "_read", best(read, a, n) / n * 1e9, "ns/element", "lower")
end

--- All of the elements written from one string, and copied out as one.
local function bulk(view, n)
  local source = string.pack("d", 1.5):rep(n)
  emit("view_bulk_write", best(view.write, view, 1, source) / n * 1e9, "ns/element", "lower")
  emit("view_bulk_read", best(view.tobytes, view) / n * 1e9, "ns/element", "lower")
end

local n = scaled(1000000, 1000)
local few = scaled(100000, 1000)
elements("mp_array_nolock", mp.Array("d", n, false), n)
elements("mp_array_locked", mp.Array("d", few), few)
local shm <close> = shared_memory.SharedMemory { create = true, size = 8 * n }
shm:unlink()
local view = shm.buf:view("d", 0, n)
elements("view", view, n)
bulk(view, n)

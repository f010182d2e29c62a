-- 10 000 threads alive at once: each starts, waits for all others, and ends.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local threading = require("threading")

local now = _bench.now
local emit = _bench.emitter("ten_thousand")

local N = 10000
local gate, all_here = threading.Event(), threading.Event()
local alive, done = 0, 0

local function visit()
  alive = alive + 1
  if alive == N then all_here:set() end
  gate:wait()
  done = done + 1
end

local t0 = now()
local threads = {}
for i = 1, N do threads[i] = threading.Thread(visit):start() end
all_here:wait()
local started = (now() - t0) / N
t0 = now()
gate:set()
for i = 1, N do threads[i]:join() end
emit("alive10000_start", started * 1e6, "us/thread", "lower")
emit("alive10000_release_join", (now() - t0) / N * 1e6, "us/thread", "lower")
emit("alive10000_done", done, "threads", "higher")

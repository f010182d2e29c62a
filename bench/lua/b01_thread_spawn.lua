-- Thread creation: one by one, and 1000 alive at once.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local threading = require("threading")
local time = require("time")

local now, rss_kib = _bench.now, _bench.rss_kib
local Thread = threading.Thread
local emit = _bench.emitter("thread_spawn")

local function nothing() end

local function one_by_one(n)
  local t0 = now()
  for _ = 1, n do
    local t = Thread(nothing)
    t:start()
    t:join()
  end
  return (now() - t0) / n
end

local function many_alive(n)
  local gate = threading.Event()
  local rss0 = rss_kib()
  local t0 = now()
  local threads = {}
  for i = 1, n do threads[i] = Thread(gate.wait, gate) end
  for i = 1, n do threads[i]:start() end
  local started = (now() - t0) / n
  time.sleep(0.1) -- let every one of them block
  local rss = (rss_kib() - rss0) / n
  t0 = now()
  gate:set()
  for i = 1, n do threads[i]:join() end
  return started, rss, (now() - t0) / n
end

one_by_one(50)
emit("spawn_join", one_by_one(_bench.scaled(3000)) * 1e6, "us/thread", "lower")
local started, rss, ended = many_alive(1000)
emit("alive1000_start", started * 1e6, "us/thread", "lower")
emit("alive1000_rss", rss, "KiB/thread", "lower")
emit("alive1000_release_join", ended * 1e6, "us/thread", "lower")

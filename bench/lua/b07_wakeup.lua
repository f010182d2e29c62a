-- A thread sleeps 1 ms in a loop while CPU hogs spin: how late it wakes.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local threading = require("threading")
local time = require("time")

local now, percentile = _bench.now, _bench.percentile
local emit = _bench.emitter("wakeup")

local function run(nhogs, window)
  local stop = { false }

  local function spin()
    while not stop[1] do
      local n = 1000
      while n > 0 do n = n - 1 end
    end
  end

  local late = {}

  local function sleeper()
    local t0 = now()
    local finish = t0 + window
    while t0 < finish do
      time.sleep(0.001)
      local t1 = now()
      late[#late + 1] = t1 - t0 - 0.001
      t0 = t1
    end
  end

  local hogs = {}
  for i = 1, nhogs do hogs[i] = threading.Thread(spin):start() end
  threading.Thread(sleeper):start():join()
  stop[1] = true
  for _, t in ipairs(hogs) do t:join() end
  return late
end

for nhogs = 0, 2 do
  local late = run(nhogs, _bench.seconds(0.7, 0.1))
  local name = string.format("sleep1ms_%dhogs_late_", nhogs)
  emit(name .. "p50", percentile(late, 50) * 1e6, "us", "lower")
  emit(name .. "p99", percentile(late, 99) * 1e6, "us", "lower")
end

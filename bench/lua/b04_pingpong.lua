-- Ping-pong between two threads: events, one condition, semaphores.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local threading = require("threading")

local now = _bench.now
local emit = _bench.emitter("pingpong")

local function by_events(n)
  local ping, pong = threading.Event(), threading.Event()

  local function left()
    for _ = 1, n do
      ping:set()
      pong:wait()
      pong:clear()
    end
  end

  local function right()
    for _ = 1, n do
      ping:wait()
      ping:clear()
      pong:set()
    end
  end

  return left, right
end

local function by_condition(n)
  local cond = threading.Condition()
  local turn = { 0 }

  local function side(me)
    return function()
      local _ <close> = cond:guard()
      for _ = 1, n do
        while turn[1] ~= me do cond:wait() end
        turn[1] = 1 - me
        cond:notify()
      end
    end
  end

  return side(0), side(1)
end

local function by_semaphores(n)
  local ping, pong = threading.Semaphore(0), threading.Semaphore(0)

  local function left()
    for _ = 1, n do
      ping:release()
      pong:acquire()
    end
  end

  local function right()
    for _ = 1, n do
      ping:acquire()
      pong:release()
    end
  end

  return left, right
end

local function run(make, n)
  local left, right = make(n)
  local threads = { threading.Thread(left), threading.Thread(right) }
  local t0 = now()
  for _, t in ipairs(threads) do t:start() end
  for _, t in ipairs(threads) do t:join() end
  return (now() - t0) / n
end

for _, case in ipairs{
  { "event", by_events }, { "condition", by_condition }, { "semaphore", by_semaphores },
} do
  local name, make = table.unpack(case)
  run(make, 100)
  emit(name .. "_roundtrip", run(make, _bench.scaled(10000)) * 1e6, "us", "lower")
end

-- Uncontended acquire+release pairs: the best of five batches.
--
-- One parked thread is alive throughout.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local threading = require("threading")

local now = _bench.now
local emit = _bench.emitter("lock_uncontended")

local function empty(_, n)
  for _ = 1, n do end
end

local function pair(lock, n)
  for _ = 1, n do
    lock:acquire()
    lock:release()
  end
end

local function with_form(lock, n)
  for _ = 1, n do
    local _ <close> = lock:guard()
  end
end

local function nested(lock, n)
  local _ <close> = lock:guard()
  for _ = 1, n do
    lock:acquire()
    lock:release()
  end
end

local parked = threading.Event()
threading.Thread{ target = parked.wait, args = { parked }, daemon = true }:start()
for _, case in ipairs{
  { "empty_loop", empty, nil, 200000 },
  { "lock_pair", pair, threading.Lock(), 200000 },
  { "lock_with", with_form, threading.Lock(), 200000 },
  { "rlock_pair", pair, threading.RLock(), 200000 },
  { "rlock_with", with_form, threading.RLock(), 200000 },
  { "rlock_nested_pair", nested, threading.RLock(), 200000 },
  { "semaphore_pair", pair, threading.Semaphore(1), 40000 },
  { "semaphore_with", with_form, threading.Semaphore(1), 40000 },
} do
  local metric, body, lock, count = table.unpack(case, 1, 4)
  local n = _bench.scaled(count)
  local best = math.huge
  for _ = 1, 5 do
    local t0 = now()
    body(lock, n)
    best = math.min(best, (now() - t0) / n * 1e9)
  end
  emit(metric, best, "ns/op", "lower")
end
parked:set()

-- Shared values and arrays with the lock that they are made with, over processes. Numbers are
-- those of CPython's behaviours that each test holds tidelock to.
local errors = require("errors")
local lu = require("luaunit")
local mp = require("multiprocessing")

local LIMIT = 60 -- seconds, for what should take a moment

local fork = mp.get_context("fork")

local function start(f) return fork.Process(f):start() end

local function finish(...)
  for _, process in ipairs({ ... }) do
    lu.assertTrue(process:join(LIMIT))
    lu.assertEquals(process.exitcode, 0)
  end
end

local TestSynchronized = {}

-- 109
function TestSynchronized:testTheLockIsAnRLockOfItsOwn()
  local v, a = mp.Value("int32", 5), mp.Array("double", 3, true)
  lu.assertStrContains(tostring(v:get_lock()), "RLock")
  lu.assertFalse(rawequal(v:get_lock(), a:get_lock()))
  v:with(function()
    v.value = v.value + 1
    a[1] = v.value
  end)
  lu.assertEquals({ v.value, a:read() }, { 6, { 6.0, 0.0, 0.0 } })
end

-- 109
function TestSynchronized:testACounterIsExactUnderItsLock()
  local n = 100000
  local v, a = mp.Value("int64", 0), mp.Array("int64", 2)
  local function count()
    for _ = 1, n do
      local held <close> = v:get_lock():guard()
      v.value = v.value + 1
    end
    for _ = 1, n / 10 do a:with(function() a[2] = a[2] + 1 end) end
  end
  finish(start(count), start(count))
  lu.assertEquals({ v.value, a[2] }, { 2 * n, 2 * n / 10 })
end

-- 109: what is set waits for whoever works under the lock, and is not lost.
function TestSynchronized:testAnAccessWaitsForAnotherProcess()
  local v, turns = mp.Value("int64", 0), mp.RawArray("int64", 2)
  local child = start(function()
    repeat
      v.value = v.value + 1
      turns[1] = turns[1] + 1
    until turns[2] == 1
  end)
  local changed, rounds = 0, 0
  while rounds < 100 and child:is_alive() do
    if turns[1] > 0 then rounds = rounds + 1 end
    local held <close> = v:guard()
    local before = v.value
    for _ = 1, 2000 do
      if v.value ~= before then changed = changed + 1 end
    end
  end
  turns[2] = 1
  finish(child)
  lu.assertEquals({ changed, rounds, v.value }, { 0, 100, turns[1] })
end

-- 108
function TestSynchronized:testAnOwnerThatDiedIsToldOnce()
  local v = mp.Value("int64", 5)
  local child = start(function()
    v:acquire()
    os.execute("kill -9 $PPID")
  end)
  lu.assertTrue(child:join(LIMIT))
  local ok, err = pcall(function() v.value = 6 end)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(err, errors.OwnerDied))
  lu.assertEquals(v.value, 5)
  v.value = 7
  finish(start(function() v.value = v.value + 1 end))
  lu.assertEquals(v.value, 8)
end

return { TestSynchronized = TestSynchronized }

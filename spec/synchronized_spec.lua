-- Shared values and arrays with a lock: each access takes it. The lock of these is one of threads;
-- multiprocessing_synchronized_spec.lua has those between processes. Numbers are those of CPython's
-- behaviours that each test holds tidelock to.
local errors = require("errors")
local lu = require("luaunit")
local mp = require("multiprocessing")
local threading = require("threading")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local exhaust = require("support.exhaust")

local LONG = 60 -- seconds

local function value(init) return mp.Value("int32", init or 0, threading.RLock()) end
local function array(list) return mp.Array("int32", list or { 1, 2, 3 }, threading.RLock()) end

local TestSynchronized = {}

-- 109
function TestSynchronized:testItBehavesAsWithoutALock()
  local v, a = value(5), array()
  v.value = v.value + 1
  a[1], a[-1] = 7, 9
  lu.assertEquals({ v.value, a[1], a[2], a[3], #a }, { 6, 7, 2, 9, 3 })
  lu.assertEquals(a:read(2), { 2, 9 })
  a:write(2, { 4, 5 })
  a:write(1, a)
  a:fill(1, 1, 1)
  lu.assertEquals(a:tobytes(), string.pack("i4i4i4", 1, 4, 5))
  local sum = 0
  for i, x in pairs(a) do sum = sum + i * x end
  lu.assertEquals(sum, 1 + 8 + 15)
  lu.assertEquals({ tostring(v), tostring(a) }, { "<Value int32 6>", "<Array int32[3]>" })
  local text = mp.Array("c", "hello", threading.Lock())
  text.value = "ab"
  lu.assertEquals({ text.value, text.raw, text[1] }, { "ab", "ab\0lo", "a" })
end

-- 109
function TestSynchronized:testWrongArgumentsAreToldWithTheLockFree()
  local v, a = value(5), array()
  local cases = {
    { "bad argument #2 to 'index' (index 4", function() return a[4] end },
    { "bad argument #2 to 'newindex' (index 0", function() a[0] = 1 end },
    { "bad argument #3 to 'newindex' (integer expected", function() a[1] = "x" end },
    { "bad argument #3 to 'newindex' (4294967296 does", function() v.value = 1 << 32 end },
    { "bad argument #1 to 'read' (index 5", function() a:read(5) end },
    { "bad argument #2 to 'write' (element 1", function() a:write(1, { "x" }) end },
    { "bad argument #1 to 'fill' (integer expected", function() a:fill(nil) end },
    { "bad argument #2 to 'tobytes' (9 elements", function() a:tobytes(1, 9) end },
    { "no attribute 'x'", function() v.x = 1 end },
  }
  for _, case in ipairs(cases) do
    lu.assertErrorMsgContains("synchronized_spec.lua:", case[2])
    lu.assertErrorMsgContains(case[1], case[2])
  end
  lu.assertEquals({ v.value, a:read() }, { 5, { 1, 2, 3 } })
  lu.assertFalse(v:get_lock():locked())
  lu.assertFalse(a:get_lock():locked())
end

-- 109
function TestSynchronized:testEachAccessWaitsForTheLock()
  local v, a = value(5), array()
  local accesses = {
    function() return v.value end,
    function() v.value = 7 end,
    function() return a[1] end,
    function() a[1] = 7 end,
    function() return a:read() end,
    function() return a:tobytes() end,
    function() a:write(1, { 7 }) end,
    function() a:fill(7) end,
    function() return next(a:read(1, 1)) end,
    function() return pairs(a)(a, 0) end,
  }
  for i, access in ipairs(accesses) do
    v:acquire()
    a:acquire()
    local before = { v:get_obj().value, a:get_obj():read() }
    local thread = threading.Thread(access):start()
    blocked("rlock", thread)
    lu.assertEquals({ v:get_obj().value, a:get_obj():read() }, before, "access " .. i)
    v:release()
    a:release()
    lu.assertTrue(thread:join(LONG))
    lu.assertEquals({ v:get_lock():locked(), a:get_lock():locked() }, { false, false })
  end
  lu.assertEquals({ v.value, a:read() }, { 7, { 7, 7, 7 } })
end

-- 109
function TestSynchronized:testAnInterruptedAccessDoesNothing()
  local v = value(5)
  v:acquire()
  local thread = threading.Thread(function() v.value = 7 end):start()
  blocked("rlock", thread)
  thread:cancel()
  lu.assertTrue(thread:join(LONG))
  v:release()
  lu.assertEquals({ v.value, v:get_lock():locked() }, { 5, false })
end

-- 109
function TestSynchronized:testACounterIsExactUnderItsLock()
  local v, a, n = value(), array({ 0 }), 20000
  bunch(4, function()
    for _ = 1, n / 4 do
      local held <close> = v:guard()
      v.value = v.value + 1
    end
    for _ = 1, n / 4 do a:with(function() a[1] = a[1] + 1 end) end
  end)
  lu.assertEquals({ v.value, a[1] }, { n, n })
end

function TestSynchronized:testTheLockIsReachable()
  local lock = threading.RLock()
  local v, a = mp.Value("int8", 5, lock), mp.Array { type = "int8", init = 2, lock = lock }
  lu.assertIs(v:get_lock(), lock)
  lu.assertIs(a:get_lock(), lock)
  lu.assertTrue(v:acquire())
  lu.assertTrue(lock:locked())
  lu.assertFalse(threading.Thread(function() return lock:acquire(false) end):start():result())
  v:release()
  lu.assertFalse(lock:locked())
  lu.assertErrorMsgContains("cannot release", function() v:release() end)
  lu.assertEquals(a:with(function(...) return lock:locked(), ... end, 1), true)
end

function TestSynchronized:testTheObjectWithoutItsLock()
  local v, a = value(5), array()
  local raw, rest = v:get_obj(), a:get_obj()
  v, a = setmetatable({ v }, { __mode = "v" }), setmetatable({ a }, { __mode = "v" })
  collectgarbage()
  collectgarbage()
  lu.assertNotNil(v[1])
  raw.value, rest[3] = 6, 33
  lu.assertEquals({ v[1].value, a[1][3], rest:read() }, { 6, 33, { 1, 2, 33 } })
  lu.assertEquals({ tostring(raw), tostring(rest) }, { "<Value int32 6>", "<Array int32[3]>" })
  lu.assertNil(raw.get_lock)
end

--- A lock in Lua that tells what is done with it, and raises what it is told to.
local function told(raised)
  local lock = { calls = {} }
  function lock.acquire()
    table.insert(lock.calls, "acquire")
    if raised then error(raised, 0) end
  end
  function lock.release() table.insert(lock.calls, "release") end
  return lock
end

function TestSynchronized:testAnyLockWillDo()
  local lock = told()
  local v = mp.Value("int8", 5, lock)
  v.value = v.value + 1
  lu.assertEquals(table.concat(lock.calls, " "), "acquire release acquire release")
  lu.assertEquals(v.value, 6)
end

-- 108: one that learns that the owner has died has the lock, and nobody else would release it.
function TestSynchronized:testALockWhoseOwnerDiedIsReleased()
  local lock = told(errors.new(errors.OwnerDied, "gone"))
  local v = mp.Value("int8", 5, lock)
  local ok, err = pcall(function() v.value = 6 end)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(err, errors.OwnerDied))
  lu.assertEquals(table.concat(lock.calls, " "), "acquire release")
  lu.assertEquals(v:get_obj().value, 5)
end

function TestSynchronized:testALockThatWasNotTakenIsNotReleased()
  local lock = told("no")
  local v = mp.Value("int8", 5, lock)
  lu.assertEquals({ pcall(function() v.value = 6 end) }, { false, "no" })
  lu.assertEquals(table.concat(lock.calls, " "), "acquire")
  lu.assertEquals(v:get_obj().value, 5)
end

-- A generator may wait inside an access.
function TestSynchronized:testAnAccessMayYield()
  local lock = told()
  local v = mp.Value("int8", 5, { acquire = coroutine.yield, release = lock.release })
  local co = coroutine.create(function()
    v.value = v.value + 1
    return v:get_obj().value
  end)
  for _ = 1, 2 do
    lu.assertTrue(coroutine.resume(co))
    lu.assertEquals(coroutine.status(co), "suspended")
  end
  lu.assertEquals({ coroutine.resume(co) }, { true, 6 })
  lu.assertEquals(#lock.calls, 2)
end

local TestMemory = {}

for name, act in pairs({
  Get = function(a) return a[1] end,
  Set = function(a) a[1] = 1 end,
  Read = function(a) return a:read() end,
  ToBytes = function(a) return a:tobytes() end,
  WriteItself = function(a) a:write(1, a) end,
  Pairs = function(a) for _ in pairs(a) do end end,
  GetObject = function(a) return a:get_obj() end,
}) do
  exhaust.add(TestMemory, name, {
    make = array,
    act = act,
    check = function(a)
      lu.assertFalse(a:get_lock():locked())
      lu.assertEquals(a:read(), { 1, 2, 3 })
    end,
  })
end

exhaust.add(TestMemory, "Make", { act = function() return value(), array() end })

return { TestMemory = TestMemory, TestSynchronized = TestSynchronized }

--- threading.Thread: behaviours 36 to 42, 45, 49 and 60, and result.
local errors = require("errors")
local lfs = require("lfs")
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local eventually = require("support.eventually")

local SANITIZED = (os.getenv("TIDELOCK_SANITIZER") or "") ~= ""
local LONG = 60 -- seconds

local function spawn(f, ...) return threading.Thread(f, ...):start() end

--- The error of a thread, which is not to be reported.
local function quietly(f)
  local hook = threading.excepthook
  threading.excepthook = function() end
  local results = table.pack(pcall(f))
  threading.excepthook = hook
  return table.unpack(results, 1, results.n)
end

local function status_field(name)
  for line in io.lines("/proc/self/status") do
    local value = line:match("^" .. name .. ":%s+(%d+)")
    if value then return tonumber(value) end
  end
end

local TestThread = {}

-- Starting and the target

function TestThread.testStartReturnsTheThread()
  local t = threading.Thread(function() end)
  lu.assertIs(t:start(), t)
  lu.assertTrue(t:join(LONG))
end

function TestThread.testSharesGlobalsUpvaluesAndTables()
  local list, up = {}, 0
  _G.spec_global = nil
  spawn(function(t)
    up = up + 1
    t[1] = "here"
    spec_global = t -- luacheck: ignore
  end, list):join()
  lu.assertEquals(up, 1)
  lu.assertEquals(list, { "here" })
  lu.assertIs(_G.spec_global, list)
  _G.spec_global = nil
end

function TestThread.testMethodsWantAThread()
  local t = threading.Thread()
  for _, name in ipairs { "start", "join", "is_alive", "result", "cancel", "kill", "run" } do
    lu.assertErrorMsgContains("threading.Thread", t[name])
    lu.assertErrorMsgContains("threading.Thread", t[name], {})
    lu.assertErrorMsgContains("threading.Thread", t[name], io.stdout)
    lu.assertErrorMsgContains("threading.Thread", t[name], threading.Lock())
  end
end

-- 36
function TestThread.testStartsOnlyOnce()
  local t = spawn(function() end)
  lu.assertErrorMsgContains("only be started once", t.start, t)
  t:join()
  lu.assertErrorMsgContains("only be started once", t.start, t)
  local main = threading.main_thread()
  lu.assertErrorMsgContains("only be started once", main.start, main)
end

-- 45
function TestThread.testAThreadThatTheSystemRefusesIsNotThere()
  if SANITIZED then return end -- they reserve the addresses themselves
  local gate, threads, message = threading.Event(), {}, nil
  -- Each wants a tebibyte of addresses, of which a process has 128.
  for i = 1, 200 do
    local t = threading.Thread {
      target = gate.wait, args = { gate }, stack_size = 1 << 40,
    }
    local ok, err = pcall(t.start, t)
    if not ok then
      message = err
      lu.assertEquals(threading.active_count(), i)
      lu.assertFalse(t:is_alive())
      lu.assertNil(t.ident)
      lu.assertErrorMsgContains("before it is started", t.join, t)
      break
    end
    threads[i] = t
  end
  gate:set()
  for _, t in ipairs(threads) do t:join() end
  lu.assertStrContains(message, "can't start a new thread")
  lu.assertEquals(spawn(function() return 1 end):result(LONG), 1)
end

function TestThread.testRunsOnWithoutAReference()
  local done = threading.Event()
  do
    local go = threading.Event()
    local weak = setmetatable({ spawn(function()
      go:wait()
      done:set()
    end) }, { __mode = "v" })
    collectgarbage()
    collectgarbage()
    lu.assertNotNil(weak[1])
    go:set()
  end
  lu.assertTrue(done:wait(LONG))
  eventually(function() return threading.active_count() == 1 end)
end

function TestThread.testAFinishedOrUnstartedThreadIsCollected()
  local weak = setmetatable({}, { __mode = "v" })
  weak.unstarted = threading.Thread(function() end)
  weak.finished = spawn(function() return {} end)
  weak.finished:join()
  collectgarbage()
  collectgarbage()
  lu.assertNil(weak.unstarted)
  lu.assertNil(weak.finished)
end

-- Joining

-- 36
function TestThread.testJoinRefusesOneselfAndTheUnstarted()
  local t = threading.Thread(function() end)
  for _, method in ipairs { t.join, t.result } do
    lu.assertErrorMsgContains("before it is started", method, t)
    lu.assertErrorMsgContains("before it is started", method, t, 0)
    local me = threading.current_thread()
    lu.assertErrorMsgContains("current thread", method, me)
    lu.assertErrorMsgContains("current thread", method, me, 0)
    local ok, message = spawn(function()
      return pcall(method, threading.current_thread())
    end):result(LONG)
    lu.assertFalse(ok)
    lu.assertStrContains(message, "current thread")
  end
end

-- 37
function TestThread.testJoinMayBeRepeated()
  local go = threading.Event()
  local t = spawn(function() go:wait() end)
  lu.assertFalse(t:join(0))
  lu.assertFalse(t:join(0.001))
  lu.assertTrue(t:is_alive())
  local joiners = {}
  for i = 1, 4 do joiners[i] = spawn(function() return t:join(LONG) end) end
  blocked("thread", table.unpack(joiners))
  go:set()
  for _, joiner in ipairs(joiners) do lu.assertTrue(joiner:result(LONG)) end
  for _ = 1, 3 do
    lu.assertTrue(t:join())
    lu.assertTrue(t:join(0))
  end
end

-- 37
function TestThread.testWrongTimeoutsRaise()
  local t = spawn(function() end)
  for _, method in ipairs { t.join, t.result } do
    for _, timeout in ipairs { -1, -0.001, 0 / 0, "soon", {} } do
      lu.assertErrorMsgContains("bad argument #2", method, t, timeout)
    end
    lu.assertErrorMsgContains("bad argument #1 to 'join'", function() t:join(-1) end)
  end
  lu.assertTrue(t:join(math.huge))
  lu.assertTrue(t:join(1e300))
  lu.assertTrue(t:join(nil))
end

function TestThread.testJoinTimesOutInTime()
  local go = threading.Event()
  local t = spawn(function() go:wait() end)
  local start = time.monotonic()
  lu.assertFalse(t:join(0.05))
  local took = time.monotonic() - start
  lu.assertTrue(took >= 0.05 and took < 5, took)
  go:set()
  lu.assertTrue(t:join(LONG))
end

function TestThread.testTheMainThreadMayBeAwaitedWithATimeout()
  local main = threading.main_thread()
  lu.assertFalse(spawn(function() return main:join(0.01) end):result(LONG))
end

-- Results

function TestThread.testResultGivesAllThatTheTargetReturned()
  local t = spawn(function() return nil, 2, nil end)
  for _ = 1, 3 do
    lu.assertEquals(table.pack(t:result(LONG)), { nil, 2, nil, n = 3 })
  end
  lu.assertEquals(select("#", spawn(function() end):result(LONG)), 0)
  local many = spawn(function() return table.unpack({}, 1, 5000) end)
  lu.assertEquals(select("#", many:result(LONG)), 5000)
end

function TestThread.testResultRaisesTheTargetsError()
  quietly(function()
    local value = {}
    for _, raised in ipairs { "text", "spec.lua:1: text", 42, value, true } do
      local t = spawn(error, raised, 0)
      for _ = 1, 2 do
        local ok, err = pcall(t.result, t, LONG)
        lu.assertFalse(ok)
        lu.assertIs(err, raised)
      end
      lu.assertFalse(t:is_alive())
    end
    local ok, err = pcall(function() return spawn(error):result(LONG) end)
    lu.assertFalse(ok)
    lu.assertNil(err)
  end)
end

function TestThread.testResultTimesOut()
  local go = threading.Event()
  local t = spawn(function() return go:wait() end)
  for _, timeout in ipairs { 0, 0.01 } do
    local ok, err = pcall(t.result, t, timeout)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(err, errors.TimeoutError))
  end
  go:set()
  lu.assertTrue(t:result(LONG))
end

function TestThread.testSeveralThreadsAwaitOneResult()
  local go = threading.Event()
  local t = spawn(function()
    go:wait()
    return "shared"
  end)
  local waiters = {}
  for i = 1, 3 do waiters[i] = spawn(function() return t:result(LONG) end) end
  blocked("thread", table.unpack(waiters))
  go:set()
  for _, waiter in ipairs(waiters) do lu.assertEquals(waiter:result(LONG), "shared") end
end

-- Attributes

-- 38
function TestThread.testIdentsAreStable()
  local go = threading.Event()
  local t = threading.Thread(function()
    go:wait()
    return threading.get_ident(), threading.get_native_id()
  end)
  lu.assertNil(t.ident)
  lu.assertNil(t.native_id)
  t:start()
  local ident, native_id = t.ident, t.native_id
  lu.assertTrue(math.type(ident) == "integer" and math.type(native_id) == "integer")
  lu.assertNotNil(lfs.attributes("/proc/self/task/" .. native_id))
  go:set()
  lu.assertEquals({ t:result(LONG) }, { ident, native_id })
  lu.assertEquals({ t.ident, t.native_id }, { ident, native_id })
  lu.assertErrorMsgContains("read-only", function() t.ident = 1 end)
  lu.assertErrorMsgContains("read-only", function() t.native_id = 1 end)
end

-- 38
function TestThread.testIdentsAreNeverUsedAgain()
  local seen, last = {}, 0
  for _ = 1, 200 do
    local t = spawn(function() end)
    lu.assertNil(seen[t.ident])
    lu.assertTrue(t.ident > last)
    seen[t.ident], last = true, t.ident
    t:join()
  end
end

-- 39: the system shows it, too, cut to 15 bytes.
function TestThread.testTheSystemKnowsTheName()
  local t = threading.Thread {
    name = "a rather long name",
    target = function()
      local file = assert(io.open("/proc/thread-self/comm"))
      local comm = file:read("l")
      file:close()
      return comm
    end,
  }
  lu.assertEquals(t:start():result(LONG), "a rather long n")
end

-- 41
function TestThread.testIsAlive()
  local go = threading.Event()
  local t
  t = threading.Thread(function()
    go:wait()
    return t:is_alive()
  end)
  lu.assertFalse(t:is_alive())
  t:start()
  lu.assertTrue(t:is_alive())
  go:set()
  lu.assertTrue(t:result(LONG))
  lu.assertFalse(t:is_alive())
  lu.assertTrue(threading.main_thread():is_alive())
end

-- 42
function TestThread.testDaemonIsInherited()
  lu.assertFalse(threading.main_thread().daemon)
  lu.assertFalse(threading.Thread().daemon)
  local function children()
    return threading.Thread().daemon, threading.Thread { daemon = false }.daemon,
      threading.Thread { daemon = true }.daemon
  end
  for _, daemon in ipairs { false, true } do
    local t = threading.Thread { target = children, daemon = daemon }
    lu.assertEquals(t.daemon, daemon)
    lu.assertEquals({ t:start():result(LONG) }, { daemon, false, true })
  end
end

-- 42
function TestThread.testDaemonIsSetBeforeTheStart()
  local go = threading.Event()
  local t = threading.Thread(function() go:wait() end)
  t.daemon = true
  lu.assertTrue(t.daemon)
  t.daemon = false
  t:start()
  lu.assertErrorMsgContains("daemon", function() t.daemon = true end)
  lu.assertFalse(t.daemon)
  go:set()
  t:join()
  lu.assertErrorMsgContains("daemon", function() t.daemon = true end)
  lu.assertFalse(t.daemon)
  local fresh = threading.Thread()
  for _, value in ipairs { 1, "no", {} } do
    lu.assertErrorMsgContains("daemon must be a boolean", function() fresh.daemon = value end)
  end
  lu.assertFalse(fresh.daemon)
end

function TestThread.testKeepsFieldsOfTheScript()
  local t = threading.Thread(function() return threading.current_thread().color end)
  lu.assertNil(t.color)
  t.color, t[1] = "red", "one"
  lu.assertEquals(t:start():result(LONG), "red")
  lu.assertEquals(t[1], "one")
  t.color = nil
  lu.assertNil(t.color)
end

function TestThread.testTostring()
  local go = threading.Event()
  local t = threading.Thread { target = go.wait, args = { go }, name = "w" }
  lu.assertEquals(tostring(t), '<Thread "w" initial>')
  t:start()
  lu.assertEquals(tostring(t), ('<Thread "w" started ident=%d>'):format(t.ident))
  go:set()
  t:join()
  lu.assertEquals(tostring(t), ('<Thread "w" stopped ident=%d>'):format(t.ident))
  local d = threading.Thread { name = "d", daemon = true }
  lu.assertEquals(tostring(d), '<Thread "d" initial daemon>')
end

-- Errors and resources

-- 49
function TestThread.testUnboundedRecursionEndsThatThreadOnly()
  local reported = {}
  local hook = threading.excepthook
  threading.excepthook = function(args) table.insert(reported, tostring(args.value)) end
  local function forever(n) return 1 + forever(n + 1) end
  local threads = {}
  for i = 1, 3 do threads[i] = spawn(forever, 1) end
  for _, t in ipairs(threads) do t:join() end
  threading.excepthook = hook
  lu.assertEquals(#reported, 3)
  for _, message in ipairs(reported) do lu.assertStrContains(message, "stack overflow") end
  lu.assertEquals(spawn(function() return "fine" end):result(LONG), "fine")
end

-- 60
function TestThread.testQuickThreadsLeaveNothing()
  local function cycle(n)
    for i = 1, n do
      local t = spawn(function(...) return ... end, i, {})
      t:join()
    end
    collectgarbage()
    collectgarbage()
    return collectgarbage("count"), status_field("Threads"), status_field("VmRSS")
  end
  cycle(200)
  local heap, threads, resident = cycle(SANITIZED and 100 or 500)
  local heap2, threads2, resident2 = cycle(SANITIZED and 300 or 3000)
  lu.assertTrue(heap2 - heap < 64, heap2 - heap) -- KiB
  -- A thread that has been joined may have a moment to go in the system.
  if threads2 > threads then
    eventually(function() return status_field("Threads") <= threads end)
  end
  if not SANITIZED then lu.assertTrue(resident2 - resident < 2048, resident2 - resident) end
  lu.assertEquals(threading.active_count(), 1)
end

return { TestThread = TestThread }

--- How a program ends with its threads: behaviours 43, 44, 225 and 227.
local lu = require("luaunit")
local time = require("time")
local program = require("support.program")

local LONG = 60 -- seconds
local SLOW = (os.getenv("TIDELOCK_SANITIZER") or "") ~= "" and 5 or 1

--- Runs the chunk; returns its output, standard error, exit code and seconds.
local function run(chunk)
  local start = time.monotonic()
  local out, err, code = program.eval(
    'local threading, time = require("threading"), require("time")\n' .. chunk,
    { timeout = LONG })
  return out, err, code, time.monotonic() - start
end

local function assert_clean(out, chunk)
  local got, err, code, took = run(chunk)
  lu.assertEquals(err, "")
  lu.assertEquals(got, out)
  lu.assertEquals(code, 0)
  return took
end

local TestFinish = {}

-- 43
function TestFinish.testWaitsForThreadsAndForThoseTheyStart()
  assert_clean("main ends\nfirst\nsecond\nthird\n", [[
    local function start(names, i)
      if not names[i] then return end
      threading.Thread(function()
        time.sleep(0.02)
        print(names[i])
        start(names, i + 1)
      end):start()
    end
    start({ "first", "second", "third" }, 1)
    print("main ends")
  ]])
end

-- 43
function TestFinish.testWaitsAfterAnErrorOfMain()
  local out, err, code = run([[
    threading.Thread(function() time.sleep(0.05) print("finished") end):start()
    error("main failed")
  ]])
  lu.assertEquals(out, "finished\n")
  lu.assertStrContains(err, "main failed")
  lu.assertEquals(code, 1)
end

-- 46: what a thread raised is not the program's exit code.
function TestFinish.testAThreadsErrorIsNotTheExitCode()
  local out, err, code = run([[
    threading.Thread(function() error("late") end):start()
    print("main")
  ]])
  lu.assertEquals(out, "main\n")
  lu.assertStrContains(err, "late")
  lu.assertEquals(code, 0)
end

-- 43
function TestFinish.testDoesNotWaitForDaemons()
  local took = assert_clean("main ends\n", [[
    for _, f in ipairs {
      function() while true do end end,
      function() time.sleep(1000) end,
      function() local l = threading.Lock() l:acquire() l:acquire() end,
      function() threading.Event():wait() end,
      function() for i in coroutine.wrap(function()
        while true do coroutine.yield(1) end end) do end end,
    } do
      threading.Thread { target = f, daemon = true }:start()
    end
    time.sleep(0.01)
    print("main ends")
  ]])
  lu.assertTrue(took < 5 * SLOW, took)
end

-- 43: they are unwound, and nothing is freed under them.
function TestFinish.testDaemonsCloseTheirVariables()
  assert_clean("main ends\nclosed\n", [[
    local started = threading.Event()
    threading.Thread { daemon = true, target = function()
      local _ <close> = setmetatable({}, { __close = function() print("closed") end })
      started:set()
      while true do end
    end }:start()
    started:wait()
    print("main ends")
  ]])
end

-- 43: a cancel that a daemon swallows is followed by a kill after a second.
function TestFinish.testADaemonThatCatchesEverythingIsKilled()
  local took = assert_clean("main ends\n", [[
    threading.Thread { daemon = true, target = function()
      while true do pcall(function() while true do end end) end
    end }:start()
    threading.Thread { daemon = true, target = function()
      local function spin() while true do end end
      while true do xpcall(spin, spin) end
    end }:start()
    time.sleep(0.01)
    print("main ends")
  ]])
  lu.assertTrue(took >= 0.6 and took < 10 * SLOW, took)
end

-- 43: one that waits for a child process is not waited for.
function TestFinish.testADaemonThatWaitsForAProcess()
  local took = assert_clean("main ends\n", [[
    for _, f in ipairs {
      function() os.execute("exec sleep 50") end,
      function() local pipe <close> = io.popen("exec sleep 50") end,
    } do
      threading.Thread { daemon = true, target = f }:start()
    end
    time.sleep(0.1)
    print("main ends")
  ]])
  lu.assertTrue(took < 40, took)
end

-- 43: many daemons in the middle of everything, again and again.
function TestFinish.testManyDaemonsInTheMiddleOfWork()
  for _ = 1, 5 do
    assert_clean("main ends\n", [[
      require("gil").switch_interval(20e-6)
      local lock, shared = threading.Lock(), {}
      for i = 1, 8 do
        threading.Thread { daemon = true, target = function()
          while true do
            local held <close> = lock:guard()
            shared[i] = { tostring(i):rep(100), coroutine.wrap(function()
              coroutine.yield(1) end) }
            setmetatable({}, { __gc = function() shared[i] = nil end })
            table.sort({ 3, 1, 2 }, function(a, b) return a < b end)
          end
        end }:start()
      end
      time.sleep(0.02)
      io.write("main ends\n")
    ]])
  end
end

-- 44
function TestFinish.testNoThreadStartsOnceTheEndHasBegun()
  assert_clean("main ends\nfalse\ttrue\n", [[
    local started = threading.Event()
    threading.Thread { daemon = true, target = function()
      local _ <close> = setmetatable({}, { __close = function()
        local ok, err = pcall(function() threading.Thread(print, "late"):start() end)
        print(ok, err:find("closing", 1, true) ~= nil)
      end })
      started:set()
      while true do end
    end }:start()
    started:wait()
    print("main ends")
  ]])
end

-- 44: nor in a finalizer of the last collection.
function TestFinish.testNoThreadStartsInTheLastCollection()
  assert_clean("main ends\nfalse\n", [[
    _G.kept = setmetatable({}, { __gc = function()
      print((pcall(function() threading.Thread(print, "late"):start() end)))
    end })
    print("main ends")
  ]])
end

-- 43: exit with the state closed does not wait for threads, nor hang.
function TestFinish.testOsExit()
  for _, close in ipairs { "false", "true" } do
    local out, err, code, took = run(([[
      threading.Thread { daemon = true, target = function() while true do end end }:start()
      threading.Thread { daemon = true, target = function() time.sleep(1000) end }:start()
      print("exits")
      os.exit(7, %s)
    ]]):format(close))
    lu.assertEquals({ out, err, code }, { "exits\n", "", 7 })
    lu.assertTrue(took < 10 * SLOW, took)
  end
end

-- 225: Ctrl-C while main waits for its threads names them; a second one exits.
function TestFinish.testInterruptInTheLastJoin()
  local out, err, code, took = run([[
    threading.Thread { name = "the slow one", target = function()
      local pipe = io.popen("echo $PPID")
      local pid = pipe:read("n")
      pipe:close()
      time.sleep(0.05)
      for _ = 1, 2 do
        os.execute("kill -INT " .. pid)
        time.sleep(0.3)
      end
      time.sleep(1000)
    end }:start()
    print("main ends")
  ]])
  lu.assertEquals(out, "main ends\n")
  lu.assertStrContains(err, "the slow one")
  lu.assertEquals(code, 130)
  lu.assertTrue(took < 20 * SLOW, took)
end

-- 227: a thread that waits for the GIL while the end begins sees no freed state.
function TestFinish.testThreadsThatWakeDuringTheEnd()
  for _ = 1, 3 do
    local out, _, code = run([[
      for i = 1, 20 do
        threading.Thread { daemon = true, target = function()
          while true do pcall(time.sleep, (i % 5) * 1e-4) end
        end }:start()
      end
      time.sleep(0.003)
      print("main ends")
    ]])
    lu.assertEquals(out, "main ends\n")
    lu.assertEquals(code, 0)
  end
end

function TestFinish.testEndsInACoroutineOfAThread()
  assert_clean("yielded\nmain ends\nwrapped\n", [[
    local co = coroutine.wrap(function()
      print("yielded")
      coroutine.yield()
      print("wrapped")
    end)
    co()
    threading.Thread(function()
      time.sleep(0.02)
      co()
    end):start()
    print("main ends")
  ]])
end

return { TestFinish = TestFinish }

--- os.execute, os.remove, os.rename and os.exit, from any thread.
local gil = require("gil")
local lu = require("luaunit")
local threading = require("threading")
local blocked = require("support.blocked")
local lasting = require("support.lasting")
local program = require("support.program")

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local TestExecute = {}

function TestExecute.testValuesAreThoseOfLua54()
  lu.assertEquals({ os.execute("exit 0") }, { true, "exit", 0 })
  lu.assertEquals({ os.execute("exit 3") }, { nil, "exit", 3 })
  lu.assertEquals({ os.execute("kill -9 $$") }, { nil, "signal", 9 })
  lu.assertTrue(os.execute())
  lu.assertErrorMsgContains("bad argument #1 to 'os.execute'", os.execute, {})
end

-- 214
function TestExecute.testOthersRunMeanwhile()
  local count = 0
  local thread = spawn(function() return os.execute("sleep 0.5") end)
  while thread:is_alive() do count = count + 1 end
  lu.assertTrue(thread:result())
  lu.assertTrue(count > 10000, count)
end

function TestExecute.testACancelEndsTheWait()
  local command, finish = lasting()
  local thread = spawn(os.execute, command)
  blocked("process", thread)
  thread:cancel()
  lu.assertErrorMsgContains("Cancelled", thread.result, thread, 60)
  finish()
end

function TestExecute.testAThreadsChildHasTheStartUpSignalMask()
  local name = os.tmpname()
  spawn(function() os.execute("grep SigBlk /proc/self/status >" .. name) end):result(60)
  local file <close> = assert(io.open(name))
  lu.assertEquals(file:read("a"):match("%x+\n"), "0000000000000000\n")
  os.remove(name)
end

--- Runs a script that gets an interrupt from its own child.
local function interrupted(command)
  return program.eval(([[
    print(select(2, pcall(os.execute, %q)))
    print("goes on")
  ]]):format(command), { timeout = 30 })
end

-- The child that gets Ctrl-C too may still have to end in its own way.
function TestExecute.testCtrlCIsRaisedWhenTheChildHasEnded()
  local out = interrupted("kill -INT $PPID; sleep 0.1; echo ended")
  lu.assertEquals(out, "ended\ninterrupted!\ngoes on\n")
end

function TestExecute.testASecondCtrlCEndsTheWait()
  local out = interrupted("kill -INT $PPID; sleep 0.2; kill -INT $PPID; sleep 2; echo ended")
  lu.assertEquals(out, "interrupted!\ngoes on\n")
end

function TestExecute.testSigintIsNotIgnoredMeanwhile()
  lu.assertTrue(os.execute("test $(grep SigIgn /proc/$PPID/status | cut -f2 | tail -c 2) -lt 2"))
end

local TestExit = {}

local function code_of(script)
  local out, err, code = program.eval(script, { timeout = 30 })
  lu.assertEquals(err, "")
  return code, out
end

function TestExit.testCodes()
  lu.assertEquals(code_of("os.exit(7)"), 7)
  lu.assertEquals(code_of("os.exit()"), 0)
  lu.assertEquals(code_of("os.exit(false)"), 1)
  lu.assertEquals(code_of("os.exit(true, true)"), 0)
  lu.assertEquals(code_of("os.exit(5, true)"), 5)
end

function TestExit.testWithoutCloseItEndsAtOnceAndFlushes()
  local code, out = code_of([[
    local t <close> = setmetatable({}, {__close = function() print("closed") end})
    io.write("flushed")
    os.exit(3)
  ]])
  lu.assertEquals({ code, out }, { 3, "flushed" })
end

function TestExit.testWithCloseVariablesAndFinalizersRun()
  local code, out = code_of([[
    setmetatable({}, {__gc = function() print("finalized") end})
    local t <close> = setmetatable({}, {__close = function() print("closed") end})
    coroutine.wrap(function() os.exit(3, true) end)()
  ]])
  lu.assertEquals({ code, out }, { 3, "closed\nfinalized\n" })
end

function TestExit.testFromAThreadWhileOthersRun()
  local code, out = code_of([[
    local threading = require("threading")
    io.write("flushed")
    for _ = 1, 4 do threading.Thread(function() while true do end end):start() end
    threading.Thread(function() os.exit(9) end):start()
    while true do end
  ]])
  lu.assertEquals({ code, out }, { 9, "flushed" })
end

--- What the main thread does while another one asks it to end.
for name, wait in pairs({
  Running = "while true do end",
  Sleeping = "require('time').sleep(60)",
  Joining = "thread:join() while true do end",
  Reading = "io.popen('sleep 5'):read('a')",
}) do
  TestExit["testAThreadAsksAMainThreadThatIs" .. name] = function()
    local code, out = code_of([[
      local threading = require("threading")
      setmetatable({}, {__gc = function() print("finalized") end})
      local thread = threading.Thread(function()
        local t <close> = setmetatable({}, {__close = function() print("unwound") end})
        while true do pcall(os.exit, 4, true) end
      end):start()
    ]] .. wait)
    lu.assertEquals({ code, out }, { 4, "unwound\nfinalized\n" })
  end
end

local TestFiles = {}

-- 214: each gives the GIL up, and in a finalizer keeps it.
function TestFiles.testOthersMayRunMeanwhile()
  local name = os.tmpname()
  local function released(f, ...)
    local before = gil.stats().voluntary_releases
    lu.assertTrue(f(...) and true)
    return gil.stats().voluntary_releases - before
  end
  lu.assertTrue(released(os.rename, name, name .. "x") > 0)
  lu.assertTrue(released(io.open, name .. "x") > 0)
  lu.assertTrue(released(os.remove, name .. "x") > 0)
  local n
  setmetatable({}, { __gc = function()
    n = released(io.open, "/dev/null") + released(os.rename, os.tmpname(), name) +
      released(os.remove, name)
  end })
  collectgarbage()
  lu.assertEquals(n, 0)
end

return { TestExecute = TestExecute, TestFiles = TestFiles, TestExit = TestExit }

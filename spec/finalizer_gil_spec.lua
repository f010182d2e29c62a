-- Lua tells whether a finalizer runs for all threads at once: were the GIL given up in one, the
-- others could not wait, and nothing would be collected.
local lu = require("luaunit")
local bigint = require("bigint")
local mp = require("multiprocessing")
local subprocess = require("subprocess")
local threading = require("threading")
local time = require("time")

local ROUNDS = 30

local TestFinalizerGil = {}

--- Calls f in finalizers beside threads that wait again and again.
local function check(f)
  local stop, waiters = false, {}
  for i = 1, 3 do
    waiters[i] = threading.Thread(function()
      while not stop do time.sleep(0.0001) end
    end):start()
  end
  local calls = 0
  for _ = 1, ROUNDS do
    setmetatable({}, { __gc = function() calls = calls + 1 f() end })
    collectgarbage()
  end
  stop = true
  for _, waiter in ipairs(waiters) do waiter:result() end
  lu.assertEquals(calls, ROUNDS)
end

function TestFinalizerGil:testALongMessage()
  local receiver, sender = mp.Pipe(false)
  local text = ("x"):rep(8 << 20)
  check(function()
    sender:send_bytes(text)
    assert(#receiver:recv_bytes() == #text)
  end)
  receiver:close()
  sender:close()
end

function TestFinalizerGil:testALongCalculation()
  local x = bigint.new(3) ^ 200000
  check(function() assert(x * x > x) end)
  check(function() assert(#tostring(x) == x:digits()) end)
end

function TestFinalizerGil:testWaitsAreRefused()
  local process = subprocess.Popen({ "cat" }, { stdin = subprocess.PIPE })
  local problems = {}
  check(function()
    for _ = 1, 200 do
      local _, problem = pcall(process.wait, process)
      problems[tostring(problem):match("cannot wait in a finalizer") or problem] = true
    end
  end)
  lu.assertEquals(problems, { ["cannot wait in a finalizer"] = true })
  process.stdin:close()
  process:wait()
end

return { TestFinalizerGil = TestFinalizerGil }

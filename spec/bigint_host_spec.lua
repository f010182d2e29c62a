--- bigint in its host: the GIL, threads, interrupts, and memory that ends.
local bigint = require("bigint")
local errors = require("errors")
local lu = require("luaunit")
local threading = require("threading")
local bigints = require("support.bigints")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local eventually = require("support.eventually")
local exhaust = require("support.exhaust")
local program = require("support.program")

local LONG = 60 -- seconds
local sanitizer = os.getenv("TIDELOCK_SANITIZER") or ""

local new, random = bigint.new, bigints.random

local TestThreads = {}

local big = new(1) << 3000000
local operations = {
  factorial = function() return bigint.factorial(200000) end,
  pow = function() return bigint.pow(3, 3000000) end,
  product = function() return (big - 1) * (big - 3) end,
  quotient = function() return (big - 1) // ((new(1) << 1000000) - 1) end,
  remainder = function() return (big - 1) % ((new(1) << 1000000) - 1) end,
  float = function() return (big - 1) / ((new(1) << 1000000) - 1) end,
  gcd = function() return bigint.gcd(big - 1, (big >> 7) - 5) end,
  isqrt = function() return (big - 1):isqrt() end,
  powmod = function() return bigint.powmod(3, big >> 2990000, (new(1) << 4423) - 1) end,
  is_prime = function() return ((new(1) << 2203) - 1):is_prime() end,
  tostring = function() return tostring(big - 1) end,
  parse = function() return new(("7"):rep(500000)) end,
  sum = function() return big + big end,
  bits = function() return big ~ (big - 1) end,
  shift = function() return big << 3 end,
}

-- While one thread computes, this one runs Lua, and sees it without the GIL.
for name, act in pairs(operations) do
  TestThreads["testGivesUpTheGil_" .. name] = function()
    local stop = false
    local thread = threading.Thread(function()
      repeat act() until stop
    end):start()
    local seen = pcall(eventually, function() return blocked.is("host", thread) end)
    stop = true
    lu.assertTrue(thread:join(LONG) and seen)
  end
end

function TestThreads.testSmallOnesKeepIt()
  local gil = require("gil")
  local a, b = random(500), random(500)
  local before = gil.stats().voluntary_releases
  for _ = 1, 1000 do
    local _ = { a + b, a * b, a // 12345, a % 7, a < b, tostring(a), a ^ 3, a:gcd(10) }
  end
  lu.assertTrue(gil.stats().voluntary_releases - before < 100)
end

function TestThreads.testManyThreadsComputeAtOnce()
  local results, problems = bunch(8, function(i)
    local n = 3000 + i
    local x = bigint.factorial(n)
    for _ = 1, 20 do
      assert(new(tostring(x)) == x and x // bigint.factorial(n - 1) == new(n))
    end
    return x:digits()
  end)
  lu.assertEquals(problems, {})
  lu.assertEquals(#results, 8)
end

-- The smallest C stack is enough for what GMP takes of it.
function TestThreads.testOnASmallStack()
  local usual = threading.stack_size(512 * 1024 * (sanitizer ~= "" and 4 or 1))
  local thread = threading.Thread(function()
    for bits = 10, 22 do
      local x = (new(1) << (1 << bits)) - 12345
      local y = x * x
      assert(y // x == x and (y % x):sign() == 0 and y:isqrt() == x)
      assert(new(tostring(x)) == x and x:gcd(y) == x)
      if bits < 11 then assert(bigint.powmod(3, x, x + 2) < x + 2) end
    end
    return bigint.factorial(100000):digits()
  end):start()
  threading.stack_size(usual)
  lu.assertEquals(thread:result(LONG), 456574)
end

-- A large factorial or power ends between two of its steps.
for name, act in pairs({
  factorial = function() return bigint.factorial(1 << 26) end,
  pow = function() return bigint.pow(3, 2000000000) end,
}) do
  TestThreads["testCancelEndsALong_" .. name] = function()
    local thread = threading.Thread(act):start()
    blocked("host", thread)
    thread:cancel()
    local ok, err = pcall(thread.result, thread, LONG)
    lu.assertFalse(ok)
    lu.assertTrue(errors.is(err, errors.Cancelled), tostring(err))
  end
end

function TestThreads.testCtrlCEndsALongOne()
  local out = program.run({ "-e", [[
    local bigint, threading = require("bigint"), require("threading")
    local time = require("time")
    print(pcall(function()
      threading.Thread{ daemon = true, target = function()
        time.sleep(0.1)
        os.execute("kill -INT " .. io.open("/proc/self/stat"):read("n"))
      end }:start()
      return bigint.factorial(1 << 26)
    end))
  ]] }, { timeout = LONG })
  lu.assertEquals(out, "false\tinterrupted!\n")
end

local TestMemory = {}

-- GMP would end the process. The sanitizers want more room than this.
if sanitizer == "" then
  function TestMemory.testAProcessWithoutMemory()
    local out, err, code = program.run({ "-c", [[
      ulimit -v 150000
      exec "$0" -e '
        local bigint = require("bigint")
        local x = bigint.new(1) << (1 << 27)
        for _, act in ipairs({
          function() return bigint.pow(3, 1 << 31) end,
          function() return bigint.factorial(100000000) end,
          function() return x * x end,
          function() return (x - 1) / 3 end,
          function() return tostring(x) end,
          function() return x:gcd(x - 1) end,
          function() return x:isqrt() end,
          function() return x:digits() end,
          function() return x:powmod(5, x - 1) end,
          function() return x:is_prime() end,
          function() return x << (1 << 31) end,
          function() return bigint.new(("7"):rep(40000000)) end,
        }) do
          local ok, message = pcall(act)
          print(ok, type(message) == "string" and message:match("not enough memory"))
        end']], program.path }, { program = "/bin/sh", timeout = LONG })
    lu.assertEquals({ code, err }, { 0, "" })
    lu.assertEquals(out, ("false\tnot enough memory\n"):rep(12))
  end
end

local x, y = new(3) ^ 500, new(7) ^ 100
for name, act in pairs({
  New = function() return new("123456789012345678901234567890") end,
  Sum = function() return x + y end,
  Difference = function() return x - x end,
  Product = function() return x * y end,
  Quotient = function() return x // y end,
  Power = function() return y ^ 20 end,
  LargePower = function() return bigint.pow(3, 6000000) end,
  Factorial = function() return bigint.factorial(1000) end,

  Tostring = function() return tostring(x) .. x:tostring(16) end,
  Concat = function() return x .. y end,
  Float = function() return y + 1.5 end,
  Powmod = function() return x:powmod(y, 1000) end,
}) do
  exhaust.add(TestMemory, name, {
    act = act,
    check = function(_, failed, value) if not failed then lu.assertNotNil(value) end end,
  })
end

return { TestBigintThreads = TestThreads, TestBigintMemory = TestMemory }

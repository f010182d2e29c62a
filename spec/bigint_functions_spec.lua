--- The functions of bigint, and how its numbers are read, written and pickled.
local bigint = require("bigint")
local errors = require("errors")
local lu = require("luaunit")
local pickle = require("pickle")
local bigints = require("support.bigints")
local program = require("support.program")
local seed = require("support.seed")

local sanitizer = os.getenv("TIDELOCK_SANITIZER") or ""
local ROUNDS = sanitizer == "" and 1000 or 100

local new, same, random = bigint.new, bigints.same, bigints.random
local MIN, MAX = math.mininteger, math.maxinteger

local function fails(message, f, ...) lu.assertErrorMsgContains(message, f, ...) end

local TestFunctions = {}

local function digit_sum(text)
  local sum = 0
  for i = 1, #text do sum = sum + text:byte(i) - 48 end
  return sum
end

function TestFunctions.testSmallFactorials()
  local x = new(1)
  for n = 0, 400 do
    if n > 0 then x = x * n end
    same(bigint.factorial(n), x)
  end
  same(bigint.factorial(new(20)), 2432902008176640000)
  same(bigint.factorial(5.0), 120)
end

-- As Python's math.factorial has them.
function TestFunctions.testLargeFactorials()
  for n, want in pairs({
    [100000] = { 456574, 1938780, 24999, "28242294079603478742", "18545898454957162496" },
    [120000] = { 557390, 2373669, 29998, "22406714655797362497", "02286614757544820736" },
    [150000] = { 711273, 3032379, 37498, "31893976463073495440", "36048847036451127296" },
  }) do
    local x = bigint.factorial(n)
    local text = tostring(x)
    local significant = text:match("^(.-)0*$")
    lu.assertEquals({ #text, digit_sum(text), #text - #significant, text:sub(1, 20),
      significant:sub(-20) }, want)
    lu.assertEquals(x:digits(), want[1])
    lu.assertTrue(new(text) == x)
    lu.assertTrue(x // bigint.factorial(n - 1) == new(n))
  end
end

-- Those that are made in steps, by way of half of them.
function TestFunctions.testFactorialsInSteps()
  for _, n in ipairs({ 1 << 20, (1 << 20) + 1, (1 << 20) + 2, (1 << 21) + 3 }) do
    local x, p = bigint.factorial(n), 1000000007
    -- Wilson's theorem does not reach so high: a product modulo two primes.
    for _, prime in ipairs({ p, 4294967291 }) do
      local product = 1
      for i = 2, n do product = product * i % prime end
      lu.assertEquals((x % prime):tointeger(), product, n)
    end
    if sanitizer ~= "" and n > 1 << 20 then break end
  end
end

function TestFunctions.testTooLarge()
  for _, n in ipairs({ MAX, 1 << 29, 200000000, new(1) << 100 }) do
    fails("bigint too large (over 2^32 bits)", bigint.factorial, n)
  end
  fails("bigint too large", function() return new(1) << (1 << 32) + 1 end)
end

function TestFunctions.testDigits()
  lu.assertEquals(new(0):digits(), 1)
  for n = 0, 200 do
    local power = bigint.pow(10, n)
    for _, sign in ipairs({ 1, -1 }) do
      lu.assertEquals((power * sign):digits(), n + 1)
      lu.assertEquals(((power + 1) * sign):digits(), n + 1)
      lu.assertEquals(((power - 1) * sign):digits(), math.max(n, 1))
    end
  end
  for _, n in ipairs({ 1000, 12345, 100000 }) do
    local power = bigint.pow(10, n)
    lu.assertEquals({ power:digits(), (power - 1):digits() }, { n + 1, n })
  end
end

function TestFunctions.testRandomNumberTheory()
  seed()
  for _ = 1, ROUNDS do
    local a, b, m = random(300), random(300), random(200)
    local g = a:gcd(b)
    lu.assertTrue(g:sign() >= 0)
    if g:sign() ~= 0 then
      lu.assertEquals({ (a % g):sign(), (b % g):sign() }, { 0, 0 })
      same((a // g):gcd(b // g), 1)
      lu.assertEquals(g * a:lcm(b), (a * b):abs())
    end
    local root = a:abs():isqrt()
    lu.assertTrue(root ^ 2 <= a:abs() and a:abs() < (root + 1) ^ 2)
    if m:sign() ~= 0 then
      local e = math.random(0, 30)
      lu.assertEquals(a:powmod(e, m), a ^ e % m)
      if a:gcd(m) == new(1) then
        lu.assertEquals(a * a:powmod(-1, m) % m, new(1) % m)
        lu.assertEquals(a ^ 3 * a:powmod(-3, m) % m, new(1) % m)
      end
    end
    lu.assertEquals(a:abs(), a:sign() < 0 and -a or a)
    lu.assertEquals(a:digits(), #tostring(a:abs()))
  end
  same(bigint.gcd(0, 0), 0)
  same(bigint.lcm(0, 5), 0)
  same(bigint.gcd(MIN, MIN), "9223372036854775808")
  same(bigint.powmod(3, 10, -7), 4 - 7) -- 3^10 is 4 modulo 7; the sign of the modulus
  same(bigint.powmod(5, 0, 1), 0)
end

function TestFunctions.testPrimes()
  local sieve = {}
  for i = 2, 2000 do
    if not sieve[i] then
      for k = i * i, 2000, i do sieve[k] = true end
    end
  end
  for i = -5, 2000 do lu.assertEquals(bigint.is_prime(i), i >= 2 and not sieve[i], i) end
  lu.assertTrue(((new(1) << 521) - 1):is_prime())
  lu.assertFalse(((new(1) << 523) - 1):is_prime())
  lu.assertFalse(((new(1) << 521) - 1):abs():pow(2):is_prime())
  lu.assertFalse(bigint.is_prime(3215031751)) -- deceives bases 2, 3, 5 and 7
end

function TestFunctions.testValues()
  local a, b = new(5), new(5)
  lu.assertTrue(a == b and not rawequal(a, b))
  lu.assertFalse(a == 5 or 5 == a) -- Lua asks nobody
  local keys = { [a] = 1 }
  lu.assertNil(keys[b]) -- by identity
  local _ = { a + 1, -a, a << 3 }
  same(a, 5)
  lu.assertEquals(getmetatable(a).__name, "bigint.Integer")
end

-- Their memory is Lua's: it is counted, and collected without a finalizer.
function TestFunctions.testMemoryIsLuas()
  local out, err = program.eval([[
    local bigint = require("bigint")
    local function count()
      collectgarbage()
      return collectgarbage("count") // 1024 -- MiB
    end
    local x = bigint.new(1) << 80000000
    print(count())
    x = x - (x - 1) -- a small difference of large ones takes no large room
    print(count(), x)
    for _ = 1, 500 do x = bigint.new(1) << 8000000 end -- 500 MB in all
    print(collectgarbage("count") < 100000)]])
  lu.assertEquals({ out, err }, { "9.0\n0.0\t1\ntrue\n", "" })
end

-- A process that gets one must have required the module, too.
function TestFunctions.testTheyTravel()
  seed()
  for _, value in ipairs({ new(0), new(-1), new(MIN), new(10) ^ 5000, -(new(1) << 100000) }) do
    local got = pickle.loads(pickle.dumps({ value, value }))
    lu.assertEquals(got[1], value)
    lu.assertTrue(rawequal(got[1], got[2]))
  end
  for _ = 1, 200 do
    local value = random(2000)
    lu.assertEquals(pickle.loads(pickle.dumps(value)), value)
  end
  local bytes = pickle.dumps(new(12345))
  lu.assertErrorMsgContains("class 'bigint' is not registered", function()
    local out, err = program.eval(('print(require("pickle").loads(%q))'):format(bytes))
    error(out .. err)
  end)
  local damaged = bytes:gsub(new(12345):tostring(32), "!!!")
  local _, problem = pcall(pickle.loads, damaged)
  lu.assertTrue(errors.is(problem, errors.UnpicklingError))
end

return { TestBigintFunctions = TestFunctions }

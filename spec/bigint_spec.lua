--- The module bigint, integers of any size over GMP: how numbers are made,
-- arithmetic, floats and errors.
local bigint = require("bigint")
local lu = require("luaunit")
local bigints = require("support.bigints")
local seed = require("support.seed")

local sanitizer = os.getenv("TIDELOCK_SANITIZER") or ""
local ROUNDS = sanitizer == "" and 5000 or 500

local new, same, random = bigint.new, bigints.same, bigints.random
local MIN, MAX = math.mininteger, math.maxinteger

local function fails(message, f, ...) lu.assertErrorMsgContains(message, f, ...) end

--- Asserts that a function of the module finds an argument wrong. In the
--- message it has its full name or the short one.
local function misuses(arg, name, why, ...)
  local ok, message = pcall(bigint[name], ...)
  lu.assertFalse(ok)
  local got, called, reason = message:match("^bad argument #(%d) to '[%w.]-(%w*_?%w+)' %((.*)%)$")
  lu.assertEquals({ got, called }, { tostring(arg), name }, message)
  lu.assertStrContains(reason, why)
end

local TestNew = {}

function TestNew.testFromIntegers()
  for _, n in ipairs({ 0, 1, -1, 9, -10, MAX, MIN, MIN + 1, 1 << 53 }) do
    same(new(n), n)
    lu.assertIs(new(n):tointeger(), n)
  end
end

function TestNew.testFromFloats()
  for _, d in ipairs({ 0.0, -0.0, 5.0, -7.0, 2.0 ^ 53, -(2.0 ^ 62), 2.0 ^ 63 }) do
    same(new(d), ("%.0f"):format(d):gsub("^%-0$", "0"), d)
  end
  same(new(2.0 ^ 1023), tostring(new(1) << 1023))
  for _, d in ipairs({ 0.5, -1.5, math.huge, -math.huge, 0 / 0 }) do
    fails("number has no integer representation", new, d)
  end
end

function TestNew.testFromStrings()
  for text, value in pairs({
    ["0"] = 0, ["-0"] = 0, ["+5"] = 5, ["007"] = 7, ["-12"] = -12, [" \t42\n"] = 42,
    ["0xff"] = 255, ["-0XfF"] = -255, ["+0x0"] = 0, ["9223372036854775808"] = "9223372036854775808",
    ["-9223372036854775809"] = "-9223372036854775809",
    ["0x123456789abcdef0123456789"] = "90144042682896311822508713865",
  }) do
    same(new(text), value, text)
  end
  for _, text in ipairs({
    "", " ", "-", "+", "--1", "+-1", "1 2", "1_000", "1,000", "1.0", "1e5", "0x", "-0x", "0x1.8p1",
    "0xg", "ff", "x10", "1\0", "1\0002", "\0", "0b1", "- 1", "\u{662}", "nan", "inf", "0x-1",
  }) do
    fails("not an integer of base", new, text)
  end
end

function TestNew.testFromStringsOfABase()
  for base = 2, 36 do
    for _, n in ipairs({ 0, 1, -1, 35, 123456789, MAX, MIN }) do
      local text = new(n):tostring(base)
      same(new(text, base), n)
      same(new(" " .. text:upper() .. " ", base), n)
      lu.assertEquals(math.tointeger(tonumber(text, base)), n)
    end
    fails("not an integer of base " .. base, new, base == 36 and "{" or
      ("0123456789abcdefghijklmnopqrstuvwxyz"):sub(base + 1, base + 1), base)
  end
  fails("not an integer", new, "0x10", 16) -- as tonumber
  same(new("0x", 36), 33 * 1)
  for _, base in ipairs({ 1, 37, 0, -2 }) do
    misuses(2, "new", "base out of range", "1", base)
  end
  fails("bad argument #1", new, 10, 10)
end

function TestNew.testOneOfOursStaysItself()
  local x = new(5)
  lu.assertTrue(rawequal(new(x), x))
end

function TestNew.testWhatIsNoNumber()
  for _, v in ipairs({ {}, true, print, io.stdout, coroutine.create(print) }) do
    misuses(1, "new", "number or string expected", v)
  end
  fails("bad argument #1", new)
  fails("bad argument #1", new, nil)
end

function TestNew.testRandomRoundTrips()
  seed()
  for _ = 1, ROUNDS // 10 do
    local x, base = random(3000), math.random(2, 36)
    same(new(tostring(x)), x)
    same(new(x:tostring(base), base), x)
    same(new((x:sign() < 0 and "-0x" or "0x") .. x:abs():tostring(16)), x)
  end
end

local TestArithmetic = {}

local EDGES = { 0, 1, -1, 2, -2, 3, -3, 7, -7, 63, 64, -64, MAX, MAX - 1, MIN, MIN + 1, 1 << 32,
  -(1 << 32), (1 << 53) + 1 }

local OPERATORS = {
  ["+"] = function(a, b) return a + b end, ["-"] = function(a, b) return a - b end,
  ["*"] = function(a, b) return a * b end, ["//"] = function(a, b) return a // b end,
  ["%"] = function(a, b) return a % b end, ["/"] = function(a, b) return a / b end,
  ["^"] = function(a, b) return a ^ b end, ["&"] = function(a, b) return a & b end,
  ["|"] = function(a, b) return a | b end, ["~"] = function(a, b) return a ~ b end,
  ["<<"] = function(a, b) return a << b end, [">>"] = function(a, b) return a >> b end,
  ["<"] = function(a, b) return a < b end, ["<="] = function(a, b) return a <= b end,
  [".."] = function(a, b) return a .. b end,
}

--- Whether Lua's integers hold the result: products and sums that wrap do not.
local function fits(name, a, b)
  if name == "+" then return math.abs(a / 2 + b / 2) < 2.0 ^ 62 end
  if name == "-" then return math.abs(a / 2 - b / 2) < 2.0 ^ 62 end
  if name == "*" then return math.abs(a * 1.0 * b) < 2.0 ^ 62 end
  if name == "//" then return not (a == MIN and b == -1) end
  return true
end

-- Either operand, or both, may be of ours.
local function each_kind(f, a, b)
  return { f(new(a), new(b)), f(a, new(b)), f(new(a), b) }
end

local function compare_with_integers(a, b)
  for _, name in ipairs({ "+", "-", "*", "//", "%", "&", "|", "~" }) do
    local f = OPERATORS[name]
    local where = ("%d %s %d"):format(a, name, b)
    if b == 0 and (name == "//" or name == "%") then
      local _, message = pcall(f, a, b)
      message = message:match("attempt .*")
      for _, call in ipairs({ { new(a), new(b) }, { a, new(b) }, { new(a), b } }) do
        fails(message, f, call[1], call[2])
      end
    elseif fits(name, a, b) then
      for _, got in ipairs(each_kind(f, a, b)) do same(got, f(a, b), where) end
    end
  end
  for _, name in ipairs({ "<", "<=", ".." }) do
    local f = OPERATORS[name]
    for _, got in ipairs(each_kind(f, a, b)) do
      lu.assertIs(got, f(a, b), ("%d %s %d"):format(a, name, b))
    end
  end
  lu.assertEquals(new(a) == new(b), a == b)
end

function TestArithmetic.testEdgesAsLuasIntegers()
  for _, a in ipairs(EDGES) do
    for _, b in ipairs(EDGES) do compare_with_integers(a, b) end
  end
end

function TestArithmetic.testRandomAsLuasIntegers()
  seed()
  for _ = 1, ROUNDS do
    local a = math.random(0) >> math.random(0, 63)
    local b = math.random(0) >> math.random(0, 63)
    if math.random(2) == 1 then a = -a end
    if math.random(2) == 1 then b = -b end
    compare_with_integers(a, b)
  end
end

function TestArithmetic.testBeyondLuasIntegers()
  same(new(MAX) + 1, "9223372036854775808")
  same(new(MIN) - 1, "-9223372036854775809")
  same(-new(MIN), "9223372036854775808")
  same(new(MIN) // -1, "9223372036854775808")
  same(MIN * new(MIN), "85070591730234615865843651857942052864")
  same(MAX + new(MAX), "18446744073709551614")
  -- Rounded down, a quotient has one limb more than when it is cut off.
  lu.assertEquals(((new(1) << 128) - 1) // -(new(1) << 64), -(new(1) << 64))
  same(0 - new(MIN), "9223372036854775808")
end

function TestArithmetic.testRandomIdentities()
  seed()
  for i = 1, ROUNDS do
    local most = i % 50 == 0 and 20000 or 400
    local a, b, c = random(most), random(most), random(most)
    lu.assertEquals(a + b - b, a)
    lu.assertEquals(a - b, -(b - a))
    lu.assertEquals((a + b) * c, a * c + b * c)
    lu.assertEquals((a - b) * (a + b), a ^ 2 - b ^ 2)
    if b:sign() ~= 0 then
      local q, r = a // b, a % b
      lu.assertEquals(q * b + r, a)
      lu.assertTrue(r:sign() == 0 or r:sign() == b:sign())
      lu.assertTrue(r:abs() < b:abs())
      lu.assertEquals(a * b // b, a)
      lu.assertEquals((a * b % b):sign(), 0)
    end
    lu.assertEquals(a < b, b > a)
    lu.assertEquals(a <= b, (b - a):sign() >= 0)
    lu.assertEquals(a < b, (a - b):sign() < 0)
    lu.assertEquals((a & b) + (a | b), a + b)
    lu.assertEquals((a ~ b), (a | b) - (a & b))
    lu.assertEquals(~a, -a - 1)
    local n = math.random(0, 200)
    lu.assertEquals(a << n, a * bigint.pow(2, n))
    lu.assertEquals(a >> n, a // bigint.pow(2, n))
    lu.assertEquals(a << -n, a >> n)
    lu.assertEquals(a >> -n, a << n)
  end
end

function TestArithmetic.testShifts()
  same(1 << new(70), "1180591620717411303424")
  same(new(1) << 64 >> 64, 1)
  for _, huge in ipairs({ MAX, new(2) ^ 100, 1 << 40 }) do
    same(new(5) >> huge, 0)
    same(new(-5) >> huge, -1)
    same(new(5) << -new(huge), 0)
    same(new(0) << huge, 0)
    fails("bigint too large", OPERATORS["<<"], new(1), huge)
    fails("bigint too large", OPERATORS[">>"], new(-1), -new(huge))
  end
  same(new(-1) >> 1, -1)
  same(new(5) >> MIN + 1 + MAX, 5)
  same(new(6) >> 1.0, 3)
end

function TestArithmetic.testPowers()
  for base = -3, 3 do
    local x = new(1)
    for n = 0, 100 do
      same(new(base) ^ n, x)
      same(base ^ new(n), x)
      same(bigint.pow(base, n), x)
      x = x * base
    end
  end
  for _, huge in ipairs({ new(2) ^ 100, new(2) ^ 64 + 1, MAX, MAX - 1 }) do
    local odd = new(huge) % 2 == new(1)
    same(new(0) ^ huge, 0)
    same(new(1) ^ huge, 1)
    same(new(-1) ^ huge, odd and -1 or 1)
    for _, base in ipairs({ 2, -2, 3, 1 << 62 }) do
      fails("bigint too large", bigint.pow, base, huge)
      fails("bigint too large", OPERATORS["^"], new(base), huge)
    end
  end
  fails("to the power of a negative number", OPERATORS["^"], new(2), -1)
  misuses(2, "pow", "must not be negative", 2, -1)
  fails("bigint too large", bigint.pow, 2, 1 << 60)
  fails("bigint too large", bigint.pow, 2, (1 << 32) + 1)
end

-- What is made in steps, as the whole would be.
function TestArithmetic.testLargePowers()
  for _, base in ipairs({ 3, -3, 12, new(-5) << 3 }) do
    local n = base == 3 and 6000001 or 300001 * 20
    local half = bigint.pow(base, n // 2)
    local power = bigint.pow(base, n)
    lu.assertTrue(power == half * half * (n % 2 == 1 and base or 1))
    lu.assertEquals(bigint.powmod(base, n, 1000000007), power % 1000000007)
    if sanitizer ~= "" then break end
  end
end

local TestFloats = {}

function TestFloats.testDivisionIsTheNearestFloat()
  seed()
  local limit = 1 << 53 -- up to this Lua's own division rounds once
  for _ = 1, ROUNDS do
    local a, b = math.random(-limit, limit), math.random(1, limit)
    for _, got in ipairs(each_kind(OPERATORS["/"], a, b)) do lu.assertEquals(got, a / b) end
    lu.assertEquals((new(a) << 500) / (new(b) << 500), a / b)
  end
end

-- Ties to even, and subnormal results, which round once as well.
function TestFloats.testDivisionAtTheEdges()
  local two = function(n) return new(1) << n end
  for _, case in ipairs({
    { (two(53) + 1), 1, 2.0 ^ 53 }, { two(53) + 3, 1, 2.0 ^ 53 + 4 },
    { (two(53) + 1 << 1000) + 1, two(1000), 2.0 ^ 53 + 2 },
    { 1, two(1074), 0x1p-1074 }, { 1, two(1075), 0.0 }, { 3, two(1075), 0x1p-1073 },
    { two(60) + 1, two(1135), 0x1p-1074 }, { 1, two(5000), 0.0 }, { -1, two(5000), -0.0 },
    { two(1022) + 1, two(2096) * 3, 0.0 }, { two(53) - 1, two(1075), 0x1p-1022 },
    { two(53) + 1, two(1076), 0x1p-1023 }, { two(53) + 2, two(1076), 0x1p-1023 },
    { two(53) + 3, two(1076), 0x1.0000000000002p-1023 },
    { two(53) + 6, two(1076), 0x1.0000000000004p-1023 },
    { (two(53) + 2 << 9) + 1, two(1085), 0x1.0000000000002p-1023 },
    { two(53) - 3, two(1075), 0x1.ffffffffffffcp-1023 },
    { two(1024) - 1, 1, math.huge }, { two(1024) - two(970), 1, math.huge },
    { two(1024) - two(970) - 1, 1, 0x1.fffffffffffffp1023 },
    { two(3000), two(2000), 2.0 ^ 1000 }, { -two(3000), 1, -math.huge },
  }) do
    local a, b, want = new(case[1]), new(case[2]), case[3]
    lu.assertEquals(("%a"):format(a / b), ("%a"):format(want))
    lu.assertEquals(("%a"):format(-a / -b), ("%a"):format(want))
    lu.assertEquals(("%a"):format(-a / b), ("%a"):format(-want))
  end
  lu.assertEquals(new(1) / 0, math.huge)
  lu.assertEquals(new(-1) / new(0), -math.huge)
  lu.assertNotEquals(new(0) / 0, new(0) / 0)
  lu.assertEquals(("%a"):format(0 / new(-5)), ("%a"):format(-0.0))
end

function TestFloats.testBesideAFloat()
  for name, f in pairs(OPERATORS) do
    if not name:find("[&|~<>.]") then
      for _, d in ipairs({ 1.5, -2.0, 1e300, math.huge }) do
        for _, n in ipairs({ 3, -7 }) do
          lu.assertEquals(("%a"):format(f(new(n), d)), ("%a"):format(f(n, d)), name)
          lu.assertEquals(tostring(f(d, new(n))), tostring(f(d, n)), name)
        end
      end
    end
  end
  lu.assertEquals((new(1) << 2000) + 1.0, math.huge)
  lu.assertEquals(new(1) & 3.0, new(1))
  fails("number has no integer representation", OPERATORS["|"], new(1), 1.5)
  fails("number has no integer representation", OPERATORS["<<"], 1e300, new(1))
end

function TestFloats.testComparisonWithFloatsIsExact()
  local x = (new(1) << 53) + 1
  lu.assertTrue(2.0 ^ 53 < x and x < 2.0 ^ 53 + 2 and x > 2.0 ^ 53)
  lu.assertFalse(x <= 2.0 ^ 53)
  lu.assertTrue(new(5) <= 5.0 and 5.0 <= new(5))
  lu.assertFalse(new(5) < 5.0 or 5.0 < new(5))
  lu.assertTrue(new(5) < 5.5 and -5.5 < new(-5) and new(-6) < -5.5)
  local huge = new(1) << 5000
  lu.assertTrue(huge < math.huge and -math.huge < -huge and 1e308 < huge)
  local nan = 0 / 0
  lu.assertFalse(new(1) < nan or nan < new(1) or new(1) <= nan or nan <= new(1))
end

function TestFloats.testTonumber()
  for _, n in ipairs(EDGES) do lu.assertIs(math.type(new(n):tonumber()), "integer") end
  lu.assertEquals((new(MAX) + 1):tonumber(), 2.0 ^ 63)
  lu.assertEquals(((new(1) << 100) + 1):tonumber(), 2.0 ^ 100)
  lu.assertEquals((-(new(1) << 2000)):tonumber(), -math.huge)
  lu.assertEquals(((new(1) << 64) + (1 << 11) + 1):tonumber(), 2.0 ^ 64 + 4096) -- sticky
  lu.assertEquals(((new(1) << 64) + (1 << 11)):tonumber(), 2.0 ^ 64) -- tie
  lu.assertEquals(new(MAX):tointeger(), MAX)
  lu.assertEquals(new(MIN):tointeger(), MIN)
  lu.assertNil((new(MAX) + 1):tointeger())
  lu.assertNil((new(MIN) - 1):tointeger())
end

local TestErrors = {}

function TestErrors.testOperandsOfOtherTypes()
  local x = new(5)
  for _, other in ipairs({ {}, true, print, io.stdout }) do
    local kind = type(other)
    for name, f in pairs(OPERATORS) do
      local what = name:find("[&|~]") or name == "<<" or name == ">>"
      local message = name == ".." and "attempt to concatenate a " .. kind .. " value"
        or (name == "<" or name == "<=") and "attempt to compare "
        or what and "attempt to perform bitwise operation on a " .. kind .. " value"
        or "attempt to perform arithmetic on a " .. kind .. " value"
      fails(message, f, x, other)
      fails(message, f, other, x)
    end
    lu.assertFalse(x == other)
  end
  fails("attempt to compare bigint with string", function() return x < "6" end)
  fails("attempt to compare string with bigint", function() return "6" < x end)
  fails("attempt to perform arithmetic on a string value", function() return x + "1" end)
  fails("attempt to perform arithmetic on a string value", function() return "1" + x end)
  lu.assertEquals("a" .. x .. "b", "a5b")
  fails("arithmetic on a nil value", function() return x + nil end)
end

function TestErrors.testBadArguments()
  local x = new(5)
  for _, case in ipairs({
    { 1, "factorial" }, { 1, "factorial", {} }, { 1, "factorial", 1.5 }, { 1, "factorial", -1 },
    { 1, "factorial", "5" }, { 1, "factorial", -(x ^ 100) },
    { 1, "gcd" }, { 2, "gcd", 1 }, { 2, "gcd", x, "5" }, { 1, "lcm", nil, 1 }, { 2, "lcm", 1, {} },
    { 1, "isqrt", -1 }, { 1, "isqrt", -x }, { 1, "isqrt", 0.5 }, { 1, "is_prime", "7" },
    { 1, "pow" }, { 2, "pow", 1 }, { 2, "pow", x, 0.5 }, { 2, "pow", 1, -1 },
    { 1, "powmod" }, { 2, "powmod", 1 }, { 3, "powmod", 1, 1 }, { 3, "powmod", 1, 1, 0 },
    { 1, "powmod", 2, -1, 4 }, { 1, "powmod", 0, -1, 5 },
  }) do
    local arg, name = table.unpack(case)
    misuses(arg, name, "", table.unpack(case, 3, 5))
  end
  for _, name in ipairs({ "abs", "digits", "sign", "tointeger", "tonumber", "tostring" }) do
    fails("bad argument #1 to ", x[name], {})
    fails("bad argument #1 to ", x[name], io.stdout)
  end
  for _, base in ipairs({ 1, 37, -10 }) do fails("base out of range", x.tostring, x, base) end
  lu.assertNil(x.nothing)
  fails("attempt to index", function() x.field = 1 end)
end

return {
  TestBigintNew = TestNew, TestBigintArithmetic = TestArithmetic, TestBigintFloats = TestFloats,
  TestBigintErrors = TestErrors,
}

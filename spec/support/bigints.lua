--- Numbers of the specs of bigint.
local bigint = require("bigint")
local lu = require("luaunit")

local new = bigint.new

local bigints = {}

--- Asserts that two numbers of any kind have one value, and the first its kind.
function bigints.same(got, want, ...)
  lu.assertEquals(type(got), "userdata", ...)
  lu.assertEquals(tostring(got), tostring(want), ...)
end

--- A random number with up to so many bits; often one with long runs of equal
--- bits, or beside a power of two.
function bigints.random(most)
  local bits = math.random(0, most)
  local x = new(0)
  local kind = math.random(4)
  if kind == 1 then
    x = (new(1) << bits) + math.random(-1, 1)
  elseif kind == 2 then
    x = ((new(1) << bits) - 1) << math.random(0, most)
  else
    for _ = 1, bits // 62 + 1 do x = (x << 62) + math.random(0, (1 << 62) - 1) end
    x = x >> (bits // 62 * 62 + 62 - bits)
  end
  return math.random(2) == 1 and x or -x
end

return bigints

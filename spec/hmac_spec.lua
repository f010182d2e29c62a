--- tidelock._hmac: message authentication over OpenSSL.
local hmac = require("tidelock._hmac")
local lu = require("luaunit")
local exhaust = require("support.exhaust")
local threading = require("threading")

local HASHES = { "sha256", "sha384", "sha512" }

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- RFC 4231, section 4; the fifth one's digests without their truncation. A key or a
-- message is a byte so many times, bytes that are counted, or text; a line that is indented
-- goes on with the one before.
local VECTORS = [[
key 0b * 20
message Hi There
sha256 b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7
sha384 afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c
  faea9ea9076ede7f4af152e8b2fa9cb6
sha512 87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde
  daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854

key Jefe
message what do ya want for nothing?
sha256 5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843
sha384 af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e
  8e2240ca5e69e2c78b3239ecfab21649
sha512 164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554
  9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737

key aa * 20
message dd * 50
sha256 773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe
sha384 88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b
  2a5ab39dc13814b94e3ab6e101a34f27
sha512 fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39
  bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb

key 01 to 19
message cd * 50
sha256 82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b
sha384 3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e
  6801dd23c4a7d679ccf8a386c674cffb
sha512 b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db
  a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd

key 0c * 20
message Test With Truncation
sha256 a3b6167473100ee06e0c796c2955552bfa6f7c0a6a8aef8b93f860aab0cd20c5
sha384 3abf34c3503b2a23a46efc619baef897f4c8e42c934ce55ccbae9740fcbc1af4
  ca62269e2a37cd88ba926341efe4aeea
sha512 415fad6271580a531d4179bc891d87a650188707922a4fbb36663a1eb16da008
  711c5b50ddd0fc235084eb9d3364a1454fb2ef67cd1d29fe6773068ea266e96b

key aa * 131
message Test Using Larger Than Block-Size Key - Hash Key First
sha256 60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54
sha384 4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6
  0c2ef6ab4030fe8296248df163f44952
sha512 80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352
  6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598

key aa * 131
message This is a test using a larger than block-size key and a larger than block-
  size data. The key needs to be hashed before being used by the HMAC algorithm.
sha256 9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2
sha384 6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5
  a678cc31e799176d3860e6110c46523e
sha512 e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944
  b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58

]]

local function to_bytes(text)
  local byte, times = text:match("^(%x%x) %* (%d+)$")
  if byte then return string.char(tonumber(byte, 16)):rep(times) end
  local first, last = text:match("^(%x%x) to (%x%x)$")
  if not first then return text end
  local bytes = {}
  for i = tonumber(first, 16), tonumber(last, 16) do bytes[#bytes + 1] = string.char(i) end
  return table.concat(bytes)
end

local function read_vectors()
  local cases = {}
  for text in VECTORS:gsub("\n  ", ""):gmatch("(.-)\n\n") do
    local case = {}
    for name, value in text:gmatch("(%w+) ([^\n]+)") do case[name] = value end
    case.key, case.message = to_bytes(case.key), to_bytes(case.message)
    cases[#cases + 1] = case
  end
  return cases
end

local TestHmac = {}

function TestHmac.testDigestsOfTheStandard()
  local cases = read_vectors()
  lu.assertEquals(#cases, 7)
  for i, case in ipairs(cases) do
    for _, hash in ipairs(HASHES) do
      lu.assertEquals(hex(hmac.digest(case.key, case.message, hash)), case[hash], i)
    end
    lu.assertEquals(hex(hmac.digest(case.key, case.message)), case.sha256, i)
  end
end

-- The values are those of Python's hmac.
function TestHmac.testEmptyAndBinary()
  lu.assertEquals(hex(hmac.digest("", "")),
    "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad")
  lu.assertEquals(hex(hmac.digest("", "x")),
    "4cbc96099a6467ce002461f10549b4898265ebe6188b45efacc44293516e62c4")
  lu.assertEquals(hex(hmac.digest("k\0a", "m\0b")),
    "e74b6d1ce9ccbc1a3e595de503d2159efae81a077df0ae0d6bfea1734903840c")
end

-- A long one, for which the GIL is given up.
function TestHmac.testLongMessages()
  lu.assertEquals(hex(hmac.digest("key", ("abc"):rep(1000000))),
    "f6441cabb09ffdc0408d40d9be71c56e8b4fb9745c797e3f8828c522ceaa5666")
  -- A key that is longer than a block counts as its hash; one of zeros at the
  -- end as one without them.
  local long = ("k"):rep(100000)
  lu.assertNotEquals(hmac.digest(long, "m"), hmac.digest(long .. "k", "m"))
  lu.assertEquals(hmac.digest("k", "m"), hmac.digest("k\0\0", "m"))
end

function TestHmac.testEqual()
  for _, pair in ipairs({ { "", "" }, { "a", "a" }, { "a\0b", "a\0b" } }) do
    lu.assertIs(hmac.equal(pair[1], pair[2]), true)
  end
  for _, pair in ipairs({ { "", "a" }, { "a", "b" }, { "ab", "a" }, { "a", "ab" },
    { "a\0b", "a\0c" }, { "xa", "ya" } }) do
    lu.assertIs(hmac.equal(pair[1], pair[2]), false)
  end
end

function TestHmac.testRandom()
  for _, n in ipairs({ 0, 1, 32, 257, 100000 }) do
    lu.assertEquals(#hmac.random(n), n)
  end
  local seen = {}
  for _ = 1, 1000 do
    local bytes = hmac.random(16)
    lu.assertNil(seen[bytes])
    seen[bytes] = true
  end
  -- Every value of a byte comes: one of 256 is missing with probability e^-390.
  local values, count = {}, 0
  for c in hmac.random(100000):gmatch(".") do
    if not values[c] then values[c], count = true, count + 1 end
  end
  lu.assertEquals(count, 256)
end

function TestHmac.testBadArguments()
  for _, case in ipairs({
    { 1, "digest" }, { 1, "digest", nil, "m" }, { 1, "digest", {}, "m" }, { 2, "digest", "k" },
    { 2, "digest", "k", true }, { 3, "digest", "k", "m", "rot13" }, { 3, "digest", "k", "m", {} },
    { 1, "equal" }, { 2, "equal", "a" }, { 2, "equal", "a", {} },
    { 1, "random" }, { 1, "random", -1 }, { 1, "random", 1.5 },
    { 1, "random", math.maxinteger },
  }) do
    local arg, name = table.unpack(case)
    lu.assertErrorMsgContains(("bad argument #%d to 'tidelock._hmac.%s'"):format(arg, name),
      hmac[name], table.unpack(case, 3, 5))
  end
end

-- Threads that compute at once do not disturb each other.
function TestHmac.testThreads()
  local message = ("m"):rep(1 << 20)
  local expected = hmac.digest("key", message)
  local threads = {}
  for i = 1, 4 do
    threads[i] = threading.Thread(function()
      for _ = 1, 5 do
        if hmac.digest("key", message) ~= expected then return false end
      end
      return true
    end):start()
  end
  for i = 1, 4 do lu.assertTrue(threads[i]:result(60)) end
end

local TestMemory = {}

exhaust.add(TestMemory, "Digest", {
  act = function() return hmac.digest("key", "message", "sha384") end,
  check = function(_, failed, digest)
    if not failed then lu.assertEquals(#digest, 48) end
  end,
})

exhaust.add(TestMemory, "Random", {
  act = function() return hmac.random(100000) end,
  check = function(_, failed, bytes)
    if not failed then lu.assertEquals(#bytes, 100000) end
  end,
})

return { TestHmac = TestHmac, TestHmacMemory = TestMemory }

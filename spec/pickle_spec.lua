--- Values that travel, and what they are afterwards.
local errors = require("errors")
local lu = require("luaunit")
local pickle = require("pickle")

local function copy(value) return pickle.loads(pickle.dumps(value)) end

--- The value in b that stands for a's at that key; tables that are keys have ids.
local function partner(b, key)
  if type(key) ~= "table" then return b[key] end
  for other, value in pairs(b) do
    if type(other) == "table" and other.id == key.id then return value, other end
  end
end

--- Whether two values are equal bit by bit, and linked in the same way.
local function alike(a, b, seen)
  if type(a) ~= "table" then
    return math.type(a) == math.type(b) and a == b and (a ~= 0.0 or 1 / a == 1 / b)
  end
  seen = seen or {}
  if seen[a] or seen[b] then return seen[a] == b and seen[b] == a end
  seen[a], seen[b] = b, a
  for key, value in pairs(a) do
    local other, other_key = partner(b, key)
    if not alike(value, other, seen) then return false end
    if other_key and not alike(key, other_key, seen) then return false end
  end
  for key in pairs(b) do
    if partner(a, key) == nil then return false end
  end
  return true
end

local TestPickle = {}

-- Plain values ------------------------------------------------------------------

local function check(value)
  lu.assertTrue(alike(value, copy(value)), tostring(value))
  lu.assertTrue(alike({ value, k = value }, copy({ value, k = value })), tostring(value))
end

function TestPickle:testNilAndBooleans()
  lu.assertNil(copy(nil))
  lu.assertEquals(select("#", pickle.loads(pickle.dumps(nil))), 1)
  check(true)
  check(false)
end

function TestPickle:testIntegersOfAllSizes()
  for bit = 0, 63 do
    for _, d in ipairs({ -2, -1, 0, 1, 2 }) do
      check((1 << bit) + d)
      check(-(1 << bit) + d)
    end
  end
end

function TestPickle:testFloatsBitByBit()
  for _, x in ipairs({ 0.0, -0.0, 1.0, -1.0, 0.5, 0.1, 1 / 3, 1e300, -1e300, 5e-324, 2.0 ^ -126,
    2.0 ^ -149, 2.0 ^ -150, 3.4028234663852886e38, 2.0 ^ 53, 2.0 ^ 63, math.huge, -math.huge }) do
    check(x)
  end
  for _, bits in ipairs({ 0x7FF8000000000000, 0xFFF8000000000000 | 0, 0x7FF8000000012345,
    0x7FF0000000000001, 0xFFF4000000000000 | 0 }) do
    local nan = string.unpack("<d", string.pack("<i8", bits))
    lu.assertEquals(string.pack("<d", copy({ nan })[1]), string.pack("<d", nan))
  end
end

function TestPickle:testStringsOfAllLengths()
  for _, n in ipairs({ 0, 1, 2, 30, 31, 32, 33, 40, 41, 127, 128, 255, 256, 16383, 16384,
    1 << 20 }) do
    check(("\0x\xff"):rep(n // 3 + 1):sub(1, n))
  end
end

function TestPickle:testTheSentinelOfCjson()
  local null = require("cjson").null
  lu.assertEquals(copy({ null })[1], null)
end

function TestPickle:testOneValueFollowsAnother()
  lu.assertEquals(pickle.dumps(1), pickle.dumps(1))
  lu.assertNotEquals(pickle.dumps(1), pickle.dumps(1.0))
end

-- Tables ------------------------------------------------------------------------

function TestPickle:testTablesOfManyShapes()
  check({})
  check({ {} })
  check({ 1, 2, 3, nil, 5 })
  check({ nil, nil, 3 })
  check({ 1, "a", x = 2, [2.5] = 3, [true] = 4, [-1] = 5, [0] = 6, [math.maxinteger] = 7 })
  check({ n = 3, 1, nil, 3 })
  local holes = { 1, 2, 3, 4, 5, 6, 7, 8 }
  for i = 1, 8, 3 do holes[i] = nil end
  check(holes)
end

-- Lua keeps elements in two parts; a traversal meets them in any order.
function TestPickle:testElementsInTheHashPart()
  for n = 1, 40 do
    local down, odd, mixed = {}, {}, { x = 1 }
    for i = n, 1, -1 do down[i] = { i } end
    for i = 1, n, 2 do odd[i] = i end
    for i = 1, n do mixed[i], mixed["k" .. i] = i, i end
    for i = 1, n, 3 do mixed[i] = nil end
    check(down)
    local up = {}
    for i = 1, n do up[i] = { i } end
    lu.assertEquals(#pickle.dumps(down), #pickle.dumps(up)) -- each is written once
    check(odd)
    check(mixed)
  end
end

-- The number of pairs is known late, and written in a byte first.
function TestPickle:testTablesWithManyPairs()
  for _, n in ipairs({ 1, 2, 253, 254, 255, 256, 257, 510, 511, 1000, 70000 }) do
    local t = { 1, 2 }
    for i = 1, n do t["k" .. i] = { i } end
    check(t)
    t[5000] = 1
    check(t)
  end
end

-- The length of a table may lie far beyond most of its elements, as that of a
-- constructor with flags does.
function TestPickle:testTablesWithWideGaps()
  for last = 0, 40 do
    local text = {}
    for bit = 0, last do text[bit + 1] = ("[1 << %d] = 'f%d'"):format(bit, bit) end
    local flags = load("return {" .. table.concat(text, ",") .. "}")()
    check(flags)
    lu.assertTrue(#pickle.dumps(flags) < 1000)
  end
  for gap = 97, 103 do
    for _, first in ipairs({ 0, 1, 2, 20 }) do
      local t, down = {}, {}
      for i = 1, first do t[i] = i end
      for i = 0, 2 do t[first + gap + i * gap] = { i } end
      for i = first + 3 * gap, 1, -1 do down[i] = t[i] end
      check(t)
      check(down)
      check(table.pack(table.unpack(t, 1, first + 3 * gap)))
      t.x = t
      check(t)
    end
  end
end

function TestPickle:testAnElementInTheHashPartIsWrittenOnce()
  local late, early = { x = 1, y = 2, z = 3 }, { "first", x = 1, y = 2, z = 3 }
  late[1] = "first" -- there is a free place
  check(late)
  lu.assertEquals(#pickle.dumps(late), #pickle.dumps(early))
end

function TestPickle:testManyPairsBesideElementsInTheHashPart()
  local t = {}
  for i = 600, 1, -1 do t[i], t["k" .. i] = i, i end
  check(t)
  for i = 3, 600, 7 do t[i] = nil end
  check(t)
end

function TestPickle:testSharedReferencesAndCyclesStay()
  local shared, list = { id = 1 }, {}
  for i = 1, 1000 do list[i] = i % 3 == 0 and shared or { i } end
  list.self, list.shared = list, shared
  shared.list = list
  list[shared] = shared
  local got = copy(list)
  lu.assertTrue(alike(list, got))
  lu.assertIs(got.self, got)
  lu.assertIs(got[3], got.shared)
  lu.assertIs(got[999], got.shared)
  lu.assertIs(got[got.shared], got.shared)
  lu.assertIs(got.shared.list, got)
end

-- References have one, two, three or five bytes.
function TestPickle:testReferencesToManyObjects()
  local list = {}
  for i = 1, 70000 do list[i] = { i } end
  for i = 1, 70000 do list[70000 + i] = list[i] end
  local got = copy(list)
  for i = 1, 70000 do
    lu.assertIs(got[70000 + i], got[i])
    if got[i][1] ~= i then lu.assertEquals(got[i][1], i) end
  end
end

function TestPickle:testTablesAsKeys()
  local a, b = { "a" }, { "b" }
  a[b], b[a] = { a }, { b }
  local got = copy({ [a] = b, first = a })
  local x = got.first
  lu.assertEquals(x[1], "a")
  local y = got[x]
  lu.assertEquals(y[1], "b")
  lu.assertIs(x[y][1], x)
  lu.assertIs(y[x][1], y)
end

function TestPickle:testRandomGraphs()
  local seed = require("support.seed")()
  for _ = 1, 200 do
    local nodes = {}
    for i = 1, math.random(60) do nodes[i] = { id = i } end
    for _ = 1, math.random(300) do
      local from, to = nodes[math.random(#nodes)], nodes[math.random(#nodes)]
      local keys = { math.random(20), "k" .. math.random(300), math.random(), to }
      local values = { to, math.random(0) >> math.random(63), math.random(), keys[2] }
      from[keys[math.random(4)]] = values[math.random(4)]
    end
    nodes.root = nodes
    lu.assertTrue(alike(nodes, copy(nodes)), "seed " .. seed)
  end
end

-- Classes -----------------------------------------------------------------------

local Point = { __name = "Point" }
Point.__index = Point
function Point.__eq(a, b) return a.x == b.x end
pickle.register("pickle_spec.Point", Point)

function TestPickle:testObjectsOfRegisteredClassesKeepTheirMetatable()
  local p = setmetatable({ 1, 2, x = 3 }, Point)
  p.me = p
  local got = copy({ p, p })
  lu.assertIs(getmetatable(got[1]), Point)
  lu.assertTrue(rawequal(got[1], got[2]))
  lu.assertTrue(rawequal(got[1].me, got[1]))
  lu.assertEquals({ got[1][1], got[1][2], got[1].x }, { 1, 2, 3 })
end

-- A metamethod of its class must not see a half of an object.
function TestPickle:testTheMetatableIsSetWhenTheFieldsAreThere()
  local Strict = { __newindex = function() error("sealed") end, __index = error }
  pickle.register("pickle_spec.Strict", Strict)
  lu.assertEquals(rawget(copy(setmetatable({ a = 1 }, Strict)), "a"), 1)
end

local Stamp = {}
Stamp.__index = Stamp
local restored = 0
local function stamp(...) return setmetatable({ n = select("#", ...), ... }, Stamp) end
pickle.register("pickle_spec.Stamp", Stamp, {
  reduce = function(s) return table.unpack(s, 1, s.n) end,
  restore = function(...)
    restored = restored + 1
    return stamp(...)
  end,
})

function TestPickle:testReduceAndRestore()
  local shared = {}
  restored = 0
  local s = stamp(1, nil, shared, nil)
  local got = copy({ shared, s, s, stamp() })
  lu.assertEquals(restored, 2)
  lu.assertIs(got[2], got[3])
  lu.assertIs(getmetatable(got[2]), Stamp)
  lu.assertEquals(got[2].n, 4)
  lu.assertIs(got[2][3], got[1])
  lu.assertEquals(got[4].n, 0)
end

function TestPickle:testReducedObjectsNest()
  local s = stamp("leaf")
  for i = 1, 500 do s = stamp(i, s, s) end
  local got = copy(s)
  for i = 500, 1, -1 do
    lu.assertEquals(got[1], i)
    lu.assertIs(got[2], got[3])
    got = got[2]
  end
  lu.assertEquals(got[1], "leaf")
end

function TestPickle:testAnObjectInItsOwnReducedValuesIsRefused()
  local s = stamp({})
  s[1].back = s
  lu.assertErrorMsgContains("a table with a metatable at value.s reduced[1].back: "
    .. "what it is reduced to contains it", pickle.dumps, { s = s })
end

function TestPickle:testAnErrorInReduceOrRestoreIsPassedOn()
  local Bad, how = {}, nil
  local told = {}
  pickle.register("pickle_spec.Bad", Bad, {
    reduce = function() if how == "reduce" then error(told) end end,
    restore = function()
      if how == "restore" then error(told) end
      if how == "nil" then return nil end
      return 1
    end,
  })
  local object = setmetatable({}, Bad)
  local bytes = pickle.dumps(object)
  how = "reduce"
  lu.assertIs(select(2, pcall(pickle.dumps, object)), told)
  how = "restore"
  lu.assertIs(select(2, pcall(pickle.loads, bytes)), told)
  how = "nil"
  lu.assertErrorMsgContains("returned nothing", pickle.loads, bytes)
end

function TestPickle:testRegisteringANameAgainReplacesItsMetatable()
  local old, new = {}, {}
  pickle.register("pickle_spec.Again", old)
  local bytes = pickle.dumps(setmetatable({}, old))
  pickle.register("pickle_spec.Again", old)
  pickle.register("pickle_spec.Again", new)
  lu.assertIs(getmetatable(pickle.loads(bytes)), new)
  lu.assertIs(getmetatable(copy(setmetatable({}, old))), new)
end

-- Arguments ---------------------------------------------------------------------

function TestPickle:testArgumentErrors()
  local cases = {
    { "bad argument #1 to 'dumps' (value expected)", pickle.dumps },
    { "bad argument #1 to 'loads' (string expected, got no value)", pickle.loads },
    { "bad argument #1 to 'loads' (string expected, got number)", pickle.loads, 12 },
    { "bad argument #2 to 'loads' (table expected, got boolean)", pickle.loads, "", true },
    { "bad argument #2 to 'loads' (unknown option 'function')", pickle.loads, "",
      { ["function"] = true } },
    { "bad argument #2 to 'loads' (functions must be a boolean)", pickle.loads, "",
      { functions = 1 } },
    { "bad argument #1 to 'register' (string expected, got nil)", pickle.register, nil, {} },
    { "bad argument #2 to 'register' (table expected, got no value)", pickle.register, "x" },
    { "bad argument #3 to 'register' (table expected, got function)", pickle.register, "x", {},
      print },
    { "bad argument #3 to 'register' (reduce must be a function)", pickle.register, "x", {},
      { reduce = 1 } },
    { "bad argument #3 to 'register' (reduce and restore go together)", pickle.register, "x", {},
      { reduce = print } },
    { "bad argument #3 to 'register' (unknown option 'restor')", pickle.register, "x", {},
      { restor = print } },
    { "bad argument #2 to 'register' (already registered as 'pickle_spec.Point')",
      pickle.register, "x", Point },
  }
  for _, case in ipairs(cases) do
    local _, err = pcall(table.unpack(case, 2))
    -- The name is the function's, or that of a field of a module.
    lu.assertStrContains(err:gsub("'[%w.]*%.(%w+)' %(", "'%1' ("), case[1])
  end
end

function TestPickle:testTheErrorsAreThoseOfErrors()
  lu.assertIs(pickle.PicklingError, errors.PicklingError)
  lu.assertIs(pickle.UnpicklingError, errors.UnpicklingError)
  local _, err = pcall(pickle.dumps, coroutine.create(print))
  lu.assertTrue(errors.is(err, pickle.PicklingError))
  _, err = pcall(pickle.loads, "")
  lu.assertTrue(errors.is(err, pickle.UnpicklingError))
end

return { TestPickle = TestPickle }

-- Values and arrays in shared memory: elements, limits, other processes. Numbers are those of
-- CPython's behaviours that each test holds tidelock to.
local errors = require("errors")
local lu = require("luaunit")
local mp = require("multiprocessing")
local children = require("support.children")
local exhaust = require("support.exhaust")
local program = require("support.program")

local LIMIT = 60 -- seconds, for what should take a moment

local INTEGERS = {
  int8 = { -128, 127, letter = "b" },
  uint8 = { 0, 255, letter = "B" },
  int16 = { -32768, 32767, letter = "h" },
  uint16 = { 0, 65535, letter = "H" },
  int32 = { -2147483648, 2147483647, letter = "i" },
  uint32 = { 0, 4294967295, letter = "I" },
}

local function set(object, key, value) object[key] = value end
local function get(object, key) return object[key] end

local TestElements = {}

-- 109
function TestElements:testIntegersKeepTheirLimits()
  for kind, limits in pairs(INTEGERS) do
    for _, name in ipairs({ kind, limits.letter }) do
      local v, a = mp.RawValue(name), mp.RawArray(name, 3)
      lu.assertEquals(v.value, 0)
      for i = 1, 2 do
        v.value = limits[i]
        a[2] = limits[i]
        lu.assertEquals({ v.value, a[1], a[2], a[3] }, { limits[i], 0, limits[i], 0 })
      end
      for _, wrong in ipairs({ limits[1] - 1, limits[2] + 1, math.mininteger, math.maxinteger }) do
        local message = ("bad argument #3 to 'newindex' (%d does not fit into %s)")
          :format(wrong, kind)
        lu.assertErrorMsgContains(message, set, v, "value", wrong)
        lu.assertErrorMsgContains(message, set, a, 2, wrong)
      end
      lu.assertEquals({ v.value, a[1], a[2], a[3] }, { limits[2], 0, limits[2], 0 })
      lu.assertEquals(tostring(v), ("<Value %s %d>"):format(kind, limits[2]))
    end
  end
end

-- 109
function TestElements:testIntegersOf64BitsAreLuas()
  for _, name in ipairs({ "int64", "uint64", "l", "L", "q", "Q" }) do
    local v = mp.RawValue(name, math.maxinteger)
    lu.assertEquals(v.value, math.maxinteger)
    v.value = math.mininteger
    lu.assertEquals(v.value, math.mininteger)
    v.value = -1
    lu.assertEquals(v.value, -1)
    lu.assertEquals(math.type(v.value), "integer")
    lu.assertErrorMsgContains("no integer representation", set, v, "value", 2.0 ^ 63)
    lu.assertEquals(v.value, -1)
  end
end

-- 109
function TestElements:testWhatIsNoIntegerIsRefused()
  local v = mp.RawValue("int16", 7)
  for _, wrong in ipairs({ 1.5, 0 / 0, math.huge }) do
    lu.assertErrorMsgContains("#3 to 'newindex' (number has no integer representation)", set, v,
      "value", wrong)
  end
  for _, wrong in ipairs({ "1", true, {} }) do
    lu.assertErrorMsgContains("(integer expected, got " .. type(wrong), set, v, "value", wrong)
  end
  lu.assertErrorMsgContains("(integer expected, got nil", set, v, "value", nil)
  lu.assertEquals(v.value, 7)
  v.value = 12.0
  lu.assertEquals(math.type(v.value), "integer")
end

-- 109
function TestElements:testFloatsOfBothSizes()
  for _, name in ipairs({ "double", "d", "float", "f" }) do
    local v = mp.RawValue(name)
    lu.assertEquals({ v.value, math.type(v.value) }, { 0.0, "float" })
    for _, x in ipairs({ 1.5, -2.25, math.huge, -math.huge, 3 }) do
      v.value = x
      lu.assertEquals(v.value, x + 0.0)
    end
    v.value = 0 / 0
    lu.assertTrue(v.value ~= v.value)
    v.value = -0.0
    lu.assertEquals(1 / v.value, -math.huge)
    lu.assertErrorMsgContains("(number expected, got string)", set, v, "value", "1")
  end
  local exact, rounded = mp.RawValue("double", 0.1), mp.RawValue("float", 0.1)
  lu.assertEquals(exact.value, 0.1)
  lu.assertEquals(rounded.value, (string.unpack("f", string.pack("f", 0.1))))
  rounded.value = 1e300
  lu.assertEquals(rounded.value, math.huge)
  exact.value = 1.7976931348623157e308
  lu.assertEquals(exact.value, 1.7976931348623157e308)
  exact.value = 5e-324
  lu.assertEquals(exact.value, 5e-324)
end

-- 109
function TestElements:testBooleansAndCharacters()
  for _, name in ipairs({ "bool", "?" }) do
    local v = mp.RawValue(name)
    lu.assertIs(v.value, false)
    v.value = true
    lu.assertIs(v.value, true)
    lu.assertErrorMsgContains("(boolean expected, got number)", set, v, "value", 1)
    lu.assertErrorMsgContains("(boolean expected, got nil)", set, v, "value", nil)
  end
  local c = mp.RawValue("c", "x")
  lu.assertEquals(c.value, "x")
  c.value = "\0"
  lu.assertEquals(c.value, "\0")
  for _, wrong in ipairs({ "", "ab", 1 }) do
    lu.assertErrorMsgContains("string of one byte expected", set, c, "value", wrong)
  end
end

-- 109
function TestElements:testAnArrayOfCharactersIsAString()
  local a = mp.RawArray("c", "hello")
  lu.assertEquals({ #a, a[1], a[-1], a.value, a.raw }, { 5, "h", "o", "hello", "hello" })
  a.value = "ab"
  lu.assertEquals({ a.value, a.raw }, { "ab", "ab\0lo" })
  a.raw = "12345"
  lu.assertEquals(a.value, "12345")
  lu.assertErrorMsgContains("longer than the array", set, a, "value", "123456")
  lu.assertErrorMsgContains("string expected", set, a, "value", 5)
  lu.assertEquals(a.raw, "12345")
  lu.assertEquals(#mp.RawArray("c", 7), 7)
  lu.assertNil(mp.RawArray("uint8", 1).value)
end

-- 109
function TestElements:testIndexesCountFromOneOrFromTheEnd()
  local a = mp.RawArray("int32", { 10, 20, 30 })
  lu.assertEquals({ a[1], a[3], a[-1], a[-3], a[2.0] }, { 10, 30, 30, 10, 20 })
  a[-2] = 21
  lu.assertEquals(a:read(), { 10, 21, 30 })
  for _, i in ipairs({ 0, 4, -4, math.maxinteger, math.mininteger }) do
    local range = ("index %d is out of range [1, 3]"):format(i)
    lu.assertErrorMsgContains("bad argument #2 to 'index' (" .. range, get, a, i)
    lu.assertErrorMsgContains("bad argument #2 to 'newindex' (" .. range, set, a, i, 1)
  end
  lu.assertErrorMsgContains("no integer representation", get, a, 1.5)
  lu.assertErrorMsgContains("no integer representation", get, a, 0 / 0)
  lu.assertNil(a["1"])
  lu.assertErrorMsgContains("no attribute '1' to set in a multiprocessing.RawArray", set, a, "1", 1)
  lu.assertErrorMsgContains("no attribute 'true'", set, a, true, 1)
  lu.assertEquals(a:read(), { 10, 21, 30 })
end

-- 109
function TestElements:testPairsEndsAndIpairsDoesNot()
  local a, seen = mp.RawArray("uint8", { 5, 6, 7 }), {}
  for i, x in pairs(a) do table.insert(seen, i .. "=" .. x) end
  lu.assertEquals(table.concat(seen, " "), "1=5 2=6 3=7")
  for _ in pairs(mp.RawArray("uint8", 0)) do lu.fail("it is empty") end
  lu.assertErrorMsgContains("index 4 is out of range", function() for _ in ipairs(a) do end end)
end

local TestBulk = {}

-- 109
function TestBulk:testReadIsASlice()
  local a = mp.RawArray("double", { 1, 2, 3, 4, 5 })
  lu.assertEquals(a:read(), { 1.0, 2.0, 3.0, 4.0, 5.0 })
  lu.assertEquals(a:read(4), { 4.0, 5.0 })
  lu.assertEquals(a:read(2, 3), { 2.0, 3.0, 4.0 })
  lu.assertEquals(a:read(-2), { 4.0, 5.0 })
  lu.assertEquals(a:read(-3, 1), { 3.0 })
  lu.assertEquals({ a:read(6), a:read(3, 0), mp.RawArray("double", 0):read() }, { {}, {}, {} })
  for _, range in ipairs({ { 7 }, { 0 }, { -6 }, { 5, 2 }, { 6, 1 }, { 1, 6 }, { 1, -1 },
    { 2, math.maxinteger }, { 1, math.mininteger } }) do
    lu.assertErrorMsgContains("out of range [1, 5]", function() a:read(table.unpack(range)) end)
    lu.assertErrorMsgContains("out of range [1, 5]", function() a:tobytes(table.unpack(range)) end)
    lu.assertErrorMsgContains("out of range [1, 5]", function() a:fill(0, table.unpack(range)) end)
  end
end

-- 109
function TestBulk:testBytesAreWhatStringPackMakes()
  local letters = { int8 = "b", uint16 = "H", int32 = "i4", int64 = "j", float = "f", double = "d" }
  for kind, letter in pairs(letters) do
    local a = mp.RawArray(kind, { 1, 2, 3 })
    local bytes = string.pack(letter:rep(3), 1, 2, 3)
    lu.assertEquals(a:tobytes(), bytes)
    lu.assertEquals(a:tobytes(2, 1), string.pack(letter, 2))
    local b = mp.RawArray(kind, 4)
    b:write(2, bytes)
    lu.assertEquals(b:tobytes(), string.pack(letter, 0) .. bytes)
    if #bytes > 3 then
      lu.assertErrorMsgContains("bad argument #2 to 'write' (length must be a multiple of",
        function() b:write(1, bytes .. "x") end)
    end
    lu.assertErrorMsgContains("out of range [1, 4]", function() b:write(3, bytes) end)
    lu.assertEquals(b:tobytes(), string.pack(letter, 0) .. bytes)
  end
end

--- Every way in which bytes lie before, in and behind whole words.
function TestBulk:testCopiesOfAllLengthsAtAllPlaces()
  for kind, letter in pairs({ uint8 = "B", uint16 = "H", uint32 = "I4", uint64 = "j" }) do
    for first = 1, 9 do
      for n = 0, 18 do
        local a, want, some = mp.RawArray(kind, 30), {}, {}
        a:fill(99)
        for i = 1, 30 do want[i] = 99 end
        for i = 1, n do
          some[i] = i
          want[first + i - 1] = i
        end
        a:write(first, string.pack("=" .. letter:rep(n), table.unpack(some)))
        lu.assertEquals(a:read(), want)
        lu.assertEquals(a:read(first, n), some)
        local b = mp.RawArray(kind, n)
        b:write(1, a:tobytes(first, n))
        lu.assertEquals(b:read(), some)
        a:fill(7, first, n)
        for i = 1, n do want[first + i - 1] = 7 end
        lu.assertEquals(a:read(), want)
        a:write(first + 1, b)
        for i = 1, n do want[first + i] = i end
        lu.assertEquals(a:read(), want)
      end
    end
  end
end

-- 109
function TestBulk:testWriteIsASliceAssignment()
  local a = mp.RawArray("int16", 5)
  a:write(2, { 7, 8 })
  a:write(-1, { 9 })
  a:write(6, {})
  lu.assertEquals(a:read(), { 0, 7, 8, 0, 9 })
  a:write(1, mp.RawArray("int16", { 1, 2 }))
  lu.assertEquals(a:read(), { 1, 2, 8, 0, 9 })
  a:write(1, a)
  lu.assertEquals(a:read(), { 1, 2, 8, 0, 9 })
  a:write(3, setmetatable({}, {
    __len = function() return 2 end,
    __index = function(_, i) return i * 100 end,
  }))
  lu.assertEquals(a:read(), { 1, 2, 100, 200, 9 })
  a:fill(-1, 2, 3)
  lu.assertEquals(a:read(), { 1, -1, -1, -1, 9 })
  a:fill(6)
  lu.assertEquals(a:read(), { 6, 6, 6, 6, 6 })
end

-- 109
function TestBulk:testNothingIsWrittenAfterAnError()
  local a = mp.RawArray("int8", { 1, 2, 3 })
  local function refused(message, first, source)
    lu.assertErrorMsgContains(message, function() a:write(first, source) end)
    lu.assertEquals(a:read(), { 1, 2, 3 })
  end
  refused("bad argument #2 to 'write' (element 3: 128 does not fit into int8)", 1, { 7, 7, 128 })
  refused("(element 2: integer expected, got nil)", 1, { 7, nil, 7 })
  refused("(element 1: integer expected, got string)", 1, { "7" })
  refused("(4 elements from 1 on are out of range [1, 3])", 1, { 7, 7, 7, 7 })
  refused("(1 elements from 4 on are out of range [1, 3])", 4, { 7 })
  refused("bad argument #1 to 'write' (index 5 is out of range [1, 3])", 5, {})
  refused("elements of type int8 expected, got uint8", 1, mp.RawArray("uint8", { 7 }))
  refused("table, string or array expected, got number", 1, 7)
  refused("oops", 1, setmetatable({}, {
    __len = function() return 3 end,
    __index = function(_, i) return i < 3 and 7 or error("oops") end,
  }))
  lu.assertErrorMsgContains("bad argument #1 to 'fill' (200 does not fit into int8)",
    function() a:fill(200) end)
  lu.assertEquals(a:read(), { 1, 2, 3 })
end

local TestMaking = {}

-- 109
function TestMaking:testTheyAreZeroed()
  lu.assertEquals(mp.RawValue("double").value, 0.0)
  for _, n in ipairs({ 1, 100, 5000 }) do
    local a = mp.RawArray("uint8", n)
    lu.assertEquals(#a, n)
    lu.assertEquals(a:tobytes(), ("\0"):rep(n))
    a:fill(255)
  end
end

function TestMaking:testArgumentsInOrderOrByName()
  lu.assertEquals(mp.RawValue({ type = "int8", init = 5 }).value, 5)
  lu.assertEquals(mp.Value({ type = "int8", init = 5, lock = false }).value, 5)
  lu.assertEquals(mp.Array({ type = "int8", init = { 5 }, lock = false }):read(), { 5 })
  lu.assertEquals(#mp.Array("int8", 3, false), 3)
  lu.assertErrorMsgContains("unknown option 'size'", mp.RawArray, { type = "int8", size = 5 })
  lu.assertErrorMsgContains("unknown option 'lock'", mp.RawValue, { type = "int8", lock = false })
end

function TestMaking:testWrongArgumentsAreErrors()
  local function refused(message, f, ...)
    lu.assertErrorMsgContains("bad argument " .. message, f, ...)
  end
  for _, f in ipairs({ mp.Value, mp.Array, mp.RawValue, mp.RawArray }) do
    refused("#1", f)
    refused("#1", f, 5)
    for _, name in ipairs({ "int", "", "x", "int32\0", "INT8", "ii" }) do refused("#1", f, name) end
  end
  refused("#2", mp.RawValue, "int8", 300)
  refused("#2", mp.RawValue, "int8", "5")
  refused("#2", mp.RawArray, "int8")
  refused("#2", mp.RawArray, "int8", -1)
  refused("#2", mp.RawArray, "int8", 1.5)
  refused("#2", mp.RawArray, "int8", "abc")
  refused("#2", mp.RawArray, "double", math.maxinteger)
  refused("#2", mp.RawArray, "int8", { 1, 2, 300 })
  refused("#3", mp.Value, "int8", 1, 5)
  refused("#3", mp.Value, "int8", 1, {})
  refused("#3", mp.Array, "int8", 1, { acquire = print })
end

function TestMaking:testMoreThanThereIsIsAnError()
  local ok, err = pcall(mp.RawArray, "double", 1 << 45)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(err, errors.OSError))
  lu.assertEquals(err.code, "ENOMEM")
end

-- 109
function TestMaking:testWithoutALockThereAreNoMethodsOfLocks()
  for _, object in ipairs({ mp.RawValue("int8"), mp.Value("int8", 0, false),
    mp.Array("int8", 1, false), mp.RawArray("int8", 1) }) do
    for _, name in ipairs({ "get_lock", "get_obj", "acquire", "release", "guard", "with" }) do
      lu.assertNil(object[name])
    end
  end
end

function TestMaking:testTenThousandTakeAFewDescriptors()
  local out, err = children.host([[
    local lfs = require("lfs")
    local function descriptors()
      local n = 0
      for _ in lfs.dir("/proc/self/fd") do n = n + 1 end
      return n
    end
    local before, values = descriptors(), {}
    for i = 1, 10000 do values[i] = mp.RawValue("int32", i) end
    print(descriptors() - before)
    local sum = 0
    for i, v in ipairs(values) do sum = sum + v.value end
    print(sum)
    for _ = 1, 10 do
      for i = 1, 10000 do values[i] = mp.RawValue("int32", i) end
      collectgarbage()
    end
    print(descriptors() - before < 20)
    values = nil
    collectgarbage() collectgarbage()
    print(descriptors() - before)]])
  lu.assertEquals({ out, err }, { "7\n50005000\ntrue\n1\n", "" })
end

function TestMaking:testWithoutDescriptorsItIsAnError()
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write([[
    local mp, kept = require("multiprocessing"), {}
    local ok, err
    repeat
      ok, err = pcall(mp.RawArray, "double", 1000)
      kept[#kept + 1] = ok and err or nil
    until not ok
    print(err.code, #kept > 10)
    kept = {}
    collectgarbage() collectgarbage()
    print(#mp.RawArray("double", 1000))]])
  file:close()
  local out, problem = program.run(
    { "-c", 'ulimit -n 40; exec "$0" "$1"', program.path, name }, { program = "sh" })
  os.remove(name)
  lu.assertEquals({ out, problem }, { "EMFILE\ttrue\n1000\n", "" })
end

-- What a finalizer finds is whole, or says that it is gone.
function TestMaking:testFinalizersMayUseThem()
  local out, err, code = children.host([[
    local early = setmetatable({}, { __gc = function(t)
      local ok, problem = pcall(function() return t.v.value, t.a[1], #t.a:read() end)
      print(ok or problem.code)
      print(pcall(tostring, t.v), pcall(tostring, t.a))
    end })
    early.v, early.a = mp.RawValue("int8", 1), mp.RawArray("int8", 10000)
    early = nil
    setmetatable({}, { __gc = function() made = mp.RawArray("double", 1000000) end })
    collectgarbage()
    print(#made)]])
  lu.assertEquals({ err, code }, { "", 0 })
  lu.assertStrContains(out, "1000000\n")
  lu.assertStrContains(out, "EBADF\ntrue\ttrue\t<Array closed>\n")
end

local TestProcesses = {}

--- Runs f in a child that must end well.
local function in_child(f)
  local process = mp.Process(f)
  process:start()
  lu.assertTrue(process:join(LIMIT))
  lu.assertEquals(process.exitcode, 0)
end

-- 109
function TestProcesses:testAChildWritesWhatTheParentReads()
  local v, small, large = mp.RawValue("double", 1.5), mp.RawArray("int32", { 1, 2, 3 }),
    mp.RawArray("int64", 100000)
  in_child(function()
    assert(v.value == 1.5 and small[3] == 3 and large[100000] == 0)
    v.value = -0.0
    small:write(1, { 7, 8, 9 })
    large:fill(-5)
    in_child(function() small[2] = 88 end)
  end)
  lu.assertEquals(1 / v.value, -math.huge)
  lu.assertEquals(small:read(), { 7, 88, 9 })
  lu.assertEquals(large:tobytes(), string.pack("j", -5):rep(100000))
end

-- 109
function TestProcesses:testEveryProcessCutsItsOwn()
  local out, err = children.host([[
    local before, other = mp.RawValue("int64", 1), mp.RawArray("int64", 2)
    mp.Process(function()
      local own = {}
      for i = 1, 100 do own[i] = mp.RawArray("int64", { -i }) end
      other[1] = before.value
      before.value = 2
      for i = 1, 100 do assert(own[i][1] == -i) end
    end):start():join()
    for i = 1, 100 do assert(mp.RawArray("int64", 1)[1] == 0) end
    print(before.value, other[1])]])
  lu.assertEquals({ out, err }, { "2\t1\n", "" })
end

-- What the parent has let go of is not used again while a child has it.
function TestProcesses:testAChildKeepsWhatTheParentLetsGo()
  local out, err = children.host([[
    local v, a = mp.RawValue("int64", 42), mp.RawArray("int64", { 1, 2, 3 })
    local large = mp.RawArray("int64", 1000)
    large:fill(9)
    local here, there = mp.Pipe()
    local process = mp.Process(function()
      here:close()
      there:recv_bytes()
      print(v.value, a:tobytes() == string.pack("jjj", 1, 2, 3), large[1000])
    end):start()
    v, a, large = nil, nil, nil
    collectgarbage() collectgarbage()
    local new = {}
    for i = 1, 3000 do
      new[i] = mp.RawValue("int64", -1)
      if i % 100 == 0 then
        for j = 1, i do new[j] = false end
        collectgarbage()
      end
    end
    here:send_bytes("go")
    process:join()]])
  lu.assertEquals({ out, err }, { "42\ttrue\t9\n", "" })
end

-- 109: without its lock a counter loses; each value that is read is whole.
function TestProcesses:testElementsAreReadWhole()
  local shared = mp.RawArray("int64", 2)
  local process = mp.Process(function()
    for _ = 1, 200000 do
      shared[1] = -1
      shared[1] = 0
    end
    shared[2] = 1
  end):start()
  local wrong = 0
  while shared[2] == 0 and process:is_alive() do
    for _ = 1, 1000 do
      local x = shared[1]
      if x ~= 0 and x ~= -1 then wrong = wrong + 1 end
    end
  end
  lu.assertTrue(process:join(LIMIT))
  lu.assertEquals({ process.exitcode, wrong }, { 0, 0 })
end

-- A string whose bytes change while Lua makes it would be equal to nothing.
function TestProcesses:testShortStringsAreWholeAndEqualOthers()
  local text, done = mp.RawArray("char", 8), mp.RawValue("bool")
  local x, y = ("x"):rep(8), ("y"):rep(8)
  text.raw = x
  local process = mp.Process(function()
    for _ = 1, 1000000 do
      text.raw = y
      text.raw = x
    end
    done.value = true
  end):start()
  local wrong = 0
  while not done.value and process:is_alive() do
    for _ = 1, 1000 do
      local raw, bytes = text.raw, text:tobytes()
      if raw ~= x and raw ~= y or bytes ~= x and bytes ~= y then wrong = wrong + 1 end
    end
  end
  lu.assertTrue(process:join(LIMIT))
  lu.assertEquals({ process.exitcode, wrong }, { 0, 0 })
end

function TestProcesses:testWhatAKilledProcessWroteStays()
  local a = mp.RawArray("int64", 1000)
  local process = mp.Process(function()
    a[1] = 5
    mp.RawArray("int64", 100000):fill(1)
    os.execute("kill -9 $PPID")
  end)
  process:start()
  lu.assertTrue(process:join(LIMIT))
  lu.assertEquals({ process.exitcode, a[1] }, { -9, 5 })
end

local TestMemory = {}

for name, make in pairs({
  Value = function() return mp.RawValue("int32", 5) end,
  Array = function() return mp.RawArray("int32", { 1, 2, 3 }) end,
  LargeArray = function() return mp.RawArray("int32", 2000) end,
}) do
  exhaust.add(TestMemory, name, { act = make })
end

local function filled() return mp.RawArray("int32", { 1, 2, 3 }) end

for name, act in pairs({
  Read = function(a) return a:read() end,
  ToBytes = function(a) return a:tobytes() end,
  Write = function(a) a:write(1, { 4, 5, 6 }) end,
  WriteItself = function(a) a:write(1, a) end,
  Pairs = function(a) for _ in pairs(a) do end end,
  ToString = function(a) return tostring(a) end,
}) do
  exhaust.add(TestMemory, name, {
    make = filled,
    act = act,
    check = function(a, failed)
      local changed = name == "Write" and not failed
      lu.assertEquals(a:read(), changed and { 4, 5, 6 } or { 1, 2, 3 })
    end,
  })
end

return {
  TestBulk = TestBulk,
  TestElements = TestElements,
  TestMaking = TestMaking,
  TestMemory = TestMemory,
  TestProcesses = TestProcesses,
}

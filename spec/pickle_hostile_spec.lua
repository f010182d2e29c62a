--- Bytes that dumps has not made: an error or a value, never more.
local core = require("tidelock._multiprocessing")
local errors = require("errors")
local lu = require("luaunit")
local mp = require("multiprocessing")
local pickle = require("pickle")
local sessions = require("tidelock.multiprocessing.managers.sessions")

local HEADER = "\x93TL"
local PLAIN, SHARES = "\1", "\x81" -- its last byte
local sanitized = (os.getenv("TIDELOCK_SANITIZER") or "") ~= ""

local Class = {}
pickle.register("hostile_spec.Class", Class)
local Reduced = {}
pickle.register("hostile_spec.Reduced", Reduced, {
  reduce = function(r) return table.unpack(r) end,
  restore = function(...) return { ... } end,
})

local many = {}
for i = 1, 260 do many["k" .. i] = i end
local cycle = { 1, { 2 } }
cycle.self, cycle[cycle] = cycle, cycle[2]
local objects = {}
for i = 1, 40 do objects[i] = { i } end
for i = 1, 40 do objects[40 + i] = objects[i] end

local samples = {
  scalars = { 1, -1, 300, 1 << 20, 1 << 40, 0.5, 0.1, true, false, "text", ("long"):rep(10), {} },
  cycle = cycle,
  many = many,
  objects = objects,
  holes = { 1, nil, nil, 4, n = 4, [2.5] = 1 },
  classed = { setmetatable({ 1, x = 2 }, Class), setmetatable({ 1, { 2 } }, Reduced) },
  errors = { errors.new(errors.Empty, "x"), errors.new(errors.class("hostile_spec.E"), "y"),
    errors.new(sessions.RemoteError, "z") },
}

local TestHostile = {}

--- Loads bytes, which must give a value or UnpicklingError; walks through it.
local function try(bytes)
  local ok, value = pcall(pickle.loads, bytes)
  if ok then
    pickle.dumps(value)
  elseif not errors.is(value, pickle.UnpicklingError) then
    lu.fail(("%s: %s"):format(tostring(value), (bytes:gsub(".", function(c)
      return ("%02x "):format(c:byte())
    end))))
  end
  return ok, value
end

local function refuses(message, bytes, options)
  local ok, err = pcall(pickle.loads, bytes, options)
  lu.assertFalse(ok, message)
  lu.assertTrue(errors.is(err, pickle.UnpicklingError))
  lu.assertStrContains(err.message, message)
end

local function varint(n)
  local out = ""
  while n >= 128 do
    out = out .. string.char(n % 128 + 128)
    n = n // 128
  end
  return out .. string.char(n)
end

function TestHostile:testWhatIsNoPickle()
  refuses("this is not a pickle", "")
  refuses("this is not a pickle", "\x93TL")
  refuses("this is not a pickle", "some other text")
  refuses("a pickle of version 2", HEADER .. "\2\xE0")
  refuses("it ends too early", HEADER .. PLAIN)
  refuses("something follows", HEADER .. PLAIN .. "\1\1")
end

for name, value in pairs(samples) do
  TestHostile["testEveryTruncationOf_" .. name] = function()
    local bytes = pickle.dumps(value)
    for n = 0, #bytes - 1 do lu.assertFalse((try(bytes:sub(1, n))), n) end
  end

  TestHostile["testEveryChangedByteOf_" .. name] = function()
    local bytes = pickle.dumps(value)
    local step = (sanitized and 16 or 1) * (#bytes > 1000 and 4 or 1)
    local first = math.random(step)
    for at = first, #bytes, #bytes > 1000 and 3 or 1 do
      local before, after = bytes:sub(1, at - 1), bytes:sub(at + 1)
      for byte = first, 255, step do try(before .. string.char(byte) .. after) end
      for bit = 0, 7 do
        try(before .. string.char(bytes:byte(at) ~ (1 << bit)) .. after)
      end
    end
  end

  TestHostile["testPartsOf_" .. name .. "OutOfPlace"] = function()
    local bytes = pickle.dumps(value)
    for _ = 1, sanitized and 300 or 5000 do
      local a, b, c = math.random(#bytes), math.random(#bytes), math.random(#bytes)
      try(bytes:sub(1, a) .. bytes:sub(b, c) .. bytes:sub(a + 1))
      try(bytes:sub(1, a) .. bytes:sub(b))
    end
  end
end

-- A count is checked against the bytes that are left before anything is made.
function TestHostile:testCountsThatPromiseTooMuch()
  local before = collectgarbage("count")
  for _, n in ipairs({ 2, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 40, math.maxinteger }) do
    refuses("damaged data", HEADER .. PLAIN .. "\xF4\0" .. varint(n) .. "\1") -- a list
    refuses("damaged data", HEADER .. PLAIN .. "\xF0" .. varint(n) .. "x") -- a string
    refuses("damaged data", HEADER .. PLAIN .. "\xFA" .. "\x94hostile_spec.Reduced"
      .. varint(n) .. "\1")
  end
  refuses("a count is too large", HEADER .. SHARES .. "\xE0" .. "\xFF\xFF\xFF\xFF")
  refuses("a count is too large", HEADER .. PLAIN .. "\xF2\2\x81a\1")
  refuses("a number is too large", HEADER .. PLAIN .. "\xF0" .. ("\xFF"):rep(10) .. "\1")
  lu.assertTrue(collectgarbage("count") < before + 1000)
end

-- More than a function takes as arguments.
function TestHostile:testValuesThatRestoreCannotTake()
  local n = 1000000
  refuses("there is no room for the values", HEADER .. PLAIN .. "\xFA\x94hostile_spec.Reduced"
    .. varint(n) .. ("\xE0"):rep(n))
end

-- Each of them alone is not too large; together they would be.
function TestHostile:testNestedCountsThatPromiseTooMuch()
  local parts = { HEADER .. PLAIN }
  for i = 1, 20000 do parts[i + 1] = "\xF4\0" .. varint(50000) end
  local before = collectgarbage("count")
  refuses("a count is too large", table.concat(parts))
  lu.assertTrue(collectgarbage("count") < before + 4000)
end

function TestHostile:testMemoryIsBoundedByTheSize()
  local size = 100000
  for name, fill in pairs({
    emptyTables = HEADER .. PLAIN .. "\xF4\0" .. varint(size) .. ("\xF2\0"):rep(size),
    nestedTables = HEADER .. PLAIN .. ("\xF4\0\1"):rep(size) .. "\1",
    nils = HEADER .. PLAIN .. "\xF4\0" .. varint(size) .. ("\xE0"):rep(size),
    pairs = HEADER .. PLAIN .. "\xF4\0" .. varint(100)
      .. ("\xF2\xFF" .. ("\1\1"):rep(255) .. "\0"):rep(100),
    shared = HEADER .. SHARES .. ("\xE0"):rep(size) .. string.pack("<I4", size // 2),
  }) do
    collectgarbage()
    collectgarbage("stop")
    local before = collectgarbage("count")
    try(fill)
    local used = collectgarbage("count") - before
    collectgarbage("restart")
    lu.assertTrue(used * 1024 < 400 * #fill, ("%s: %.0f KiB of %d"):format(name, used, #fill))
  end
end

function TestHostile:testKeysThatNoTableHas()
  refuses("a key is nil", HEADER .. PLAIN .. "\xF2\1\xE0\1")
  refuses("a key is NaN", HEADER .. PLAIN .. "\xF2\1\xE8" .. string.pack("<d", 0 / 0) .. "\1")
  refuses("a key is NaN", HEADER .. PLAIN .. "\xF2\1\xE7" .. string.pack("<f", 0 / 0) .. "\1")
end

function TestHostile:testReferencesToNothing()
  local tail = "\1\0\0\0"
  refuses("a reference to nothing", HEADER .. PLAIN .. "\xC0")
  for _, ref in ipairs({ "\xC0", "\xDF", "\xEA\xFF", "\xEB\xFF\xFF", "\xEC\xFF\xFF\xFF\xFF",
    "\xEC\xFF\xFF\xFF\x7F" }) do
    refuses("a reference to nothing", HEADER .. SHARES .. "\xF4\0\2\xF2\0" .. ref .. tail)
  end
  -- To an object that is not marked as shared, and to one that is not there yet.
  refuses("a reference to nothing", HEADER .. SHARES .. "\xF4\0\2\xF2\0\xC1" .. tail)
  refuses("a reference to nothing", HEADER .. SHARES .. "\xFB\x94hostile_spec.Reduced\1\xC0"
    .. tail)
  refuses("a shared object is unexpected", HEADER .. PLAIN .. "\xF3\0")
end

function TestHostile:testNamesThatAreNone()
  refuses("a name is missing", HEADER .. PLAIN .. "\xFA\1\0\0\0")
  refuses("a name is no string", HEADER .. SHARES .. "\xF5\0\1\xFA\xC0\0" .. "\1\0\0\0")
  refuses("'nobody' is not registered here", HEADER .. PLAIN .. "\xEF\xF2\0\x86nobody")
  refuses("'nobody' is not registered here", HEADER .. PLAIN .. "\xFA\x86nobody\0")
  refuses("'hostile_spec.Class' has no restore here", HEADER .. PLAIN
    .. "\xFA\x92hostile_spec.Class\0")
  refuses("there is no error class 'Nobody' here", HEADER .. PLAIN .. "\xFE\x86Nobody\0")
  refuses("a name is missing", HEADER .. PLAIN .. "\xFE\x81X\1\1")
  refuses("a name is missing", HEADER .. PLAIN .. "\xFE\x81X\1\x82os\1")
end

function TestHostile:testClassesOutOfPlace()
  refuses("a class of nothing", HEADER .. PLAIN .. "\xEF\1")
  refuses("a class of nothing", HEADER .. PLAIN .. "\xEF\xEF\xF2\0\1\1")
  refuses("a class is no class", HEADER .. PLAIN .. "\xEF\xF2\0\1")
  refuses("a class is no class", HEADER .. PLAIN .. "\xEF\xF2\0\xF2\0")
  refuses("a parent is no class", HEADER .. PLAIN .. "\xFE\x81X\1\xE0\1\0\0")
  refuses("an upvalue out of place", HEADER .. PLAIN .. "\xEE\0\1")
end

--- Pickles that say of a class, or a handle, that it is made of other values.
local function misfits(op, name, rest)
  local title = #name < 32 and string.char(0x80 + #name) .. name or "\xF0" .. varint(#name) .. name
  local list = {}
  for _, values in ipairs({ "", "\xE0", "\1", "\xE8" .. ("\xFF"):rep(8), "\x84xork", "\xE2",
    "\xF2\0", "\xF4\0\2\1\x84xork", "\x84xork\xF2\0", "\x84void\1\1" }) do
    local count = { [""] = 0, ["\x84xork\xF2\0"] = 2, ["\x84void\1\1"] = 3 }
    local n = count[values] or 1
    if rest and n == 1 then
      list[#list + 1] = HEADER .. PLAIN .. op .. title .. rest .. values
    elseif not rest then
      list[#list + 1] = HEADER .. PLAIN .. op .. title .. varint(n) .. values
    end
  end
  return list
end

-- What the library itself has registered.
function TestHostile:testClassesOfTheLibrary()
  require("bigint")
  require("tidelock.multiprocessing.spawn")
  require("tidelock.multiprocessing.managers")
  local count, text = 0, debug.getmetatable(mp.Process(print)).__index
  for _, class in ipairs(core.classes()) do
    local name, restore = class[1], class[4]
    local known = name == "bigint" or name:find("^multiprocessing%.")
    if known and restore then
      count = count + 1
      for _, bytes in ipairs(misfits("\xFA", name)) do
        local ok, problem = pcall(pickle.loads, bytes)
        lu.assertTrue(ok or errors.is(problem, errors.UnpicklingError), name)
      end
    end
  end
  lu.assertTrue(count >= 5)
  lu.assertIs(debug.getmetatable(mp.Process(print)).__index, text)
end

-- Somebody's bytes do not say what a class of ours is.
function TestHostile:testClassesStayWhatTheyAre()
  require("tidelock.multiprocessing.spawn")
  local name = "multiprocessing.Process"
  local meta = debug.getmetatable(mp.Process(print))
  local content = pickle.dumps({ __name = "theirs" }):sub(5)
  refuses("returned nothing", HEADER .. PLAIN .. "\xFA\x97multiprocessing.Defined\3\x97" .. name
    .. content .. "\xE0")
  refuses("returned nothing", HEADER .. PLAIN .. "\xFA\x98multiprocessing.Declared\3\x86bigint"
    .. "\xE0\xE0")
  lu.assertEquals(meta.__name, name)
  lu.assertEquals(pickle.loads(pickle.dumps(require("bigint").new(5))), require("bigint").new(5))
end

--- The string in a pickle at a place, and the place behind it.
local function read_text(bytes, at)
  local op, size = bytes:byte(at, at + 1)
  if op & 0xFE == 0xF0 then return bytes:sub(at + 2, at + 1 + size), at + 2 + size end
  return bytes:sub(at + 1, at + (op & 0x1F)), at + 1 + (op & 0x1F)
end

-- Handles without their descriptors, and made of other values.
function TestHostile:testHandlesOfTheLibrary()
  local a, b <close> = mp.Pipe()
  local _ <close> = a
  local handles = { a, mp.Queue(), mp.JoinableQueue(), mp.SimpleQueue(), mp.Lock(), mp.RLock(),
    mp.Semaphore(), mp.Condition(), mp.Event(), mp.Barrier(2), mp.Value("int8", 1),
    mp.Array("int8", 1), core.self(), mp.connection.Listener()._socket,
    require("tidelock._pool").Channel(1) }
  for _, object in ipairs(handles) do
    a:send(object)
    local bytes = b:recv_bytes()
    local name, next = read_text(bytes, #HEADER + 3)
    local place = bytes:sub(next, select(2, read_text(bytes, next)) - 1) .. "\0"
    for _, damaged in ipairs(misfits("\xFC", name, place)) do
      a:send_bytes(damaged)
      local ok, problem = pcall(b.recv, b)
      lu.assertTrue(ok or errors.is(problem, errors.UnpicklingError),
        name .. ": " .. tostring(problem))
    end
  end
end

-- Nothing is required for somebody else's bytes, no function of ours gets out.
function TestHostile:testNamesAreNotLookedUp()
  local loaded = false
  package.preload["hostile_spec.trap"] = function() loaded = true end
  refuses("own family", HEADER .. PLAIN .. "\xF8\x91hostile_spec.trap\xE0")
  refuses("own family", HEADER .. PLAIN .. "\xF8\x82os\x87execute")
  refuses("own family", HEADER .. PLAIN .. "\xF6\0\0\0\0")
  refuses("own family", HEADER .. PLAIN .. "\xED")
  local class = pickle.loads(HEADER .. PLAIN .. "\xFE\x89Elsewhere\1\x91hostile_spec.trap\xE0"
    .. "\xFE\x85Error\0\0")
  lu.assertEquals(class.name, "Elsewhere")
  refuses("only to a child process or through a connection", HEADER .. PLAIN
    .. "\xFC\x81L\x92tidelock.threading\0\1")
  package.preload["hostile_spec.trap"] = nil
  lu.assertFalse(loaded)
end

--- An object that its class would have restored is not made without.
function TestHostile:testRestoreIsNotPassedBy()
  local class = {}
  pickle.register("hostile_spec.C", class, {
    reduce = function() return 1 end,
    restore = function() return setmetatable({}, class) end,
  })
  refuses("without what restores it",
    HEADER .. PLAIN .. "\xEF\xF2\1\x81v\x84evil\x8Ehostile_spec.C")
end

function TestHostile:testDamagedFunctionsWithTrust()
  local trust = { functions = true }
  local tail = "\1\0\0\0"
  refuses("code is missing", HEADER .. PLAIN .. "\xF6\0\0\0\x80\0", trust)
  refuses("code is missing", HEADER .. PLAIN .. "\xF6\xFF\xFF\xFF\xFF\0", trust)
  refuses("it ends too early", HEADER .. PLAIN .. "\xF6\xFF\0\0\0\0", trust)
  refuses("no such upvalue", HEADER .. SHARES .. "\xF7" .. string.pack("<s4",
    string.dump(load("return x"))) .. "\1\xEE\0\2" .. tail, trust)
  refuses("other upvalues", HEADER .. PLAIN .. "\xF6" .. string.pack("<s4",
    string.dump(load("return x"))) .. "\2\1\1", trust)
  refuses("the module 'pickle_nothing' is not a table here", (function()
    package.loaded.pickle_nothing = 1
    return HEADER .. PLAIN .. "\xF8\x8Epickle_nothing\x81x"
  end)(), trust)
  package.loaded.pickle_nothing = nil
end

return { TestHostile = TestHostile }

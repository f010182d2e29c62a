-- Lists in shared memory. Numbers are those of CPython's behaviours that each test holds tidelock
-- to.
local errors = require("errors")
local lfs = require("lfs")
local lu = require("luaunit")
local mp = require("multiprocessing")
local shared_memory = require("multiprocessing.shared_memory")
local children = require("support.children")
local exhaust = require("support.exhaust")

local LIMIT = 60 -- seconds, for what should take a moment

local ShareableList, SharedMemory = shared_memory.ShareableList, shared_memory.SharedMemory

-- The process that takes names away is started with the first block, and stays.
do
  local first <close> = SharedMemory { create = true, size = 1 }
  first:unlink()
end

--- Closes and unlinks the block at the end of a scope.
local function scope(list)
  return list, setmetatable({}, {
    __close = function()
      list.shm:close()
      pcall(list.shm.unlink, list.shm)
    end,
  })
end

local function make(...) return scope(ShareableList(table.pack(...))) end

local function values(list)
  local found = {}
  for i, value in pairs(list) do found[i] = value == nil and "nil" or value end
  return found
end

local function set(list, i, value) list[i] = value end
local function get(list, i) return list[i] end

local TestList = {}

-- 113
function TestList:testItHoldsWhatItWasMadeWith()
  local l, _ <close> = make(1, -2.5, "text", true, false, nil, "", math.mininteger, math.huge,
    "a\0b\0", 0.0, nil)
  lu.assertEquals(#l, 12)
  lu.assertEquals(values(l), { 1, -2.5, "text", true, false, "nil", "", math.mininteger, math.huge,
    "a\0b\0", 0.0, "nil" })
  lu.assertEquals({ math.type(l[1]), math.type(l[11]), l[-3], l[3.0] },
    { "integer", "float", "a\0b\0", "text" })
  lu.assertEquals(tostring(l), ("<ShareableList %q of 12>"):format(l.shm.name))
end

-- 113
function TestList:testNumbersAreExact()
  local l, _ <close> = make(0)
  for _, x in ipairs({ math.maxinteger, math.mininteger, -0.0, 5e-324, 0.1, -math.huge }) do
    l[1] = x
    lu.assertEquals({ l[1], math.type(l[1]), 1 / l[1] }, { x, math.type(x), 1 / x })
  end
  l[1] = 0 / 0
  lu.assertTrue(l[1] ~= l[1])
end

-- 113
function TestList:testTheTypeMayChangeWithinTheSlot()
  local l, _ <close> = make(1, "12345678", nil)
  for _, value in ipairs({ "x", 2.5, true, "12345678", "", false, 7 }) do
    for i = 1, 3 do
      l[i] = value
      lu.assertIs(l[i], value)
      l[i] = nil
      lu.assertNil(l[i])
    end
  end
end

-- 113
function TestList:testALongerStringIsRefused()
  for n = 0, 24 do
    local l, _ <close> = make("left", ("x"):rep(n), "right")
    local room = 8 * (n // 8 + 1)
    l[2] = ("y"):rep(room)
    for _, longer in ipairs({ room + 1, room + 8, 5000 }) do
      lu.assertErrorMsgContains(
        ("bad argument #3 to 'newindex' (string of %d bytes, the slot has %d)")
          :format(longer, room), set, l, 2, ("z"):rep(longer))
    end
    lu.assertEquals(values(l), { "left", ("y"):rep(room), "right" })
  end
  local l, _ <close> = make(1, 2, 3)
  l[2] = "12345678"
  lu.assertErrorMsgContains("the slot has 8", set, l, 2, "123456789")
  lu.assertEquals(values(l), { 1, "12345678", 3 })
end

-- 113
function TestList:testOtherValuesAndIndexesAreErrors()
  local l, _ <close> = make(1, 2)
  for _, value in ipairs({ {}, print, coroutine.create(print), io.stdout }) do
    lu.assertErrorMsgContains(("(a %s cannot be in it)"):format(type(value)), set, l, 1, value)
    lu.assertErrorMsgContains("bad argument #1 to 'ShareableList' (element 2: a " .. type(value),
      ShareableList, { 1, value })
  end
  for _, i in ipairs({ 0, 3, -3, math.maxinteger, math.mininteger }) do
    lu.assertErrorMsgContains(("'index' (index %d is out of range [1, 2])"):format(i), get, l, i)
    lu.assertErrorMsgContains(("'newindex' (index %d is out of range [1, 2])"):format(i), set, l, i)
  end
  for _, i in ipairs({ 1.5, 0 / 0, math.huge }) do
    lu.assertErrorMsgContains("bad argument #2 to 'index' (integer expected", get, l, i)
  end
  lu.assertErrorMsgContains("no attribute 'x'", set, l, "x", 1)
  lu.assertErrorMsgContains("shareable_list_spec.lua:", get, l, 3)
  lu.assertErrorMsgContains("shareable_list_spec.lua:", set, l, 1, {})
  lu.assertNil(l.x)
  lu.assertEquals(values(l), { 1, 2 })
end

function TestList:testWrongArgumentsAreErrors()
  lu.assertErrorMsgContains("bad argument #1 to 'ShareableList'", ShareableList)
  lu.assertErrorMsgContains("bad argument #1 to 'ShareableList' (table", ShareableList, 5)
  lu.assertErrorMsgContains("bad argument #2 to 'ShareableList'", ShareableList, { 1 }, 5)
  for _, n in ipairs({ -1, 1.5, 1e300, "2", true }) do
    lu.assertErrorMsgContains("bad argument #1 to 'ShareableList' (field 'n' is no number",
      ShareableList, { 1, n = n })
  end
  lu.assertErrorMsgContains("shareable_list_spec.lua:", function()
    local _ = ShareableList(5)
  end)
  local ok, err = pcall(ShareableList, nil, "tidelock spec: no such list")
  lu.assertFalse(ok)
  lu.assertEquals(err.code, "ENOENT")
  local l, _ <close> = make(1)
  ok, err = pcall(ShareableList, { 1 }, l.shm.name)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(err, errors.OSError))
  lu.assertEquals(err.code, "EEXIST")
end

-- 113
function TestList:testCountAndIndex()
  local l, _ <close> = make(1, "x", 1.0, nil, "x", false, nil)
  lu.assertEquals({ l:count(1), l:count("x"), l:count(nil), l:count(false), l:count("y") },
    { 2, 2, 2, 1, 0 })
  lu.assertEquals({ l:index(1), l:index("x"), l:index(nil), l:index(false) }, { 1, 2, 4, 6 })
  lu.assertNil(l:index("y"))
end

function TestList:testTheFormatIsCPythons()
  local l, _ <close> = make(1, 2.5, "abc", "12345678", true, nil)
  lu.assertEquals(l.format, "qd8s16sxxxxxxx?xxxxxx?x")
  l[1] = "s"
  l[4] = 1
  lu.assertEquals(l.format, "8sd8sqxxxxxxx?xxxxxx?x")
end

function TestList:testAnEmptyListAndALongOne()
  local empty, _ <close> = make()
  lu.assertEquals({ #empty, values(empty), empty.format }, { 0, {}, "" })
  local again, _ <close> = scope(ShareableList(nil, empty.shm.name))
  lu.assertEquals(#again, 0)
  local many = {}
  for i = 1, 3000 do many[i] = i % 3 == 0 and ("x"):rep(i % 50) or i end
  local l, _ <close> = scope(ShareableList(many))
  lu.assertEquals(values(l), many)
end

--- What has been written by somebody else must not be trusted.
function TestList:testABlockWithoutAListIsRefused()
  local l, _ <close> = make(1, "text", 3)
  local name, bytes = l.shm.name, l.shm.buf:read()
  local function refused()
    lu.assertErrorMsgContains(("there is no list in %q"):format(name), ShareableList, nil, name)
  end
  for _, word in ipairs({ 1, 2, 3, 4, 5, 6 }) do
    for _, wrong in ipairs({ -1, 5, 1 << 20, math.maxinteger, math.mininteger }) do
      l.shm.buf:write(0, bytes)
      l.shm.buf:view("int64")[word] = wrong
      refused()
    end
  end
  l.shm.buf:write(0, bytes)
  lu.assertEquals(#scope(ShareableList(nil, name)), 3)
  -- What a slot holds is looked at each time.
  l.shm.buf:view("int64")[8] = 4 + 256 * 5000
  lu.assertEquals(l[2], "text\0\0\0\0")
  l.shm.buf:view("int64")[8] = 77
  lu.assertNil(l[2])
  for _, size in ipairs({ 1, 8, 23, 24, 100 }) do
    local shm <close> = SharedMemory { create = true, size = size }
    name = shm.name
    refused()
    shm:unlink()
  end
end

function TestList:testAClosedListIsAnError()
  local l = ShareableList({ 1, "x" })
  l.shm:unlink()
  l.shm:close()
  for _, f in ipairs({ function() return l[1] end, function() l[2] = "y" end,
    function() return l:count(1) end, function() return l.format end }) do
    local ok, err = pcall(f)
    lu.assertFalse(ok)
    lu.assertEquals(err.code, "EBADF")
  end
  lu.assertEquals(#l, 2)
end

local TestProcesses = {}

-- 113
function TestProcesses:testAChildSeesUpdatesAndMakesSome()
  local l, _ <close> = make(1, "text", nil)
  l[1] = 2
  local process = mp.Process(function()
    assert(l[1] == 2 and l[2] == "text")
    l[2] = l[2] .. "more"
    mp.Process(function() l[3] = l[2] end):start():join()
  end):start()
  lu.assertTrue(process:join(LIMIT))
  lu.assertEquals({ process.exitcode, values(l) }, { 0, { 2, "textmore", "textmore" } })
end

-- 113
function TestProcesses:testAnotherProcessOpensItByName()
  local l, _ <close> = make(1, 2.5, "text", nil)
  local out, err = children.host(([[
    local l = require("multiprocessing.shared_memory").ShareableList(nil, %q)
    print(#l, l[1], l[2], l[3], l[4], l.format)
    l[4], l[3] = "new", false]]):format(l.shm.name))
  lu.assertEquals({ out, err }, { "4\t1\t2.5\ttext\tnil\tqd8sxxxxxx?x\n", "" })
  lu.assertEquals(values(l), { 1, 2.5, false, "new" })
end

local TestMemory = {}

local NAME = ("tidelock list %d"):format(mp.current_process().pid)

exhaust.add(TestMemory, "Make", {
  act = function()
    local l = ShareableList({ 1, "text", true, n = 5 }, NAME)
    l.shm:unlink()
  end,
  -- One that could not be made whole has no name.
  check = function() lu.assertNil(lfs.attributes("/dev/shm/" .. NAME)) end,
})

exhaust.add(TestMemory, "Use", {
  make = function()
    local l = ShareableList({ 1, "text", true, n = 5 })
    l.shm:unlink()
    return l
  end,
  act = function(l)
    l[2] = "other"
    return { l[2], l:count(1), l.format, tostring(l) }
  end,
})

return { TestList = TestList, TestMemory = TestMemory, TestProcesses = TestProcesses }

-- Shared memory with a name. Numbers are those of CPython's behaviours that each test holds
-- tidelock to.
local lfs = require("lfs")
local lu = require("luaunit")
local mp = require("multiprocessing")
local shared_memory = require("multiprocessing.shared_memory")
local assert_code = require("support.assert_code")
local children = require("support.children")
local eventually = require("support.eventually")
local exhaust = require("support.exhaust")
local program = require("support.program")

local LIMIT = 60 -- seconds, for what should take a moment

local SharedMemory = shared_memory.SharedMemory

-- The process that takes names away is started with the first block, and stays.
do
  local first <close> = SharedMemory { create = true, size = 1 }
  first:unlink()
end

local function exists(name) return lfs.attributes("/dev/shm/" .. name) ~= nil end

--- A block that is closed and unlinked at the end of its scope.
local function block(options)
  local shm = SharedMemory(options)
  return shm, setmetatable({}, {
    __close = function()
      shm:close()
      pcall(shm.unlink, shm)
    end,
  })
end

local serial = 0

--- A name that nobody else has.
local function new_name()
  serial = serial + 1
  return ("tidelock spec %d %d"):format(mp.current_process().pid, serial)
end

local TestBlock = {}

-- 110
function TestBlock:testAnExistingNameCannotBeCreated()
  local shm, _ <close> = block { name = new_name(), create = true, size = 10 }
  assert_code("EEXIST", SharedMemory, shm.name, true, 10)
  lu.assertEquals(shm.size, 10)
  shm:unlink()
  local again, _ <close> = block { name = shm.name, create = true, size = 20 }
  lu.assertEquals({ #again.buf, #shm.buf }, { 20, 10 })
end

-- 110
function TestBlock:testAMissingNameCannotBeOpened()
  assert_code("ENOENT", SharedMemory, new_name())
  assert_code("ENOENT", SharedMemory, { name = new_name(), create = false, size = 10 })
end

-- 110
function TestBlock:testSizesMustBePositive()
  local name = new_name()
  for _, size in ipairs({ 0, -1, math.mininteger, 1.5, "x" }) do
    lu.assertErrorMsgContains("bad argument #3", SharedMemory, name, true, size)
  end
  lu.assertErrorMsgContains("bad argument #3", SharedMemory, { name = name, create = true })
  assert_code("ENOMEM", SharedMemory, name, true, 1 << 50)
  lu.assertFalse(exists(name))
end

-- 110
function TestBlock:testOpeningIgnoresTheSize()
  local shm, _ <close> = block { create = true, size = 5000 }
  for _, size in ipairs({ 0, -1, 1, 1 << 40 }) do
    local other <close> = SharedMemory { name = shm.name, size = size }
    lu.assertEquals({ other.size, #other.buf, other.name }, { 5000, 5000, shm.name })
  end
end

function TestBlock:testOtherArgumentsAreChecked()
  for _, name in ipairs({ "", ".", "..", "a/b", "/a", "a\nb", "a\0b", ("x"):rep(256), 5, true }) do
    lu.assertErrorMsgContains("bad argument #1", SharedMemory, name, true, 1)
    lu.assertErrorMsgContains("bad argument #1", SharedMemory, name)
  end
  lu.assertErrorMsgContains("bad argument #1", SharedMemory)
  lu.assertErrorMsgContains("bad argument #2", SharedMemory, "x", 1, 1)
  lu.assertErrorMsgContains("bad argument #4", SharedMemory, nil, true, 1, 1)
  lu.assertErrorMsgContains("unknown option 'sise'", SharedMemory, { create = true, sise = 1 })
end

function TestBlock:testNamesAreRandomUnlessGiven()
  local a, _ <close> = block { create = true, size = 1 }
  local b, _ <close> = block { create = true, size = 1 }
  for _, shm in ipairs({ a, b }) do
    lu.assertStrMatches(shm.name, "psm_%x%x%x%x%x%x%x%x")
    lu.assertTrue(exists(shm.name))
  end
  lu.assertNotEquals(a.name, b.name)
  local some = " -$('\"*\\\xff"
  local strange = (some .. new_name() .. some:rep(28)):sub(1, 255)
  local c, _ <close> = block { name = strange, create = true, size = 1 }
  lu.assertEquals(c.name, strange)
  lu.assertTrue(exists(strange))
end

-- 111
function TestBlock:testUnlinkLetsMapsLive()
  local shm = SharedMemory { create = true, size = 100 }
  local other = SharedMemory(shm.name)
  shm.buf:write(0, "before")
  shm:unlink()
  lu.assertFalse(exists(shm.name))
  other.buf:write(6, " after")
  lu.assertEquals(shm.buf:read(0, 12), "before after")
  assert_code("ENOENT", shm.unlink, shm)
  assert_code("ENOENT", other.unlink, other)
  assert_code("ENOENT", SharedMemory, shm.name)
  shm:close()
  lu.assertEquals(other.buf:read(0, 12), "before after")
  other:close()
end

-- 111
function TestBlock:testUnlinkSparesAnotherBlockOfTheName()
  local old, _ <close> = block { create = true, size = 1 }
  old:unlink()
  local new, _ <close> = block { name = old.name, create = true, size = 1 }
  assert_code("ENOENT", old.unlink, old)
  lu.assertTrue(exists(new.name))
end

-- 111
function TestBlock:testAccessAfterCloseIsAnError()
  local shm = SharedMemory { create = true, size = 100 }
  local buf, view = shm.buf, shm.buf:view("int32")
  view[1] = 5
  shm:close()
  shm:close()
  for _, f in ipairs({
    function() return buf:read() end, function() buf:write(0, "") end,
    function() buf:pack(0, "b", 1) end, function() return buf:unpack(0, "b") end,
    function() return buf:view("b") end, function() return #buf end,
    function() return view[1] end, function() view[1] = 1 end, function() return view:read() end,
    function() view:write(1, { 1 }) end, function() view:fill(0) end,
    function() return view:tobytes() end, function() for _ in pairs(view) do end end,
  }) do
    assert_code("EBADF", f)
  end
  lu.assertEquals({ tostring(view), tostring(buf) }, { "<Array closed>", "<Buffer closed>" })
  lu.assertEquals(tostring(shm), ("<SharedMemory %q closed>"):format(shm.name))
  lu.assertEquals({ shm.size, #view }, { 100, 25 })
  shm:unlink()
end

function TestBlock:testAScopeClosesIt()
  local kept
  do
    local shm <close> = SharedMemory { create = true, size = 1 }
    kept = shm
    shm:unlink()
  end
  assert_code("EBADF", kept.buf.read, kept.buf)
end

function TestBlock:testACollectedBlockKeepsItsName()
  local name = SharedMemory({ create = true, size = 10 }).name
  collectgarbage()
  collectgarbage()
  local shm, _ <close> = block(name)
  lu.assertEquals(#shm.buf, 10)
end

function TestBlock:testAViewKeepsTheMemory()
  local shm = SharedMemory { create = true, size = 80 }
  shm:unlink()
  local view, buf = shm.buf:view("double"), shm.buf
  shm = nil -- luacheck: ignore
  collectgarbage()
  collectgarbage()
  view[10] = 1.5
  lu.assertEquals(buf:unpack(72, "d"), 1.5)
end

function TestBlock:testSourcesMayBeClosedInTheMiddle()
  local shm = SharedMemory { create = true, size = 80 }
  shm:unlink()
  local view = shm.buf:view("int64")
  assert_code("EBADF", view.write, view, 1, setmetatable({}, {
    __len = function() return 2 end,
    __index = function(_, i)
      shm:close()
      return i
    end,
  }))
end

local TestBuffer = {}

function TestBuffer:testReadAndWrite()
  local shm, _ <close> = block { create = true, size = 20 }
  local buf = shm.buf
  lu.assertEquals({ #buf, buf:read() }, { 20, ("\0"):rep(20) })
  buf:write(0, "start")
  buf:write(17, "end")
  buf:write(20, "")
  lu.assertEquals(buf:read(), "start" .. ("\0"):rep(12) .. "end")
  lu.assertEquals({ buf:read(17), buf:read(1, 4), buf:read(20), buf:read(3, 0) },
    { "end", "tart", "", "" })
  for _, f in ipairs({
    function() buf:read(21) end, function() buf:read(-1) end, function() buf:read(0, 21) end,
    function() buf:read(15, 6) end, function() buf:read(0, -1) end,
    function() buf:read(1, math.maxinteger) end, function() buf:write(18, "xyz") end,
    function() buf:write(-1, "x") end, function() buf:write(21, "") end,
    function() buf:write(nil, "x") end, function() buf:write(0, 5) end,
    function() buf:write(0) end,
  }) do
    lu.assertErrorMsgContains("bad argument #", f)
  end
  lu.assertEquals(buf:read(), "start" .. ("\0"):rep(12) .. "end")
end

--- Every way in which bytes lie before, in and behind whole words.
function TestBuffer:testCopiesOfAllLengthsAtAllPlaces()
  local shm, _ <close> = block { create = true, size = 40 }
  local text = "abcdefghijklmnopqrstuvwxyz"
  for offset = 0, 9 do
    for n = 0, #text do
      shm.buf:write(0, ("."):rep(40))
      shm.buf:write(offset, text:sub(1, n))
      local want = ("."):rep(offset) .. text:sub(1, n)
      lu.assertEquals(shm.buf:read(), want .. ("."):rep(40 - #want))
    end
  end
end

function TestBuffer:testPackAndUnpack()
  local shm, _ <close> = block { create = true, size = 5000 }
  local buf = shm.buf
  local next_one = buf:pack(3, "<i4zs2d", 7, "text", "more", -0.5)
  lu.assertEquals(next_one, 3 + 4 + 5 + 6 + 8)
  lu.assertEquals({ buf:unpack(3, "<i4zs2d") }, { 7, "text", "more", -0.5, next_one })
  lu.assertEquals(buf:read(3, next_one - 3), string.pack("<i4zs2d", 7, "text", "more", -0.5))
  local long = ("x"):rep(4000)
  lu.assertEquals(buf:pack(100, "z", long), 4101)
  lu.assertEquals({ buf:unpack(100, "z") }, { long, 4101 })
  buf:pack(5000 - 8, "j", 42)
  lu.assertEquals({ buf:unpack(5000 - 8, "j") }, { 42, 5000 })
  lu.assertEquals({ buf:unpack(5000, "") }, { 5000 })
  local before = buf:read()
  lu.assertErrorMsgContains("bad argument", buf.pack, buf, 4993, "j", 1)
  lu.assertErrorMsgContains("overflow", buf.pack, buf, 0, "b", 200)
  lu.assertErrorMsgContains("bad argument", buf.pack, buf, 0, "j")
  lu.assertErrorMsgContains("invalid format", buf.unpack, buf, 0, "y")
  lu.assertErrorMsgContains("too short", buf.unpack, buf, 4993, "j")
  lu.assertErrorMsgContains("too short", buf.unpack, buf, 100, "s8")
  lu.assertEquals(buf:read(), before)
  buf:write(0, ("y"):rep(5000))
  lu.assertErrorMsgContains("unfinished string", buf.unpack, buf, 0, "z")
end

function TestBuffer:testViewsAreTheSameMemory()
  local shm, _ <close> = block { create = true, size = 30 }
  local buf = shm.buf
  local view = buf:view("int16", 4, 3)
  view:write(1, { 1, -1, 258 })
  lu.assertEquals(buf:read(4, 6), string.pack("i2i2i2", 1, -1, 258))
  lu.assertEquals({ #buf:view("double"), #buf:view("double", 8), #buf:view("b") }, { 3, 2, 30 })
  lu.assertEquals({ #buf:view("b", 30), #buf:view("d", 24), #buf:view("i", 0, 0) }, { 0, 0, 0 })
  lu.assertErrorMsgContains("index 4 is out of range", function() return view[4] end)
  for _, case in ipairs({ { "x" }, { "int16", 1 }, { "double", 4 }, { "b", 31 }, { "b", -1 },
    { "b", 0, 31 }, { "d", 0, 4 }, { "b", 0, -1 }, { "b", 1, math.maxinteger }, {} }) do
    lu.assertErrorMsgContains("bad argument #", function() buf:view(table.unpack(case)) end)
  end
end

-- As memmove.
function TestBuffer:testViewsThatOverlapAreCopied()
  local n = 3000
  local shm, _ <close> = block { create = true, size = 8 * n }
  local left, right = shm.buf:view("int64", 0, n - 1), shm.buf:view("int64", 8, n - 1)
  for _, case in ipairs({ { left, right }, { right, left } }) do
    local all = shm.buf:view("int64")
    for i = 1, n do all[i] = i end
    local want = case[2]:tobytes()
    case[1]:write(1, case[2])
    lu.assertTrue(case[1]:tobytes() == want)
  end
end

local TestProcesses = {}

--- Runs a chunk in a host of its own; 'name' is a variable in it.
local function other(name, chunk)
  local out, err, code = children.host(("local name = %q\n" ..
    "local SharedMemory = require('multiprocessing.shared_memory').SharedMemory\n")
    :format(name) .. chunk)
  lu.assertEquals({ err, code }, { "", 0 })
  return out
end

--- The same, killing itself at the end.
local function killed(name, chunk)
  local out, err, code = children.host(("local name = %q\n" ..
    "local SharedMemory = require('multiprocessing.shared_memory').SharedMemory\n")
    :format(name) .. chunk .. [[

    print("end") -- a kill at the time limit looks the same
    io.stdout:flush()
    os.execute('kill -9 $PPID')]])
  lu.assertEquals({ err, code }, { "", -9 })
  lu.assertStrMatches(out, ".*end\n")
end

-- 111
function TestProcesses:testWritesAreSeenAtOnce()
  local shm, _ <close> = block { create = true, size = 100 }
  local here <close>, there = mp.Pipe()
  local child = mp.Process(function()
    there:send_bytes(shm.buf:read(0, 4))
    shm.buf:write(0, "from the child")
    there:send_bytes("done")
  end)
  shm.buf:write(0, "here")
  child:start()
  lu.assertEquals({ here:recv_bytes(), here:recv_bytes() }, { "here", "done" })
  lu.assertEquals(shm.buf:read(0, 14), "from the child")
  child:join()
  there:close()
  lu.assertEquals(other(shm.name, [[
    local shm = SharedMemory(name)
    print(shm.buf:read(0, 14), shm.size)
    shm.buf:write(0, "from the other")]]), "from the child\t100\n")
  lu.assertEquals(shm.buf:read(0, 14), "from the other")
end

-- 112: gh-82300
function TestProcesses:testABlockSurvivesWhoHasOpenedIt()
  local shm, _ <close> = block { create = true, size = 10 }
  other(shm.name, "SharedMemory(name).buf:write(0, 'x')")
  killed(shm.name, "kept = SharedMemory(name).buf:write(0, 'x')")
  -- One that tracks a block of its own: when that is gone, the other was spared.
  killed(shm.name, "kept = {SharedMemory(name), SharedMemory(name .. 'x', true, 1)}")
  eventually(function() return not exists(shm.name .. "x") end)
  lu.assertTrue(exists(shm.name))
  lu.assertEquals(shm.buf:read(0, 1), "x")
end

-- 112
function TestProcesses:testTheNameGoesWithAKilledProcess()
  local name = new_name()
  killed(name, [[
    local shm = SharedMemory(name, true, 10)
    io.open("/dev/shm/" .. name):close()]])
  eventually(function() return not exists(name) end)
end

-- 112
function TestProcesses:testTheNameGoesWithAProcessThatForgets()
  for _, ending in ipairs({ "", "os.exit(0)", "os.exit(0, true)", "shm:close()" }) do
    local name = new_name()
    other(name, "local shm = SharedMemory(name, true, 10)\n" .. ending)
    eventually(function() return not exists(name) end)
  end
end

-- 112
function TestProcesses:testAnUntrackedNameStays()
  local name = new_name()
  killed(name, [[
    SharedMemory{name = name, create = true, size = 10, track = false}.buf:write(0, "kept")
    local gone = SharedMemory{name = name .. "x", create = true, size = 10}]])
  eventually(function() return not exists(name .. "x") end)
  local shm, _ <close> = block(name)
  lu.assertEquals(shm.buf:read(0, 4), "kept")
end

-- 112: with SIGKILL to all of them at once.
function TestProcesses:testTheNamesOfAKilledFamilyGo()
  local name = new_name()
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write(([[
    local mp, time = require("multiprocessing"), require("time")
    local SharedMemory = require("multiprocessing.shared_memory").SharedMemory
    local mine = SharedMemory(%q, true, 10)
    mp.Process(function()
      local its = SharedMemory(%q, true, 10)
      its.buf:write(0, "x")
      mp.Process(function()
        SharedMemory(%q, true, 10).buf:write(0, "x")
        os.execute("kill -9 -$(ps -o pgid= -p $PPID | tr -d ' ')")
      end):start():join()
    end):start():join()]]):format(name, name .. " its", name .. " whose"))
  file:close()
  local out, err = program.run({ "-w", program.path, script },
    { program = "setsid", timeout = LIMIT })
  os.remove(script)
  lu.assertEquals({ out, err }, { "", "" })
  for _, which in ipairs({ "", " its", " whose" }) do
    eventually(function() return not exists(name .. which) end)
  end
end

-- 112: it is the whole family's, also if its first block is a child's.
function TestProcesses:testTheNameOfAChildsBlockStaysWithTheParent()
  for _, method in ipairs({ "fork", "spawn", "forkserver" }) do
    local name = new_name()
    local out = other(name, ("mp.set_start_method(%q)\n"):format(method) .. [[
      local child = mp.Process(function()
        SharedMemory(name, true, 10).buf:write(0, "kept")
        os.execute("kill -9 $PPID")
      end):start()
      child:join()
      time.sleep(0.05) -- what should not be done has its chance
      local shm = SharedMemory(name)
      print(child.exitcode, shm.buf:read(0, 4))]])
    lu.assertEquals(out, "-9\tkept\n")
    eventually(function() return not exists(name) end)
  end
end

-- 112: the children's children, however they are started, write to the same pipe.
function TestProcesses:testAllDescendantsHaveOneTracker()
  for _, method in ipairs({ "fork", "spawn", "forkserver" }) do
    local out = other(new_name(), ("local method = %q\n"):format(method) .. [[
      local context, results = mp.get_context(method), mp.SimpleQueue()
      local function pipes() -- that are written to
        local lfs, found = require("lfs"), {}
        local own = "/proc/" .. mp.current_process().pid
        for fd in lfs.dir(own .. "/fd") do
          local target = lfs.symlinkattributes(own .. "/fd/" .. fd, "target")
          local info = target and target:find("^pipe:") and io.open(own .. "/fdinfo/" .. fd)
          if info and info:read("a"):match("flags:%s+%d*([0-7])\n") == "1" then
            found[target] = true
          end
        end
        return found
      end
      local before, tracker = pipes()
      local first <close> = SharedMemory{create = true, size = 1}
      first:unlink()
      for pipe in pairs(pipes()) do tracker = not before[pipe] and pipe or tracker end
      local function child(depth)
        local mine <close> = SharedMemory{create = true, size = 1}
        mine:unlink()
        results:put(pipes())
        if depth == 1 then context.Process(child, 2):start():join() end
      end
      local process = context.Process(child, 1):start()
      process:join()
      print(process.exitcode, results:get()[tracker], results:get()[tracker])]])
    lu.assertEquals(out, "0\ttrue\ttrue\n")
  end
end

function TestProcesses:testATrackerThatWasKilledIsReplaced()
  local name = new_name()
  killed(name, [[
    local first = SharedMemory{create = true, size = 1}
    first:unlink()
    -- The shell that has our pipe's other end as its standard input.
    local pipe = io.popen("for p in /proc/[0-9]*; do { " ..
      "tr '\\0' ' ' <$p/cmdline | grep -q '^sh -c # tidelock' && " ..
      "input=$(readlink $p/fd/0) && ls -l /proc/$PPID/fd | grep -qF \"$input\" && " ..
      "echo ${p#/proc/}; } 2>/dev/null; done")
    local pid = pipe:read("a"):match("^(%d+)\n$")
    pipe:close()
    -- It may stay a zombie: whose child it is now decides that.
    os.execute(("kill -9 %s; while grep -qv ') [ZX] ' /proc/%s/stat; do :; done 2>/dev/null")
      :format(pid, pid))
    local shm = SharedMemory(name, true, 10)
    io.open("/dev/shm/" .. name):close()]])
  eventually(function() return not exists(name) end)
end

function TestProcesses:testNothingIsLeftBehind()
  for i = 1, 50 do
    local shm <close> = SharedMemory { create = true, size = 10000 * i }
    shm:unlink()
    lu.assertFalse(exists(shm.name))
  end
end

local TestMemory = {}

exhaust.add(TestMemory, "Make", {
  make = new_name,
  act = function(name)
    local shm <close> = SharedMemory(name, true, 10)
    shm:unlink()
  end,
  -- The name is made last but for what needs no memory.
  check = function(name) lu.assertFalse(exists(name)) end,
})

exhaust.add(TestMemory, "Use", {
  make = function()
    local shm = SharedMemory(nil, true, 100)
    shm:unlink()
    return shm
  end,
  act = function(shm)
    local view = shm.buf:view("int32")
    view[1] = 5
    shm.buf:pack(10, "s1", "text")
    return { shm.name, shm.buf:read(10, 5), shm.buf:unpack(10, "s1"), tostring(shm) }
  end,
})

return {
  TestBlock = TestBlock,
  TestBuffer = TestBuffer,
  TestMemory = TestMemory,
  TestProcesses = TestProcesses,
}

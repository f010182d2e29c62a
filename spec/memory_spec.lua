--- Failing allocations: each operation is tried with the first, the second,
--- the third ... request for memory refused, until it succeeds. Whatever fails
--- raises "not enough memory", and leaves all objects whole.
local errors = require("errors")
local gil = require("gil")
local lu = require("luaunit")
local mp = require("multiprocessing")
local queue = require("queue")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local cmodules = require("support.cmodules")
local eventually = require("support.eventually")
local exhaust = require("support.exhaust")
local program = require("support.program")

local failing = cmodules.require("failing")

local LONG = 60 -- seconds

local function nothing() end

local TestMemory = {}

local function add(name, case) exhaust.add(TestMemory, name, case) end

-- Making objects --------------------------------------------------------------

local makers = {
  Thread = function() return threading.Thread(nothing, 1, 2) end,
  ThreadOfOptions = function()
    return threading.Thread({ target = nothing, args = { 1, n = 3 }, name = "named" })
  end,
  Subclass = function() return threading.Thread:subclass({ run = nothing })() end,
  Timer = function() return threading.Timer(1000, nothing, { 1 }) end,
  Lock = threading.Lock,
  RLock = threading.RLock,
  Condition = function() return threading.Condition() end,
  ConditionOfLock = function() return threading.Condition({ lock = threading.Lock() }) end,
  Semaphore = function() return threading.Semaphore(2) end,
  BoundedSemaphore = function() return threading.BoundedSemaphore(2) end,
  Event = threading.Event,
  Barrier = function() return threading.Barrier(2, nothing, 1) end,
  Local = function()
    local object = threading.Local()
    object.field = 1
    return object
  end,
  Queue = function() return queue.Queue(5) end,
  LifoQueue = function() return queue.LifoQueue() end,
  PriorityQueue = function() return queue.PriorityQueue({ key = tostring }) end,
  SimpleQueue = queue.SimpleQueue,
  Process = function() return mp.Process(nothing, 1) end,
  Pipe = function() return { mp.Pipe() } end,
  ErrorClass = function() return errors.class("memory.Own", errors.Error) end,
  Error = function() return errors.new(errors.TimeoutError, "late", { field = 1 }) end,
  Tostring = function() return tostring(errors.Error) .. tostring(threading.Lock()) end,
  Stats = function() return gil.stats() end,
  Enumerate = threading.enumerate,
}
for name, make in pairs(makers) do
  add("Making" .. name, {
    act = make,
    check = function(_, failed, made)
      if not failed then lu.assertNotNil(made) end
      lu.assertEquals(threading.active_count(), 1)
    end,
  })
end

-- Threads ---------------------------------------------------------------------

add("StartingAThread", {
  -- The registry grows at one of its sizes.
  make = function() return threading.Thread(function(...) return ... end, 1, nil, 3) end,
  act = function(thread) thread:start() end,
  check = function(thread, failed)
    if failed then
      lu.assertFalse(thread:is_alive())
      lu.assertNil(thread.ident)
      thread:start()
    end
    lu.assertEquals(table.pack(thread:result(LONG)), { 1, nil, 3, n = 3 })
    lu.assertEquals(threading.active_count(), 1)
  end,
})

-- One that cannot be started is forgotten, whatever the registry's size.
function TestMemory.testAThreadThatWasNotStartedIsForgotten()
  local registry, keys = debug.getregistry(), {}
  local function states()
    collectgarbage()
    local n = 0
    for _, value in next, registry do
      if type(value) == "thread" then n = n + 1 end
    end
    return n
  end
  local before = states()
  for i = 1, 80 do
    keys[i] = {}
    registry[keys[i]] = true
    for n = 1, 12 do
      local thread = threading.Thread(nothing)
      local refused, ok = failing.run(n, true, thread.start, thread)
      if ok then thread:join() end
      if refused == 0 then break end
    end
  end
  for _, key in ipairs(keys) do registry[key] = nil end
  lu.assertEquals(states(), before)
end

--- Runs body in a thread that arms the allocator itself and in which whatever
-- comes afterwards may fail; returns refusals, the thread and what excepthook
-- was told.
local function dies(n, lasting, body)
  local told = {}
  local real = threading.excepthook
  threading.excepthook = function(args) told[#told + 1] = args.value end
  local thread = threading.Thread(function()
    failing.arm(n, lasting)
    return body()
  end):start()
  lu.assertTrue(thread:join(LONG))
  local refused = failing.disarm()
  threading.excepthook = real
  return refused, thread, told
end

--- The end of a thread may fail as well: its result says so then, and is never
-- silently nothing.
function TestMemory.testTheEndOfAThreadThatReturns()
  for _, lasting in ipairs({ false, true }) do
    local n, refused, thread, told = 0
    repeat
      n = n + 1
      refused, thread, told = dies(n, lasting, function() return 1, nil, "x" end)
      local got = table.pack(pcall(thread.result, thread))
      if got[1] then
        lu.assertEquals(got, { true, 1, nil, "x", n = 4 })
        lu.assertEquals(told, {})
      else
        lu.assertStrContains(tostring(got[2]), "not enough memory")
        -- Without memory there is nobody to be told but standard error.
        if not lasting then lu.assertEquals(told, { got[2] }) end
      end
    until refused == 0
    lu.assertTrue(n > 1)
  end
end

function TestMemory.testTheEndOfAThreadThatRaises()
  for _, value in ipairs({ "a string", errors.new(errors.Error, "a value"), { "a table" } }) do
    for _, lasting in ipairs({ false, true }) do
      local n, refused, thread = 0
      repeat
        n = n + 1
        refused, thread = dies(n, lasting, function() error(value, 0) end)
        local ok, err = pcall(thread.result, thread)
        lu.assertFalse(ok)
        if err ~= value then lu.assertStrContains(tostring(err), "not enough memory") end
      until refused == 0
    end
  end
end

-- A cancel whose error cannot be made is not lost: it comes as soon as it can.
function TestMemory.testACancelIsNotLost()
  for _, message in ipairs({ false, "enough" }) do
    for n = 1, 60 do
      local event, failed = threading.Event(), false
      local thread = threading.Thread(function()
        local _, _, err = failing.run(n, true, event.wait, event)
        failed = true
        local limit = time.monotonic() + 20
        if errors.is(err, errors.Cancelled) then error(err, 0) end
        while time.monotonic() < limit do end
      end):start()
      eventually(function() return failed or blocked.is("event", thread) end)
      thread:cancel(message or nil)
      local ok, err = pcall(thread.result, thread, LONG)
      lu.assertFalse(ok, n)
      lu.assertTrue(errors.is(err, errors.Cancelled), n)
      lu.assertEquals(err.message, message or "cancelled")
    end
  end
end

add("Dump", {
  act = function()
    local text = {}
    threading.dump({ write = function(_, s) text[1] = s end })
    return text[1]
  end,
  check = function(_, failed, text)
    if not failed then lu.assertStrContains(text, "MainThread") end
  end,
})

-- Coroutines and hooks --------------------------------------------------------

add("Coroutines", {
  make = function() return { seen = {} } end,
  act = function(object)
    local co = coroutine.create(function(a)
      local b = coroutine.yield({ a })
      return { b }
    end)
    local ok, value = coroutine.resume(co, 1)
    if not ok then error(value, 0) end
    ok, value = coroutine.resume(co, 2)
    if not ok then error(value, 0) end
    local wrapped = coroutine.wrap(function() for i = 1, 3 do coroutine.yield({ i }) end end)
    for i = 1, 3 do object.seen[i] = wrapped()[1] end
    return value[1]
  end,
  check = function(object, failed, value)
    if failed then return end
    lu.assertEquals(value, 2)
    lu.assertEquals(object.seen, { 1, 2, 3 })
  end,
})

add("Sethook", {
  act = function()
    local function h() end
    local ok, err = pcall(debug.sethook, h, "l")
    local was = ok and h or nil
    local is = debug.gethook()
    debug.sethook()
    if is ~= was then error("another hook") end
    if not ok then error(err, 0) end
  end,
})

-- Files and processes ---------------------------------------------------------

local TEXT = ("a line\n"):rep(2000) .. "12 0x1F\n"

local files = {
  Open = function(name)
    local f = assert(io.open(name))
    return f:close()
  end,
  ReadAll = function(name)
    local f <close> = assert(io.open(name))
    return f:read("a") == TEXT or nil, "text", 0
  end,
  ReadFormats = function(name)
    local f <close> = assert(io.open(name))
    f:seek("end", -8)
    local a, b, rest = f:read("n", "n", "L")
    assert(a == 12 and b == 31 and rest == "\n")
    return true
  end,
  Lines = function(name)
    local n = 0
    for _ in io.lines(name) do n = n + 1 end
    assert(n == 2001)
    return true
  end,
  Popen = function(name)
    local f <close> = assert(io.popen("cat " .. name))
    assert(f:read("a") == TEXT)
    return f:close()
  end,
  PopenToWrite = function()
    local f <close> = assert(io.popen("cat >/dev/null", "w"))
    assert(f:write(TEXT, 12, " ", 1.5))
    return f:close()
  end,
  Execute = function() return os.execute("exit 0") end,
}
for name, act in pairs(files) do
  add("File" .. name, {
    make = function() return TestMemory.file end,
    -- What io returns instead of raising, assert raises.
    act = function(file)
      local ok, value = pcall(act, file)
      if ok then return value end
      if tostring(value):find("Cannot allocate memory", 1, true) then
        error("not enough memory", 0)
      end
      error(value, 0)
    end,
  })
end

-- A file can be used as before, whatever failed.
add("FileWriteAndRead", {
  make = function()
    local f = io.tmpfile()
    f:setvbuf("full", 64)
    return f
  end,
  act = function(f)
    f:write("one ", 2, " ", TEXT)
    f:seek("set")
    return f:read("l", 100, "L", "a")
  end,
  check = function(f)
    f:seek("set")
    f:write("again\n")
    f:seek("set")
    lu.assertEquals(f:read(), "again")
    f:close()
  end,
})

-- Long enough to need memory of its own each time.
local MESSAGE = ("message "):rep(100)

add("Pipe", {
  make = function() return table.pack(mp.Pipe()) end,
  act = function(ends)
    ends[1]:send_bytes(MESSAGE)
    return ends[2]:recv_bytes()
  end,
  check = function(ends, failed, message)
    if not failed then lu.assertEquals(message, MESSAGE) end
    if failed and ends[2]:poll() then lu.assertEquals(ends[2]:recv_bytes(), MESSAGE) end
    ends[1]:send_bytes("another")
    lu.assertEquals(ends[2]:recv_bytes(), "another")
    ends[1]:close()
    ends[2]:close()
  end,
})

-- In a process of its own: what it prints is looked at.
function TestMemory.testPrint()
  local out, err = program.eval(([[
    package.cpath = %q
    local failing = require("failing")
    local long = ("x"):rep(1000)
    local printed = 0
    for _, lasting in ipairs({ false, true }) do
      local n, refused, ok, message = 0
      repeat
        n = n + 1
        refused, ok, message = failing.run(n, lasting, function()
          print(setmetatable({}, { __tostring = function() return long .. 1 end }), 1.5, nil)
        end)
        if ok then printed = printed + 1 end
        assert(ok or message == "not enough memory", message)
      until refused == 0
    end
    print(printed)]]):format(cmodules.path))
  lu.assertEquals(err, "")
  local line = ("x"):rep(1000) .. "1\t1.5\tnil\n"
  local n = tonumber(out:match("(%d+)\n$"))
  lu.assertEquals(out, line:rep(n) .. n .. "\n")
end

function TestMemory:setUp()
  TestMemory.file = os.tmpname()
  local f <close> = assert(io.open(TestMemory.file, "w"))
  f:write(TEXT)
end

function TestMemory:tearDown()
  os.remove(TestMemory.file)
end

return { TestMemory = TestMemory }

--- The io library: Lua 5.4's values, and other threads run while a call waits.
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local differential = require("support.differential")
local lasting = require("support.lasting")
local program = require("support.program")

local function spawn(f, ...) return threading.Thread(f, ...):start() end

--- The name of a new file with the text; removed when closed.
local function scratch(text)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(text or "")
  file:close()
  return setmetatable({ name = name }, { __close = function() os.remove(name) end })
end

--- The two ends of a FIFO, opened.
local function fifo()
  local name = os.tmpname()
  os.remove(name)
  assert(os.execute("mkfifo " .. name))
  local opener = spawn(io.open, name, "w")
  local reader = assert(io.open(name, "r"))
  local writer = opener:result(60)
  os.remove(name)
  return reader, writer
end

--- Fills a pipe that nobody reads: what a thread of its own writes blocks.
local function blocked_writer(file, text)
  file:setvbuf("no")
  local thread = spawn(function() return file:write(text) end)
  blocked("write", thread)
  return thread
end

local TestValues = {}

-- Formats, lines, seek, setvbuf, errors, popen, execute: spec/support has them.
function TestValues.testEverythingIsAsInLua54()
  local difference = differential.compare({ args = { "spec/support/io_behaviour.lua" } })
  lu.assertNil(difference)
end

function TestValues.testALineLongerThanAnyBuffer()
  local file <close> = scratch(("x"):rep(300000) .. "\nend")
  for line in io.lines(file.name) do
    lu.assertTrue(#line == 300000 or line == "end")
  end
  local pipe <close> = io.popen("cat " .. file.name)
  lu.assertEquals(#pipe:read("l"), 300000)
  lu.assertEquals(pipe:read("l"), "end")
  lu.assertNil(pipe:read("l"))
end

function TestValues.testManyFormatsInOneCall()
  local file <close> = scratch(("ab 12 "):rep(100))
  local formats = {}
  for _ = 1, 100 do
    table.insert(formats, 3)
    table.insert(formats, "n")
    table.insert(formats, 1)
  end
  formats[300] = nil
  formats[250] = nil
  local input <close> = assert(io.open(file.name))
  local values = table.pack(input:read(table.unpack(formats, 1, 249)))
  lu.assertEquals(values.n, 249)
  for i = 1, 249, 3 do
    lu.assertEquals({ values[i], values[i + 1], values[i + 2] }, { "ab ", 12, " " })
  end
end

function TestValues.testAFileThatGrowsIsReadOn()
  local file <close> = scratch("one\n")
  local reader <close> = assert(io.open(file.name))
  lu.assertEquals(reader:read("l"), "one")
  lu.assertNil(reader:read("l"))
  local writer <close> = assert(io.open(file.name, "a"))
  writer:write("two\n"):flush()
  lu.assertEquals(reader:read("l"), "two")
end

function TestValues.testNumbersAcrossReadsOfAPipe()
  local command = "printf 12; sleep 0.05; printf '34 0x'; sleep 0.05; printf 'ff -.5e1 x'"
  local pipe <close> = io.popen(command)
  local a, b, c, d = pipe:read("n", "n", "n", "n")
  lu.assertEquals({ a, b, c }, { 1234, 255, -5.0 })
  lu.assertNil(d)
  lu.assertEquals(pipe:read("a"), "x")
end

-- A C module's stream has the metatable, but none of our fields.
function TestValues.testForeignStreams()
  local file <close> = scratch("one\ntwo\n")
  local out = program.eval(([[
    local lfs = require("lfs")
    local f = assert(io.open(%q, "r+"))
    print(lfs.lock(f, "r"), lfs.setmode(f, "binary"))
    print(f:read("l", "l"))
  ]]):format(file.name))
  lu.assertEquals(out, "true\ttrue\tbinary\none\ttwo\n")
end

local TestThreads = {}

-- 214
function TestThreads.testOthersRunWhileAPipeIsRead()
  local count, from = 0, time.monotonic()
  local reader = spawn(function()
    local pipe <close> = io.popen("sleep 1; echo done")
    return pipe:read("a")
  end)
  while reader:is_alive() do count = count + 1 end
  lu.assertEquals(reader:result(), "done\n")
  lu.assertTrue(count > 10000, count)
  lu.assertTrue(time.monotonic() - from < 10)
end

-- 214
function TestThreads.testOthersRunWhileAPipeIsWritten()
  local text, count = ("x"):rep(1000000), 0
  local pipe = io.popen("sleep 0.3; cat >/dev/null", "w")
  local writer = spawn(function() return pipe:write(text) == pipe end)
  while writer:is_alive() do count = count + 1 end
  lu.assertTrue(writer:result())
  lu.assertTrue(count > 10000, count)
  lu.assertTrue(pipe:close())
end

-- 214
function TestThreads.testOthersRunWhileAProcessIsClosed()
  local pipe, count = io.popen("sleep 0.3; exit 3"), 0
  local closer = spawn(function() return pipe:close() end)
  while closer:is_alive() do count = count + 1 end
  lu.assertEquals({ closer:result() }, { nil, "exit", 3 })
  lu.assertTrue(count > 10000, count)
end

-- 214: that this thread sees them wait is what it is about.
function TestThreads.testOthersRunWhileALineIsAwaited()
  for name, read in pairs {
    ["io.read"] = function() return io.read() end,
    ["io.lines"] = function() return io.lines()() end,
    ["file:lines"] = function(file) return file:lines()() end,
  } do
    local reader, writer = fifo()
    local before = io.input()
    io.input(reader)
    local thread = spawn(read, reader)
    blocked("read", thread)
    writer:write("line\n"):close()
    lu.assertEquals(thread:result(60), "line", name)
    io.input(before)
    reader:close()
  end
end

-- 214
function TestThreads.testOthersRunWhileAFileIsFlushedOrClosed()
  for _, method in ipairs { "flush", "close" } do
    local reader, writer = fifo()
    for _ = 1, 64 do writer:write(("x"):rep(1024)) end -- what a pipe takes
    writer:write(("x"):rep(100))
    local thread = spawn(writer[method], writer)
    blocked("write", thread)
    lu.assertEquals(#reader:read(65636), 65636)
    lu.assertTrue(thread:result(60) and true)
    if method == "flush" then writer:close() end
    reader:close()
  end
end

function TestThreads.testAnOpenedFifoWaitsForItsOtherEnd()
  local reader, writer = fifo()
  writer:write("through\n"):flush()
  lu.assertEquals(reader:read("L"), "through\n")
  writer:close()
  lu.assertNil(reader:read("L"))
  reader:close()
end

function TestThreads.testEachLineGoesToOneReader()
  local pipe = io.popen("seq 1 4000")
  local seen, twice = {}, 0
  local lists, errors = bunch(4, function()
    local list = {}
    for line in pipe:lines() do table.insert(list, line) end
    return list
  end)
  lu.assertEquals(errors, {})
  for _, list in ipairs(lists) do
    for _, line in ipairs(list) do
      if seen[line] then twice = twice + 1 end
      seen[line] = true
    end
  end
  for i = 1, 4000 do lu.assertTrue(seen[tostring(i)], i) end
  lu.assertEquals(twice, 0)
  lu.assertTrue(pipe:close())
end

function TestThreads.testAWriteIsNotCut()
  local file <close> = scratch()
  local pipe = io.popen("sleep 0.1; cat >" .. file.name, "w")
  local _, errors = bunch(8, function(i)
    for n = 1, 100 do pipe:write(i, ("."):rep(500), i, " ", n, "\n") end
  end)
  lu.assertEquals(errors, {})
  pipe:close()
  local lines = 0
  for line in io.lines(file.name) do
    local a, dots, b = line:match("^(%d)(%.+)(%d) %d+$")
    lu.assertNotNil(a, line)
    lu.assertEquals(a, b)
    lu.assertEquals(#dots, 500)
    lines = lines + 1
  end
  lu.assertEquals(lines, 800)
end

function TestThreads.testClosingAFileInUse()
  local reader, writer = fifo()
  local thread = spawn(function() return reader:read("l") end)
  blocked("read", thread)
  lu.assertErrorMsgContains("file is in use", reader.close, reader)
  lu.assertErrorMsgContains("file is in use", io.close, reader)
  lu.assertErrorMsgContains("file is in use", function() local held <close> = reader end)
  lu.assertEquals(io.type(reader), "file")
  writer:write("line\n"):flush()
  lu.assertEquals(thread:result(60), "line")
  reader:close()
  writer:close()
end

function TestThreads.testAWaiterFindsTheFileClosed()
  local reader, writer = fifo()
  local first = spawn(function() return reader:read("l"), pcall(reader.close, reader) end)
  blocked("read", first)
  local second = spawn(function() return pcall(reader.read, reader, "l") end)
  blocked("file", second)
  writer:write("line\n"):flush()
  lu.assertEquals(first:result(60), "line")
  writer:close()
  local ok, message = second:result(60)
  -- The second may have come before the close, and reads the end then.
  if not ok then lu.assertStrContains(message, "closed file") end
  pcall(reader.close, reader)
end

local TestInterrupts = {}

function TestInterrupts.testACancelledReadLosesNothing()
  local reader, writer = fifo()
  writer:write("42 first\nhalf"):flush()
  local thread = spawn(function() return reader:read("n", "l", "l") end)
  blocked("read", thread)
  thread:cancel()
  lu.assertErrorMsgContains("Cancelled", thread.result, thread, 60)
  writer:write(" a line\nrest"):close()
  local a, b, c, d = reader:read("n", "l", "l", "a")
  lu.assertEquals({ a, b, c, d }, { 42, " first", "half a line", "rest" })
  reader:close()
end

function TestInterrupts.testACancelledWriteIsFinishedOrNotBegun()
  local reader, writer = fifo()
  local thread = blocked_writer(writer, ("a"):rep(200000))
  local waiting = spawn(function() return writer:write("never") end)
  blocked("file", waiting)
  waiting:cancel()
  lu.assertErrorMsgContains("Cancelled", waiting.result, waiting, 60)
  thread:cancel()
  lu.assertErrorMsgContains("Cancelled", thread.result, thread, 60)
  local text = spawn(function() return reader:read("a") end)
  writer:write("b")
  writer:close()
  lu.assertTrue(text:result(60) == ("a"):rep(200000) .. "b")
  reader:close()
end

function TestInterrupts.testACancelledCloseLeavesTheProcessToTheReaper()
  local command, finish = lasting()
  local pipe = io.popen(command)
  local thread = spawn(function() return pipe:close() end)
  blocked("process", thread)
  thread:cancel()
  lu.assertErrorMsgContains("Cancelled", thread.result, thread, 60)
  lu.assertEquals(io.type(pipe), "closed file")
  finish()
end

-- Nobody reads what is printed before the thread has ended.
function TestInterrupts.testACancelledPrintEnds()
  local file <close> = scratch([[
    local blocked = require("support.blocked")
    local t = require("threading").Thread(function() print(("x"):rep(1000000)) end):start()
    blocked("write", t)
    t:cancel()
    t:join()
    io.open(arg[1], "w"):close() -- lets the reader begin
  ]])
  local go = file.name .. ".go"
  local pipe = io.popen(
    ("LUA_PATH='spec/?.lua;;' '%s' '%s' '%s' | (until [ -e '%s' ]; do sleep 0.01; done; wc -c)")
    :format(program.path, file.name, go, go))
  lu.assertEquals(pipe:read("n"), 1000001)
  lu.assertTrue(pipe:close())
  os.remove(go)
end

local TestProcesses = {}

function TestProcesses.testAClosedPipeIsAnError()
  local runs = {
    function(f) return f() end,
    function(f) return spawn(f):result(60) end,
  }
  for _, run in ipairs(runs) do
    local list = run(function()
      local pipe = io.popen("exec true", "w")
      local ok, message, code
      repeat
        ok, message, code = pipe:write(("x"):rep(5000))
      until not ok
      local closed = pipe:close()
      return { message, code, closed }
    end)
    lu.assertEquals(list, { "Broken pipe", 32, true })
  end
end

function TestProcesses.testChildrenHaveTheStartUpSignalMask()
  local mask = spawn(function()
    local pipe <close> = io.popen("grep SigBlk /proc/self/status")
    return pipe:read("a")
  end):result(60)
  lu.assertEquals(mask:match("%x+\n"), "0000000000000000\n")
end

function TestProcesses.testChildrenInheritNoFileOfOurs()
  local file <close> = scratch("text")
  local out = program.eval(([[
    local function list()
      local pipe <close> = io.popen("ls /proc/self/fd")
      return pipe:read("a")
    end
    local before = list()
    local a, b, c = io.open(%q), io.popen("cat", "w"), io.tmpfile()
    local d = io.popen("cat")
    os.execute("true")
    print(list() == before)
  ]]):format(file.name), { stdin = "" })
  lu.assertEquals(out, "true\n")
end

function TestProcesses.testCollectedHandlesLeaveNoProcess()
  for _ = 1, 20 do io.popen("exit 1") end
  for _ = 1, 20 do io.popen("cat >/dev/null", "w"):write("text") end
  collectgarbage()
  collectgarbage()
end

function TestProcesses.testWhatACollectedPipeHeldIsWritten()
  local file <close> = scratch()
  do io.popen("cat >" .. file.name, "w"):write("kept") end
  collectgarbage()
  collectgarbage()
  local deadline, text = time.monotonic() + 30, ""
  while text == "" and time.monotonic() < deadline do
    local input <close> = io.open(file.name)
    text = input:read("a")
    time.sleep(0.005)
  end
  lu.assertEquals(text, "kept")
end

function TestProcesses.testTheEndWaitsForOpenPipes()
  local out = program.eval([[
    local pipe = io.popen("sleep 0.2; cat", "w")
    pipe:write("late\n")
  ]])
  lu.assertEquals(out, "late\n")
end

function TestProcesses.testOutputOfAProcessComesAfterWhatWasWrittenBefore()
  local out = program.eval([[
    io.write("before ")
    io.popen("printf 'during '"):close()
    io.popen("printf 'to stdout ' >&1", "w"):close()
    io.write("after\n")
  ]])
  lu.assertEquals(out, "before to stdout after\n")
end

local TestFinalizers = {}

function TestFinalizers.testWhatWouldBlockRaises()
  local messages = {}
  local reader, writer = fifo()
  local command, finish = lasting()
  local pipe = io.popen(command)
  local function note(...) table.insert(messages, (select(2, pcall(...)))) end
  setmetatable({}, { __gc = function()
    note(reader.read, reader, "l")
    note(pipe.close, pipe)
    note(os.execute, "true")
  end })
  collectgarbage()
  lu.assertEquals(#messages, 3)
  for _, message in ipairs(messages) do
    lu.assertStrContains(message, "cannot wait in a finalizer")
  end
  writer:write("there\n"):flush()
  lu.assertEquals(reader:read("l"), "there")
  reader:close()
  writer:close()
  finish()
end

function TestFinalizers.testABusyFileRaises()
  local reader, writer = fifo()
  local thread = spawn(function() return reader:read("l") end)
  blocked("read", thread)
  local ok, message
  setmetatable({}, { __gc = function() ok, message = pcall(reader.read, reader) end })
  collectgarbage()
  lu.assertFalse(ok)
  lu.assertStrContains(message, "cannot wait in a finalizer")
  writer:write("line\n"):close()
  lu.assertEquals(thread:result(60), "line")
  reader:close()
end

return {
  TestFinalizers = TestFinalizers,
  TestInterrupts = TestInterrupts,
  TestProcesses = TestProcesses,
  TestThreads = TestThreads,
  TestValues = TestValues,
}

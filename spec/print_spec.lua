--- print under threads: whole lines, the values of lua5.4.
local lu = require("luaunit")
local program = require("support.program")

local TestPrint = {}

--- Each line of a thread is its number many times and a counter.
local PRINTERS = [[
  local threading = require("threading")
  local gil = require("gil")
  gil.switch_interval(0.00002)
  local start, threads = threading.Event(), {}
  for i = 1, 8 do
    threads[i] = threading.Thread(function()
      start:wait()
      for n = 1, %d do print(tostring(i):rep(%d), n, true) end
    end):start()
  end
  start:set()
  for _, thread in ipairs(threads) do thread:join() end
]]

--- Counts the lines of the file that are whole; the counters of each thread
--- must come in order.
local function check_lines(file, each, width)
  local last, lines = {}, 0
  for line in file:lines() do
    local digits, n = line:match("^(%d+)\t(%d+)\ttrue$")
    lu.assertNotNil(digits, line)
    local i = digits:sub(1, 1)
    lu.assertEquals(digits, i:rep(width))
    lu.assertEquals(tonumber(n), (last[i] or 0) + 1)
    last[i] = tonumber(n)
    lines = lines + 1
  end
  lu.assertEquals(lines, 8 * each)
end

--- The reader starts late, so that the writers find the pipe full.
local function print_into_pipe(each, width)
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write(PRINTERS:format(each, width))
  file:close()
  local pipe = io.popen(("'%s' '%s' | (sleep 0.1; cat)"):format(program.path, script))
  check_lines(pipe, each, width)
  lu.assertTrue(pipe:close())
  os.remove(script)
end

function TestPrint.testLinesOfThreadsStayWholeInAPipe()
  print_into_pipe(500, 60)
end

-- More than a pipe takes at once, so each line is written in several pieces.
function TestPrint.testLongLinesOfThreadsStayWholeInAPipe()
  print_into_pipe(10, 20000)
end

function TestPrint.testLinesOfThreadsStayWholeInAFile()
  local out, _, code = program.eval(PRINTERS:format(300, 70))
  lu.assertEquals(code, 0)
  local name = os.tmpname()
  local file = assert(io.open(name, "w+"))
  file:write(out)
  file:seek("set")
  check_lines(file, 300, 70)
  file:close()
  os.remove(name)
end

function TestPrint.testPrintInsideTostringOfAPrintedValue()
  local out = program.eval([[
    local inner = setmetatable({}, {__tostring = function() print("inner") return "value" end})
    print("outer", inner)
  ]])
  lu.assertEquals(out, "inner\nouter\tvalue\n")
end

function TestPrint.testAnErrorInTostringPrintsNothing()
  local out = program.eval([[
    print(pcall(print, "a", setmetatable({}, {__tostring = function() error("no", 0) end})))
  ]])
  lu.assertEquals(out, "false\tno\n")
end

function TestPrint.testTostringMustReturnAString()
  local bad = setmetatable({}, { __tostring = function() return {} end })
  lu.assertErrorMsgContains("'__tostring' must return a string", print, bad)
end

-- The finalizer waits for nobody, and does not cut the line.
function TestPrint.testPrintInAFinalizerBesideAThreadBlockedInPrint()
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write([[
    local blocked = require("support.blocked")
    local t = require("threading").Thread(function() print(("x"):rep(200000)) end):start()
    blocked("write", t)
    setmetatable({}, {__gc = function() print("finalized") end})
    collectgarbage()
    io.open(arg[1], "w"):close() -- lets the reader begin
    t:join()
  ]])
  file:close()
  local pipe = io.popen(
    ("LUA_PATH='spec/?.lua;;' '%s' '%s' '%s.go' | (until [ -e '%s.go' ]; do sleep 0.01; done; cat)")
    :format(program.path, script, script, script))
  local text = pipe:read("a")
  lu.assertTrue(pipe:close())
  lu.assertTrue(text == ("x"):rep(200000) .. "\nfinalized\n", #text)
  os.remove(script)
  os.remove(script .. ".go")
end

-- As any program: it does not run on when nobody reads.
function TestPrint.testAClosedStandardOutputEndsTheProgram()
  for _, body in ipairs({
    "while true do print('line') end",
    [[local t = require("threading").Thread(function() while true do print("line") end end)
      t:start() t:join()]],
  }) do
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write(body)
    file:close()
    local command = "{ timeout -s KILL 20 '%s' '%s'; echo $? >&3; } 3>'%s.code'"
      .. " | head -n 1 >/dev/null; exit 0"
    local pipe = io.popen(command:format(program.path, script, script))
    pipe:close()
    local code = assert(io.open(script .. ".code"))
    lu.assertEquals(code:read("n"), 128 + 13)
    code:close()
    os.remove(script)
    os.remove(script .. ".code")
  end
end

return { TestPrint = TestPrint }

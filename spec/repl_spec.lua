-- The read-eval-print loop beside threads; program_spec compares it with lua5.4.
local lu = require("luaunit")
local time = require("time")
local program = require("support.program")

local TestLoop = {}

local LIMIT = 20 -- seconds, for what should take a moment

local function contents(path)
  local file <close> = assert(io.open(path))
  return file:read("a")
end

local function await(path, text)
  local stop = time.monotonic() + LIMIT
  while not contents(path):find(text, 1, true) do
    lu.assertTrue(time.monotonic() < stop, contents(path))
    time.sleep(0.01)
  end
end

function TestLoop.testThreadsRunWhileItWaitsForInput()
  local path = os.tmpname()
  local input = assert(io.popen(("'%s' -i >'%s' 2>&1"):format(program.path, path), "w"))
  input:setvbuf("line")
  input:write("threading = require('threading')\n",
    "stop = false\n",
    "t = threading.Thread(function() local n = 0 while not stop do n = n + 1 ",
    "if n == 1e6 then print('a mill' .. 'ion') end end return 'st' .. 'opped' end):start()\n")
  await(path, "a million")
  input:write("stop = true\n", "t:result()\n")
  await(path, "stopped")
  lu.assertTrue(input:close())
  os.remove(path)
end

return { TestLoop = TestLoop }

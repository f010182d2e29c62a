--- A write into a stdio buffer that was exactly full was left to stdio, which
--- then blocked in a full pipe with the GIL held, for ever if the reader was
--- another thread of the same interpreter.
local lu = require("luaunit")
local threading = require("threading")
local blocked = require("support.blocked")

local TestWriteIntoFullBuffer = {}

function TestWriteIntoFullBuffer.testOtherThreadsRunMeanwhile()
  local name = os.tmpname()
  os.remove(name)
  assert(os.execute("mkfifo " .. name))
  local opener = threading.Thread(io.open, name, "w"):start()
  local reader = assert(io.open(name))
  local writer = opener:result(60)
  os.remove(name)
  local block, sizes = ("x"):rep(4096), 0
  local thread = threading.Thread(function()
    -- Each block fills the buffer to the brim, each byte is one too many.
    for _ = 1, 40 do writer:write(block):write("y") end
    writer:close()
  end):start()
  blocked("write", thread)
  for line in reader:lines(4097) do sizes = sizes + #line end
  thread:join()
  reader:close()
  lu.assertEquals(sizes, 40 * 4097)
end

return { TestWriteIntoFullBuffer = TestWriteIntoFullBuffer }

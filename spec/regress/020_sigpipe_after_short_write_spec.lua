--- A reader that goes in the middle of a large write raises SIGPIPE although
--- the write returns a count: the process must live on all the same.
local lu = require("luaunit")
local program = require("support.program")

local TestSigpipeAfterShortWrite = {}

function TestSigpipeAfterShortWrite.testTheWriteFailsAndTheProgramGoesOn()
  local out, err, code = program.eval([[
    local text = ("x"):rep(1000000)
    for _ = 1, 20 do
      local pipe = io.popen("head -c 70000 >/dev/null", "w")
      print(pipe:write(text))
      pipe:close()
    end
  ]], { timeout = 30 })
  lu.assertEquals(err, "")
  lu.assertEquals(code, 0)
  lu.assertEquals(out, ("nil\tBroken pipe\t32\n"):rep(20))
end

return { TestSigpipeAfterShortWrite = TestSigpipeAfterShortWrite }

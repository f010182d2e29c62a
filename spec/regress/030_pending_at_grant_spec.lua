--- What became pending while the main thread was parked was forgotten when the
-- wait was granted at the same time: a script that did not wait again never
-- looked at it.
local lu = require("luaunit")
local program = require("support.program")

local TestPendingAtGrant = {}

function TestPendingAtGrant.testAnExitIsNotLostToAJoinThatEnds()
  for _ = 1, 10 do
    local _, err, code = program.eval([[
      local threading = require("threading")
      local thread = threading.Thread(function()
        while true do pcall(os.exit, 4, true) end
      end):start()
      thread:join()
      while true do end
    ]], { timeout = 30 })
    lu.assertEquals({ err, code }, { "", 4 })
  end
end

return { TestPendingAtGrant = TestPendingAtGrant }

--- A finalizer that came across the handle of a thread which had been finalized
--- before it read freed memory.
local lu = require("luaunit")
local program = require("support.program")

local TestCollectedThread = {}

function TestCollectedThread.testItsMethodsRaise()
  local out, err, code = program.eval([[
    local Thread = require("threading").Thread
    -- Finalized last, for it was made first.
    local object = setmetatable({}, { __gc = function(self)
      for _, name in ipairs({ "join", "is_alive", "cancel", "result", "start" }) do
        print(name, select(2, pcall(Thread[name], self.thread)))
      end
    end })
    object.thread = Thread(function() end):start()
    object.thread:join()]])
  lu.assertEquals({ code, err }, { 0, "" })
  local lines = 0
  for _ in out:gmatch("\t[^\n]*the thread was collected\n") do lines = lines + 1 end
  lu.assertEquals(lines, 5, out)
end

return { TestCollectedThread = TestCollectedThread }

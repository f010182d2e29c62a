--- Waits until cond() is true, looking again and again.
local time = require("time")

local LIMIT = 30 -- seconds

return function(cond)
  local deadline = time.monotonic() + LIMIT
  while not cond() do
    if time.monotonic() > deadline then error("it did not come true", 2) end
    time.sleep(0.0005)
  end
end

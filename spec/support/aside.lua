--- f(...) in a thread. Returns a function that waits for it and returns what
--- pcall would have, and the thread.
local threading = require("threading")

local LIMIT = 60 -- seconds, for what should take a moment

return function(f, ...)
  local thread = threading.Thread(pcall, f, ...):start()
  return function() return thread:result(LIMIT) end, thread
end

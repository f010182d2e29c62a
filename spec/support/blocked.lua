--- Tells when threads are parked, so that a test can order events without
-- sleeping.
local threading = require("threading")
local time = require("time")

local LIMIT = 30 -- seconds

local function report()
  local text = {}
  local file = {}
  function file:write(...)
    for _, s in ipairs({ ... }) do table.insert(text, s) end
    return self
  end
  threading.dump(file)
  return table.concat(text)
end

--- Waits until each of the threads is blocked on a thing of this kind.
---@param what string as dump() names it: "lock", "event", "read", "write" ...
---@param ... any threads
return function(what, ...)
  local deadline = time.monotonic() + LIMIT
  for _, thread in ipairs({ ... }) do
    local line = ("ident=%d[^\n]*: blocked [io]n %s "):format(thread.ident, what)
    while not report():find(line) do
      if time.monotonic() > deadline then
        error(("%s is not blocked on %s\n%s"):format(thread.name, what, report()), 2)
      end
      time.sleep(0.0005)
    end
  end
end

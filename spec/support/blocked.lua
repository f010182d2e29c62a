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

local blocked = {}

--- Whether the thread is blocked on a thing of this kind now.
---@param what string as dump() names it: "lock", "event", "read", "write" ...
function blocked.is(what, thread)
  if not thread.ident then return false end
  return report():find(("ident=%d[^\n]*: blocked [io]n %s "):format(thread.ident, what)) ~= nil
end

--- Waits until all threads but this one are blocked on whatever.
function blocked.all()
  repeat
    time.sleep(0.0005)
    local _, n = report():gsub(": blocked [io]n ", "")
  until n == threading.active_count() - 1
end

--- Waits until each of the threads is.
---@param what string
---@param ... any threads
local function wait(_, what, ...)
  local deadline = time.monotonic() + LIMIT
  for _, thread in ipairs({ ... }) do
    while not blocked.is(what, thread) do
      if time.monotonic() > deadline then
        error(("%s is not blocked on %s\n%s"):format(thread.name, what, report()), 2)
      end
      time.sleep(0.0005)
    end
  end
end

return setmetatable(blocked, { __call = wait })

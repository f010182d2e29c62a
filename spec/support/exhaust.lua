--- Failing allocations: an operation is tried with the first, the second, the
-- third ... request for memory refused, until it succeeds.
local lu = require("luaunit")
local threading = require("threading")
local blocked = require("support.blocked")
local cmodules = require("support.cmodules")
local eventually = require("support.eventually")

local failing = cmodules.require("failing")

local LONG = 60 -- seconds
local MOST = 5000 -- requests of one operation

local exhaust = {}

--- Whether an error, or what a function of io returned, is lack of memory.
local function is_refusal(ok, value, message, errno)
  local text = tostring(value)
  if not ok then
    -- luaL_checkstack says the latter for both.
    return (text:find("not enough memory", 1, true) or text:find("stack overflow", 1, true)) ~= nil
  end
  return value == nil and type(message) == "string" and errno == 12 -- ENOMEM
end

--- Tries 'act' until nothing is refused, in a thread of its own, whose stack
-- has yet to grow. make() gives what act works on; meanwhile(object, thread)
-- runs in the main thread; check(object, failed, results...) looks at what has
-- come of it.
local function run(case)
  for _, lasting in ipairs({ false, true }) do
    local n, refused = 0
    repeat
      n = n + 1
      lu.assertTrue(n < MOST, case.name)
      local object = case.make and case.make()
      local thread = threading.Thread(failing.run, n, lasting, case.act, object):start()
      if case.meanwhile then case.meanwhile(object, thread) end
      local got = table.pack(thread:result(LONG))
      refused = got[1]
      local failed = is_refusal(table.unpack(got, 2, 5))
      local where = ("%s, request %d%s: %s"):format(case.name, n,
        lasting and " and all later ones" or "", tostring(got[3]))
      if refused == 0 then lu.assertFalse(failed, where) end
      lu.assertTrue(got[2] or failed, where)
      local ok, err = pcall(case.check or type, object, failed,
        table.unpack(got, 3, got.n))
      if not ok then error(where .. "\n" .. tostring(err), 0) end
    until refused == 0
  end
end

--- Waits until the thread is blocked, or has ended.
function exhaust.until_blocked(what, thread)
  eventually(function() return not thread:is_alive() or blocked.is(what, thread) end)
end

--- Adds a test to the class, which tries the case.
function exhaust.add(class, name, case)
  class["test" .. name] = function()
    case.name = name
    run(case)
  end
end

return exhaust

--- Calls f(...), and before the n-th line that it runs in files whose names have 'part'
--- another thread calls g(...), until that ends or has to wait. Returns whether there
--- was such a line: all of them can be tried, in their order.
local lu = require("luaunit")
local threading = require("threading")
local blocked = require("support.blocked")
local eventually = require("support.eventually")

return function(part, n, f, g, ...)
  local other
  local args = { ... }
  local function step(_, line)
    if not debug.getinfo(2, "S").source:find(part, 1, true) then return end
    n = n - 1
    if n > 0 then return end
    debug.sethook()
    other = threading.Thread { target = g, args = args, name = "at line " .. line }
    other:start()
    eventually(function()
      return not other:is_alive() or blocked.is("lock", other) or blocked.is("read", other)
    end)
  end
  debug.sethook(step, "l")
  f(...)
  debug.sethook()
  if not other then return false end
  lu.assertTrue(other:join(60), other.name)
  other:result()
  return true
end

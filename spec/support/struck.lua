--- A thread that calls f and is killed, or cancelled, at the n-th line that it
--- runs in some files: those whose names have 'part'. Returns whether there was
--- such a line, and where: all of them can be tried, in their order.
local lu = require("luaunit")
local mp = require("multiprocessing")
local threading = require("threading")

local LIMIT = 60 -- seconds, for what should take a moment

return function(part, n, how, f, ...)
  local sanitizer = os.getenv("TIDELOCK_SANITIZER")
  if sanitizer == "thread" then lu.skip("hooks count, and cut lines in two") end
  local where
  local process = mp.current_process() -- a forked child has the hook, too
  local function strike_at(line)
    n = n - 1
    if n > 0 or mp.current_process() ~= process then return end
    debug.sethook()
    where = ("%s at line %d, %s"):format(part, line, how)
    threading.current_thread()[how](threading.current_thread())
  end
  local thread = threading.Thread(function(...)
    debug.sethook(function(_, line)
      if debug.getinfo(2, "S").source:find(part, 1, true) then strike_at(line) end
    end, "l")
    f(...)
    debug.sethook()
  end, ...):start()
  lu.assertTrue(thread:join(LIMIT), where)
  pcall(thread.result, thread) -- that it was struck is no news
  return where ~= nil, where
end

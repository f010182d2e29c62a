--- A thread that calls f and is killed, or cancelled, at the n-th instruction that it
--- runs in some files: those whose names have 'part'. Returns whether there was such
--- an instruction, and where: all of them can be tried, in their order.
local lu = require("luaunit")
local mp = require("multiprocessing")
local threading = require("threading")

local LIMIT = 60 -- seconds, for what should take a moment

-- Whether functions are of such files, by their parts and by the functions.
local known = {}

local function is_of(part, f)
  local of = known[part] or setmetatable({}, { __mode = "k" })
  known[part] = of
  if of[f] == nil then of[f] = debug.getinfo(f, "S").source:find(part, 1, true) ~= nil end
  return of[f]
end

return function(part, n, how, f, ...)
  local where
  local process = mp.current_process() -- a forked child has the hook, too
  local function strike()
    n = n - 1
    if n > 0 or mp.current_process() ~= process then return end
    local place = debug.getinfo(3, "Sl")
    debug.sethook() -- what is raised later is raised at a line
    where = ("%s at line %d, %s"):format(place.short_src, place.currentline, how)
    threading.current_thread()[how](threading.current_thread())
  end
  local thread = threading.Thread(function(...)
    debug.sethook(function()
      if is_of(part, debug.getinfo(2, "f").func) then strike() end
    end, "", 1)
    f(...)
    debug.sethook()
  end, ...):start()
  lu.assertTrue(thread:join(LIMIT), where)
  pcall(thread.result, thread) -- that it was struck is no news
  return where ~= nil, where
end

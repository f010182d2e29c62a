-- The warning about a thread that keeps the GIL in C functions.
local lu = require("luaunit")
local program = require("support.program")

local TestWatchdog = {}

-- Matches in one C call each, longer and longer until one has taken a third of a
-- second, beside a thread that sleeps.
local SCRIPT = [[
  local threading, time = require("threading"), require("time")
  local t = threading.Thread{name = "matcher", target = function()
    local n, took = 10, 0
    while took < 0.3 do
      n = n + 1
      local text, start = ("a"):rep(n), time.monotonic()
      text:find(("a?"):rep(n) .. text .. "b")
      took = time.monotonic() - start
    end
    n = 0
    repeat n = n + 1 until n > 1e5
  end}:start()
  while t:is_alive() do time.sleep(0.001) end]]

function TestWatchdog:testItNamesTheThreadAndThePlace()
  local _, err, code = program.eval('warn("@on")' .. SCRIPT)
  lu.assertEquals(code, 0)
  lu.assertStrMatches(err:match("[^\n]*matcher[^\n]*"),
    'Lua warning: thread "matcher" kept the GIL from others for %d+%.%d s, until [^:]*:%d+')
end

function TestWatchdog:testItIsSilentAsWarningsAre()
  local _, err, code = program.eval(SCRIPT)
  lu.assertEquals({ err, code }, { "", 0 })
end

return { TestWatchdog = TestWatchdog }

-- The warning about a thread that keeps the GIL in C functions.
local lu = require("luaunit")
local program = require("support.program")

local TestWatchdog = {}

-- A match in one C call that takes half a second or so, beside one that sleeps.
local SCRIPT = [[
  local threading, time = require("threading"), require("time")
  local text = ("a"):rep(20)
  local function match() text:find(("a?"):rep(20) .. text .. "b") end
  local t = threading.Thread{name = "matcher", target = function()
    match()
    local n = 0
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

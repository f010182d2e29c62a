--- A debug.sethook count limit fires, at the exact instruction, however often
--- preemption takes the hook's place meanwhile.
local gil = require("gil")
local lu = require("luaunit")
local threading = require("threading")
local differential = require("support.differential")
local program = require("support.program")

local SANITIZED = (os.getenv("TIDELOCK_SANITIZER") or "") ~= ""
local LIMIT = SANITIZED and 1e6 or 1e7
local LONG = 120 -- seconds

--- Returns the turn of the loop in which the limit fired.
local chunk = [[
  local limit = ...
  local i = 0
  local function spin() while true do i = i + 1 end end
  debug.sethook(function() error("limit") end, "", limit)
  local ok = pcall(spin)
  debug.sethook()
  return ok, i
]]

local function stock(limit)
  local out = program.eval(("print(load(%q)(%d))"):format(chunk, limit),
    { program = differential.stock, timeout = LONG })
  return tonumber(out:match("^false%s+(%d+)"))
end

local TestCountHook = {}

function TestCountHook:setUp()
  self.interval = gil.switch_interval(20e-6)
  self.stop = false
  self.busy = {}
  for i = 1, 2 do
    self.busy[i] = threading.Thread(function() while not self.stop do end end):start()
  end
end

function TestCountHook:tearDown()
  self.stop = true
  for _, t in ipairs(self.busy) do t:join() end
  gil.switch_interval(self.interval)
end

function TestCountHook.testFiresExactlyOnMainAndOnWorkers()
  for _, limit in ipairs { 1234, 1000000, math.tointeger(LIMIT) } do
    local expected = stock(limit)
    lu.assertNotNil(expected)
    local before = gil.stats().switches
    local ok, i = load(chunk)(limit)
    lu.assertFalse(ok)
    lu.assertEquals(i, expected)
    if limit == LIMIT then lu.assertTrue(gil.stats().switches > before) end
    local worker = threading.Thread(load(chunk), limit):start()
    lu.assertEquals({ worker:result(LONG) }, { false, expected })
  end
end

return { TestCountHook = TestCountHook }

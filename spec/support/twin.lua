--- Runs one chunk in the stock lua5.4, and in the host on the main thread and
-- on a worker, alone and beside threads that make it give way every 20 us.
local lu = require("luaunit")
local differential = require("support.differential")
local program = require("support.program")

-- CHUNK prints what it finds out; its output is what is compared.
local beside = [[
local threading, gil = require("tidelock.threading"), require("tidelock.gil")
local chunk = assert(load(%q, "=chunk"))
local how, where = %q, %q
local stop = false
local busy = {}
if how == "beside" then
  gil.switch_interval(20e-6)
  for i = 1, 2 do
    busy[i] = threading.Thread(function() while not stop do end end):start()
  end
end
if where == "main" then
  chunk()
else
  threading.Thread(chunk):start():result()
end
stop = true
]]

local LONG = 60 -- seconds

local function outcome(text, path)
  local out, err, code = program.eval(text, { program = path, timeout = LONG })
  return ("%s\nstderr: %s\nexit code: %d"):format(out, err, code)
end

--- Asserts that the chunk prints the same everywhere.
---@param chunk string
---@param ways? string[] "main alone" and the like; usually all four
return function(chunk, ways)
  local stock = outcome(('assert(load(%q, "=chunk"))()'):format(chunk), differential.stock)
  lu.assertStrContains(stock, "stderr: \nexit code: 0")
  for _, way in ipairs(ways or { "main alone", "main beside", "worker alone", "worker beside" }) do
    local where, how = way:match("(%a+) (%a+)")
    lu.assertEquals(way .. ":\n" .. outcome(beside:format(chunk, how, where)),
      way .. ":\n" .. stock)
  end
end

--- What the __close functions of threads that are ended do. They have a time
-- for it by the clock, which a busy machine may take from them.
local lu = require("luaunit")
local time = require("time")

local KILL = 0.1 -- seconds that those of a killed thread have in all
local TRIES = 50

--- Fails unless f() returns what is wanted; whatever it returns is excused when
-- it took longer than they have.
---@param wanted any
---@param f fun(): any, number? ends threads and tells what they did, and in what time
---@param limit? number seconds that they have; by default after a kill
return function(wanted, f, limit)
  for _ = 1, TRIES do
    local start = time.monotonic()
    local done, took = f()
    took = took or time.monotonic() - start
    local ok, err = pcall(lu.assertEquals, done, wanted)
    if ok then return end
    if took < (limit or KILL) then error(err, 0) end
  end
  error("they were never left their time", 2)
end

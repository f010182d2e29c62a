--- What the __close functions of a killed thread do. They have 100 ms for it,
-- which a busy machine may take from them.
local lu = require("luaunit")
local time = require("time")

local TIME = 0.1 -- seconds
local TRIES = 50

--- Fails unless f() returns what is wanted; whatever it returns is excused when
-- it took longer than they have.
---@param wanted any
---@param f fun(): any kills a thread, joins it and tells what it did
return function(wanted, f)
  for _ = 1, TRIES do
    local start = time.monotonic()
    local done = f()
    local took = time.monotonic() - start
    local ok, err = pcall(lu.assertEquals, done, wanted)
    if ok then return end
    if took < TIME then error(err, 0) end
  end
  error("a killed thread was never left its time", 2)
end

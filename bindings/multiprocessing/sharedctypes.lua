--- Values and arrays in shared memory: the part that is written in Lua, over
--- "tidelock._sharedctypes"; all is documented in types/multiprocessing.sharedctypes.lua.
local core = require("tidelock._sharedctypes")

--- The lock of an object that is made without one.
local function new_lock() return require("tidelock.multiprocessing").RLock() end

return core.constructors(new_lock)

--- Preloaded (`-l parked`) for a host entry that runs the plain Lua programs while
--- 50 threads wait for an event. Other scripts are left at once: they have threads
--- of their own.
if not (arg[0] or ""):find("lua_bench/") then os.exit(0) end

local threading = require("threading")

local gate = threading.Event()
for _ = 1, 50 do
  threading.Thread{ target = gate.wait, args = { gate }, daemon = true }:start()
end
require("time").sleep(0.02) -- let every one of them block

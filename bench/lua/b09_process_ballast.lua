--- mp.Process start+join of a process that has 100 MiB of small tables.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _processes = require("_processes")

local ballast, n = {}, 0
while collectgarbage("count") < 100 * 1024 do
  for _ = 1, 1000 do
    n = n + 1
    ballast[n] = { n }
  end
end
_processes.measure({ { "fork", 60 }, { "spawn", 20 }, { "forkserver", 40 } }, "_100mib")
assert(#ballast == n)

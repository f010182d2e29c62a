--- mp.Process start+join by each start method.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
require("_processes").measure { { "fork", 400 }, { "spawn", 60 }, { "forkserver", 100 } }

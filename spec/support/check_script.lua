--- check_script.lua SCRIPT: an example must print something, nothing to
-- standard error, and end with exit code 0.
local root = arg[0]:match("^(.*)support/check_script%.lua$")
package.path = root .. "?.lua;" .. package.path
local program = require("support.program")

local out, err, code = program.run({ arg[1] })
io.stdout:write(out)
io.stderr:write(err)
if code ~= 0 then error(("%s: exit code %d"):format(arg[1], code), 0) end
if err ~= "" then error(arg[1] .. ": wrote to standard error", 0) end
if out == "" then error(arg[1] .. ": printed nothing", 0) end

--- The C modules of the specs, spec/modules/*.c, which the build puts beside
-- the program.
local program = require("support.program")

local cmodules = {}

--- For package.cpath.
cmodules.path = program.path:gsub("[^/]*$", "") .. "spec/?.so"

function cmodules.require(name)
  local before = package.cpath
  package.cpath = cmodules.path
  local ok, module = pcall(require, name)
  package.cpath = before
  if not ok then error(module, 2) end
  return module
end

return cmodules

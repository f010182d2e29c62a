--- Fails unless f(...) raises something that says 'text'; returns what it raises.
local lu = require("luaunit")
local raised = require("support.raised")

return function(text, f, ...)
  local problem = raised(f, ...)
  lu.assertStrContains(tostring(problem), text)
  return problem
end

--- Fails unless f(...) raises an OSError with this code.
local errors = require("errors")
local lu = require("luaunit")

return function(code, f, ...)
  local ok, problem = pcall(f, ...)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.OSError), tostring(problem))
  lu.assertEquals(problem.code, code)
end

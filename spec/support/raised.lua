--- What f(...) raises, which it must.
local lu = require("luaunit")

return function(f, ...)
  local ok, problem = pcall(f, ...)
  lu.assertFalse(ok)
  return problem
end

--- Runs f(tell, ...) in a child until it has called tell(); the function that is
--- returned kills and reaps it, wherever f is then.
local lu = require("luaunit")
local mp = require("multiprocessing")

local LIMIT = 60 -- seconds, for what should take a moment

return function(f, ...)
  local receiver <close>, sender = mp.Pipe(false)
  local child = mp.Process(function(...)
    f(function() sender:send("now") end, ...)
    mp.Event():wait()
  end, ...):start()
  sender:close()
  lu.assertEquals(receiver:recv(), "now")
  return function()
    child:kill()
    lu.assertTrue(child:join(LIMIT))
  end
end

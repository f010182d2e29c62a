--- A child that calls f and is killed, once f has returned; reaped then.
local lu = require("luaunit")
local mp = require("multiprocessing")
local time = require("time")

return function(f, ...)
  local receiver <close>, sender = mp.Pipe(false)
  local process = mp.Process(function(...)
    f(...)
    sender:send_bytes("done")
    time.sleep(60)
  end, ...)
  process:start()
  sender:close()
  lu.assertEquals(receiver:recv_bytes(), "done")
  process:kill()
  lu.assertTrue(process:join(30))
end

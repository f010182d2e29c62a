--- Connections of the specs of Listener and Client.
local connection = require("multiprocessing.connection")
local errors = require("errors")
local lu = require("luaunit")
local aside = require("support.aside")

local LIMIT = 60 -- seconds, for what should take a moment

local listeners = {}

--- A connection to the listener, from both sides.
function listeners.pair(listener, options)
  local accepted = aside(listener.accept, listener)
  local client = connection.Client(listener.address, options)
  local ok, server = accepted()
  lu.assertTrue(ok, tostring(server))
  return client, server
end

--- Messages of several sizes arrive, both ways, and then the end.
function listeners.assert_works(client, server)
  for _, size in ipairs { 0, 1, 70000 } do
    client:send_bytes(("x"):rep(size))
    lu.assertEquals(#server:recv_bytes(), size)
    server:send_bytes(("y"):rep(size))
    lu.assertEquals(#client:recv_bytes(), size)
  end
  client:close()
  lu.assertTrue(server:poll(LIMIT))
  local _, problem = pcall(server.recv_bytes, server)
  lu.assertTrue(errors.is(problem, errors.EOFError))
  server:close()
end

return listeners

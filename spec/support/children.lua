-- Children of the specs of multiprocessing.
local lu = require("luaunit")
local mp = require("multiprocessing")
local program = require("support.program")

local LIMIT = 60 -- seconds, for what should take a moment

local children = {}

--- Runs f in a child; returns the exit code and what f sent.
function children.outcome(f, ...)
  local receiver <close>, sender = mp.Pipe(false)
  local process = mp.Process(f, sender, ...)
  process:start()
  sender:close()
  local messages = {}
  while true do
    local ok, message = pcall(receiver.recv_bytes, receiver)
    if not ok then break end
    table.insert(messages, message)
  end
  lu.assertTrue(process:join(LIMIT))
  return process.exitcode, table.concat(messages, " ")
end

--- Runs a chunk of Lua in a host of its own, with the modules at hand.
function children.host(chunk)
  return program.eval("local mp, time, threading = require('multiprocessing'), " ..
    "require('time'), require('threading')\n" .. chunk, { timeout = LIMIT })
end

return children

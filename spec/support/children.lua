-- Children of the specs of multiprocessing.
local lu = require("luaunit")
local mp = require("multiprocessing")
local time = require("time")
local program = require("support.program")

local LIMIT = 60 -- seconds, for what should take a moment

local children = {}

--- The exit code of a process, when it has ended.
function children.exitcode(process)
  lu.assertTrue(process:join(LIMIT))
  return process.exitcode
end

--- Runs f(sender, ...) in a child of the context; returns the exit code and a
-- list of what the receiver's method gave.
local function run(context, method, f, ...)
  local receiver <close>, sender = mp.Pipe(false)
  local process = context.Process(f, sender, ...)
  process:start()
  sender:close()
  local messages = {}
  while true do
    local ok, message = pcall(receiver[method], receiver)
    if not ok then break end
    messages[#messages + 1] = message
  end
  return children.exitcode(process), messages
end

--- Runs f(sender, ...) in a child; returns the exit code and the bytes it sent.
function children.outcome(f, ...)
  local code, messages = run(mp, "recv_bytes", f, ...)
  return code, table.concat(messages, " ")
end

--- The same by a context, of which f sends values: returns them in a list.
function children.outcome_by(context, f, ...) return run(context, "recv", f, ...) end

--- A child of the context that does nothing for a long time.
function children.sleeper(context) return context.Process(time.sleep, LIMIT):start() end

--- Runs a chunk of Lua in a host of its own, with the modules at hand.
function children.host(chunk)
  return program.eval("local mp, time, threading = require('multiprocessing'), " ..
    "require('time'), require('threading')\n" .. chunk, { timeout = LIMIT })
end

return children

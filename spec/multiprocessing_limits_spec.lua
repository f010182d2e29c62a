-- Messages over the limit of connections, 2 GiB - 1, are refused with nothing sent;
-- also what others say is one.
local lu = require("luaunit")
local connection = require("multiprocessing.connection")
local errors = require("errors")
local mp = require("multiprocessing")
local assert_code = require("support.assert_code")
local cmodules = require("support.cmodules")
local raised = require("support.raised")
local raw_client = require("support.raw_client")

local LIMIT <const> = (1 << 31) - 1

local TestLimits = {}

--- f(sender) with a pipe, on which nothing comes.
local function refused_by(f)
  local receiver, sender <close> = mp.Pipe(false)
  local _ <close> = receiver
  cmodules.require("vast").run(f, sender)
  lu.assertFalse(receiver:poll())
  sender:send_bytes("next")
  lu.assertEquals(receiver:recv_bytes(), "next")
end

function TestLimits:testBytes()
  refused_by(function(sender)
    local text = cmodules.require("vast").string(LIMIT + 1)
    local wanted = "bad argument #1 to 'send_bytes' (message too long)"
    lu.assertErrorMsgContains(wanted, function() sender:send_bytes(text) end)
    lu.assertErrorMsgContains(wanted, function() sender:send_bytes(text, 0, LIMIT + 1) end)
  end)
end

function TestLimits:testAValue()
  refused_by(function(sender)
    local problem = raised(sender.send, sender, cmodules.require("vast").string(LIMIT))
    lu.assertTrue(errors.is(problem, errors.PicklingError), tostring(problem))
    lu.assertEquals(problem.message, "the message would be too long")
  end)
end

--- f(server) with a connection on which a header has come.
local function with_header(bytes, stays, f)
  local listener <close> = connection.Listener { "127.0.0.1", 0 }
  local shell = raw_client(listener.address, bytes, stays)
  do
    local server <close> = listener:accept()
    f(server)
  end
  shell:close()
end

function TestLimits:testTheLengthInAHeader()
  with_header("\\x80\\0\\0\\0", true, function(server)
    for _ = 1, 2 do assert_code("EBADMSG", server.recv_bytes, server) end
  end)
end

--- The length alone takes no memory.
function TestLimits:testTheLongestHeader()
  with_header("\\x7f\\xff\\xff\\xff", false, function(server)
    local problem = raised(server.recv_bytes, server, 10)
    lu.assertTrue(errors.is(problem, errors.BufferTooShort), tostring(problem))
    problem = raised(server.recv_bytes, server)
    lu.assertTrue(errors.is(problem, errors.EOFError), tostring(problem))
    lu.assertStrContains(problem.message, "inside a message")
  end)
end

return { TestLimits = TestLimits }

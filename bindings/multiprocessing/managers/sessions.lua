--- The connections of clients to a manager's server, each in a thread: see
--- server.lua for what is sent.
local Monitor = require("tidelock.multiprocessing.managers.monitor")
local calls = require("tidelock.multiprocessing.managers.calls")
local core = require("tidelock._multiprocessing")
local errors = require("tidelock.errors")
local text = require("tidelock.multiprocessing.managers.text")
local threading = require("tidelock.threading")

local sessions = {}

--- What is raised in the server and cannot travel is told as one of these.
sessions.RemoteError = errors.class("multiprocessing.RemoteError")

local here = calls.here

local function to_problem(value)
  return { value = value, traceback = debug.traceback(tostring(value), 2) }
end

local function report(session, problem)
  return { false, session.undo ~= nil, problem.value, problem.traceback, n = 4 }
end

local function outcome(session, ok, ...)
  if not ok then return report(session, (...)) end
  return { true, session.undo ~= nil, n = select("#", ...) + 2, ... }
end

--- A field of a table is asked for by a string: the object's id, and the name.
--- What is no table is sent as it is.
local function answer_read(self, session, request)
  local id, name = ("<j"):unpack(request), request:sub(9)
  local object = self.objects:find(id)
  if object and object.kind.is_plain and not getmetatable(object.value) then
    local busy, value = object.lock:locked(), object.value[name] -- at one moment
    if not busy and type(value) ~= "table" then return value end
  end
  return outcome(session, xpcall(self.invoke, to_problem, self, session, id, "__index", name))
end

local function answer(self, session, request)
  if type(request) == "string" then return answer_read(self, session, request) end
  session.ident = request[3]
  return outcome(session, xpcall(self.invoke, to_problem, self, session, request[1], request[2],
    table.unpack(request, 4, request.n)))
end

--- Sends an answer; what cannot travel becomes an error that can, and the references
--- in it are taken back. False if it did not reach the socket.
local function send(session, reply)
  here.sending = true
  local ok, problem = pcall(session.conn.send, session.conn, reply)
  here.sending = nil
  if ok then return true end
  for _, id in ipairs(session.given) do session.server.objects:release(session.client.refs, id) end
  if not errors.is(problem, errors.PicklingError) then return false end
  if session.undo then session.undo() end
  session.undo = nil
  local value = text.without_message(problem)
  if reply[1] == false then
    value = errors.new(sessions.RemoteError, tostring(reply[3]))
  end
  return (pcall(session.conn.send, session.conn,
    { false, false, value, reply[1] == false and reply[4] or nil, n = 4 }))
end

--- Whether the caller has got the answer, if it matters. It may have asked for the
--- end of a wait that was just over.
local function is_received(session)
  if not session.undo then return true end
  local ok, word
  repeat
    ok, word = pcall(session.conn.recv_bytes, session.conn)
  until not ok or word ~= Monitor.STOP
  return ok and word == "" and not session.client.gone
end

-- The calls of one connection. They end with the connection, or with the thread,
-- which is killed in a call whose caller has gone.
local Session = {}

Session.__close = core.shielded(function(self)
  self.server.attended[self] = nil
  if self.undo then self.undo() end
  -- What it was given after its end had been seen.
  if self.client.gone then self.server.objects:release_all(self.client.refs) end
end)

--- Answers the calls of one connection until its end.
local function serve(self, conn, client)
  local session <close> = setmetatable({ client = client, conn = conn, server = self, calls = 0,
    thread = threading.current_thread() }, Session)
  session.session = session
  here.session = session
  while true do
    local ok, request = pcall(conn.recv, conn)
    session.undo, session.given = nil, {}
    local reply
    if ok then
      reply = answer(self, session, request)
    elseif errors.is(request, errors.UnpicklingError) then
      reply = report(session, { value = request })
    else
      break
    end
    self.attended[session] = nil
    if not send(session, reply) or not is_received(session) then break end
  end
end

-- A connection while it is served. One that stays is that of a client, and the main
-- thread closes it.
local Visit = {}

function Visit:__close()
  if self.stays then return end
  self.server.connections[self.conn] = nil
  pcall(self.conn.close, self.conn)
end

--- What a new connection is for.
function sessions.welcome(self, conn)
  local visit <close> = setmetatable({ server = self, conn = conn }, Visit)
  self.connections[conn] = true
  local ok, first = pcall(function()
    self.listener:_welcome(conn)
    return conn:recv()
  end)
  if not ok or type(first) ~= "table" then return end
  if first.call then
    local client = self.clients[first.call]
    if client and not client.gone then serve(self, conn, client) end
    return
  end
  local client = self:new_client()
  local parent = self.clients[first.parent]
  if parent then -- it is a fork, and has what its parent left it
    client.refs, parent.forks[first.fork] = parent.forks[first.fork] or client.refs, nil
  end
  client.is_starter = first.starter
  self.controls[conn], visit.stays = client, true
  self.wake:set()
  conn:send({ number = client.number, name = self.name }) -- if it fails, its end is seen
end

return sessions

--- The server of a manager: a process that holds the objects, and a thread for
--- each connection of a client.
---
--- A client process has one connection that stands for it ("hello"), by which it
--- tells which references it has given up, and whose end is its own; and one for
--- each call that it makes at a time. A request is {object, method, thread,
--- arguments..., n = of all}, or, to read a field, a string: see sessions.lua.
local calls = require("tidelock.multiprocessing.managers.calls")
local core = require("tidelock._multiprocessing")
local errors = require("tidelock.errors")
local family = require("tidelock.multiprocessing.family")
local Objects = require("tidelock.multiprocessing.managers.objects")
local pickle = require("tidelock.pickle")
local proxies = require("tidelock.multiprocessing.managers.proxies")
local sessions = require("tidelock.multiprocessing.managers.sessions")
local threading = require("tidelock.threading")
local time = require("tidelock.time")

local Server = {}
Server.__index = Server

local GRACE = 60 -- seconds that the references in a dead client's messages stay
local LOOK = 0.05 -- seconds between looks at callers whose call may take long
local PATIENCE = 1 -- seconds that a thread has to end
local IDLE = 20 -- looks that saw no such call, before they end

for name, method in pairs(calls) do Server[name] = method end

function Server.new(registry, listener)
  local kinds = setmetatable({}, { __index = Objects.kinds })
  for typeid, entry in pairs(registry) do
    if not entry.builtin then kinds[typeid] = Objects.kind(entry) end
  end
  local self = setmetatable({
    name = ("%02x"):rep(16):format(core.random(16):byte(1, -1)),
    address = listener.address,
    listener = listener,
    objects = Objects.new(),
    kinds = kinds,
    clients = {}, -- by their numbers
    connections = {}, -- all that are open
    controls = {}, -- those of clients -> the client
    orphans = {}, -- dead clients with references in messages -> when these go
    attended = {}, -- sessions whose call may take long
    threads = {}, -- that serve
    wake = threading.Event(),
    last = 0,
  }, Server)
  self.own = self:new_client()
  return self
end

function Server:new_client()
  local number = self.last + 1 self.last = number
  local client = { number = number, refs = {}, leases = {}, holds = {},
    forks = {}, forked = 0 } -- references for its children, by their numbers; the last of these
  self.clients[number] = client
  return client
end

-- --- Threads ------------------------------------------------------------------

-- A thread that works for the server, until it has ended or was killed.
local Worker = {}

function Worker:__close() self.server.threads[self.thread] = nil end

local function work(self, f, ...)
  local thread = threading.current_thread()
  local _ <close> = setmetatable({ server = self, thread = thread }, Worker)
  self.threads[thread] = true
  if not self.stopped then pcall(f, self, ...) end
end

--- A thread that calls f(self, ...); what that raises, the other side sees as the
--- end of its connection.
local function start_thread(...)
  return threading.Thread { target = work, args = { ... }, daemon = true }:start()
end

local function accept(self)
  while true do
    local ok, conn = errors.pcall(self.listener._socket.accept, self.listener._socket)
    if not ok then
      time.sleep(LOOK) -- there are no descriptors left
    elseif not errors.pcall(start_thread, self, sessions.welcome, conn) then
      conn:close()
      time.sleep(LOOK) -- there is no memory for a thread
    end
  end
end

-- --- The main thread ----------------------------------------------------------

--- A client is gone, with all it had but what it has sent to others.
local function forget(self, conn)
  local client = self.controls[conn]
  self.controls[conn], self.connections[conn], client.gone = nil, nil, true
  pcall(conn.close, conn)
  for _, thing in ipairs(core.keys(client.holds)) do thing:forget(client) end
  self.objects:release_all(client.refs)
  for _, n in ipairs(core.keys(client.forks)) do self:forget_fork(client, n) end
  if client.is_starter then self.stopped = true end -- nobody there wants it any more
  self.orphans[client] = time.monotonic() + (next(client.leases) and GRACE or 0)
end

local function forget_orphans(self)
  for _, client in ipairs(core.keys(self.orphans)) do
    if self.orphans[client] <= time.monotonic() then
      self.orphans[client], self.clients[client.number] = nil, nil
      self.objects:release_all(client.leases)
    end
  end
end

--- One message by which a client tells what it has given up, or that it wants the
--- end of the server.
local function read_control(self, conn)
  local client = self.controls[conn]
  local ok, message = pcall(conn.recv, conn)
  if not ok or type(message) ~= "table" then return forget(self, conn) end
  for _, id in ipairs(message) do self.objects:release(client.refs, id) end
  for _, lease in ipairs(message.leases or {}) do self:redeem(lease[2], lease[1]) end
  if message.shutdown then self.stopped = true end
  self.untidy = true
end

--- Ends the call of a session whose caller has gone. What can be read while it is
--- being answered is the end.
local function look(self, session)
  local count = session.calls
  local ok, readable = pcall(session.conn.poll, session.conn)
  if self.attended[session] and session.calls == count and (readable or not ok) then
    self.attended[session] = nil
    session.thread:kill()
  end
end

--- What the main thread waits for now.
local function objects_to_wait_for(self)
  local objects = core.keys(self.controls)
  objects[#objects + 1] = self.wake
  if self.parent then objects[#objects + 1] = self.parent end
  return objects
end

--- For how long: nil is until something happens.
local function patience(self)
  if self.awake or self.untidy then return LOOK end
  return next(self.orphans) and 1 or nil
end

--- Proxies in referents that are gone go when they are collected, bit by bit.
local function tidy(self)
  if self.untidy and collectgarbage("step", 100) then
    self.rounds = (self.rounds or 0) + 1
    if self.rounds > 2 then self.untidy, self.rounds = false, 0 end
  end
end

local function look_at_all(self)
  local attended = core.keys(self.attended)
  self.idle = #attended == 0 and (self.idle or 0) + 1 or 0
  for _, session in ipairs(attended) do look(self, session) end
  if self.idle > IDLE then self.awake, self.idle = next(self.attended) ~= nil, 0 end
end

local function loop(self)
  while not self.stopped do
    for _, ready in ipairs(threading.wait_any(objects_to_wait_for(self), patience(self))) do
      if ready == self.wake then
        self.wake:clear()
      elseif ready == self.parent then
        self.stopped = true
      else
        read_control(self, ready)
      end
    end
    if self.awake then look_at_all(self) end
    forget_orphans(self)
    tidy(self)
  end
end

--- Ends what works for the server.
local function finish(self, acceptor)
  self.stopped = true
  acceptor:kill()
  acceptor:join()
  self.listener:close()
  proxies.leave(self.link)
  for _, thread in ipairs(core.keys(self.threads)) do thread:kill() end
  for _, thread in ipairs(core.keys(self.threads)) do thread:join(PATIENCE) end
end

--- Serves until it is told to end, or its parent has ended.
function Server:serve_forever()
  self.link = self:new_link()
  proxies.enter(self.link)
  family.at_fork(self)
  local acceptor = start_thread(self, accept)
  local ok, problem = pcall(loop, self)
  finish(self, acceptor)
  if not ok then error(problem, 0) end
end

--- A child of the server has nothing to do with its connections.
function Server:before_fork() return nil end -- luacheck: no self

function Server:after_fork()
  proxies.leave(self.link)
  pcall(self.listener.close, self.listener)
  for _, conn in ipairs(core.keys(self.connections)) do pcall(conn.close, conn) end
end

--- The life of the server process: 'report' is where it tells its address, or why
--- it has none.
function Server.main(options)
  local report_to = options.report
  core.ignore_interrupts(true)
  local ok, self = pcall(function()
    if options.initializer then
      options.initializer(table.unpack(options.initargs, 1, options.initargs.n))
    end
    local connection = require("tidelock.multiprocessing.connection")
    local listener = connection.Listener(options.address,
      { authkey = options.authkey, backlog = 128 })
    return Server.new(options.registry, listener)
  end)
  if not ok then
    local sent = pcall(report_to.send, report_to, { problem = self })
    if not sent then report_to:send({ problem = tostring(self) }) end
    report_to:close()
    return
  end
  local parent = family.parent_process()
  self.parent = parent and parent._handle
  report_to:send({ address = self.address })
  report_to:close()
  self:serve_forever()
end

pickle.register("multiprocessing.managers.Server", Server, {
  reduce = function() error(errors.new(errors.PicklingError, "a server does not travel"), 0) end,
  restore = function() end,
})

return Server

--- A process's side of a manager's server: one object for each server, with a
--- connection that stands for the process, and one for each call that is made at
--- a time. These are kept for the next calls, of any thread. A call that is
--- interrupted closes its connection: so the server learns of it.
local connection = require("tidelock.multiprocessing.connection")
local core = require("tidelock._managers")
local errors = require("tidelock.errors")
local family = require("tidelock.multiprocessing.family")
local processes = require("tidelock._multiprocessing")
local text = require("tidelock.multiprocessing.managers.text")
local threading = require("tidelock.threading")

local Client = {}
Client.__index = Client

-- Those of this process, by the names of their servers; they live as long as
-- proxies and managers do.
local clients = setmetatable({}, { __mode = "v" })

-- --- What failures mean -------------------------------------------------------

-- The program is at its end, and has ended its servers.
local ending = false

--- To a daemon, at that end, it is the end of the interpreter that ends its calls.
local function gone(cause)
  if ending and threading.current_thread().daemon then
    error(errors.new(errors.Cancelled, "the program ends"), 0)
  end
  error(errors.new(errors.EOFError, "the manager's server has ended", { cause = cause }), 0)
end

--- Raises what a connection raised: that the server has ended, if it is that.
local function explain_failure(problem)
  if errors.is(problem, errors.AuthenticationError) and problem.cause
    and not errors.is(problem.cause, errors.TimeoutError) then
    explain_failure(problem.cause) -- it ended inside the handshake
  end
  if errors.is(problem, errors.PicklingError) then problem = text.without_message(problem) end
  if errors.is(problem, errors.EOFError) then gone(problem) end
  if errors.is(problem, errors.OSError) then
    local code = problem.code
    if code == "ECONNREFUSED" or code == "ENOENT" or code == "ECONNRESET" or code == "EPIPE" then
      gone(problem)
    end
  end
  error(problem, 0)
end

--- A misuse is the caller's, who is outside of these modules.
local function place_of_caller()
  for level = 2, 14 do
    local info = debug.getinfo(level, "Sl")
    if not info then break end
    if info.currentline > 0 and not info.source:find("multiprocessing/managers", 1, true)
      and not info.source:find("multiprocessing.managers", 1, true) then
      return ("%s:%d: "):format(info.short_src, info.currentline)
    end
  end
  return ""
end

--- Raises what the server has raised, which tells where.
local function explain(what, answered)
  if not answered then explain_failure(what) end
  local value, traceback = what[3], what[4]
  if errors.is(value, errors.Error) and rawget(value, "traceback") == nil then
    value.traceback = traceback
  elseif type(value) == "string" and value:find("^bad argument") then
    value = place_of_caller() .. value
  end
  error(value, 0)
end

-- --- Connections --------------------------------------------------------------

--- A client of the server at an address; nothing is connected yet.
---@param authkey string? of this process if it is nil
function Client.new(address, authkey)
  local self = setmetatable({
    address = address,
    _authkey = authkey,
    _connecting = threading.Lock(),
    _connections = setmetatable({}, { __mode = "k" }), -- all of them
    _free = {}, -- those that no call uses
    _given_up = {}, -- ids of references
    _leases = {}, -- references that others gave and nobody took: {id, by whom}
  }, Client)
  family.at_fork(self)
  return self
end

--- The one for a server's name, which is at this address.
function Client.of(name, address)
  local self = clients[name]
  if self and not self._dead then return self end
  self = Client.new(address)
  self.name, clients[name] = name, self
  return self
end

local function connect(self)
  local conn = connection.Client(self.address,
    { authkey = self._authkey or family.current_process().authkey })
  self._connections[conn] = true
  return conn
end

--- Says who this is: a fork of another client, the starter, or somebody.
local function hello(self, who)
  local control = connect(self)
  control:send(who)
  local answer = control:recv()
  self._control, self._number, self.name = control, answer.number, answer.name
  clients[answer.name] = clients[answer.name] or self
end

local function connect_call(self, who)
  if not self._number then
    local held <close> = self._connecting:guard()
    if not self._number then hello(self, who or {}) end
  end
  local conn = connect(self)
  conn:send({ call = self._number })
  return conn
end

--- One that no other call uses.
local function take(self)
  if self._dead then gone() end
  local conn = table.remove(self._free) -- C: no other thread between
  if conn then return conn end
  local ok
  ok, conn = pcall(connect_call, self)
  if not ok then explain_failure(conn) end
  return conn
end

--- Connects now, and raises what that does.
function Client:connect(who)
  self._free[#self._free + 1] = connect_call(self, who)
end

-- --- Calls --------------------------------------------------------------------

local function request(id, name, ...)
  return { id, name, threading.get_ident(), n = select("#", ...) + 3, ... }
end

--- Calls a method of an object, 0: of the server itself.
function Client:call(id, name, ...)
  return core.exchange(take(self), self._free, explain, request(id, name, ...))
end

--- The same of one that waits, and in whose end the server has a part: one that is
--- interrupted asks for it, and has its answer before anything is raised.
function Client:wait(id, name, ...)
  return core.wait(take(self), self._free, explain, request(id, name, ...))
end

--- Reads a field of an object. 'prefix' is Client.prefix(id).
function Client:read(_, name, prefix)
  return core.exchange(take(self), self._free, explain, prefix .. name)
end

function Client.prefix(id) return ("<j"):pack(id) end

--- Takes over the reference of a message that this process has received.
function Client:adopt(id, number) self:call(0, "adopt", id, number) end

--- A reference for a message; by whom it is known.
function Client:lease(id) return self:call(0, "lease", id), false end

--- Tells what was given up, if it can be told now. For finalizers, too.
local function tell(self)
  local control = self._control
  if not control or self._dead then return end
  if #self._given_up + #self._leases == 0 then return end
  local no_ids, no_leases, ids, leases = {}, {}
  -- One line, and nothing new in it, so that no finalizer comes between.
  ids, leases, self._given_up, self._leases = self._given_up, self._leases, no_ids, no_leases
  ids.leases = leases
  if pcall(control.send, control, ids) then return end
  for _, id in ipairs(ids) do self._given_up[#self._given_up + 1] = id end
  for _, lease in ipairs(leases) do self._leases[#self._leases + 1] = lease end
end

--- A proxy is gone: its reference, or that of the message in which it came.
function Client:release(id, number)
  local list, what = self._given_up, id
  if number then list, what = self._leases, { id, number } end
  list[#list + 1] = what
  tell(self)
end

-- --- Ends and forks -----------------------------------------------------------

--- The end of this program ends its servers from now on.
function Client.expect_end() ending = true end

--- Tells the server to end: it may be stuck, so no answer is waited for.
function Client:shutdown()
  if self._control then pcall(self._control.send, self._control, { shutdown = true }) end
  self:close()
end

--- Nothing more is asked of the server.
function Client:close()
  local free = self._free
  self._dead, free.closed = true, true
  while #free > 0 do
    local conn = table.remove(free)
    pcall(conn.close, conn)
  end
  if self._control then pcall(self._control.close, self._control) end
end

function Client:is_number(number) return self._number == number end

function Client:before_fork()
  if not self._number or self._dead then return nil end
  local ok, parent, fork = errors.pcall(self.call, self, 0, "fork")
  return ok and { parent = parent, fork = fork } or nil
end

--- In the child: the connections are the parent's.
function Client:after_fork(fork)
  ending = false
  local connections, was_known = self._connections, self._number ~= nil
  self._connecting, self._free = threading.Lock(), {}
  self._connections = setmetatable({}, { __mode = "k" })
  self._given_up, self._leases = {}, {}
  self._control, self._number = nil, nil
  for _, conn in ipairs(processes.keys(connections)) do pcall(conn.close, conn) end
  if was_known then self._dead = not (fork and errors.pcall(hello, self, fork)) end
end

return Client

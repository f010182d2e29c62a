--- Managers: a server process that holds objects, and what starts it or connects
--- to it. Documented in types/multiprocessing.managers.lua.
local Client = require("tidelock.multiprocessing.managers.client")
local Server = require("tidelock.multiprocessing.managers.server")
local arguments = require("tidelock._arguments")
local connection = require("tidelock.multiprocessing.connection")
local context = require("tidelock.multiprocessing.context")
local core = require("tidelock._multiprocessing")
local family = require("tidelock.multiprocessing.family")
local objects = require("tidelock.multiprocessing.managers.objects")
local proxies = require("tidelock.multiprocessing.managers.proxies")
local sessions = require("tidelock.multiprocessing.managers.sessions")

local managers = {
  RemoteError = sessions.RemoteError,
  apply = proxies.apply,
  call = proxies.call,
}

local TIMEOUT = 1 -- seconds that a server has to end when it is asked to

-- --- Registered types ---------------------------------------------------------

--- Called by what checks the arguments for a function that the user's calls.
local function bad_argument(number, name, message, ...)
  error(("bad argument #%d to '%s' (%s)"):format(number, name, message:format(...)), 5)
end

local ENTRY = { create_method = "boolean", exposed = "table", method_to_typeid = "table",
  proxytype = "string" }
local PROXYTYPES = { dict = true, list = true, Namespace = true }

--- What register is called with, checked.
local function read_entry(name, callable, options)
  if type(name) ~= "string" then
    bad_argument(1, "register", "string expected, got %s", type(name))
  end
  if callable ~= nil and not arguments.is_callable(callable) then
    bad_argument(2, "register", "function expected, got %s", type(callable))
  end
  if options ~= nil and type(options) ~= "table" then
    bad_argument(3, "register", "table expected, got %s", type(options))
  end
  local entry = { callable = callable }
  for key, value in pairs(options or {}) do
    if not ENTRY[key] then
      bad_argument(3, "register", "unknown option '%s'", tostring(key))
    elseif type(value) ~= ENTRY[key] then
      bad_argument(3, "register", "%s: %s expected, got %s", key, ENTRY[key], type(value))
    end
    entry[key] = value
  end
  if entry.proxytype and not PROXYTYPES[entry.proxytype] then
    bad_argument(3, "register", "proxytype: dict, list or Namespace expected, got %s",
      entry.proxytype)
  end
  return entry
end

--- The entries of the class, those of its bases included.
local function registry_of(class)
  local registry = class._base and registry_of(class._base) or {}
  for name, entry in pairs(class._registry) do registry[name] = entry end
  return registry
end

-- --- The server's process, as its starter sees it -------------------------------

--- Kept until the end of this process or of the server. The client, which managers
--- and proxies keep, is not kept by it: when there are none the client is collected,
--- and its end ends the server.
local Life = {}
Life.__index = Life

local function remove_files(self)
  if type(self.address) ~= "string" or self.address:sub(1, 1) == "\0" then return end
  os.remove(self.address)
  if self.own_folder then os.remove(self.address:match("^(.*)/")) end
end

function Life:is_mine() return self.creator == core.getpid() end

-- What a client has, to be collected with it.
local Collected = {}

--- The server ends by itself, and its process is not waited for; one that was
--- killed has left its files.
function Collected:__gc()
  local life = self.life
  if life.ending or not life:is_mine() then return end
  life.ending, life.finished = true, true
  family.not_at_end(life)
  if life.address and not life.process:is_alive() then remove_files(life) end
  family.remove(life.process)
end

--- Where the server listens, if its start was interrupted before that was told.
local function learn_address(self)
  if self.address then return end
  self.report:close()
  local told, message = pcall(function()
    return self.answer:poll(self.timeout) and self.answer:recv()
  end)
  self.address = told and message and message.address
end

--- Asks the server to end, and makes it if it does not do so in time. One that has
--- no client cannot be asked: its files are removed for it.
local function end_process(self)
  local process, client = self.process, self.weak.client
  if client then
    client:shutdown()
    if process:join(self.timeout) then return end
  else
    learn_address(self)
  end
  process:terminate()
  if not process:join(self.timeout) then process:kill() end
  process:join()
end

--- Ends the server, if it was started. Who is interrupted in this can do it again.
function Life:finish()
  if self.finished or not self:is_mine() then return end
  self.ending = true
  if self.process.pid then
    end_process(self)
    if self.process.exitcode ~= 0 then remove_files(self) end
  end
  self.finished = true
  family.not_at_end(self)
end

--- The end of the start, which may have failed.
function Life:__close()
  if not self.started then self:finish() end
end

function Life:at_end()
  if self:is_mine() then Client.expect_end() end
  self:finish()
end

-- --- Managers -----------------------------------------------------------------

local BaseManager = { _name = "BaseManager", _registry = {} }
local meta = { __name = "multiprocessing.Manager" }

local OPTIONS = { address = true, authkey = "string", ctx = "table", shutdown_timeout = "number" }

--- The options of a class's constructor, which is called with a table of them, or
--- (address, authkey).
local function read_options(name, given, authkey)
  local positional = type(given) ~= "table" or given[1] ~= nil
  if positional then
    given = { address = given, authkey = authkey }
  elseif authkey ~= nil then
    bad_argument(2, name, "no value expected after a table of options")
  end
  local options = {}
  for key, value in pairs(given) do
    local number, wanted = positional and key == "authkey" and 2 or 1, OPTIONS[key]
    if not wanted then bad_argument(number, name, "unknown option '%s'", tostring(key)) end
    if wanted ~= true and type(value) ~= wanted then
      bad_argument(number, name, "%s: %s expected, got %s", key, wanted, type(value))
    end
    options[key] = value
  end
  local address, timeout = options.address, options.shutdown_timeout
  if address ~= nil and type(address) ~= "string" and type(address) ~= "table" then
    bad_argument(1, name, "address: a path or {host, port} expected, got %s", type(address))
  elseif timeout and (timeout ~= timeout or timeout < 0) then
    bad_argument(1, name, "shutdown_timeout must be a number of seconds >= 0")
  end
  return options
end

local function new_manager(class, ...)
  local options = read_options(class._name, ...)
  return setmetatable({
    _class = class,
    _registry = registry_of(class),
    _address = options.address,
    _authkey = options.authkey or family.current_process().authkey,
    _context = options.ctx,
    _timeout = options.shutdown_timeout or TIMEOUT,
    _state = "initial",
  }, meta)
end

local function check_state(self, state, verb)
  if self._state ~= state then
    error(("cannot %s a manager that is %s"):format(verb, self._state), 3)
  end
end

--- Creates an object of a registered type and returns its proxy.
local function create(self, name, ...)
  check_state(self, "started", "use")
  return self._client:call(0, "create", name, ...)
end

local creators = {}

local function creator(name)
  creators[name] = creators[name] or function(self, ...) return create(self, name, ...) end
  return creators[name]
end

function meta.__index(self, key)
  if key == "address" then return self._address end
  local method = self._class[key]
  if method ~= nil then return method end
  local entry = self._registry[key]
  return entry and entry.create_method ~= false and creator(key) or nil
end

function meta.__tostring(self)
  local address = self._address
  if type(address) == "table" then address = ("%s port %d"):format(address[1], address[2]) end
  return ("<Manager %s%s>"):format(self._state,
    address and " " .. address:gsub("^\0", "@") or "")
end

--- Ends the server that it has started; from that of others it just parts.
function meta.__close(self)
  if self._life then
    if self._life:is_mine() then self:shutdown() end
  elseif self._client then
    self._client, self._state = nil, "closed"
  end
end

local class_meta = { __name = "Manager class" }

function class_meta.__index(class, key)
  local base = rawget(class, "_base")
  return base and base[key]
end

function class_meta.__call(class, ...) return (new_manager(class, ...)) end

setmetatable(BaseManager, class_meta)
managers.BaseManager = BaseManager

function BaseManager:subclass(body)
  if body ~= nil and type(body) ~= "table" then
    error(("bad argument #1 to 'subclass' (table expected, got %s)"):format(type(body)), 2)
  end
  local class = { _base = self, _registry = {} }
  for key, value in pairs(body or {}) do class[key] = value end
  return setmetatable(class, class_meta)
end

local function register(self, ...)
  local name, entry = ..., read_entry(...)
  if self._state == "started" then self._client:call(0, "register", name, entry) end
  self._registry[name] = entry
end

function BaseManager:register(...) register(self, ...) end

--- Starts the server and waits until it can be reached.
local function launch(self, initializer, initargs)
  local options = { registry = self._registry, address = self._address, authkey = self._authkey,
    initializer = initializer, initargs = initargs }
  local ctx = self._context or context.get_context()
  local process = ctx.Process { target = Server.main, daemon = false, args = { options } }
  process.name = process.name:gsub("^Process", "Manager")
  local answer <close>, report = family.open(process, connection.Pipe, false)
  local _ <close> = report
  options.report = report
  local life <close> = setmetatable({ process = process, creator = core.getpid(),
    timeout = self._timeout, weak = setmetatable({}, { __mode = "v" }),
    own_folder = self._address == nil, answer = answer, report = report }, Life)
  family.at_end(life)
  process:start()
  report:close()
  local message = answer:recv() life.address = message.address
  if message.problem then
    process:join(self._timeout) -- it ends by itself
    error(message.problem, 0)
  end
  local client = Client.new(message.address, self._authkey)
  client:connect({ starter = true })
  life.weak.client, client.collected = client, setmetatable({ life = life }, Collected)
  life.started = true
  return life, client
end

function BaseManager:start(initializer, initargs)
  check_state(self, "initial", "start")
  if initializer ~= nil and not arguments.is_callable(initializer) then
    error(("bad argument #1 to 'start' (function expected, got %s)"):format(type(initializer)), 2)
  end
  local args = (initargs == nil or type(initargs) == "table") and arguments.copy(initargs)
  if not args then error("bad argument #2 to 'start' (table of arguments expected)", 2) end
  local life, client = launch(self, initializer, args)
  self._life, self._client, self._address, self._state = life, client, life.address, "started"
  return self
end

--- Connects to a server that another process has started.
function BaseManager:connect()
  check_state(self, "initial", "connect")
  if self._address == nil then error("cannot connect a manager without an address", 2) end
  local client = Client.new(self._address, self._authkey)
  client:connect({})
  self._client, self._state = client, "started"
  return self
end

--- A server for this process to serve with.
function BaseManager:get_server()
  check_state(self, "initial", "get the server of")
  local listener = connection.Listener(self._address, { authkey = self._authkey, backlog = 128 })
  self._address = listener.address
  return Server.new(self._registry, listener)
end

function BaseManager:shutdown()
  if self._state ~= "shut down" then check_state(self, "started", "shut down") end
  if not self._life then
    error("cannot shut down a manager that another process has started", 2)
  end
  if not self._life:is_mine() then
    error("only the process that started it can shut down a manager", 2)
  end
  self._state = "shut down"
  self._life:finish()
end

function BaseManager:join(timeout)
  if not self._life then error("cannot join a manager that this process has not started", 2) end
  return self._life.process:join(timeout)
end

function BaseManager:_number_of_objects() return self._client:call(0, "info") end

-- --- SyncManager --------------------------------------------------------------

local SyncManager = BaseManager:subclass({ _name = "SyncManager" })
managers.SyncManager = SyncManager

for name in pairs(objects.kinds) do
  if name ~= "Iterator" then SyncManager._registry[name] = { proxytype = name, builtin = true } end
end

local POOL = { "apply", "apply_async", "close", "imap", "imap_unordered", "join", "map",
  "map_async", "starmap", "starmap_async", "terminate" }

-- The workers are children of the server.
SyncManager:register("Pool", function(...)
  return require("tidelock.multiprocessing").Pool(...)
end, {
  exposed = POOL,
  method_to_typeid = { apply_async = "AsyncResult", map_async = "AsyncResult",
    starmap_async = "AsyncResult", imap = "Iterator", imap_unordered = "Iterator" },
})
SyncManager:register("AsyncResult", nil, { create_method = false,
  exposed = { "get", "ready", "successful", "wait" } })

--- A manager of a context that has been started: mp.Manager().
function managers._start(ctx, ...)
  for i = 1, select("#", ...) do
    local value = (select(i, ...))
    if value ~= nil then
      error(("bad argument #%d to 'Manager' (no value expected, got %s)"):format(i, type(value)), 2)
    end
  end
  return SyncManager { ctx = ctx }:start()
end

return managers

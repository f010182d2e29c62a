--- Processes: the parts that are written in Lua, over "tidelock._connection"
--- and "tidelock._multiprocessing"; all is documented in
--- types/multiprocessing.lua.
local found, core = pcall(require, "tidelock._multiprocessing")
if not found then
  if type(core) ~= "string" then error(core, 0) end -- interrupted
  error("multiprocessing needs the program tidelock, or a program with its library:\n" .. core, 0)
end
local arguments = require("tidelock._arguments")
local connection = require("tidelock._connection")
local errors = require("tidelock.errors")

local multiprocessing = {
  AuthenticationError = errors.AuthenticationError,
  BufferTooShort = errors.BufferTooShort,
  TimeoutError = errors.TimeoutError,
  Pipe = connection.Pipe,
  cpu_count = core.cpu_count,
}

-- What this process is: the object that stands for it, the one that stands for
-- its parent, and its children that have not been seen to end: a set, which
-- other threads may change meanwhile.
local current, parent, children

local function misuse(message, ...)
  error(message:format(...), 3)
end

local function bad_argument(number, name, message, ...)
  error(("bad argument #%d to '%s' (%s)"):format(number, name, message:format(...)), 3)
end

local function is_timeout(value)
  return value == nil or type(value) == "number" and value >= 0
end

--- A process that has been waited for needs no keeping.
local function forget_ended()
  for _, process in ipairs(core.keys(children)) do
    local handle = process._handle
    if handle:pid() and handle:poll() then children[process] = nil end
  end
end

-- What may be read of a process, and written.
local getters, setters = {}, {}

local Process = {}
multiprocessing.Process = Process

local function check_open(process)
  if process._closed then error("the process object is closed", 3) end
end

--- Raises unless this process made the object and, if 'started', started it.
local function check_mine(process, verb, started)
  if process._closed then error("the process object is closed", 3) end
  if process._creator ~= core.getpid() then
    error(("only the process that made it can %s a process"):format(verb), 3)
  end
  if started and not process._handle:pid() then
    error(("cannot %s a process that has not been started"):format(verb), 3)
  end
end

function getters.name(process) return process._name end

function setters.name(process, name)
  if type(name) ~= "string" then misuse("name must be a string, not %s", type(name)) end
  process._name = name
end

function getters.daemon(process) return process._daemon end

function setters.daemon(process, daemon)
  if process._handle:pid() or process == current then
    misuse("cannot set daemon of a process that has been started")
  end
  if type(daemon) ~= "boolean" then misuse("daemon must be a boolean, not %s", type(daemon)) end
  process._daemon = daemon
end

function getters.pid(process)
  check_open(process)
  if process == current then return core.getpid() end
  return process._handle:pid()
end

function getters.exitcode(process)
  check_open(process)
  if process._creator ~= core.getpid() or not process._handle:pid() then return nil end
  return process._handle:poll()
end

function getters.sentinel(process)
  check_open(process)
  if not process._handle:pid() then misuse("the process has not been started") end
  return process._handle:sentinel()
end

local function describe(process)
  local state = "initial"
  if process._closed then
    state = "closed"
  elseif process == current then
    state = "started pid=" .. core.getpid()
  elseif process._handle:pid() then
    local code = process.exitcode
    state = code and "stopped exitcode=" .. code or "started pid=" .. process._handle:pid()
  end
  return ("<Process %q %s>"):format(process._name, state)
end

--- What threading.wait_any waits for.
local function waitable(process)
  check_mine(process, "wait for", true)
  return process._handle
end

--- The metatable of the objects of a class.
local function metatable_of(class)
  local meta = {
    __name = "multiprocessing.Process",
    __tostring = describe,
    __waitable = waitable,
  }
  function meta.__index(process, key)
    local get = getters[key]
    if get then return get(process) end
    return class[key]
  end
  function meta.__newindex(process, key, value)
    local set = setters[key]
    if set then return set(process, value) end
    if getters[key] then misuse("cannot set %s of a process", key) end
    rawset(process, key, value)
  end
  return meta
end

--- An object that has not been started.
local function create(meta)
  current._count = current._count + 1
  local number = current._identity .. current._count
  return setmetatable({
    _handle = core.Handle(),
    _creator = core.getpid(),
    _daemon = current._daemon,
    _identity = number .. ":",
    _name = "Process-" .. number,
    _number = current._count,
    _count = 0,
    _closed = false,
  }, meta)
end

local OPTIONS = { target = true, args = true, name = true, daemon = true }

local function check_options(options)
  for key in pairs(options) do
    if not OPTIONS[key] then
      error(("bad argument #1 to 'Process' (unknown option '%s')"):format(tostring(key)), 4)
    end
  end
  local function check(name, kind)
    local value = options[name]
    if value ~= nil and type(value) ~= kind then
      error(("bad argument #1 to 'Process' (%s: %s expected, got %s)")
        :format(name, kind, type(value)), 5)
    end
  end
  check("args", "table")
  check("name", "string")
  check("daemon", "boolean")
end

--- The options of Process(options) or Process(target, ...).
local function read_options(...)
  local first = ...
  if select("#", ...) ~= 1 or type(first) ~= "table" or arguments.is_callable(first) then
    if not arguments.is_callable(first) then
      error(("bad argument #1 to 'Process' (function expected, got %s)")
        :format(select("#", ...) == 0 and "no value" or type(first)), 3)
    end
    return { target = first, args = table.pack(select(2, ...)) }
  end
  check_options(first)
  if not arguments.is_callable(first.target) then
    error(("bad argument #1 to 'Process' (target: function expected, got %s)")
      :format(type(first.target)), 3)
  end
  return first
end

local process_meta = metatable_of(Process)

setmetatable(Process, {
  __name = "Process class",
  __call = function(_, ...)
    local options = read_options(...)
    local process = create(process_meta)
    local args = arguments.copy(options.args)
    if not args then
      bad_argument(1, "Process", "args: too many, or field 'n' is no number of them")
    end
    process._target = options.target
    process._args = args
    process._name = options.name or process._name
    if options.daemon ~= nil then process._daemon = options.daemon end
    return process
  end,
})

function Process:subclass(body)
  if type(body) ~= "table" then
    bad_argument(1, "subclass", "table expected, got %s", type(body))
  end
  local class = {}
  for key, value in pairs(body) do class[key] = value end
  local meta = metatable_of(class)
  return setmetatable(class, {
    __index = self,
    __name = "Process class",
    __call = function(_, ...)
      local process = create(meta)
      if class.init then class.init(process, ...) end
      return process
    end,
  })
end

function Process:run()
  local target, args = self._target, self._args
  if target then target(table.unpack(args, 1, args.n)) end
end

-- --- The end of this process ------------------------------------------------

-- How long a daemonic process may take to end when it is asked to.
local PATIENCE = 1 -- seconds

local function by_number(a, b) return a._number < b._number end

local function end_children()
  local alive = multiprocessing.active_children()
  for _, process in ipairs(alive) do
    if process._daemon then process._handle:signal("TERM") end
  end
  for _, process in ipairs(alive) do
    local handle = process._handle
    if process._daemon and not handle:wait(PATIENCE) then handle:signal("KILL") end
    handle:wait()
    children[process] = nil
  end
end

local registered = false -- the exit function; a child inherits it

local function at_exit()
  registered = false
  local ok, problem = pcall(end_children)
  if ok then return end
  registered = true
  core.atexit(at_exit) -- interrupted: the next attempt goes on
  error(problem, 0)
end

local function register()
  if registered then return end
  registered = true
  core.atexit(at_exit)
end

-- --- A process's life -------------------------------------------------------

--- The parent, as a child sees it.
local Parent = {}
Parent.__index = Parent
Parent.__name = "multiprocessing.ParentProcess"

function Parent.__tostring(process)
  return ("<ParentProcess %q pid=%d>"):format(process.name, process.pid)
end

function Parent:is_alive() return self._handle:poll() == nil end

function Parent:join(timeout)
  if not is_timeout(timeout) then
    bad_argument(1, "join", "timeout must be a number of seconds >= 0")
  end
  return self._handle:wait(timeout)
end

--- What a child does.
local function live(process, handle)
  parent = setmetatable({ name = current._name, pid = handle:pid(), _handle = handle }, Parent)
  current, children = process, {}
  process:run()
end

function Process:start()
  check_mine(self, "start")
  if self._handle:pid() then misuse("cannot start a process twice") end
  if current._daemon then misuse("daemonic processes are not allowed to have children") end
  forget_ended()
  register()
  -- It is known before it is there, so that an interrupt cannot lose it.
  children[self] = true
  local function body(handle) live(self, handle) end
  local ok, problem = pcall(self._handle.fork, self._handle, body, self._name)
  if not ok then
    children[self] = nil
    error(problem, 0)
  end
  self._target, self._args = nil, nil
  return self
end

function Process:join(timeout)
  check_mine(self, "join", true)
  if not is_timeout(timeout) then
    bad_argument(1, "join", "timeout must be a number of seconds >= 0")
  end
  if not self._handle:wait(timeout) then return false end
  children[self] = nil
  return true
end

function Process:is_alive()
  if self == current then return true end
  check_mine(self, "test")
  local handle = self._handle
  if not handle:pid() then return false end
  if not handle:poll() then return true end
  children[self] = nil
  return false
end

function Process:terminate()
  check_mine(self, "terminate", true)
  self._handle:signal("TERM")
end

function Process:kill()
  check_mine(self, "kill", true)
  self._handle:signal("KILL")
end

function Process:interrupt()
  check_mine(self, "interrupt", true)
  self._handle:signal("INT")
end

function Process:close()
  if self._closed then return end
  check_mine(self, "close")
  if not self._handle:close() then
    misuse("cannot close a process that is still running: join or terminate it first")
  end
  children[self] = nil
  self._closed = true
  self._target, self._args = nil, nil
end

-- --- This process and the others --------------------------------------------

function multiprocessing.current_process() return current end

function multiprocessing.parent_process() return parent end

function multiprocessing.active_children()
  forget_ended()
  local alive = {}
  for _, process in ipairs(core.keys(children)) do
    if process._handle:pid() then alive[#alive + 1] = process end
  end
  table.sort(alive, by_number)
  return alive
end

function multiprocessing.is_main() return parent == nil end

function multiprocessing.get_start_method() return "fork" end

children = {}
current = setmetatable({
  _handle = core.Handle(),
  _daemon = false,
  _identity = "",
  _name = "MainProcess",
  _count = 0,
  _closed = false,
}, process_meta)

return multiprocessing

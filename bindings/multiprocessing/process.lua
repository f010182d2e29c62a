--- Process; documented in types/multiprocessing.lua.
---
--- A process object is a plain table, so that it can be sent to the process
--- that it stands for; what does not go with it, wherever it is sent, is kept
--- beside it: the handle, which belongs to this process alone, and the secret key,
--- which spawn.lua alone tells, to the process itself.
local arguments = require("tidelock._arguments")
local core = require("tidelock._multiprocessing")
local family = require("tidelock.multiprocessing.family")
local pickle = require("tidelock.pickle")

local process = {}

-- The handles of the objects that were made here.
local handles = setmetatable({}, { __mode = "k" })

-- The keys of the objects that were made here, and of this process.
local keys = setmetatable({}, { __mode = "k" })

-- Starts a process by its method: set by context.lua, which knows the methods.
local launch

local function misuse(message, ...)
  error(message:format(...), 3)
end

local function bad_argument(number, name, message, ...)
  error(("bad argument #%d to '%s' (%s)"):format(number, name, message:format(...)), 3)
end

local function is_timeout(value)
  return value == nil or type(value) == "number" and value >= 0
end

-- --- Attributes --------------------------------------------------------------

-- What may be read of a process, and written.
local getters, setters = {}, {}

local function check_open(self)
  if self._closed then error("the process object is closed", 3) end
end

--- A fork has the handles of its parent, too.
local function is_mine(self) return handles[self] and self._creator == core.getpid() end

--- Raises, at the caller of the caller, unless this process made the object and,
--- if 'started', started it.
local function check_mine(self, verb, started)
  if self._closed then error("the process object is closed", 3) end
  if not is_mine(self) then
    error(("only the process that made %s can %s it"):format(self._name, verb), 3)
  end
  if started and not handles[self]:pid() then
    error(("cannot %s a process that has not been started"):format(verb), 3)
  end
end

--- Its process id, or nil; of one that another process made, nothing is known.
local function pid_of(self)
  if self == family.current_process() then return core.getpid() end
  local handle = handles[self]
  return handle and handle:pid()
end

function getters.name(self) return self._name end

function setters.name(self, name)
  if type(name) ~= "string" then misuse("name must be a string, not %s", type(name)) end
  self._name = name
end

function getters.daemon(self) return self._daemon end

function setters.daemon(self, daemon)
  if pid_of(self) then misuse("cannot set daemon of a process that has been started") end
  if type(daemon) ~= "boolean" then misuse("daemon must be a boolean, not %s", type(daemon)) end
  self._daemon = daemon
end

--- An object that has come from another process has the key of this one.
function getters.authkey(self) return keys[self] or keys[family.current_process()] end

function setters.authkey(self, key)
  if type(key) ~= "string" then misuse("authkey must be a string, not %s", type(key)) end
  keys[self] = key
end

function getters.pid(self)
  check_open(self)
  return pid_of(self)
end
getters.ident = getters.pid

function getters.exitcode(self)
  check_open(self)
  if not is_mine(self) or not pid_of(self) then return nil end
  return handles[self]:poll()
end

function getters.sentinel(self)
  check_mine(self, "watch", true)
  return handles[self]:sentinel()
end

local function describe(self)
  local state, pid = "initial", not self._closed and pid_of(self)
  if self._closed then
    state = "closed"
  elseif self == family.current_process() then
    state = "started pid=" .. pid
  elseif pid then
    local code = self.exitcode
    state = code and "stopped exitcode=" .. code or "started pid=" .. pid
  end
  return ("<Process %q %s>"):format(self._name, state)
end

-- --- The class ---------------------------------------------------------------

local Process = {}
process.Process = Process

local meta = { __name = "multiprocessing.Process", __tostring = describe }

function meta.__index(self, key)
  local get = getters[key]
  if get then return get(self) end
  return (rawget(self, "_class") or Process)[key]
end

function meta.__newindex(self, key, value)
  local set = setters[key]
  if set then return set(self, value) end
  if getters[key] then misuse("cannot set %s of a process", key) end
  rawset(self, key, value)
end

--- What threading.wait_any waits for.
function meta.__waitable(self)
  check_mine(self, "wait for", true)
  return handles[self]
end

--- An object that has not been started, of a subclass or of Process itself.
local function create(class)
  local current = family.current_process()
  local count = core.count(current, "_count")
  local number = current._identity .. count
  local self = setmetatable({
    _class = class,
    _creator = core.getpid(),
    _daemon = current._daemon,
    _identity = number .. ":",
    _name = "Process-" .. number,
    _number = count,
    _count = 0,
    _closed = false,
  }, meta)
  handles[self] = core.Handle()
  keys[self] = keys[current]
  return self
end

local OPTIONS = { target = true, args = true, name = true, daemon = true }

local function check_options(options)
  for key in pairs(options) do
    if not OPTIONS[key] then
      error(("bad argument #1 to 'Process' (unknown option '%s')"):format(tostring(key)), 5)
    end
  end
  local function check(name, kind)
    local value = options[name]
    if value ~= nil and type(value) ~= kind then
      error(("bad argument #1 to 'Process' (%s: %s expected, got %s)")
        :format(name, kind, type(value)), 6)
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
        :format(select("#", ...) == 0 and "no value" or type(first)), 4)
    end
    return { target = first, args = table.pack(select(2, ...)) }
  end
  check_options(first)
  if not arguments.is_callable(first.target) then
    error(("bad argument #1 to 'Process' (target: function expected, got %s)")
      :format(type(first.target)), 4)
  end
  return first
end

--- Process(...), for the base class and for those of the start methods.
local function construct(class, ...)
  local options = read_options(...)
  local args = arguments.copy(options.args)
  if not args then
    error("bad argument #1 to 'Process' (args: too many, or field 'n' is no number of them)", 3)
  end
  local self = create(class)
  self._target = options.target
  self._args = args
  self._name = options.name or self._name
  if options.daemon ~= nil then self._daemon = options.daemon end
  return self
end

setmetatable(Process, {
  __name = "Process class",
  __call = function(_, ...) return (construct(nil, ...)) end,
})

-- The metatable of all other classes: plain tables, that travel as such.
local class_meta = { __name = "Process class" }

function class_meta.__index(class, key)
  local base = rawget(class, "_base") or Process
  return base[key]
end

function class_meta.__call(class, ...)
  if rawget(class, "_plain") then return (construct(class, ...)) end
  local self = create(class)
  if class.init then class.init(self, ...) end
  return self
end

--- The class whose objects are started by a method. It is made like Process.
function process.class_of(method)
  return setmetatable({ _plain = true, _start_method = method }, class_meta)
end

function Process:subclass(body)
  if type(body) ~= "table" then
    bad_argument(1, "subclass", "table expected, got %s", type(body))
  end
  local class = {}
  for key, value in pairs(body) do class[key] = value end
  class._base = self ~= Process and self or nil
  class._plain = false
  return setmetatable(class, class_meta)
end

function Process:run()
  local target, args = self._target, self._args
  if target then target(table.unpack(args, 1, args.n)) end
end

-- Objects and classes travel as the tables they are, but for the base class.
pickle.register("multiprocessing.Process", meta)
pickle.register("multiprocessing.Process class", class_meta)
pickle.register("multiprocessing.Process base", getmetatable(Process), {
  reduce = function() end,
  restore = function() return Process end,
})

-- --- A process's life -------------------------------------------------------

--- How context.lua starts processes: launch(process, handle).
function process.set_launch(f) launch = f end

function Process:start()
  check_mine(self, "start")
  local handle = handles[self]
  if handle:pid() then misuse("cannot start a process twice") end
  if family.current_process()._daemon then
    misuse("daemonic processes are not allowed to have children")
  end
  family.add(self, handle)
  local ok, problem = pcall(launch, self, handle)
  if not ok then
    if not handle:pid() then family.remove(self) end
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
  if not handles[self]:wait(timeout) then return false end
  family.remove(self)
  return true
end

function Process:is_alive()
  if self == family.current_process() then return true end
  check_mine(self, "test")
  local handle = handles[self]
  if not handle:pid() then return false end
  if not handle:poll() then return true end
  family.remove(self)
  return false
end

for verb, name in pairs({ terminate = "TERM", kill = "KILL", interrupt = "INT" }) do
  Process[verb] = function(self)
    check_mine(self, verb, true)
    handles[self]:signal(name)
  end
end

function Process:close()
  if self._closed then return end
  check_mine(self, "close")
  if not handles[self]:close() then
    misuse("cannot close a process that is still running: join or terminate it first")
  end
  family.remove(self)
  self._closed = true
  self._target, self._args = nil, nil
end

local main = setmetatable({
  _creator = 0,
  _daemon = false,
  _identity = "",
  _name = "MainProcess",
  _number = 0,
  _count = 0,
  _closed = false,
}, meta)
keys[main] = core.random(32)
family.become(main)

return process

--- The referents in a manager's server, and who holds on to them.
---
--- A referent stays as long as somebody has a reference: a client process, for
--- each of its proxies; or a message that a proxy travels in, which is counted
--- for the process that has sent it until the receiver takes it over. A client's
--- references go with the process; those of its messages a while later, for they
--- may still be received. Counts are changed by any thread and by finalizers, so it is
--- C that does it.
local arguments = require("tidelock._arguments")
local barrier = require("tidelock.multiprocessing.managers.barrier")
local core = require("tidelock._managers")
local data = require("tidelock.multiprocessing.managers.data")
local locks = require("tidelock.multiprocessing.managers.locks")
local processes = require("tidelock._multiprocessing")
local queues = require("tidelock.multiprocessing.managers.queues")
local threading = require("tidelock.threading")

local Objects = {}
Objects.__index = Objects

--- The types that every server has, by their typeids: how they are created, what
--- clients may call, and the class of their proxies.
local kinds = {
  Array = data.Array,
  Barrier = barrier,
  BoundedSemaphore = locks.BoundedSemaphore,
  Condition = locks.Condition,
  Event = locks.Event,
  Iterator = { class = "Iterator", exposed = { "__call" } },
  JoinableQueue = { methods = queues.methods, create = queues.create },
  Lock = locks.Lock,
  Namespace = data.Namespace,
  Queue = queues,
  RLock = locks.RLock,
  Semaphore = locks.Semaphore,
  Value = data.Value,
  dict = data.dict,
  list = data.list,
}
local CLASSES = { dict = "Dict", list = "List", RLock = "Lock", BoundedSemaphore = "Semaphore",
  JoinableQueue = "Queue" }
for name, kind in pairs(kinds) do kind.class = kind.class or CLASSES[name] or name end

-- How many arguments their constructors have.
local PARAMETERS = { Array = 2, Barrier = 3, Event = 0, Lock = 0, RLock = 0, Value = 2 }
for name, kind in pairs(kinds) do kind.parameters = PARAMETERS[name] or 1 end

Objects.kinds = kinds

--- What is registered under a name, as a kind.
---@param entry table callable and the options of register
function Objects.kind(entry)
  local kind = { class = "Object", exposed = entry.exposed,
    method_to_typeid = entry.method_to_typeid or {} }
  for key, value in pairs(kinds[entry.proxytype] or {}) do kind[key] = value end
  kind.create = entry.callable and function(_, ...) return entry.callable(...) end
  kind.is_custom = true
  return kind
end

function Objects.new()
  return setmetatable({ _by_id = {}, _of = setmetatable({}, { __mode = "k" }), _last = 0,
    _adding = threading.Lock() }, Objects)
end

--- The names of the methods of an object that do not begin with '_'.
local function public_methods(value)
  local names, from = {}, value
  while type(from) == "table" or type(from) == "userdata" do
    if type(from) == "table" then
      for name, member in next, from do
        if type(name) == "string" and name:sub(1, 1) ~= "_" and arguments.is_callable(member) then
          names[name] = true
        end
      end
    end
    local meta = getmetatable(from)
    from = type(meta) == "table" and rawget(meta, "__index") or nil
  end
  return names
end

--- What clients may use of a custom object, by names: true for a method, or
--- "field".
local function exposed_of(value, kind)
  if kind.methods then return nil end
  if not kind.exposed then return public_methods(value) end
  local names = {}
  for _, name in ipairs(kind.exposed) do
    local is_method = name == "__call" or arguments.is_callable(value[name])
    names[name] = is_method or "field"
  end
  return names
end

--- The object with this referent, and one reference to it in 'refs'; custom
--- referents are known again.
function Objects:add(refs, value, typeid, kind)
  local exposed = exposed_of(value, kind) -- what it runs may create others
  local held <close> = self._adding:guard()
  local known = self._of[value]
  if known and known.typeid == typeid and self:retain(refs, known.id) then return known end
  local id = self._last + 1
  local object = { id = id, value = value, typeid = typeid, kind = kind, count = 0,
    lock = threading.RLock(), exposed = exposed }
  self._last, self._of[value] = id, object
  core.retain(self._by_id, refs, id, object)
  return object
end

function Objects:find(id) return self._by_id[id] end

function Objects:count()
  return #processes.keys(self._by_id)
end

--- One reference more in 'refs', a table of numbers by ids; false if there is no
--- such object any more.
function Objects:retain(refs, id) return core.retain(self._by_id, refs, id) end

--- One reference less; false if there is none.
function Objects:release(refs, id) return core.release(self._by_id, refs, id) end

--- All of them, 'refs' is empty then.
function Objects:release_all(refs)
  for _, id in ipairs(processes.keys(refs)) do
    while self:release(refs, id) do end -- luacheck: ignore
    refs[id] = nil
  end
end

--- The same references once more.
function Objects:copy(refs)
  local copy = {}
  for _, id in ipairs(processes.keys(refs)) do
    for _ = 1, refs[id] or 0 do self:retain(copy, id) end
  end
  return copy
end

return Objects

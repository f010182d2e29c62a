--- Proxies: what stands in any process for an object that a manager's server has.
--- What each kind offers is in the stubs.
---
--- A proxy is an empty table, so that its keys can be those of the referent; what
--- is known of it is kept beside it.
local arguments = require("tidelock._arguments")
local Client = require("tidelock.multiprocessing.managers.client")
local classes = require("tidelock.multiprocessing.managers.classes")
local core = require("tidelock._managers")
local errors = require("tidelock.errors")
local shielded = require("tidelock._multiprocessing").shielded
local time = require("tidelock.time")

local proxies = {}

--- {client, id, typeid, class, exposed, prefix, owner}: 'owner' is the number of
--- the process whose message brought it, as long as its reference is that of the
--- message.
local states = setmetatable({}, { __mode = "k" })

-- The servers of this very process: their links, by the servers' names.
local links = {}

function proxies.enter(link) links[link.name] = link end

function proxies.leave(link) links[link.name] = nil end

--- A proxy that has a reference.
function proxies.new(client, id, typeid, class, exposed, owner)
  local proxy = setmetatable({}, classes[class])
  states[proxy] = { client = client, id = id, typeid = typeid, class = class, exposed = exposed,
    owner = owner, prefix = Client.prefix(id) }
  return proxy
end

local function state_of(proxy, name)
  local state = states[proxy]
  if state then return state end
  error(("bad argument #1 to '%s' (proxy expected, got %s)"):format(name, type(proxy)), 3)
end

--- Takes over the reference of the message.
local function adopt(state)
  local owner = state.owner
  if not owner then return end
  state.owner = nil -- another thread may be here at the same time, and is only too early
  local ok, problem = pcall(state.client.adopt, state.client, state.id, owner)
  if ok then return end
  state.owner = owner
  error(problem, 0)
end

local function call(state, name, ...)
  if state.owner then adopt(state) end
  return state.client:call(state.id, name, ...)
end

--- The same of a wait in whose end the server has a part.
local function wait(proxy, ...)
  local state = states[proxy]
  if state.owner then adopt(state) end
  return state.client:wait(state.id, "wait", ...)
end

--- Calls a method of the referent.
function proxies.call(proxy, name, ...)
  local state = state_of(proxy, "call")
  if type(name) ~= "string" then
    error(("bad argument #2 to 'call' (string expected, got %s)"):format(type(name)), 2)
  end
  return call(state, name, ...)
end

--- Calls f(referent, ...) in the server.
function proxies.apply(proxy, f, ...)
  return call(state_of(proxy, "apply"), "__apply", f, ...)
end

--- The id if it is a proxy of that client.
function proxies.id_in(value, client)
  local state = states[value]
  return state and state.client == client and state.id
end

-- --- Travelling ---------------------------------------------------------------

function proxies.reduce(proxy)
  local state = states[proxy]
  if state.owner then adopt(state) end
  local number, given = state.client:lease(state.id)
  local client = state.client
  return client.name, client.address, state.id, state.typeid, state.class, state.exposed, number,
    given
end

local function is_address(address)
  if type(address) == "string" then return address ~= "" end
  return type(address) == "table" and type(rawget(address, 1)) == "string"
    and math.type(rawget(address, 2)) == "integer"
end

--- What an Object has is named, and others have what their class has.
local function is_exposed(exposed, class)
  local is_custom = class == "Object" or class == "Iterator"
  if type(exposed) ~= "table" then return exposed == nil and not is_custom end
  for name, kind in next, exposed do
    if type(name) ~= "string" or kind ~= true and kind ~= "field" then return false end
  end
  return is_custom
end

--- Whether these are such as reduce gives.
local function are_whole(name, address, id, typeid, class, exposed, number, given)
  return type(name) == "string" and is_address(address) and math.type(id) == "integer"
    and type(typeid) == "string" and class ~= "Given" and rawget(classes, class) ~= nil
    and is_exposed(exposed, class) and math.type(number) == "integer"
    and type(given) == "boolean"
end

function proxies.restore(...)
  if not are_whole(...) then
    error(errors.new(errors.UnpicklingError, "the bytes of a manager's proxy are damaged"), 0)
  end
  local name, address, id, typeid, class, exposed, number, given = ...
  local link = links[name]
  if link then
    link:restore(id, number, given)
    return proxies.new(link, id, typeid, class, exposed)
  end
  local client = Client.of(name, address)
  local owner = number
  if given and client:is_number(number) then owner = nil end
  return proxies.new(client, id, typeid, class, exposed, owner)
end

-- --- What all proxies have ----------------------------------------------------

local function finalize(proxy)
  local state = states[proxy]
  if not state then return end
  states[proxy] = nil
  state.client:release(state.id, state.owner)
end

--- Proxies of the same referent are equal.
local function equal(a, b)
  local s, t = states[a], states[b]
  return s ~= nil and t ~= nil and s.client.name == t.client.name and s.id == t.id
end

local function describe(proxy)
  local state = states[proxy]
  local ok, text = errors.pcall(call, state, "__tostring")
  if not ok then text = ("of %s; it cannot be asked"):format(tostring(state.client.address)) end
  return ("<%s proxy %s>"):format(state.typeid, text)
end

for _, meta in pairs(classes) do
  meta.__gc, meta.__eq, meta.__tostring = finalize, equal, describe
end
classes.Given.__gc, classes.Given.__eq, classes.Given.__tostring = nil, nil, nil

-- --- Tables -------------------------------------------------------------------

--- Reading a field, the fast way where it can be.
local function read(proxy, key)
  local state = states[proxy]
  if state.owner then adopt(state) end
  if type(key) == "string" then return state.client:read(state.id, key, state.prefix) end
  return state.client:call(state.id, "__index", key)
end

local function write(proxy, key, value)
  if key == nil then error("index is nil", 2) end
  if key ~= key then error("index is NaN", 2) end
  call(states[proxy], "__newindex", key, value)
end

local function length(proxy) return call(states[proxy], "__len") end

--- A loop over what is there when it begins.
local function each(proxy)
  local keys, values = call(states[proxy], "__pairs")
  local i = 0
  return function()
    i = i + 1
    return keys[i], values[i]
  end
end

local Dict = classes.Dict
Dict.__index, Dict.__newindex, Dict.__len, Dict.__pairs = read, write, length, each

--- Methods of the referent as methods of the proxy.
local function methods(names)
  local made = {}
  for name in names:gmatch("[%w_]+") do
    made[name] = function(proxy, ...) return call(states[proxy], name, ...) end
  end
  return made
end

local List = classes.List
local list_methods = methods("append clear copy count extend index insert pop remove reverse sort")

function List.__index(proxy, key)
  local method = list_methods[key]
  if method then return method end
  return read(proxy, key)
end
List.__newindex, List.__len, List.__pairs = write, length, each

local Array = classes.Array
Array.__index, Array.__newindex, Array.__len, Array.__pairs = read, write, length, each

--- Names with '_' are the proxy's own.
local Namespace = classes.Namespace

local function is_private(key) return type(key) == "string" and key:sub(1, 1) == "_" end

function Namespace.__index(proxy, key)
  if is_private(key) then return nil end
  return read(proxy, key)
end

function Namespace.__newindex(proxy, key, value)
  if is_private(key) then return rawset(proxy, key, value) end
  write(proxy, key, value)
end
Namespace.__pairs = each

local Value = classes.Value
local value_methods = methods("get set")
function Value.__index(proxy, key) return value_methods[key] or read(proxy, key) end
Value.__newindex = write

-- --- Locks and queues ---------------------------------------------------------

--- What may be held: acquire and release. A release that has begun comes to its
--- end, so that no lock stays with a thread that is cancelled.
local function lockable(names)
  local made = methods("acquire release " .. names)
  made.release = shielded(made.release)
  made.guard, made.with = core.scopes(function(proxy) return call(states[proxy], "guard") end)
  return made
end

local unlock = shielded(function(proxy) return call(states[proxy], "release") end)

classes.Lock.__index = lockable("locked")
classes.Semaphore.__index = lockable("get_value")
classes.Condition.__index = lockable("locked notify notify_all")
classes.Condition.__index.wait = wait
for _, name in ipairs({ "Lock", "Semaphore", "Condition" }) do classes[name].__close = unlock end

--- The predicate is the caller's, so it is called here.
function classes.Condition.__index.wait_for(proxy, pred, timeout)
  if not arguments.is_callable(pred) then
    error(("bad argument #1 to 'wait_for' (function expected, got %s)"):format(type(pred)), 2)
  elseif timeout ~= nil and type(timeout) ~= "number" then
    error(("bad argument #2 to 'wait_for' (number expected, got %s)"):format(type(timeout)), 2)
  elseif timeout and (timeout ~= timeout or timeout < 0) then
    error("bad argument #2 to 'wait_for' (timeout must be a number of seconds >= 0)", 2)
  end
  local deadline = timeout and time.monotonic() + timeout
  local value = pred()
  while not value do
    local left = deadline and math.max(deadline - time.monotonic(), 0)
    if not proxy:wait(left) then return pred() end
    value = pred()
  end
  return value
end

classes.Event.__index = methods("set clear is_set wait")

local barrier_methods = methods("reset abort")
barrier_methods.wait = wait
local BARRIER_FIELDS = { parties = true, n_waiting = true, broken = true }

function classes.Barrier.__index(proxy, key)
  if BARRIER_FIELDS[key] then return call(states[proxy], "__index", key) end
  return barrier_methods[key]
end

local queue_methods = methods("put put_nowait get get_nowait get_many qsize empty full " ..
  "task_done join shutdown")
classes.Queue.__index = queue_methods

--- Until the queue is shut down and empty.
function queue_methods.iter(proxy)
  return function()
    local item, problem = proxy:get()
    if item == nil and problem then return nil end
    return item
  end
end

-- --- Custom types -------------------------------------------------------------

local custom_methods = {}

local function custom_method(name)
  local method = custom_methods[name]
  if not method then
    method = function(proxy, ...) return call(state_of(proxy, name), name, ...) end
    custom_methods[name] = method
  end
  return method
end

--- Only what is exposed is there: a method, or a field that is read each time.
function classes.Object.__index(proxy, name)
  local state = states[proxy]
  local kind = state.exposed[name]
  if not kind then
    error(("'%s' has no exposed method '%s'"):format(state.typeid, tostring(name)), 2)
  end
  if kind == "field" then return call(state, name) end
  return custom_method(name)
end

function classes.Object.__call(proxy, ...) return call(states[proxy], "__call", ...) end
classes.Iterator.__call = classes.Object.__call

return proxies

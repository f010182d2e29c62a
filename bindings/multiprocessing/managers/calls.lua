--- What calls do in a manager's server: of its objects' methods, and of what the
--- server itself is asked for. These are methods of the server (server.lua).
local arguments = require("tidelock._arguments")
local Monitor = require("tidelock.multiprocessing.managers.monitor")
local classes = require("tidelock.multiprocessing.managers.classes")
local errors = require("tidelock.errors")
local Objects = require("tidelock.multiprocessing.managers.objects")
local proxies = require("tidelock.multiprocessing.managers.proxies")
local threading = require("tidelock.threading")

local calls = {}

local requests = {} -- of the server itself, by their names

--- What a thread works for: its session; and whether it sends an answer, 'sending'.
calls.here = threading.Local()
local here = calls.here

-- --- Methods of objects ---------------------------------------------------------

--- The call may take long, or wait for ever: the main thread is to end it when
--- its caller goes.
function calls:attend(caller)
  local session = caller.session
  if not session then return end
  session.calls, self.attended[session] = session.calls + 1, true
  if not self.awake then
    self.awake = true
    self.wake:set()
  end
end

--- Custom objects are tables and other things with methods; those that are used as a
--- type of the server's are tables.
local function check_object(kind, typeid, value)
  local fits = type(value) == "table" or not kind.methods and
    (type(value) == "userdata" or arguments.is_callable(value))
  if fits then return end
  error(("what was returned for '%s' is no %s (a %s)"):format(typeid,
    kind.methods and "table" or "object", type(value)), 0)
end

--- What the caller gets for a new object: inside the server a proxy, else what
--- becomes one where it is received.
function calls:give(caller, value, typeid)
  local kind = self.kinds[typeid]
  if not kind then error(("there is no type '%s' to return"):format(tostring(typeid)), 0) end
  check_object(kind, typeid, value)
  local client = caller.is_local and self.own or caller.client
  local object = self.objects:add(client.refs, value, typeid, kind)
  local class, exposed = object.kind.class, object.exposed
  if caller.is_local then return proxies.new(self.link, object.id, typeid, class, exposed) end
  caller.undo = function() self.objects:release(client.refs, object.id) end
  return setmetatable({ n = 8, self.name, self.address, object.id, typeid, class, exposed,
    client.number, true }, classes.Given)
end

local function has_no(object, name)
  error(("'%s' has no exposed method '%s'"):format(object.typeid, tostring(name)), 0)
end

--- Calls a method of a custom object, or reads a field.
local function call_custom(self, caller, object, name, ...)
  if not object.exposed[name] then has_no(object, name) end
  self:attend(caller)
  if name == "__call" then return object.value(...) end
  local member = object.value[name]
  if not arguments.is_callable(member) then return member end
  local typeid = object.kind.method_to_typeid[name]
  if typeid then return self:give(caller, member(object.value, ...), typeid) end
  return member(object.value, ...)
end

--- Calls f(referent, ...) with nobody else in a method of the referent.
local function apply(self, caller, object, f, ...)
  if not arguments.is_callable(f) then
    error(("bad argument #2 to 'apply' (function expected, got %s)"):format(type(f)), 0)
  end
  if object.kind.methods and not object.kind.is_data then
    error(("apply is not for '%s', which has methods for all that can be done"):format(
      object.typeid), 0)
  end
  self:attend(caller)
  local held <close> = object.lock:guard()
  return f(object.value, ...)
end

function calls:invoke(caller, id, name, ...)
  if id == 0 then return requests[name](self, caller, ...) end
  local object = self.objects:find(id)
  if not object then error("the manager has this object no more", 0) end
  if name == "__apply" then return apply(self, caller, object, ...) end
  local kind = object.kind
  if not kind.methods then
    if name == "__tostring" then return tostring(object.value) end
    return call_custom(self, caller, object, name, ...)
  end
  local method = kind.methods[name]
  if not method then
    if name == "__tostring" then return object.value:text() end
    has_no(object, name)
  end
  if not kind.is_data then return method(object.value, caller, ...) end
  if object.lock:locked() then self:attend(caller) end
  local held <close> = object.lock:guard()
  return method(object.value, caller, ...)
end

-- --- What clients ask of the server itself ------------------------------------
-- Each is called with the server and the caller.

--- Nothing that is given to a constructor is overlooked.
local function check_number(kind, typeid, ...)
  for i = kind.parameters + 1, select("#", ...) do
    local value = (select(i, ...))
    if value ~= nil then
      Monitor.bad(i, typeid, "no value expected, got " .. type(value))
    end
  end
end

function requests:create(caller, typeid, ...)
  local kind = self.kinds[typeid]
  if not kind or not kind.create then
    error(("the server has no type '%s'"):format(tostring(typeid)), 0)
  end
  if kind.is_custom then self:attend(caller) else check_number(kind, typeid, ...) end
  return self:give(caller, kind.create(caller, ...), typeid)
end

local OBJECT_GONE = "the manager has the object of this proxy no more"

--- The reference of a message becomes that of who has received it; false if it is not
--- there any more.
function calls:redeem(number, id)
  local owner = self.clients[number]
  return owner ~= nil and self.objects:release(owner.leases, id)
end

function requests:adopt(caller, id, number)
  local refs = caller.client.refs
  if not self.objects:retain(refs, id) then error(OBJECT_GONE, 0) end
  local redeemed = self:redeem(number, id)
  caller.undo = function()
    local owner = redeemed and self.clients[number]
    if owner then self.objects:retain(owner.leases, id) end
    self.objects:release(refs, id)
  end
end

--- A reference for a message that the caller sends.
function requests:lease(caller, id)
  local client = caller.client
  if not self.objects:retain(client.leases, id) then error(OBJECT_GONE, 0) end
  caller.undo = function() self.objects:release(client.leases, id) end
  return client.number
end

--- The references of a child that will not come to take them.
function calls:forget_fork(client, n)
  local refs = client.forks[n] client.forks[n] = nil -- no child takes them between
  if refs then self.objects:release_all(refs) end
end

--- The references of a child that the caller is about to fork.
function requests:fork(caller)
  local client = caller.client
  local n = client.forked + 1 client.forked = n
  client.forks[n] = self.objects:copy(client.refs)
  caller.undo = function() self:forget_fork(client, n) end
  return client.number, n
end

function requests:register(_, name, entry)
  self.kinds[name] = Objects.kind(entry)
end

function requests:info()
  collectgarbage()
  collectgarbage()
  return self.objects:count()
end

-- --- Proxies in the server ----------------------------------------------------

-- In the server itself proxies lead straight to their objects.
local Link = {}
Link.__index = Link

function Link:call(id, name, ...)
  local session = here.session
  return self.server:invoke({
    client = session and session.client or self.server.own,
    conn = session and session.conn,
    ident = session and session.ident or threading.get_ident(),
    server = self.server,
    session = session,
    is_local = true,
  }, id, name, ...)
end

Link.wait = Link.call

function Link:read(id, key) return self:call(id, "__index", key) end

function Link:release(id) self.server.objects:release(self.server.own.refs, id) end

--- A proxy travels to who is being answered, who has its reference then, or in a
--- message.
function Link:lease(id)
  local server = self.server
  local session, sending = here.session, here.sending
  local client = session and session.client or server.own
  if not server.objects:retain(sending and client.refs or client.leases, id) then
    error(errors.new(errors.PicklingError, OBJECT_GONE), 0)
  end
  if sending then table.insert(session.given, id) end
  return client.number, sending == true
end

--- The server's way to its own objects.
function calls:new_link()
  return setmetatable({ server = self, name = self.name, address = self.address }, Link)
end

--- A proxy of this server's has come: what was sent by a client, or came back.
function Link:restore(id, number, given)
  local server = self.server
  if not server.objects:retain(server.own.refs, id) then error(OBJECT_GONE, 0) end
  local owner = server.clients[number]
  if owner then server.objects:release(given and owner.refs or owner.leases, id) end
end

--- The referent of a proxy that was an argument; nil of anything else.
function calls:referent(value)
  local id = proxies.id_in(value, self.link)
  local object = id and self.objects:find(id)
  return object and object.value
end

return calls

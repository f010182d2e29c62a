--- What the locks and queues in a manager's server are made of: a state that is
--- changed under a lock, and callers that wait for it.
---
--- A caller is {client, conn, ident, undo}: the client process, the connection
--- that its call came by, and the thread there. Nobody else uses that connection
--- until the call is answered, so when there is something to be read from it the
--- caller has ended or given up, and the wait ends; or it asks for the end of the
--- wait, and stays. A caller that waits has changed nothing yet; what it has taken
--- when it goes on, its 'undo' gives back, should the answer not be received.
---
--- Callers that wait for the same are served in the order of their coming. Each
--- has an event; whoever changes the state sets those of all who may go on, and
--- they look themselves, so none that ends meanwhile takes a wake-up with it.
local core = require("tidelock._multiprocessing")
local errors = require("tidelock.errors")
local threading = require("tidelock.threading")
local time = require("tidelock.time")

local Monitor = {}
Monitor.__index = Monitor

--- What a call raises whose caller is there no more.
Monitor.GONE = errors.class("CallerGone")

--- A class over this one.
function Monitor.class()
  local class = setmetatable({}, { __index = Monitor })
  class.__index = class
  return class
end

--- Gives the object what a monitor has.
function Monitor.init(self)
  self._mutex = threading.Lock()
  self._queues = {} -- by what is waited for: places, the first one is next
  return self
end

--- To be held, in a variable that is closed, while the state is looked at or
--- changed; nothing waits meanwhile.
function Monitor:enter() return self._mutex:guard() end

--- Those who wait for it look again. The mutex is held, or it is not needed.
function Monitor:tell(what)
  for _, place in ipairs(self._queues[what] or {}) do place.event:set() end
end

--- How many wait for it.
function Monitor:waiting(what) return self._queues[what] and #self._queues[what] or 0 end

-- A place in a queue, which is to be closed before it stands there.
local Place = {}
Place.__index = Place

local function new_place(self, what)
  return setmetatable({ event = threading.Event(), monitor = self, what = what }, Place)
end

--- Goes to the end of the queue.
function Place:stand()
  local held <close> = self.monitor:enter()
  local queues, what = self.monitor._queues, self.what
  queues[what] = queues[what] or {}
  table.insert(queues[what], self)
end

--- Leaves the queue, whatever hits the thread meanwhile; the others may have come
--- nearer to what they wait for.
Place.__close = core.shielded(function(self)
  local held <close> = self.monitor:enter()
  local queue = self.monitor._queues[self.what] or {}
  for i, place in ipairs(queue) do
    if place == self then
      table.remove(queue, i)
      break
    end
  end
  if #queue == 0 then self.monitor._queues[self.what] = nil end
  self.monitor:tell(self.what)
end)

--- What a caller sends that is to wait no longer; managers.c knows it.
Monitor.STOP = "stop"

--- There is something to be read from the caller: raises unless that is STOP.
local function hear(caller)
  local ok, word = pcall(caller.conn.recv_bytes, caller.conn)
  if not ok or word ~= Monitor.STOP then
    error(errors.new(Monitor.GONE, "the caller is gone"), 0)
  end
end

--- Waits for 'what' until go(): it is called with the mutex held, when it is the
--- caller's turn, and takes what it can. False if the time passed first; false and
--- true if the caller has asked for the end of the wait.
---@param deadline number? of time.monotonic; nil: never; 0: does not wait
function Monitor:wait(caller, what, deadline, go)
  do
    local held <close> = self:enter()
    if self:waiting(what) == 0 and go() then return true end
  end
  if deadline and deadline <= time.monotonic() then return false end
  local place <close> = new_place(self, what)
  place:stand()
  local objects = { place.event, caller.conn }
  while true do
    do
      local held <close> = self:enter()
      place.event:clear()
      if self._queues[what][1] == place and go() then return true end
    end
    local left = deadline and math.max(deadline - time.monotonic(), 0)
    for _, ready in ipairs(threading.wait_any(objects, left)) do
      if ready == caller.conn then
        hear(caller)
        return false, true
      end
    end
    if left == 0 and not place.event:is_set() then return false end
  end
end

-- --- Arguments ----------------------------------------------------------------

function Monitor.bad(number, name, message)
  error(("bad argument #%d to '%s' (%s)"):format(number, name, message), 0)
end

--- The arguments, or the fields of the one table of options, by these names.
function Monitor.options(name, names, given, ...)
  if type(given) ~= "table" then return given, ... end
  local values, known = {}, {}
  for i, field in ipairs(names) do values[i], known[field] = given[field], true end
  for key in pairs(given) do
    if not known[key] then Monitor.bad(1, name, ("unknown option '%s'"):format(tostring(key))) end
  end
  return table.unpack(values, 1, #names)
end

--- When the timeout, argument 'number' of 'name', is over.
function Monitor.deadline(timeout, number, name)
  if timeout == nil or timeout == math.huge then return nil end
  if type(timeout) ~= "number" then
    Monitor.bad(number, name, "number expected, got " .. type(timeout))
  end
  if timeout < 0 or timeout ~= timeout then
    Monitor.bad(number, name, "timeout must be a number of seconds >= 0")
  end
  return timeout == 0 and 0 or time.monotonic() + timeout
end

--- The same of the arguments (blocking = true, timeout) at 'number'.
function Monitor.blocking(blocking, timeout, number, name)
  if blocking ~= nil and type(blocking) ~= "boolean" then
    Monitor.bad(number, name, "boolean expected, got " .. type(blocking))
  end
  if blocking == false then
    if timeout ~= nil then
      Monitor.bad(number + 1, name, "cannot specify a timeout for a non-blocking call")
    end
    return 0
  end
  return Monitor.deadline(timeout, number + 1, name)
end

--- An integer, 'usual' if absent, of at least 'least'.
function Monitor.count(n, number, name, usual, least)
  if n == nil then n = usual end
  local integer = math.type(n) and math.tointeger(n)
  if not integer then Monitor.bad(number, name, "integer expected, got " .. type(n)) end
  if integer < least then Monitor.bad(number, name, "must be at least " .. least) end
  return integer
end

return Monitor

--- Lock, RLock, Semaphore, Condition, Event and Barrier in a manager's server.
--- They are CPython's threading classes to clients; see monitor.lua.
---
--- As between processes without a manager, the death of a client that holds a
--- lock is told: the next one that acquires it gets OwnerDied, and holds it. A barrier
--- at which it waited breaks. Its permits of semaphores return, also if it ended in
--- order, for the server sees only the end of its connection.
local errors = require("tidelock.errors")
local Monitor = require("tidelock.multiprocessing.managers.monitor")

local locks = {}

-- --- Lock and RLock -----------------------------------------------------------

local Lock = Monitor.class()

--- Whose it is, is {client, ident}; an RLock counts.
function Lock.new(recursive)
  return Monitor.init(setmetatable({ _recursive = recursive, _count = 0 }, Lock))
end

function Lock:_is_mine(caller)
  local owner = self._owner
  return owner and owner.client == caller.client and owner.ident == caller.ident
end

--- Frees it, for the next one; the mutex is held.
function Lock:_free()
  local owner = self._owner
  self._owner, self._count, owner.client.holds[self] = nil, 0, nil
  self:tell("acquire")
end

--- Takes it if it is free, and returns whose it is now; the mutex is held.
function Lock:_take(caller, count)
  if self._owner then return false end
  local owner = { client = caller.client, ident = caller.ident }
  self._owner, self._count, owner.client.holds[self] = owner, count, true
  return owner
end

function Lock:acquire(caller, blocking, timeout)
  if timeout == -1 then timeout = nil end -- as in Python
  local deadline = Monitor.blocking(blocking, timeout, 1, "acquire")
  local owner
  if self._recursive and self:_is_mine(caller) then
    owner = self._owner
    self._count = self._count + 1
  else
    local function take()
      owner = self:_take(caller, 1)
      return owner
    end
    if not self:wait(caller, "acquire", deadline, take) then return false end
  end
  caller.undo = function() self:_undo(owner, 1) end
  if self._died then
    self._died = nil
    error(errors.new(errors.OwnerDied, "the client that held the lock has died"), 0)
  end
  return true
end

--- Takes it for a scope. One to which OwnerDied is told has none that would release
--- it, and so does not hold it.
function Lock:guard(caller)
  local ok, problem = pcall(self.acquire, self, caller)
  if ok then return end
  if caller.undo then caller.undo() end
  caller.undo = nil
  error(problem, 0)
end

--- Takes back what this owner was given n times; it may have died, and another one
--- have it.
function Lock:_undo(owner, n)
  local held <close> = self:enter()
  if self._owner ~= owner then return end
  if self._count > n then self._count = self._count - n else self:_free() end
end

function Lock:release(caller)
  local held <close> = self:enter()
  if not self._owner then error("cannot release an unlocked lock", 0) end
  if self._recursive and not self:_is_mine(caller) then
    error("cannot release a lock that another thread holds", 0)
  end
  if self._count > 1 then self._count = self._count - 1 else self:_free() end
end

function Lock:locked() return self._owner ~= nil end

--- The client has died.
function Lock:forget(client)
  local held <close> = self:enter()
  if not self._owner or self._owner.client ~= client then return end
  self._died = true
  self:_free()
end

function Lock:text() return self._owner and "locked" or "unlocked" end

locks.Lock = { methods = { acquire = Lock.acquire, guard = Lock.guard, release = Lock.release,
  locked = Lock.locked } }
locks.RLock = { methods = locks.Lock.methods }
function locks.Lock.create() return Lock.new(false) end
function locks.RLock.create() return Lock.new(true) end

-- --- Semaphore ----------------------------------------------------------------

local Semaphore = Monitor.class()

local function new_semaphore(name, value, bounded)
  local n = Monitor.count(value, 1, name, 1, 0)
  return Monitor.init(setmetatable({ _value = n, _most = bounded and n, _taken = {} }, Semaphore))
end

--- Counts what a client has taken and not given back.
function Semaphore:_note(client, n)
  local taken = math.max((self._taken[client] or 0) + n, 0)
  self._taken[client] = taken > 0 and taken or nil
  client.holds[self] = taken > 0 or nil
end

function Semaphore:acquire(caller, blocking, timeout)
  local deadline = Monitor.blocking(blocking, timeout, 1, "acquire")
  local taken = self:wait(caller, "acquire", deadline, function()
    if self._value == 0 then return false end
    self._value = self._value - 1
    self:_note(caller.client, 1)
    return true
  end)
  if taken then caller.undo = function() self:_undo(caller.client) end end
  return taken
end

--- Gives n back; the mutex is held.
function Semaphore:_put_back(client, n)
  self:_note(client, -n)
  self._value = self._value + n
  self:tell("acquire")
end

--- Takes back one that this client was given; it may have died, and all of them
--- have returned.
function Semaphore:_undo(client)
  local held <close> = self:enter()
  if self._taken[client] then self:_put_back(client, 1) end
end

function Semaphore:release(caller, n)
  n = Monitor.count(n, 1, "release", 1, 1)
  local held <close> = self:enter()
  if self._most and self._value + n > self._most then
    error("semaphore released too many times", 0)
  end
  self:_put_back(caller.client, n)
end

function Semaphore:get_value() return self._value end

function Semaphore:forget(client)
  local held <close> = self:enter()
  local n = self._taken[client]
  if not n then return end
  if self._most then n = math.min(n, self._most - self._value) end
  self:_put_back(client, n)
  self._taken[client] = nil
end

function Semaphore:text() return "value=" .. self._value end

--- Takes one for a scope.
function Semaphore:guard(caller) self:acquire(caller) end

local methods = { acquire = Semaphore.acquire, guard = Semaphore.guard,
  release = Semaphore.release, get_value = Semaphore.get_value }
locks.Semaphore, locks.BoundedSemaphore = { methods = methods }, { methods = methods }
function locks.Semaphore.create(_, n) return new_semaphore("Semaphore", n, false) end
function locks.BoundedSemaphore.create(_, n) return new_semaphore("BoundedSemaphore", n, true) end

-- --- Condition ----------------------------------------------------------------

local Condition = Monitor.class()

local function check_held(self, caller)
  local lock = self._lock
  if not lock._owner or lock._recursive and not lock:_is_mine(caller) then
    error("the condition's lock is not held", 0)
  end
end

local function give_wholly(lock)
  local held <close> = lock:enter()
  local count = lock._count
  lock:_free()
  return count
end

function Condition:wait_once(caller, timeout)
  local deadline = Monitor.deadline(timeout, 1, "wait")
  check_held(self, caller)
  local lock, ticket = self._lock, {}
  do
    local held <close> = self:enter()
    self._tickets[#self._tickets + 1] = ticket
  end
  local count = give_wholly(lock)
  -- Each waits for itself: which of them goes on, notify has decided.
  local ok, problem = pcall(self.wait, self, caller, ticket, deadline,
    function() return ticket.notified end)
  local notified = self:_forget_ticket(ticket, ok)
  -- Whoever ended cannot have the lock again, and is not to wait for it. One that
  -- asks for the end of the wait has it before it is told anything.
  if not ok then error(problem, 0) end
  local owner
  local function take()
    owner = lock:_take(caller, count)
    return owner
  end
  repeat until lock:wait(caller, "acquire", nil, take)
  caller.undo = function() lock:_undo(owner, count) end
  if lock._died then
    lock._died = nil
    error(errors.new(errors.OwnerDied, "a client that held the lock has died"), 0)
  end
  return notified
end

local function notify(self, n)
  for _ = 1, math.min(n, #self._tickets) do
    local ticket = self._tickets[1]
    ticket.notified = true table.remove(self._tickets, 1)
    self:tell(ticket)
  end
end

--- Takes the ticket away, and says whether it was notified; a notification that
--- nobody is to see goes to the next.
function Condition:_forget_ticket(ticket, seen)
  local held <close> = self:enter()
  if ticket.notified then
    if not seen then notify(self, 1) end
    return true
  end
  for i, other in ipairs(self._tickets) do
    if other == ticket then table.remove(self._tickets, i) break end
  end
  return false
end

function Condition:notify(caller, n)
  n = Monitor.count(n, 1, "notify", 1, 0)
  check_held(self, caller)
  local held <close> = self:enter()
  notify(self, n)
end

function Condition:notify_all(caller)
  check_held(self, caller)
  local held <close> = self:enter()
  notify(self, math.maxinteger)
end

function Condition:text() return self._lock:text() end

locks.Condition = { methods = {
  acquire = function(self, ...) return self._lock:acquire(...) end,
  guard = function(self, ...) return self._lock:guard(...) end,
  release = function(self, ...) return self._lock:release(...) end,
  locked = function(self) return self._lock:locked() end,
  wait = Condition.wait_once,
  notify = Condition.notify,
  notify_all = Condition.notify_all,
} }

--- 'lock' is a proxy of a Lock or RLock.
function locks.Condition.create(caller, lock)
  local given = lock
  lock = given and caller.server:referent(given)
  if given ~= nil and getmetatable(lock) ~= Lock then
    Monitor.bad(1, "Condition", "a proxy of a Lock or RLock expected")
  end
  return Monitor.init(setmetatable({ _lock = lock or Lock.new(true), _tickets = {} }, Condition))
end

-- --- Event --------------------------------------------------------------------

local Event = Monitor.class()

function Event:set()
  local held <close> = self:enter()
  self._set, self._times = true, self._times + 1
  self:tell("set")
end

function Event:clear()
  local held <close> = self:enter()
  self._set = false
end

--- Whoever waited when it was set goes on, also if it has been cleared since; and
--- who comes when it is set does so before those who are still leaving.
function Event:wait_set(caller, timeout)
  local deadline, times = Monitor.deadline(timeout, 1, "wait"), self._times
  if self._set then return true end
  return self:wait(caller, "set", deadline, function()
    return self._set or self._times > times
  end)
end

function Event:text() return self._set and "set" or "unset" end

locks.Event = { methods = { set = Event.set, clear = Event.clear, wait = Event.wait_set,
  is_set = function(self) return self._set end } }
function locks.Event.create()
  return Monitor.init(setmetatable({ _set = false, _times = 0 }, Event))
end

return locks

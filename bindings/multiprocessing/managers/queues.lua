--- Queue and JoinableQueue in a manager's server; see monitor.lua. To clients
--- they are queue.Queue.
local errors = require("tidelock.errors")
local Monitor = require("tidelock.multiprocessing.managers.monitor")

local Empty, Full, ShutDown = errors.Empty, errors.Full, errors.ShutDown

local Queue = Monitor.class()

function Queue:qsize() return self._last - self._first + 1 end

function Queue:_is_full() return self._maxsize > 0 and self:qsize() >= self._maxsize end

function Queue:put(caller, item, block, timeout)
  local deadline = Monitor.blocking(block, timeout, 2, "put")
  local stored = false
  local put = self:wait(caller, "put", deadline, function()
    if self._shut then return true end
    if self:_is_full() then return false end
    local last = self._last + 1
    self._items[last], self._last, self._unfinished = item, last, self._unfinished + 1
    stored = true
    self:tell("get")
    return true
  end)
  if stored then return true end
  return nil, (put or self._shut) and ShutDown or Full
end

--- Takes up to 'most' items; those that are not received come back in order.
function Queue:_take(caller, most, deadline)
  local items
  local taken = self:wait(caller, "get", deadline, function()
    local n = math.min(self:qsize(), most)
    if n == 0 then return self._shut end
    local first = self._first
    items = table.move(self._items, first, first + n - 1, 1, { n = n })
    for i = first, first + n - 1 do
      self._items[i], self._first = nil, i + 1
    end
    self:tell("put")
    return true
  end)
  if not items then return nil, taken and ShutDown or Empty end
  caller.undo = function() self:_return(items) end
  return items
end

function Queue:_return(items)
  local held <close> = self:enter()
  self._first = self._first - items.n
  table.move(items, 1, items.n, self._first, self._items)
  self:tell("get")
end

function Queue:get(caller, block, timeout)
  local items, problem = self:_take(caller, 1, Monitor.blocking(block, timeout, 1, "get"))
  if not items then return nil, problem end
  return items[1]
end

function Queue:get_many(caller, most, timeout)
  most = Monitor.count(most, 1, "get_many", nil, 1)
  local items, problem = self:_take(caller, most, Monitor.deadline(timeout, 2, "get_many"))
  if not items then return nil, problem end
  return table.move(items, 1, items.n, 1, {})
end

function Queue:task_done()
  local held <close> = self:enter()
  if self._unfinished == 0 then error("task_done() called too many times", 0) end
  self._unfinished = self._unfinished - 1
  if self._unfinished == 0 then self:tell("join") end
end

function Queue:join(caller)
  self:wait(caller, "join", nil, function() return self._unfinished == 0 end)
end

function Queue:shutdown(_, immediate)
  if immediate ~= nil and type(immediate) ~= "boolean" then
    Monitor.bad(1, "shutdown", "boolean expected, got " .. type(immediate))
  end
  local held <close> = self:enter()
  self._shut = true
  if immediate then
    self._unfinished = math.max(self._unfinished - self:qsize(), 0)
    self._items, self._first, self._last = {}, 1, 0
  end
  for _, what in ipairs({ "put", "get", "join" }) do self:tell(what) end
end

function Queue:text() return ("qsize=%d maxsize=%d"):format(self:qsize(), self._maxsize) end

local queue = { methods = {
  put = Queue.put,
  put_nowait = function(self, caller, item) return self:put(caller, item, false) end,
  get = Queue.get,
  get_nowait = function(self, caller) return self:get(caller, false) end,
  get_many = Queue.get_many,
  qsize = Queue.qsize,
  empty = function(self) return self:qsize() == 0 end,
  full = Queue._is_full,
  task_done = Queue.task_done,
  join = Queue.join,
  shutdown = Queue.shutdown,
} }

function queue.create(_, ...)
  local maxsize = Monitor.options("Queue", { "maxsize" }, ...)
  maxsize = Monitor.count(maxsize, 1, "Queue", 0, math.mininteger)
  return Monitor.init(setmetatable({ _maxsize = maxsize, _items = {}, _first = 1, _last = 0,
    _unfinished = 0 }, Queue))
end

return queue

--- The iterators of a pool: over results in the order of their tasks, or of their
--- coming. What a job is, jobs.lua tells.
---
--- A thread that is interrupted in the middle of one leaves it so that the next one
--- goes on: each change has one last step, and what precedes it may be done again.
local core = require("tidelock._multiprocessing")
local errors = require("tidelock.errors")
local family = require("tidelock.multiprocessing.family")
local jobs = require("tidelock.multiprocessing.pool.jobs")
local threading = require("tidelock.threading")

local iterators = {}

local INDEX_MASK = jobs.INDEX_MASK

local Iterator = { __name = "multiprocessing.IMapIterator" }
Iterator.__index = Iterator

--- The job of an iterator, which has no reference to it: who drops the iterator
--- ends its input.
local Stream = {}
Stream.__index = Stream

--- Whether the next chunk is there.
function Stream:_is_ready()
  if self._order then return self._arrived > self._received end
  return not not self._parts[self._received + 1 & INDEX_MASK]
end

function Stream:_missing() return self._received + 1, self._sent end

local ENDLESS = 1 << 53 -- parts are left as long as there may be input

--- Over the results of chunks: source(index, size) gives the items of one, each time
--- it is asked for it; nil at the end of the input, and the problem that ends it. At
--- most 'ahead' items have been taken and not handed out, in chunks of 'size', which
--- is no more than that. 'send(job, index, chunk)' submits one;
--- 'ended(iterator)' is called when there is no more input.
function iterators.new(engine, source, size, ahead, ordered, send, ended)
  local job = setmetatable({
    _left = ENDLESS,
    _arrived = 0,  -- chunks
    _sent = 0,     -- chunks: the last index
    _received = 0, -- chunks that have been opened
    _parts = {},
    _order = not ordered and {} or nil,
  }, Stream)
  jobs.register(engine, job)
  return setmetatable({
    _engine = engine,
    _job = job,
    _lock = threading.RLock(), -- the input may be an iterator of this pool
    _source = source,
    _size = size,
    _ahead = ahead,
    _send_chunk = send,
    _on_end = ended,
    _items = { n = 0 }, -- of the chunk that is being handed out
    _number = 0,        -- of that chunk: not valid unless it is '_received'
    _place = 0,         -- in it
    _input = {},        -- field 'problem' is what has ended it
  }, Iterator)
end

function Iterator:__tostring()
  return ("<IMapIterator %d of %d chunks>"):format(self._job._received, self._job._sent)
end

--- There is no more input: an interrupted thread's end of it is ended again.
function Iterator:_end()
  local job = self._job
  job._left = job._sent - job._arrived
  if job._left == 0 then self._engine.jobs[job._number] = nil end
  self._on_end(self)
  self._ended = true
end

--- Dropped: what has been sent is done, for nobody. In a forked child the pool
--- is its parent's.
function Iterator:__gc()
  if self._engine.creator ~= family.current_process() then return end
  self._engine.jobs[self._job._number] = nil
  if not self._ended then self._on_end(self) end
end

--- The items of the chunk that is being handed out, or nil.
local function current(self)
  return self._number == self._job._received and self._items or nil
end

--- How many of them are left.
local function rest(self)
  local items = current(self)
  return items and items.n - self._place or 0
end

--- How many items have been sent and not handed out, while there is input: then all
--- chunks are whole. Those that failed are skipped.
local function count_ahead(self)
  return (self._job._sent - self._job._received) * self._size + rest(self)
end

--- Sends whole chunks, while no more than 'limit' items are ahead.
function Iterator:_send(limit)
  local job = self._job
  while not self._ended and count_ahead(self) + self._size <= limit do
    local index = job._sent + 1
    local chunk, problem = self._source(index, self._size)
    if chunk then
      self._send_chunk(job, index, chunk)
    else
      self._input.problem = problem
      self:_end()
    end
  end
end

--- Sends all the rest, for a pool that is going to end.
function Iterator:_drain()
  local held <close> = self._lock:guard()
  self:_send(math.huge)
end

--- Makes the next chunk the one that is handed out: if it failed one of no items,
--- which has the problem. The last step is what makes it so.
local function open_chunk(self)
  local job = self._job
  local number = job._received + 1
  local index = job._order and job._order[number] or number & INDEX_MASK
  local ok, value = jobs.open(job._parts[index])
  self._number = number
  self._items = ok and value or { n = 0, problem = value }
  self._place = 0
  job._received = number
  job._parts[index] = nil
  if job._order then job._order[number] = nil end
end

--- Waits for the next chunk. False at the end; raises TimeoutError.
local function next_chunk(self, timeout)
  local job = self._job
  self:_send(self._ahead)
  if job._received == job._sent then return false end
  if not job:_is_ready() and not self._engine:wait(job, timeout) then
    error(errors.new(errors.TimeoutError, "the next result is not there yet"), 0)
  end
  open_chunk(self)
  return true
end

--- Raises the problem of a chunk, or of the input: once.
local raise = core.shielded(function(of)
  local problem = of.problem
  of.problem = nil
  error(jobs.to_raise(problem), 0)
end)

--- The next result, of whatever chunk; nil at the end. A result nil is false.
function Iterator:next(timeout)
  jobs.check_timeout(timeout, "next")
  local held <close> = self._lock:guard()
  while rest(self) == 0 do
    local items = current(self)
    if items and items.problem then raise(items) end
    if not next_chunk(self, timeout) then
      if self._input.problem then raise(self._input) end
      return nil
    end
  end
  local value = self._items[self._place + 1]
  if value == nil then value = false end
  self:_send(self._ahead + 1) -- this one is handed out now
  self._place = self._place + 1 return value -- between them is no jump or call
end

function Iterator:__call() return self:next() end

return iterators

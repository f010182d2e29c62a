--- The iterators of a pool: over results in the order of their tasks, or of their
--- coming. What a job is, jobs.lua tells; that no line is torn apart holds here,
--- too.
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

--- Over the results of chunks: source(size) gives the next items, nil at the
--- end of the input, and the problem that ends it. At most 'ahead' items have
--- been taken and not handed out, in chunks of 'size', which is no more than that.
--- 'send(job, index, chunk)' submits one;
--- 'ended(iterator)' is called when there is no more input.
function iterators.new(engine, source, size, ahead, ordered, send, ended)
  local job = setmetatable({
    _left = ENDLESS,
    _arrived = 0,  -- chunks
    _sent = 0,     -- chunks: the last index
    _received = 0, -- chunks that have been opened
    _parts = {},
    _order = not ordered and {} or nil,
    _sizes = {},   -- of the chunks that have been sent and not opened
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
    _ahead_by = 0, -- items that have been sent and not handed out
    _taken = nil,  -- from the input, and not known to be sent: { index, chunk, problem }
    _items = nil,  -- of the chunk that is being handed out
    _place = 0,    -- in it
  }, Iterator)
end

function Iterator:__tostring()
  return ("<IMapIterator %d of %d chunks>"):format(self._job._received, self._job._sent)
end

--- There is no more input: an interrupted thread's end of it is ended again.
function Iterator:_end()
  local job = self._job
  self._ended, job._left = true, job._sent - job._arrived
  if job._left == 0 then self._engine.jobs[job._number] = nil end
  self._on_end(self)
end

--- Dropped: what has been sent is done, for nobody. In a forked child the pool
--- is its parent's.
function Iterator:__gc()
  if self._engine.creator ~= family.current_process() then return end
  self._engine.jobs[self._job._number] = nil
  if not self._ended then self._on_end(self) end
end

--- Sends what was taken, all of which a thread that was interrupted may have
--- done: then '_sent' says so of the chunk, and the rest may be done twice.
local function send_taken(self)
  local job, index, chunk, problem = self._job, table.unpack(self._taken, 1, 3)
  local size = chunk and chunk.n or 0
  if chunk and job._sent < index then
    job._sizes[index & INDEX_MASK] = size
    self._send_chunk(job, index, chunk)
  end
  if not chunk or problem then self:_end() end
  self._taken, self._problem, self._ahead_by = nil, problem, self._ahead_by + size
end

--- Sends whole chunks, while no more than 'limit' items are ahead.
function Iterator:_send(limit)
  if self._taken then send_taken(self) end
  while not self._ended and self._ahead_by + self._size <= limit do
    self._taken = { self._job._sent + 1, self._source(self._size) }
    send_taken(self)
  end
end

--- Sends all the rest, for a pool that is going to end.
function Iterator:_drain()
  local held <close> = self._lock:guard()
  self:_send(math.huge)
end

--- Makes the next chunk the one that is handed out: if it failed one of no items,
--- which has the problem.
local function open_chunk(self)
  local job = self._job
  local place = job._received + 1
  local index = job._order and job._order[place] or place & INDEX_MASK
  local ok, value = jobs.open(job._parts[index])
  local by = self._ahead_by - (ok and 0 or job._sizes[index]) -- those that failed are skipped
  local items = ok and value or { n = 0, problem = value }
  job._received, self._ahead_by, self._items, self._place = place, by, items, 0
  job._parts[index], job._sizes[index] = nil, nil
  if job._order then job._order[place] = nil end
end

--- Waits for the next chunk. False at the end; raises TimeoutError.
local function next_chunk(self, timeout)
  local job = self._job
  self:_send(self._ahead)
  if job._received == job._sent then
    if not self._problem then return false end
    self._items, self._problem = { n = 0, problem = self._problem }, nil
    return true
  end
  if not job:_is_ready() and not self._engine:wait(job, timeout) then
    error(errors.new(errors.TimeoutError, "the next result is not there yet"), 0)
  end
  open_chunk(self)
  return true
end

--- No chunk is handed out; raises its problem if it has one.
local function leave_chunk(self)
  local problem = self._items and self._items.problem
  local value = problem and jobs.to_raise(problem)
  self._items = nil if problem then error(value, 0) end -- both or none
end

--- The next result, of whatever chunk; nil at the end. A result nil is false.
function Iterator:next(timeout)
  jobs.check_timeout(timeout, "next")
  local held <close> = self._lock:guard()
  while not self._items or self._place >= self._items.n do
    leave_chunk(self)
    if not next_chunk(self, timeout) then return nil end
  end
  local value = self._items[self._place + 1]
  if value == nil then value = false end
  self:_send(self._ahead + 1) -- this one is handed out now
  self._place, self._ahead_by = self._place + 1, self._ahead_by - 1 return value -- both or none
end

function Iterator:__call() return self:next() end

return iterators

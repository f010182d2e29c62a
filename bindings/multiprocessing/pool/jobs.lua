--- What the calls of a pool give: results that arrive in parts; iterators.lua has
--- those that are gone through meanwhile.
---
--- A job is in engine.jobs, by its number, while parts of it are to come; they
--- are added by result_add of results.c, in one step. It has '_parts', by their
--- index modulo 2^24 (false: memory lacked when it came); '_left', how many are
--- missing; '_arrived', how many are there; '_order', an array of the indexes
--- in the order of their coming, if that matters; '_calls' if it has callbacks.
--- A part is a string or userdata of pickled results, or a table { kind, what
--- it is }.
---
--- A thread may be cancelled or killed, and another one run, between any two
--- instructions where these are counted (debug.sethook); else at the beginning of a
--- line, and at a jump or a call. So what must not be cut in two is done in C
--- (results.h, steps.h), or is changed by its last step alone.
local core = require("tidelock._multiprocessing")
local errors = require("tidelock.errors")
local pool = require("tidelock._pool")
local threading = require("tidelock.threading")
local time = require("tidelock.time")

local jobs = {}

--- Parts that are no pickled results, beside those of worker.KINDS: results as
--- they are, and a problem, a table { value, traceback } of what was raised.
jobs.VALUE, jobs.PROBLEM = 0, -1

jobs.INDEX_MASK = (1 << 24) - 1
local INDEX_MASK = jobs.INDEX_MASK

--- When a timeout that begins now is over.
function jobs.deadline(timeout) return timeout and time.monotonic() + timeout end

--- What is left of it.
function jobs.left(deadline) return deadline and math.max(deadline - time.monotonic(), 0) end

--- The id of a part: what pool.c knows it by.
function jobs.id(job, index) return job._number << 24 | index & INDEX_MASK end

function jobs.check_timeout(timeout, name)
  if timeout ~= nil and not (type(timeout) == "number" and timeout >= 0) then
    error(("bad argument #1 to '%s' (timeout must be a number of seconds >= 0)"):format(name), 3)
  end
end

--- What a part raised, as it is to be raised: a string stays the string it was.
function jobs.to_raise(problem)
  local value, traceback = problem.value, problem.traceback
  if errors.is(value, errors.Error) and rawget(value, "traceback") == nil then
    value.traceback = traceback
  end
  return value
end

--- Adds a job to those of the engine.
function jobs.register(engine, job)
  job._number = core.count(engine, "count")
  engine.jobs[job._number] = job
end

local function begin(engine, job)
  if job._calls then engine.callbacks:expect() end
  jobs.register(engine, job)
  if job._count == 0 then engine:finish_empty(job) end
end
local begin_whole = core.shielded(begin)

--- The same for a result, whose callbacks are expected then.
function jobs.begin(engine, job)
  if job._calls then begin_whole(engine, job) else begin(engine, job) end
end

--- The value of a part, or false and its problem. What interrupts the thread
--- is raised: the part can be opened again.
local function open(part)
  if type(part) == "table" then
    if part[1] == jobs.VALUE then return true, part[2] end
    if part[1] == jobs.PROBLEM then return false, part[2] end
    local worker = require("tidelock.multiprocessing.pool.worker")
    if part[1] == worker.KINDS.LOST then return false, { value = worker.lost(part[2]) } end
    local ok, problem = errors.pcall(pool.decode, part[2])
    return false, ok and problem or { value = problem }
  end
  local ok, value = errors.pcall(pool.decode, part)
  if ok then return true, value end
  return false, { value = value }
end
jobs.open = open

-- --- A result ----------------------------------------------------------------

local AsyncResult = { __name = "multiprocessing.AsyncResult" }
AsyncResult.__index = AsyncResult

--- A result, to be begun, of so many parts, which are chunks of a list of so many items or,
--- without that, the packed results of one call.
function jobs.result(engine, count, items, options)
  return setmetatable({
    _engine = engine,
    _count = count,
    _left = count,
    _sent = 0, -- the last index
    _arrived = 0,
    _parts = {},
    _items = items,
    _calls = options.callback or options.error_callback,
    _callback = options.callback,
    _error_callback = options.error_callback,
  }, AsyncResult)
end

function AsyncResult:__tostring()
  if self._left > 0 then return "<AsyncResult pending>" end
  return self:successful() and "<AsyncResult finished>" or "<AsyncResult failed>"
end

function AsyncResult:_is_ready() return self._left == 0 end

--- The indexes of parts that may be missing, from the first to the last.
function AsyncResult:_missing() return 1, self._count end

function AsyncResult:ready()
  local engine = self._engine -- nil later, when nothing is left
  if self._left > 0 then engine:look() end
  return self._left == 0
end

function AsyncResult:wait(timeout)
  jobs.check_timeout(timeout, "wait")
  local engine = self._engine
  return self._left == 0 or engine:wait(self, timeout)
end

--- All chunks as one list, or the problem of the first that has one. The parts stay
--- what they are: who is interrupted may ask again.
local function join(self)
  for i = 1, self._count do
    local part = self._parts[i]
    if type(part) == "table" and part[1] ~= jobs.VALUE then
      local _, problem = open(part)
      return { problem = problem }
    end
  end
  local ok, value = errors.pcall(pool.join, self._parts, self._count, self._items)
  if not ok then return { problem = { value = value } } end
  return { values = { value, n = 1 } }
end

local function decode(self)
  if self._items then return join(self) end
  local ok, value = open(self._parts[1])
  if not ok then return { problem = value } end
  return { values = value }
end

--- Decodes once, whoever asks.
local function outcome(self)
  self._lock = self._lock or threading.RLock()
  local held <close> = self._lock:guard()
  if not self._outcome then
    self._outcome = decode(self)
    -- Nothing more is asked of the pool.
    self._parts, self._code, self._kept, self._engine = nil, nil, nil, nil
  end
  return self._outcome
end

function AsyncResult:get(timeout)
  jobs.check_timeout(timeout, "get")
  local engine = self._engine
  if self._left > 0 and not engine:wait(self, timeout) then
    error(errors.new(errors.TimeoutError, "the result is not there yet"), 0)
  end
  local result = self._outcome or outcome(self)
  if result.problem then error(jobs.to_raise(result.problem), 0) end
  return table.unpack(result.values, 1, result.values.n)
end

function AsyncResult:successful()
  if not self._outcome and not self:ready() then error("the result is not there yet", 2) end
  return (self._outcome or outcome(self)).problem == nil
end

--- Where the error was raised, in the process and thread that raised it.
function AsyncResult:traceback()
  if not self._outcome and not self:ready() then return nil end
  local problem = (self._outcome or outcome(self)).problem
  return problem and problem.traceback
end

--- For the thread that runs callbacks.
function AsyncResult:_call_back()
  local result = self._outcome or outcome(self)
  if result.problem then
    if self._error_callback then self._error_callback(result.problem.value) end
  elseif self._callback then
    self._callback(table.unpack(result.values, 1, result.values.n))
  end
end

return jobs

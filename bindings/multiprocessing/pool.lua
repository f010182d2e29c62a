--- Pool and ThreadPool: the calls of a pool, over an engine that has workers;
--- documented in types/multiprocessing.pool.lua.
local check = require("tidelock.multiprocessing.pool.arguments")
local core = require("tidelock._multiprocessing")
local family = require("tidelock.multiprocessing.family")
local iterators = require("tidelock.multiprocessing.pool.iterators")
local jobs = require("tidelock.multiprocessing.pool.jobs")
local sources = require("tidelock.multiprocessing.pool.sources")

local pools = {}

-- --- The class ---------------------------------------------------------------

local Pool = {}
Pool.__index = Pool
Pool.__name = "multiprocessing.Pool"

function Pool:__tostring()
  return ("<%s %s pool_size=%d>"):format(self._kind, self._state, self._engine.size)
end

-- What is submitting a job: if that fails, or its thread is interrupted, wherever it
-- is, what is left of the job fails.
local Submission = {}

Submission.__close = core.shielded(function(self, problem)
  if problem ~= nil and self.job._number then
    self.engine:fail_job(self.job, { value = problem })
  end
end)

--- Begins a job; f submits its parts.
local function submit_all(engine, job, f)
  local _ <close> = setmetatable({ engine = engine, job = job }, Submission)
  jobs.begin(engine, job)
  f()
  return job
end

--- For what a method calls: raises at the method's caller.
local function check_open(self)
  self._engine:check_owner(5)
  if self._state ~= "running" then error("the pool is " .. self._state, 4) end
end

local function apply_async(self, name, fn, args, options)
  check.callable(fn, name)
  args = check.arguments(args, name)
  options = check.callbacks(options, 3, name)
  check_open(self)
  local engine = self._engine
  local job = jobs.result(engine, 1, nil, options)
  return submit_all(engine, job, function() engine:submit(job, 1, "apply", fn, args, 1, args.n) end)
end

--- Calls f with the arguments in a worker.
function Pool:apply_async(fn, args, options)
  return (apply_async(self, "apply_async", fn, args, options))
end

function Pool:apply(fn, args)
  return apply_async(self, "apply", fn, args):get()
end

--- Four chunks for each worker; not more than can be counted.
local function usual_chunksize(self, n, size)
  size = size or math.max(1, (n + self._engine.size * 4 - 1) // (self._engine.size * 4))
  return math.max(size, (n - 1) // jobs.INDEX_MASK + 1)
end

-- Of small tasks in a row each so many wake the workers, once all have some.
local QUIET = 16
local SMALL = 256 -- bytes

local function submit_chunks(self, job, mode, fn, list, size, n)
  local engine, chunks, bytes = self._engine, job._count, 0
  for index = 1, chunks do
    local begin = (index - 1) * size
    local count = math.min(size, n - begin)
    local wake = (index <= engine.size or bytes > SMALL) and 1
      or (index % QUIET == 0 or index == chunks) and QUIET or 0
    bytes = engine:submit(job, index, mode, fn, list, begin + 1, count, wake)
  end
end

local function map_async(self, name, mode, fn, list, chunksize, options)
  check.callable(fn, name)
  check.items(list, name)
  chunksize = check.chunksize(chunksize, name)
  options = check.callbacks(options, 4, name)
  check_open(self)
  local n
  list, n = sources.all(list)
  if mode == "starmap" then check.tables(list, n, name) end
  local size = usual_chunksize(self, n, chunksize)
  local job = jobs.result(self._engine, (n + size - 1) // size, n, options)
  return submit_all(self._engine, job, function()
    submit_chunks(self, job, mode, fn, list, size, n)
  end)
end

function Pool:map_async(fn, list, chunksize, options)
  return (map_async(self, "map_async", "map", fn, list, chunksize, options))
end

function Pool:map(fn, list, chunksize)
  return map_async(self, "map", "map", fn, list, chunksize):get()
end

function Pool:starmap_async(fn, list, chunksize, options)
  return (map_async(self, "starmap_async", "starmap", fn, list, chunksize, options))
end

function Pool:starmap(fn, list, chunksize)
  return map_async(self, "starmap", "starmap", fn, list, chunksize):get()
end

--- How many items may be on their way for each worker, unless told.
local AHEAD = 4

--- The workers end when all is done, that of iterators included.
local function close_engine(self)
  if self._state == "closed" and next(self._feeds) == nil then self._engine:close() end
end

local function imap(self, name, fn, list, options, ordered)
  check.callable(fn, name)
  check.items(list, name)
  options = check.ahead(options, name)
  check_open(self)
  local engine, size = self._engine, options.chunksize or 1
  local ahead = options.buffersize or AHEAD * engine.size * size
  local items = sources.open(list)
  local function source(...)
    if self._state ~= "terminated" then return items(...) end
  end
  local function send(job, index, chunk)
    engine:submit(job, index, "map", fn, chunk, 1, chunk.n)
  end
  local function ended(iterator)
    self._feeds[iterator] = nil
    close_engine(self)
  end
  local iterator = iterators.new(engine, source, math.min(size, ahead), ahead, ordered, send, ended)
  self._feeds[iterator] = true
  iterator:_send(ahead)
  return iterator
end

function Pool:imap(fn, list, options)
  return (imap(self, "imap", fn, list, options, true))
end

function Pool:imap_unordered(fn, list, options)
  return (imap(self, "imap_unordered", fn, list, options, false))
end

--- No more work is taken; the workers end when all is done.
function Pool:close()
  self._engine:check_owner()
  if self._state == "running" then self._state = "closed" end
  close_engine(self)
end

--- Ends the workers at once; what was not finished fails.
function Pool:terminate()
  self._engine:check_owner()
  self._state = "terminated"
  self._engine:terminate()
end

--- Waits for the end of the workers.
function Pool:join()
  if self._state == "running" then error("the pool is still running: close or terminate it", 2) end
  self._engine:check_owner()
  for _, iterator in ipairs(core.keys(self._feeds)) do iterator:_drain() end
  self._engine:join()
end

--- Leaving the scope terminates; in a forked child the pool is its parent's.
function Pool:__close()
  if self._engine.creator ~= family.current_process() then return end
  self:terminate()
  self._engine:join()
end

function Pool:__gc()
  if self._engine.creator == family.current_process() then self._engine:abandon() end
end

-- What is making a pool: if that fails, or its thread is interrupted, wherever
-- it is, nothing is left of the pool.
local Making = {}

Making.__close = core.shielded(function(self, problem)
  if problem ~= nil then self.engine:undo() end
end)

local function create(kind, module, options)
  local Engine = require("tidelock.multiprocessing.pool." .. module)
  options.processes = options.processes or core.cpu_count()
  options.initargs = options.initargs or { n = 0 }
  local pool = setmetatable({
    _kind = kind,
    _state = "running",
    _engine = Engine.new(options),
    _feeds = setmetatable({}, { __mode = "k" }), -- iterators whose input has not ended
  }, Pool)
  local _ <close> = setmetatable({ engine = pool._engine }, Making)
  pool._engine:start()
  return pool
end

local THREAD_OPTIONS = { "processes", "initializer", "initargs" }
local PROCESS_OPTIONS = { "processes", "initializer", "initargs", "maxtasksperchild", "context" }

local function make_threads(...)
  return (create("ThreadPool", "threads", check.options("ThreadPool", THREAD_OPTIONS, ...)))
end

local function make_processes(context, ...)
  local options = check.options("Pool", PROCESS_OPTIONS, ...)
  options.context = options.context or context
  return (create("Pool", "processes", options))
end

--- A pool of threads of this process.
function pools.ThreadPool(...) return (make_threads(...)) end

--- A pool of processes that are made by a context.
function pools.Pool(context, ...) return (make_processes(context, ...)) end

return pools

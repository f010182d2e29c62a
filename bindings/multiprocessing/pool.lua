--- Pool and ThreadPool: the calls of a pool, over an engine that has workers;
--- documented in types/multiprocessing.lua.
local arguments = require("tidelock._arguments")
local core = require("tidelock._multiprocessing")
local core_pool = require("tidelock._pool")
local errors = require("tidelock.errors")
local family = require("tidelock.multiprocessing.family")
local iterators = require("tidelock.multiprocessing.pool.iterators")
local jobs = require("tidelock.multiprocessing.pool.jobs")

local pools = {}

local function bad_argument(number, name, message, ...)
  error(("bad argument #%d to '%s' (%s)"):format(number, name, message:format(...)), 3)
end

-- --- Arguments ---------------------------------------------------------------

local function is_count(value) return math.type(value) == "integer" and value >= 1 end

local OPTIONS = {
  processes = { is_count, "integer >= 1" },
  initializer = { arguments.is_callable, "function" },
  initargs = { function(v) return type(v) == "table" end, "table" },
  maxtasksperchild = { is_count, "integer >= 1" },
  context = { function(v) return type(v) == "table" and v.Process ~= nil end, "context" },
}

--- The options of Pool(n) or Pool(options), checked, with what is usual.
local function read_options(name, names, first)
  if type(first) ~= "table" then first = { processes = first } end
  local options = {}
  for key, value in pairs(first) do
    local check = names[key] and OPTIONS[key]
    if not check then
      error(("bad argument #1 to '%s' (unknown option '%s')"):format(name, tostring(key)), 4)
    end
    if not check[1](value) then
      error(("bad argument #1 to '%s' (%s: %s expected, got %s)"):format(name, key, check[2],
        math.type(value) and tostring(value) or type(value)), 4)
    end
    options[key] = value
  end
  options.processes = options.processes or core.cpu_count()
  options.initargs = arguments.copy(options.initargs)
  if not options.initargs then
    error(("bad argument #1 to '%s' (initargs: too many)"):format(name), 4)
  end
  return options
end

local function check_function(fn, name)
  if not arguments.is_callable(fn) then
    error(("bad argument #1 to '%s' (function expected, got %s)"):format(name, type(fn)), 4)
  end
end

local function check_chunksize(size, number, name)
  if size ~= nil and not is_count(size) then
    error(("bad argument #%d to '%s' (chunksize must be an integer >= 1)"):format(number, name), 4)
  end
end

local function check_callbacks(options, number, name)
  if options == nil then return {} end
  if type(options) ~= "table" then
    error(("bad argument #%d to '%s' (table expected, got %s)")
      :format(number, name, type(options)), 4)
  end
  for key, value in pairs(options) do
    if key ~= "callback" and key ~= "error_callback" then
      error(("bad argument #%d to '%s' (unknown option '%s')")
        :format(number, name, tostring(key)), 4)
    end
    if not arguments.is_callable(value) then
      error(("bad argument #%d to '%s' (%s: function expected, got %s)")
        :format(number, name, key, type(value)), 4)
    end
  end
  return options
end

local function check_open(self)
  self._engine:check_owner()
  if self._state ~= "running" then error("the pool is " .. self._state, 3) end
end

--- How many items a list has: what its field 'n' says, or its length.
local function length(list)
  local n = list.n
  if math.type(n) == "integer" and n >= 0 then return n end
  return #list
end

local function check_items(list, name)
  if type(list) == "table" and not arguments.is_callable(list) then return "list" end
  if arguments.is_callable(list) then return "iterator" end
  error(("bad argument #2 to '%s' (list or iterator expected, got %s)")
    :format(name, type(list)), 4)
end

--- A function that gives up to so many items each time: nil at the end.
local function list_source(list)
  local i, n = 0, length(list)
  return function(size)
    size = math.min(size, n - i)
    if size <= 0 then return nil end
    i = i + size return core_pool.slice(list, i - size + 1, size)
  end
end

--- The same of an iterator function; if that fails, what came before and the
--- problem.
local function iterator_source(iterator)
  return function(size)
    local chunk = { n = 0 }
    local ok, problem = errors.pcall(function()
      while chunk.n < size do
        local item = iterator()
        if item == nil then break end
        chunk.n, chunk[chunk.n + 1] = chunk.n + 1, item
      end
    end)
    return chunk.n > 0 and chunk or nil, not ok and { value = problem } or nil
  end
end

--- All items of an iterator.
local function to_list(iterator)
  local list = { n = 0 }
  for item in iterator do list.n, list[list.n + 1] = list.n + 1, item end
  return list
end

-- --- The class ---------------------------------------------------------------

local Pool = {}
Pool.__index = Pool
Pool.__name = "multiprocessing.Pool"

function Pool:__tostring()
  return ("<%s %s pool_size=%d>"):format(self._kind, self._state, self._engine.size)
end

--- Submits the parts of a job, or none of what is left: then all fail.
local function submit_all(engine, job, f)
  local ok, problem = pcall(f)
  if ok then return job end
  for index = 1, job._count do
    core_pool.complete(engine.jobs, engine.ready, jobs.id(job, index),
      { jobs.PROBLEM, { value = problem } })
  end
  error(problem, 0)
end

--- Calls f with the arguments in a worker.
function Pool:apply_async(fn, args, options)
  check_function(fn, "apply_async")
  local copy = (args == nil or type(args) == "table") and arguments.copy(args)
  if not copy then bad_argument(2, "apply_async", "table expected, got %s", type(args)) end
  options = check_callbacks(options, 3, "apply_async")
  check_open(self)
  local engine = self._engine
  local job = jobs.result(engine, 1, nil, options)
  return submit_all(engine, job, function() engine:submit(job, 1, "apply", fn, copy, 1, copy.n) end)
end

function Pool:apply(fn, args)
  return self:apply_async(fn, args):get()
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
  check_function(fn, name)
  local kind = check_items(list, name)
  check_chunksize(chunksize, 3, name)
  options = check_callbacks(options, 4, name)
  check_open(self)
  if kind == "iterator" then list = to_list(list) end
  local n = length(list)
  list = core_pool.raw(list, n)
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

local function check_ahead(options, name)
  if type(options) ~= "table" then options = { chunksize = options } end
  for key in pairs(options) do
    if key ~= "chunksize" and key ~= "buffersize" then
      error(("bad argument #3 to '%s' (unknown option '%s')"):format(name, tostring(key)), 4)
    end
  end
  check_chunksize(options.chunksize, 3, name)
  if options.buffersize ~= nil and not is_count(options.buffersize) then
    error(("bad argument #3 to '%s' (buffersize must be an integer >= 1)"):format(name), 4)
  end
  return options
end

--- The workers end when all is done, that of iterators included.
local function close_engine(self)
  if self._state == "closed" and next(self._feeds) == nil then self._engine:close() end
end

local function imap(self, name, fn, list, options, ordered)
  check_function(fn, name)
  local kind = check_items(list, name)
  options = check_ahead(options, name)
  check_open(self)
  local engine, size = self._engine, options.chunksize or 1
  local ahead = options.buffersize or AHEAD * engine.size * size
  local items = kind == "list" and list_source(list) or iterator_source(list)
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

local THREAD_OPTIONS = { processes = true, initializer = true, initargs = true }
local PROCESS_OPTIONS = { processes = true, initializer = true, initargs = true,
  maxtasksperchild = true, context = true }

local function create(kind, module, options)
  local Engine = require("tidelock.multiprocessing.pool." .. module)
  return setmetatable({
    _kind = kind,
    _state = "running",
    _engine = Engine.new(options),
    _feeds = setmetatable({}, { __mode = "k" }), -- iterators whose input has not ended
  }, Pool)
end

--- A pool of threads of this process.
function pools.ThreadPool(options)
  return create("ThreadPool", "threads", read_options("ThreadPool", THREAD_OPTIONS, options))
end

--- A pool of processes that are made by a context.
function pools.Pool(context, options)
  options = read_options("Pool", PROCESS_OPTIONS, options)
  options.context = options.context or context
  return create("Pool", "processes", options)
end

return pools

--- The engine of a pool of processes.
---
--- Tasks and results lie in two channels of shared memory. Workers take tasks
--- when they are idle; a thread that waits for a result takes all results that
--- have come, for itself and for the others, so nothing stands between a worker
--- and who waits for it. A keeper, a thread that sleeps until a worker ends,
--- starts a new one in its place, and puts a result into the channel that says
--- that the task of the old one is lost.
---
--- A task is run at most once: a worker's place in the channel says what it has
--- taken, and what has been taken is not given to another.
require("tidelock._descriptor") -- the class of what keeps tasks' descriptors (parcel.c)
local core = require("tidelock._multiprocessing")
local errors = require("tidelock.errors")
local family = require("tidelock.multiprocessing.family")
local pool = require("tidelock._pool")
local Callbacks = require("tidelock.multiprocessing.pool.callbacks")
local base = require("tidelock.multiprocessing.pool.engine")
local jobs = require("tidelock.multiprocessing.pool.jobs")
local keeper = require("tidelock.multiprocessing.pool.keeper")
local worker = require("tidelock.multiprocessing.pool.worker")

local KINDS = worker.KINDS
local LARGE = 4096 -- bytes of a function that are not sent with each task

local MODES = {}
for number, name in ipairs(worker.MODES) do MODES[name] = number end

local Engine = setmetatable({}, base)
Engine.__index = Engine

-- --- Results -----------------------------------------------------------------

--- Also the thread that waits for results.
function Engine:tell()
  self.news:tell()
  pcall(self.results.tell, self.results, worker.NOBODY, KINDS.LOOK, "")
end

--- What the results say of the pool itself.
local function look_at_control(engine)
  local broken = engine.control._parts[0]
  if broken and not engine.problem then
    local _, problem = jobs.open(broken)
    engine:fail(problem)
  end
end

--- Takes what comes within the time, for all; false if another thread does, whose
--- turn's end is told, since somebody may have to go on.
local function receive(engine, timeout, many)
  local turn <close> = engine.news:turn()
  if not turn then return false end
  local over = engine.over -- before: then nothing can have come since
  local any = engine.results:collect(engine.jobs, engine.ready, timeout, many)
  if engine.control._left == 0 then look_at_control(engine) end
  if not any and over and next(engine.jobs) then
    engine:fail({ value = worker.lost("the pool has ended") })
  end
  return true
end

--- Waits until the job has what it waits for; false if the time passed first.
function Engine:wait(job, timeout)
  self:check_owner(4)
  local deadline = jobs.deadline(timeout)
  while true do
    local edition = self.news:edition()
    if job:_is_ready() then return true end
    local left = jobs.left(deadline)
    local many = job._left and job._left > self.many
    if not receive(self, left, many) then self.news:wait(edition, left) end
    if left == 0 then break end
  end
  return job:_is_ready()
end

--- Takes what has come, without waiting.
function Engine:look()
  self:check_owner()
  receive(self, 0)
end

-- --- Tasks -------------------------------------------------------------------

--- What tasks carry of a function: { text = bytes }, whose other keys are the
--- descriptors that these bytes refer to.
local function encode(engine, fn)
  local code = {}
  local parcel = pool.encode(fn, engine.held, code)
  if engine.codes[parcel] then return engine.codes[parcel] end
  local serial = core.count(engine, "serial")
  code.text = #parcel > LARGE and pool.store(serial, parcel, engine.held, code)
    or pool.inline(serial, parcel)
  engine.codes[parcel], engine.last = code, code
  return code
end

--- The same, without pickling it again if it has captured nothing but plain
--- values, and these are what they were.
local function code_of(engine, fn)
  local known = engine.plain[fn]
  if known and pool.captures(fn, known.captured) then return known.code end
  local captured = pool.captured(fn)
  local code = encode(engine, fn)
  if captured then engine.plain[fn] = { captured = captured, code = code } end
  return code
end

local function send(engine, job, index, mode, fn, list, first, n, wake)
  if job._refused then error(job._refused, 0) end
  if not job._code then job._code = code_of(engine, fn) end
  local id, code, held = jobs.id(job, index), job._code.text, engine.held
  return engine.tasks:send(id, MODES[mode], code, list, first, n, held, job, wake, index)
end

--- Part 'index' of the job: the function is called with n arguments, or items,
--- of a list (see tasks.call). What cannot travel fails that part. Wakes up to
--- 'wake' workers, by default one; returns how many bytes were put.
function Engine:submit(job, index, mode, fn, list, first, n, wake)
  local ok, size
  if not self.problem then
    ok, size = errors.pcall(send, self, job, index, mode, fn, list, first, n, wake or 1)
  end
  if not ok then
    local part = self.problem or { jobs.PROBLEM, { value = size } }
    if not job._code then job._refused = size end -- the function cannot travel
    pool.complete(self.jobs, self.ready, jobs.id(job, index), part)
    job._sent, size = index, 0 -- after that: a part may be completed twice
    self:tell()
  end
  if self.problem then self:fail() end -- it may have come meanwhile
  return size
end

-- --- The pool ----------------------------------------------------------------

function Engine.new(options)
  local engine = setmetatable({
    size = options.processes,
    many = 4 * options.processes, -- results to come: then there is no hurry
    options = options,
    creator = family.current_process(),
    tasks = pool.Channel(options.processes),
    results = pool.Channel(0),
    count = 0,  -- of jobs
    jobs = {},  -- see jobs.lua
    ready = {}, -- those whose callbacks are to be called
    control = { _left = 1, _arrived = 0, _parts = {} },
    serial = 0, -- of functions
    codes = setmetatable({}, { __mode = "v" }), -- by the functions' bytes
    last = nil, -- of them: kept, for the next task is often of the same function
    plain = setmetatable({}, { __mode = "k" }), -- functions, and what is known of them
    held = setmetatable({}, { __mode = "v" }),  -- descriptors that tasks refer to
    news = pool.News(),
  }, Engine)
  engine.jobs[worker.CONTROL] = engine.control
  engine.callbacks = Callbacks.new(engine)
  engine.keeper = keeper.new(engine)
  return engine
end

--- Starts the workers, and the thread that keeps them.
function Engine:start() self.keeper:start() end

--- Ends what a start that was not finished has begun.
function Engine:undo() self.keeper:undo() end

--- For the keeper, when a worker has ended: its own results come first.
function Engine:lose(id, text) self.results:tell(id, KINDS.LOST, text) end

--- For the keeper, when the last one has.
function Engine:finish()
  self.over = true
  self.results:finish()
end

function Engine:close()
  self.tasks:finish()
  self.keeper:close()
  self.callbacks:close()
end

--- Ends the workers; what was not finished fails with 'why'.
function Engine:terminate(why)
  why = why or worker.lost("the pool has been terminated")
  local ok, problem = pcall(self.fail, self, { value = why })
  self.keeper:terminate()
  self.callbacks:close()
  if not ok then error(problem, 0) end
end

--- Waits for the workers' end, and for the callbacks.
function Engine:join()
  self:check_owner()
  self.keeper:join()
  receive(self, 0)
  self.callbacks:join()
end

return Engine

--- The engine of a pool of threads of this process.
local errors = require("tidelock.errors")
local family = require("tidelock.multiprocessing.family")
local core = require("tidelock._multiprocessing")
local pool = require("tidelock._pool")
local queue = require("tidelock.queue")
local threading = require("tidelock.threading")
local Callbacks = require("tidelock.multiprocessing.pool.callbacks")
local base = require("tidelock.multiprocessing.pool.engine")
local jobs = require("tidelock.multiprocessing.pool.jobs")
local tasks = require("tidelock.multiprocessing.pool.tasks")

local Engine = setmetatable({}, base)
Engine.__index = Engine

--- A part has finished.
local function complete(engine, id, part)
  pool.complete(engine.jobs, engine.ready, id, part, engine.news)
end

-- --- A worker ----------------------------------------------------------------

--- Does the next task; false when there will be none. The caller's frame never
--- has the task: it would have it while it waits for another.
local function perform(duty)
  local engine = duty.engine
  core.store(duty, "task", engine.queue.get, engine.queue)
  local task = duty.task
  if not task then return false end
  if engine.jobs[task.job] then
    local ok, result = xpcall(tasks.call, tasks.to_problem, task.mode, task.fn, task.args)
    complete(engine, task.id, { ok and jobs.VALUE or jobs.PROBLEM, result })
  end
  duty.task = nil
  return true
end

local start_thread

-- What a thread of the pool is on; its end, if it is none in order, fails that
-- and begins another thread. Where there can be none, the pool fails.
local Duty = {}

Duty.__close = core.shielded(function(self, problem)
  local engine = self.engine
  if self.task then complete(engine, self.task.id, { jobs.PROBLEM, { value = problem } }) end
  if problem ~= nil and not engine.terminated then
    local ok, why = pcall(start_thread, engine, self.place)
    if ok then return end
    engine:fail({ value = why })
  end
  engine.alive = engine.alive - 1
  if engine.alive == 0 then family.not_at_end(engine) end
end)

local function work(engine, place)
  local init, args = engine.options.initializer, engine.options.initargs
  local duty <close> = setmetatable({ engine = engine, place = place }, Duty)
  if init then
    local ok, problem = xpcall(init, tasks.to_problem, table.unpack(args, 1, args.n))
    if not ok then engine:fail(problem) end
  end
  repeat until not perform(duty)
end

function start_thread(engine, place)
  engine.started = engine.started + 1
  local thread = threading.Thread({ target = work, args = { engine, place }, daemon = true,
    name = "PoolThread-" .. engine.started })
  core.store(engine.threads, place, thread.start, thread)
end

-- --- The pool ----------------------------------------------------------------

function Engine.new(options)
  local engine = setmetatable({
    size = options.processes,
    options = options,
    creator = family.current_process(),
    count = 0,           -- of jobs
    jobs = {},           -- see jobs.lua
    ready = {},          -- those whose callbacks are to be called
    news = pool.News(),   -- of results
    queue = queue.Queue(),
    threads = {},
    alive = 0,           -- of their places
    started = 0,
  }, Engine)
  engine.callbacks = Callbacks.new(engine)
  return engine
end

--- Starts the threads.
function Engine:start()
  family.at_end(self)
  family.expect_end()
  for place = 1, self.size do
    self.alive = place
    start_thread(self, place)
  end
end

--- Ends what a start that was not finished has begun.
function Engine:undo()
  family.not_at_end(self)
  self.queue:shutdown(true)
end

--- Who is interrupted knows whether it was put.
local put = core.shielded(function(engine, task, job, index)
  local taken = engine.queue:put(task)
  if taken then job._sent = index end
  return taken
end)

--- Part 'index' of the job: the function is called with n arguments, or items,
--- of a list (see tasks.call).
function Engine:submit(job, index, mode, fn, list, first, n)
  local id, args = jobs.id(job, index), pool.slice(list, first, n)
  local task = { job = job._number, id = id, mode = mode, fn = fn, args = args }
  local taken = not self.problem and put(self, task, job, index)
  if taken and not self.problem then return 0 end
  if self.problem then self:fail() end -- it may have come meanwhile
  local part = self.problem or { jobs.PROBLEM, { value = "the pool is closed" } }
  complete(self, id, part)
  job._sent = index -- after that: a part may be completed twice
  return 0
end

--- Waits until the job has what it waits for; false if the time passed first.
function Engine:wait(job, timeout)
  self:check_owner(4)
  local deadline = jobs.deadline(timeout)
  while true do
    local edition, left = self.news:edition(), jobs.left(deadline)
    if job:_is_ready() then return true end
    if not self.news:wait(edition, left) then return job:_is_ready() end
  end
end

--- What has finished is known already.
function Engine:look() end -- luacheck: no self

function Engine:close()
  self.queue:shutdown()
  self.callbacks:close()
end

--- Ends the threads; what was not finished fails with 'why'.
function Engine:terminate(why)
  self.terminated = true
  self:fail({ value = why or errors.new(errors.WorkerLost, "the pool has been terminated") })
  self.queue:shutdown(true)
  self.callbacks:close()
  for _, thread in ipairs(self.threads) do thread:cancel() end
end

--- Waits for the threads' end, and for the callbacks.
function Engine:join()
  self:check_owner()
  for place = 1, self.size do
    local thread
    repeat
      thread = self.threads[place]
      thread:join()
    until thread == self.threads[place] -- no other one has taken its place
  end
  self.callbacks:join()
end

return Engine

--- The keeper of a pool: a thread that starts the workers, and others in the
--- place of those that end.
local threading = require("tidelock.threading")
local time = require("tidelock.time")
local core = require("tidelock._multiprocessing")
local family = require("tidelock.multiprocessing.family")
local worker = require("tidelock.multiprocessing.pool.worker")

local Keeper = {}
Keeper.__index = Keeper

-- How long a worker may take to end when it is terminated.
local PATIENCE = 1 -- seconds

local PREFIX = { fork = "Fork", spawn = "Spawn", forkserver = "ForkServer" }

--- A process for one of the pool's places.
local function start_worker(keeper, place)
  local engine, options = keeper.engine, keeper.engine.options
  keeper.started = keeper.started + 1
  local process = options.context.Process({
    target = worker.run,
    args = { {
      tasks = engine.tasks,
      results = engine.results,
      place = place,
      initializer = options.initializer,
      initargs = options.initargs,
      maxtasksperchild = options.maxtasksperchild,
    } },
    daemon = true,
    name = ("%sPoolWorker-%d"):format(PREFIX[options.context.get_start_method()], keeper.started),
  })
  process._otherwise = { worker.refuse, engine.results } -- see spawn.lua
  keeper.workers[place] = process
  process:start()
end

--- How a process ended, for people.
local function describe_end(process)
  local code = process.exitcode
  if code and code < 0 then
    return ("process %d was killed by signal %d"):format(process.pid, -code)
  end
  return ("process %d ended with exit code %s"):format(process.pid, tostring(code))
end

--- A worker has ended: what it was on is lost, unless its result is there.
local function bury(keeper, place)
  local engine, process = keeper.engine, keeper.workers[place]
  process:join()
  local id, began = engine.tasks:clear(place)
  if id then engine:lose(id, "the task is lost: " .. describe_end(process)) end
  engine:look()
  keeper.failures = began and 0 or keeper.failures + 1
  process:close()
  keeper.workers[place] = nil
end

--- So many workers in a row may end before they begin: then the pool is given
--- up.
local function has_failed(keeper) return keeper.failures > 2 * keeper.engine.size + 2 end

local function replace(keeper, place)
  local engine = keeper.engine
  if keeper.terminated or engine.problem then return end
  if keeper.closed and engine.tasks:count() == 0 then return end
  local ok, problem = pcall(start_worker, keeper, place)
  if ok and keeper.terminated then return keeper.workers[place]:terminate() end -- missed it
  if ok and not has_failed(keeper) then return end
  if not ok then keeper.workers[place] = nil end
  engine:fail({ value = ok and worker.lost("the workers end before they begin") or problem })
  keeper:terminate()
end

--- Waits until a worker has ended, or something is to be done.
local function watch(keeper, timeout)
  local objects = { keeper.wake }
  for _, process in pairs(keeper.workers) do objects[#objects + 1] = process end
  return threading.wait_any(objects, timeout)
end

local function wait(keeper)
  local ready = watch(keeper, keeper.terminated and PATIENCE or nil)
  keeper.wake:clear()
  if #ready > 0 then return end
  for _, process in pairs(keeper.workers) do process:kill() end -- they had their time
end

local function keep(keeper)
  while next(keeper.workers) do
    wait(keeper)
    for _, place in ipairs(core.keys(keeper.workers)) do
      if not keeper.workers[place]:is_alive() then
        bury(keeper, place)
        replace(keeper, place)
      end
    end
  end
end

--- Kills the workers that were started, and waits for them: without a
--- descriptor, for there may be none left.
local function kill_all(keeper)
  for _, place in ipairs(core.keys(keeper.workers)) do
    local process = keeper.workers[place]
    if process.pid then process:kill() end
    while process:is_alive() do time.sleep(0.001) end
    process:close()
    keeper.workers[place] = nil
  end
end

local NOW = 1e-9 -- seconds: to wait, but not for long

local function run(keeper)
  local ok, problem = pcall(function()
    watch(keeper, NOW) -- from now on this thread has a descriptor to wait with
    keeper.begun:set()
    keep(keeper)
  end)
  if not ok then
    keeper.problem = { value = problem }
    keeper.engine:fail(keeper.problem)
    kill_all(keeper)
  end
  keeper.engine:finish()
  family.not_at_end(keeper)
  keeper.begun:set()
end

function Keeper.new(engine)
  return setmetatable({
    engine = engine,
    workers = {}, -- by place
    started = 0,
    failures = 0, -- of workers in a row, before they began
    wake = threading.Event(),
    begun = threading.Event(),
  }, Keeper)
end

--- Starts the workers and the thread.
function Keeper:start()
  for place = 1, self.engine.size do start_worker(self, place) end
  local thread = threading.Thread({ target = run, args = { self }, daemon = true,
    name = "PoolKeeper" })
  family.at_end(self)
  core.store(self, "thread", thread.start, thread)
  self.begun:wait()
  if self.problem then error(self.problem.value, 0) end
end

--- Ends what a start that was not finished has begun.
function Keeper:undo()
  family.not_at_end(self)
  if self.thread then
    self:terminate()
    self.thread:join()
  else
    kill_all(self)
  end
end

--- Workers that end are not replaced, unless there are tasks.
function Keeper:close()
  self.closed = true
  self.wake:set()
end

--- Ends the workers.
function Keeper:terminate()
  self.closed, self.terminated = true, true
  for _, place in ipairs(core.keys(self.workers)) do
    local process = self.workers[place]
    if process then pcall(process.terminate, process) end -- it may be closed by now
  end
  self.wake:set()
end

--- At the end of this process, before its children are ended.
function Keeper:at_end()
  self.engine:at_end()
  if self.thread then self.thread:join() end -- it may be about to begin
end

function Keeper:join() self.thread:join() end

return Keeper

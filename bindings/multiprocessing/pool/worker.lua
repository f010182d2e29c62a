--- A worker process of a pool: takes tasks from one channel, and puts results
--- into another.
local core = require("tidelock._multiprocessing")
local errors = require("tidelock.errors")
local family = require("tidelock.multiprocessing.family")
local pool = require("tidelock._pool")
local tasks = require("tidelock.multiprocessing.pool.tasks")

local worker = {}

worker.MODES = { "apply", "map", "starmap" }

--- What a result is; DONE is known to results.h.
worker.KINDS = { DONE = 1, FAILED = 2, LOST = 3, BROKEN = 4, LOOK = 5 }

--- The ids of messages that are no task's: of the pool's own job, and of none.
worker.CONTROL, worker.NOBODY = 0, -1

local MODES, KINDS = worker.MODES, worker.KINDS
local LOOK = 1 -- seconds: so often a worker without work looks for its parent

--- The error of a task whose worker is gone.
function worker.lost(text) return errors.new(errors.WorkerLost, text) end

--- Tells what was raised; if that cannot travel, as text.
local function tell_problem(results, id, kind, problem)
  if type(problem) ~= "table" then problem = { value = problem } end -- of the handler
  if pcall(results.answer, results, id, kind, problem, "error") then return end
  local ok, text = pcall(tostring, problem.value)
  text = ok and text or "an error that cannot travel"
  results:answer(id, kind, { value = text, traceback = problem.traceback }, "error")
end

local function perform(results, functions, id, task)
  local mode, fn, args = pool.open(task, functions)
  local values = tasks.call(MODES[mode], fn, args)
  results:answer(id, KINDS.DONE, values, "result", values.n)
end

--- A message handler: tells the pool what was raised before a worker began.
function worker.refuse(results, value)
  tell_problem(results, worker.CONTROL, KINDS.BROKEN, tasks.to_problem(value))
end

--- Calls the initializer; false if it failed, which the pool is told.
local function begin(options)
  local init, args = options.initializer, options.initargs
  if init then
    local ok, problem = xpcall(init, tasks.to_problem, table.unpack(args, 1, args.n))
    if not ok then
      tell_problem(options.results, worker.CONTROL, KINDS.BROKEN, problem)
      return false
    end
  end
  options.tasks:begin(options.place)
  return true
end

--- The next task, with its id; nothing when there will be none, or nobody wants
--- its result.
local function take(options)
  local parent = family.parent_process()
  repeat
    local id, task = options.tasks:take(options.place, LOOK)
    if id ~= nil then return id, task end
  until not parent:is_alive()
end

--- What the process does. Ctrl-C is its parent's business.
function worker.run(options)
  core.ignore_interrupts(true)
  if not begin(options) then return end
  local results, functions = options.results, {}
  for _ = 1, options.maxtasksperchild or math.huge do
    local id, task = take(options)
    if not id then return end
    local ok, problem = xpcall(perform, tasks.to_problem, results, functions, id, task)
    if not ok then tell_problem(results, id, KINDS.FAILED, problem) end
  end
end

return worker

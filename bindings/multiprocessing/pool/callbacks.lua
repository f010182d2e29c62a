--- Callbacks of a pool's results: run one after the other, by one thread that
--- there is from the first call that has one to the end of the pool.
local core = require("tidelock._multiprocessing")
local errors = require("tidelock.errors")
local queue = require("tidelock.queue")
local tasks = require("tidelock.multiprocessing.pool.tasks")
local threading = require("tidelock.threading")

local Callbacks = {}
Callbacks.__index = Callbacks

function Callbacks.new(engine)
  return setmetatable({ _engine = engine, _lock = threading.RLock(), _expected = queue.Queue() },
    Callbacks)
end

--- For engine:wait.
function Callbacks:_is_ready() return #self._engine.ready > 0 end

--- A callback that fails is reported, unless it was cancelled, as threads are.
local function call(job)
  local ok, problem = xpcall(job._call_back, tasks.to_problem, job)
  if ok or errors.is(problem.value, errors.Cancelled) then return end
  io.stderr:write("Exception in a pool's callback:\n", problem.traceback or problem, "\n")
end

local function run(self)
  while self._expected:get() do
    self._engine:wait(self)
    call(table.remove(self._engine.ready, 1))
  end
end

--- A job that has callbacks is going to be complete.
function Callbacks:expect()
  local held <close> = self._lock:guard()
  if not self._thread then
    local thread = threading.Thread({ target = run, args = { self }, daemon = true,
      name = "PoolCallbacks" })
    core.store(self, "_thread", thread.start, thread)
  end
  self._expected:put(true)
end

--- There will be no other job: the thread ends when all have been called.
function Callbacks:close() self._expected:shutdown() end

--- Waits for that.
function Callbacks:join()
  local thread = self._thread
  if thread and thread ~= threading.current_thread() then thread:join() end
end

return Callbacks

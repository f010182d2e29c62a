--- Callbacks of a pool's results: run one after the other, by one thread that
--- is there while there is something to wait for.
local threading = require("tidelock.threading")

local Callbacks = {}
Callbacks.__index = Callbacks

function Callbacks.new(engine)
  return setmetatable({ _engine = engine, _lock = threading.RLock(), _expected = 0 }, Callbacks)
end

--- For engine:wait.
function Callbacks:_is_ready() return #self._engine.ready > 0 end

--- One callback has been run: whether no other is expected.
local function is_last(self)
  local held <close> = self._lock:guard()
  self._expected = self._expected - 1
  if self._expected == 0 then self._thread = nil end
  return self._expected == 0
end

local function run(self)
  repeat
    self._engine:wait(self)
    local job = table.remove(self._engine.ready, 1)
    local ok, problem = xpcall(job._call_back, debug.traceback, job)
    if not ok then
      io.stderr:write("Exception in a pool's callback:\n", tostring(problem), "\n")
    end
    job = nil -- luacheck: ignore
  until is_last(self)
end

--- A job that has callbacks is going to be complete.
function Callbacks:expect()
  local held <close> = self._lock:guard()
  self._expected = self._expected + 1
  if self._thread then return end
  self._thread = threading.Thread({ target = run, args = { self }, daemon = true,
    name = "PoolCallbacks" })
  self._thread:start()
end

--- Waits until all have been called.
function Callbacks:join()
  local thread = self._thread
  if thread and thread ~= threading.current_thread() then thread:join() end
end

return Callbacks

--- Barrier in a manager's server; see monitor.lua.
local errors = require("tidelock.errors")
local Monitor = require("tidelock.multiprocessing.managers.monitor")

local Barrier = Monitor.class()

local function broken()
  error(errors.new(errors.BrokenBarrierError, "the barrier is broken"), 0)
end

--- A round is over when all are there, or broken when one of them has failed.
local function new_round() return { here = 0 } end

function Barrier:_break()
  local held <close> = self:enter()
  self:_break_held()
end

function Barrier:_break_held()
  self._round.broken = true
  self:tell(self._round)
end

--- The last one has come: runs the action, lets the others go.
function Barrier:_complete(caller, round)
  if self._action then
    caller.server:attend(caller)
    local ok, problem = pcall(self._action)
    if not ok then
      self:_break()
      error(problem, 0)
    end
  end
  local held <close> = self:enter()
  if round.broken then broken() end
  round.over, self._round = true, new_round()
  self:tell(round)
end

function Barrier:wait_all(caller, timeout)
  local deadline = Monitor.deadline(timeout == nil and self._timeout or timeout, 1, "wait")
  local round, index
  do
    local held <close> = self:enter()
    round = self._round
    if round.broken or round.here == self._parties then broken() end
    index, round.here = round.here, round.here + 1
  end
  if index + 1 == self._parties then
    self:_complete(caller, round)
    return index
  end
  local function is_over() return round.over or round.broken end
  -- All may go at once, so each waits at a place of its own.
  local ok, ended = pcall(self.wait, self, caller, round, deadline, is_over)
  if not (ok and ended) and not round.over then self:_break() end
  if not ok then error(ended, 0) end
  if not round.over then broken() end
  return index
end

function Barrier:reset()
  local held <close> = self:enter()
  if self._round.here > 0 and not self._round.broken then self:_break_held() end
  self._round = new_round()
end

function Barrier:text()
  return ("parties=%d waiting=%d%s"):format(self._parties, self._round.here,
    self._round.broken and " broken" or "")
end

local FIELDS = {
  parties = function(self) return self._parties end,
  n_waiting = function(self) return self._round.broken and 0 or self._round.here end,
  broken = function(self) return self._round.broken == true end,
}

local barrier = { methods = {
  wait = Barrier.wait_all,
  reset = Barrier.reset,
  abort = Barrier._break,
  __index = function(self, _, key) return FIELDS[key](self) end,
} }

function barrier.create(_, parties, action, timeout)
  if type(parties) == "table" then
    parties, action, timeout = parties.parties, parties.action, parties.timeout
  end
  parties = Monitor.count(parties, 1, "Barrier", nil, 1)
  Monitor.deadline(timeout, 3, "Barrier")
  if action ~= nil and type(action) ~= "function" then
    Monitor.bad(2, "Barrier", "function expected, got " .. type(action))
  end
  return Monitor.init(setmetatable({ _parties = parties, _action = action, _timeout = timeout,
    _round = new_round() }, Barrier))
end

return barrier

--- Barrier in a manager's server; see monitor.lua.
local core = require("tidelock._multiprocessing")
local errors = require("tidelock.errors")
local Monitor = require("tidelock.multiprocessing.managers.monitor")

local Barrier = Monitor.class()

local function broken()
  error(errors.new(errors.BrokenBarrierError, "the barrier is broken"), 0)
end

--- A round is over when all are there, or broken when one of them has failed.
--- 'here' has those who wait, in the order of their coming.
local function new_round() return { here = {} } end

--- Ends the round as broken; the mutex is held.
function Barrier:_break_round(round)
  round.broken = true
  self:tell(round)
end

function Barrier:_break()
  local held <close> = self:enter()
  self:_break_round(self._round)
end

-- The end of a round by its last one, who may be killed in the action: if the
-- round is not over then, it is broken.
local Completion = {}

Completion.__close = core.shielded(function(self) self.barrier:_leave_round(self.round) end)

--- The last one has come: runs the action, lets the others go.
function Barrier:_complete(caller, round)
  local _ <close> = setmetatable({ barrier = self, round = round }, Completion)
  if self._action then
    caller.server:attend(caller)
    self._action()
  end
  local held <close> = self:enter()
  if round.broken then broken() end
  for i, place in ipairs(round.here) do place.index = i - 1 end
  round.over, self._round = true, new_round()
  self:tell(round)
end

--- Comes to the round that is on: it, a place in it, and whether that is the last.
function Barrier:_join_round()
  local held <close> = self:enter()
  local round, place = self._round, {}
  if round.broken or round.full then broken() end
  table.insert(round.here, place)
  round.full = #round.here == self._parties
  return round, place, round.full
end

--- Gives the place up, the time being over or the caller gone: that breaks the
--- round. One that has asked for the end of its wait just leaves.
function Barrier:_leave_round(round, place, asked)
  local held <close> = self:enter()
  if round.over or round.broken then return end
  if not asked then return self:_break_round(round) end
  for i, other in ipairs(round.here) do
    if other == place then return table.remove(round.here, i) end
  end
end

function Barrier:wait_all(caller, timeout)
  local deadline = Monitor.deadline(timeout == nil and self._timeout or timeout, 1, "wait")
  local round, place, is_last = self:_join_round()
  if is_last then
    self:_complete(caller, round)
    return place.index
  end
  local function is_over() return round.over or round.broken end
  -- All may go at once, so each waits at a place of its own.
  local ok, ended, asked = pcall(self.wait, self, caller, round, deadline, is_over)
  if not ok or not ended then self:_leave_round(round, place, asked) end
  if not ok then error(ended, 0) end
  if round.broken then broken() end
  return place.index
end

function Barrier:reset()
  local held <close> = self:enter()
  if #self._round.here > 0 and not self._round.broken then self:_break_round(self._round) end
  self._round = new_round()
end

function Barrier:text()
  return ("parties=%d waiting=%d%s"):format(self._parties, #self._round.here,
    self._round.broken and " broken" or "")
end

local FIELDS = {
  parties = function(self) return self._parties end,
  n_waiting = function(self) return self._round.broken and 0 or #self._round.here end,
  broken = function(self) return self._round.broken == true end,
}

local barrier = { methods = {
  wait = Barrier.wait_all,
  reset = Barrier.reset,
  abort = Barrier._break,
  __index = function(self, _, key) return FIELDS[key](self) end,
} }

function barrier.create(_, ...)
  local names = { "parties", "action", "timeout" }
  local parties, action, timeout = Monitor.options("Barrier", names, ...)
  parties = Monitor.count(parties, 1, "Barrier", nil, 1)
  Monitor.deadline(timeout, 3, "Barrier")
  if action ~= nil and type(action) ~= "function" then
    Monitor.bad(2, "Barrier", "function expected, got " .. type(action))
  end
  return Monitor.init(setmetatable({ _parties = parties, _action = action, _timeout = timeout,
    _round = new_round() }, Barrier))
end

return barrier

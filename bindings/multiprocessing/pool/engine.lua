--- What the engines of pools share, be it over threads or processes.
local errors = require("tidelock.errors")
local family = require("tidelock.multiprocessing.family")

local Engine = {}
Engine.__index = Engine

--- Only the process that made a pool uses it: a forked child has a copy of what
--- is known here, but the workers are its parent's.
function Engine:check_owner(level)
  if self.creator ~= family.current_process() then
    error("the pool belongs to another process", level or 3)
  end
end

--- A job that has no parts.
function Engine:finish_empty(job)
  self.jobs[job._number] = nil
  if job._calls then self.ready[#self.ready + 1] = job end
  self.news:tell()
end

--- Nobody has the pool any more: what was submitted is still done.
function Engine:abandon() self:close() end

--- At the end of this process: it is that which ends the waits of its threads.
function Engine:at_end() self:terminate(errors.new(errors.Cancelled, "the program ends")) end

return Engine

--- What the engines of pools share, be it over threads or processes.
local errors = require("tidelock.errors")
local core = require("tidelock._multiprocessing")
local family = require("tidelock.multiprocessing.family")
local jobs = require("tidelock.multiprocessing.pool.jobs")
local pool = require("tidelock._pool")

local Engine = {}
Engine.__index = Engine

--- Only the process that made a pool uses it: a forked child has a copy of what
--- is known here, but the workers are its parent's.
function Engine:check_owner(level)
  if self.creator ~= family.current_process() then
    error("the pool belongs to another process", level or 3)
  end
end

--- Something has become of a job: whoever waits looks.
function Engine:tell() self.news:tell() end

local function fail_missing(self, job, part)
  local first, last = job:_missing()
  for index = first, last do
    pool.complete(self.jobs, self.ready, jobs.id(job, index), part)
  end
end

--- What is missing of a job fails with this.
function Engine:fail_job(job, problem)
  fail_missing(self, job, { jobs.PROBLEM, problem })
  self:tell()
end

--- All that was submitted, and will be, does.
function Engine:fail(problem)
  self.problem = self.problem or { jobs.PROBLEM, problem }
  for _, number in ipairs(core.keys(self.jobs)) do
    local job = self.jobs[number]
    if job and job ~= self.control then fail_missing(self, job, self.problem) end
  end
  self:tell()
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

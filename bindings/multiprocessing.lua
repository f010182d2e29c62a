--- Processes: what users require. The parts are in multiprocessing/*.lua, over
--- "tidelock._connection" and "tidelock._multiprocessing"; all is documented in
--- types/multiprocessing.lua.
local found, core = pcall(require, "tidelock._multiprocessing")
if not found then
  if type(core) ~= "string" then error(core, 0) end -- interrupted
  error("multiprocessing needs the program tidelock, or a program with its library:\n" .. core, 0)
end
local connection = require("tidelock.multiprocessing.connection")
local context = require("tidelock.multiprocessing.context")
local errors = require("tidelock.errors")
local family = require("tidelock.multiprocessing.family")
local log = require("tidelock.multiprocessing.log")
local pool = require("tidelock.multiprocessing.pool")
local process = require("tidelock.multiprocessing.process")
local queues = require("tidelock._queues")
local sharedctypes = require("tidelock.multiprocessing.sharedctypes")
local synchronize = require("tidelock._synchronize")

require("tidelock.multiprocessing.managers.classes") -- for proxies that come
local function new_manager(...)
  return require("tidelock.multiprocessing.managers")._start(...)
end

context.offer("Manager", new_manager)
context.offer("Pool", pool.Pool)

local multiprocessing = {
  AuthenticationError = errors.AuthenticationError,
  BufferTooShort = errors.BufferTooShort,
  ThreadPool = pool.ThreadPool,
  TimeoutError = errors.TimeoutError,
  WorkerLost = errors.WorkerLost,
  Manager = function(...) return new_manager(context.get_context(), ...) end,
  Pipe = connection.Pipe,
  Pool = function(...) return pool.Pool(context.get_context(), ...) end,
  Process = process.Process,
  active_children = family.active_children,
  connection = connection,
  cpu_count = core.cpu_count,
  current_process = family.current_process,
  get_all_start_methods = context.get_all_start_methods,
  get_context = context.get_context,
  get_logger = log.get_logger,
  get_start_method = context.get_start_method,
  is_main = family.is_main,
  log_to_stderr = log.log_to_stderr,
  parent_process = family.parent_process,
  set_executable = function(path)
    return require("tidelock.multiprocessing.spawn").set_executable(path)
  end,
  set_forkserver_preload = function(names)
    return require("tidelock.multiprocessing.forkserver").set_forkserver_preload(names)
  end,
  set_start_method = context.set_start_method,
}

for _, makers in ipairs({ queues, sharedctypes, synchronize }) do
  for name, make in pairs(makers) do multiprocessing[name] = make end
end

--- Modules that are required when they are asked for.
local LATER = { managers = true, shared_memory = true }

return setmetatable(multiprocessing, {
  __index = function(self, name)
    if not LATER[name] then return nil end
    local module = require("tidelock.multiprocessing." .. name)
    rawset(self, name, module)
    return module
  end,
})

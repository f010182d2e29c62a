--- Start methods, and contexts: the whole module with one of them.
local core = require("tidelock._multiprocessing")
local family = require("tidelock.multiprocessing.family")
local pickle = require("tidelock.pickle")
local process = require("tidelock.multiprocessing.process")

local context = {}

--- In the order of get_all_start_methods: the first is the default. A program
--- that has the library forks only if it allows that.
local function get_methods()
  if core.fork_allowed() then return { "fork", "spawn", "forkserver" } end
  return { "forkserver", "spawn" }
end

local chosen -- by set_start_method, or by the first use

-- Starts a process: launchers[method](process, handle).
local launchers = {}

function launchers.fork(self, handle)
  local name = family.current_process().name
  local answers = family.before_fork()
  handle:fork(function(parent)
    family.become(self, parent, name)
    family.after_fork(answers)
    chosen = self._start_method or chosen
    family.run(self)
  end, family.get_name)
end

-- What is not needed is not loaded.
function launchers.spawn(...) require("tidelock.multiprocessing.spawn").launch(...) end

function launchers.forkserver(...) require("tidelock.multiprocessing.forkserver").launch(...) end

context.get_all_start_methods = get_methods

local function check_method(method, name)
  if method == "fork" and not core.fork_allowed() then
    error("this program does not allow fork (tl_allow_fork)", 3)
  end
  if launchers[method] then return end
  error(("bad argument #1 to '%s' (start method 'fork', 'spawn' or 'forkserver' expected, got %s)")
    :format(name, type(method) == "string" and "'" .. method .. "'" or type(method)), 3)
end

--- The method of processes that are made without a context.
function context.get_start_method(allow_nil)
  if not chosen and not allow_nil then chosen = get_methods()[1] end
  return chosen
end

function context.set_start_method(method, force)
  if method ~= nil or not force then check_method(method, "set_start_method") end
  if chosen and not force then
    error(("the start method is '%s' already"):format(chosen), 2)
  end
  chosen = method
end

process.set_launch(function(self, handle)
  local method = self._start_method or context.get_start_method()
  check_method(method, "start")
  launchers[method](self, handle, self._start_method or chosen)
end)

-- --- Contexts ----------------------------------------------------------------

local contexts = {}

-- What is made by a function that is called with the context.
local makers = {}

--- Contexts offer 'name', which is make(context, ...).
function context.offer(name, make) makers[name] = make end

local meta = { __name = "multiprocessing.Context" }

function meta.__tostring(self) return ("<Context %q>"):format(self._method) end

--- What does not depend on the method is the module's.
function meta.__index(_, key) return require("tidelock.multiprocessing")[key] end

--- A context by its method; nil: that of the module.
function context.get_context(method)
  if method == nil then method = context.get_start_method() end
  check_method(method, "get_context")
  if contexts[method] then return contexts[method] end
  local self = { _method = method, Process = process.class_of(method) }
  function self.get_start_method() return method end
  function self.set_start_method() error("cannot set the start method of a context", 2) end
  function self.get_context(other)
    if other == nil then return self end
    check_method(other, "get_context")
    return context.get_context(other)
  end
  for name, make in pairs(makers) do
    self[name] = function(...) return make(self, ...) end
  end
  contexts[method] = contexts[method] or setmetatable(self, meta)
  return contexts[method]
end

-- What travels of them is the method.
pickle.register("multiprocessing.Context", meta, {
  reduce = function(self) return self._method end,
  restore = function(method)
    return launchers[method or false] and context.get_context(method)
  end,
})

return context

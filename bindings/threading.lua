--- Threads, and what they wait on: the parts that are written in Lua.
--- The rest is C, in "tidelock._threading"; all is documented in
--- types/threading.lua.
local found, core = pcall(require, "tidelock._threading")
if not found then
  if type(core) ~= "string" then error(core, 0) end -- interrupted
  error("threading needs the program tidelock, or a program with its library:\n" .. core, 0)
end
local arguments = require("tidelock._arguments")
local errors = require("tidelock.errors")

local threading = {
  Barrier = core.Barrier,
  BoundedSemaphore = core.BoundedSemaphore,
  BrokenBarrierError = errors.BrokenBarrierError,
  Cancelled = errors.Cancelled,
  Condition = core.Condition,
  Deadlock = errors.Deadlock,
  Event = core.Event,
  Killed = errors.Killed,
  Local = core.Local,
  Lock = core.Lock,
  RLock = core.RLock,
  Semaphore = core.Semaphore,
  active_count = core.active_count,
  current_thread = core.current_thread,
  enumerate = core.enumerate,
  get_ident = core.get_ident,
  get_native_id = core.get_native_id,
  main_thread = core.main_thread,
  stack_size = core.stack_size,
  wait_any = core.wait_any,
}
threading["local"] = core.Local

-- Thread is a table, so that it can be called and subclassed. The methods are
-- those of any thread.
local Thread = {}
for _, name in ipairs({ "cancel", "is_alive", "join", "kill", "result", "run", "start" }) do
  Thread[name] = core.main_thread()[name]
end

local function construct(class, ...)
  local thread = core.thread_of(class)
  if class.init then class.init(thread, ...) end
  return thread
end

--- A class of threads: objects of it call their method run.
function Thread:subclass(body)
  if type(body) ~= "table" then
    error("bad argument #1 to 'subclass' (table expected, got " .. type(body) .. ")", 2)
  end
  local class = {}
  for k, v in pairs(body) do class[k] = v end
  return setmetatable(class, { __index = self, __call = construct, __name = "Thread class" })
end

setmetatable(Thread, { __call = core.Thread, __name = "Thread class" })
threading.Thread = Thread

--- Raises at the caller of the constructor unless ok.
local function check(ok, n, expected, value)
  if not ok then
    error(("bad argument #%d to 'Timer' (%s expected, got %s)"):format(n, expected, type(value)), 4)
  end
end

local timer_options = { interval = true, fn = true, args = true }

local function check_options(options)
  for name in pairs(options) do
    if not timer_options[name] then
      error(("bad argument #1 to 'Timer' (unknown option '%s')"):format(tostring(name)), 4)
    end
  end
end

--- A thread that calls fn(args...) after a while, unless cancelled before.
local Timer = Thread:subclass({
  __name = "Timer",
  init = function(self, interval, fn, args)
    if type(interval) == "table" and fn == nil then
      check_options(interval)
      interval, fn, args = interval.interval, interval.fn, interval.args
    end
    check(type(interval) == "number" and interval >= 0, 1, "non-negative number", interval)
    check(arguments.is_callable(fn), 2, "function", fn)
    check(args == nil or type(args) == "table", 3, "table", args)
    local copy = arguments.copy(args)
    if not copy then
      error("bad argument #3 to 'Timer' (too many, or field 'n' is no number of them)", 3)
    end
    -- A script may add to them, as to CPython's.
    copy.n = args and args.n
    self.interval, self.fn, self.args = interval, fn, copy
    self.finished = core.Event()
  end,
  run = function(self)
    if not self.finished:wait(self.interval) then
      self.fn(table.unpack(self.args, 1, self.args.n or #self.args))
    end
    self.finished:set()
  end,
  cancel = function(self) self.finished:set() end,
})
threading.Timer = Timer

--- Called for an error that ends a thread.
function threading.excepthook(args)
  local text = ("Exception in thread %s:\n%s\n%s\n"):format(
    args.thread.name, tostring(args.value), args.traceback or "")
  io.stderr:write(text)
end
threading.__excepthook__ = threading.excepthook

--- Writes a report of every thread to a file, usually stderr.
function threading.dump(file)
  if file == nil then file = io.stderr end
  local kind = type(file)
  if kind ~= "table" and kind ~= "userdata" or file.write == nil then
    error("bad argument #1 to 'dump' (file expected, got " .. type(file) .. ")", 2)
  end
  file:write(core.dump_string())
end

core.set_module(threading)
return threading

--- Programs that run beside this one: the parts that are written in Lua, over
--- "tidelock._subprocess"; documented in types/subprocess.lua.
local found, core = pcall(require, "tidelock._subprocess")
if not found then
  if type(core) ~= "string" then error(core, 0) end -- interrupted
  error("subprocess needs the program tidelock, or a program with its library:\n" .. core, 0)
end
local errors = require("tidelock.errors")
local options = require("tidelock._popen_options")
local time = require("tidelock.time")

local subprocess = {
  PIPE = core.PIPE,
  STDOUT = core.STDOUT,
  DEVNULL = core.DEVNULL,
  CalledProcessError = errors.CalledProcessError,
  TimeoutExpired = errors.TimeoutExpired,
}

-- Ctrl-C goes to the whole foreground process group: a child that ends by it
-- is given this long.
local MOMENT = 0.25 -- seconds

local PLAIN = "^[%w_@%%+=:,./-]+$" -- what a shell takes as it is

--- A command as a shell would be given it.
local function render(args)
  if type(args) == "string" then return args end
  local words = {}
  for i, word in ipairs(args) do
    word = tostring(word) -- the script may have changed the table
    words[i] = word:find(PLAIN) and word or "'" .. word:gsub("'", "'\\''") .. "'"
  end
  return table.concat(words, " ")
end

--- A string in quotes, on one line.
local function quote(text) return (("%q"):format(text):gsub("\\\n", "\\n")) end

-- --- Deadlines --------------------------------------------------------------

local function deadline_of(timeout) return timeout and time.monotonic() + timeout end

local function left(deadline) return deadline and math.max(0, deadline - time.monotonic()) end

-- --- Results and errors -----------------------------------------------------

local Completed = { __name = "subprocess.CompletedProcess" }
Completed.__index = Completed

function Completed.__tostring(result)
  local text = ("<CompletedProcess %s returncode=%d"):format(
    quote(render(result.args)), result.returncode)
  if result.stdout then text = text .. " stdout=" .. quote(result.stdout) end
  if result.stderr then text = text .. " stderr=" .. quote(result.stderr) end
  return text .. ">"
end

local function failure(result)
  local code = result.returncode
  local how = code < 0 and ("was ended by signal %d"):format(-code)
    or ("returned the exit code %d"):format(code)
  return errors.new(errors.CalledProcessError, ("'%s' %s"):format(render(result.args), how),
    { cmd = result.args, returncode = code, stdout = result.stdout, stderr = result.stderr })
end

function Completed:check_returncode()
  if self.returncode ~= 0 then error(failure(self), 2) end
end

local function expired(args, timeout, out, err)
  local message = ("'%s' has not ended within %g s"):format(render(args), timeout)
  return errors.new(errors.TimeoutExpired, message,
    { cmd = args, timeout = timeout, stdout = out, stderr = err })
end

-- --- Popen ------------------------------------------------------------------

local Popen = {}
local getters = {}

function getters.pid(process) return process._handle:pid() end

function getters.returncode(process)
  if process._handle:pid() then return process._handle:poll() end
end

--- Closes a pipe; what it still held may have nobody to read it, and a thread
--- that is inside it is left alone.
local function close_pipe(file)
  if file and io.type(file) == "file" then errors.pcall(file.close, file) end
end

local function close_pipes(process)
  close_pipe(process.stdout)
  close_pipe(process.stderr)
  close_pipe(process.stdin)
end

--- The first interrupt of a wait gives the child its moment.
local function give_moment(process)
  if process._interrupted then return end
  process._interrupted = true
  process._handle:wait(MOMENT)
end

local function describe(process)
  local code, state = process.returncode, "initial"
  if code then
    state = "finished returncode=" .. code
  elseif process.pid then
    state = "started pid=" .. process.pid
  end
  return ("<Popen %s %s>"):format(quote(render(process.args)), state)
end

local function close(process, problem)
  close_pipes(process)
  if problem ~= nil and errors.is(problem, errors.KeyboardInterrupt) then
    give_moment(process)
  else
    process._handle:wait()
  end
end

local meta = {
  __name = "subprocess.Popen",
  __tostring = describe,
  __close = close,
  __waitable = function(process) return process._handle end,
}

function meta.__index(process, key)
  local get = getters[key]
  if get then return get(process) end
  return Popen[key]
end

function meta.__newindex(process, key, value)
  if getters[key] then error(("cannot set %s of a process"):format(key), 2) end
  rawset(process, key, value)
end

--- An object that has not been started. What is set later has its place, so
--- that this needs no memory when the child is there.
local function create(args)
  return setmetatable({
    args = args,
    stdin = false,
    stdout = false,
    stderr = false,
    _handle = core.Handle(),
    _exchange = false,
    _interrupted = false,
  }, meta)
end

local function start(process, o)
  process.stdin, process.stdout, process.stderr =
    core.start(process._handle, options.to_start(o))
  return process
end

--- What the caller gave as args, not the copy.
local function given_args(first, second)
  if second == nil and type(first) == "table" and first.args ~= nil then return first.args end
  return first
end

setmetatable(Popen, {
  __name = "Popen class",
  __call = function(_, first, second)
    local o = options.read("Popen", options.Popen, first, second)
    return start(create(given_args(first, second)), o)
  end,
})
subprocess.Popen = Popen

function Popen:poll() return self._handle:poll() end

function Popen:wait(timeout)
  if timeout ~= nil and not (type(timeout) == "number" and timeout >= 0) then
    error("bad argument #1 to 'wait' (timeout must be a number of seconds >= 0)", 2)
  end
  return self._handle:wait(timeout) and self._handle:poll()
end

function Popen:send_signal(signal)
  local ok, problem = pcall(self._handle.signal, self._handle, signal)
  if ok then return end
  if type(problem) ~= "string" then error(problem, 0) end
  error((problem:gsub("#%d to '[^']*'", "#1 to 'send_signal'")), 2)
end

function Popen:terminate() self._handle:signal("TERM") end

function Popen:kill() self._handle:signal("KILL") end

--- Feeds and drains the pipes and waits for the end; false if the time passed.
local function talk(process, deadline)
  local state
  repeat
    state = process._exchange:run(left(deadline))
    if state == "written" then process.stdin:close() end
  until state ~= "written"
  return state and process._handle:wait(left(deadline))
end

--- Begins to communicate, or goes on. Returns why it cannot.
local function begin(process, input)
  if process._exchange then return input and "communicate has its input already" end
  if input and not process.stdin then return "input: stdin is not a pipe" end
  process._exchange = core.Exchange(process.stdin, process.stdout, process.stderr, input)
end

local function communicate(process, timeout)
  local ok, ended = pcall(talk, process, deadline_of(timeout))
  if not ok then
    if errors.is(ended, errors.KeyboardInterrupt) then give_moment(process) end
    error(ended, 0)
  end
  if not ended then error(expired(process.args, timeout, process._exchange:output()), 0) end
  local out, err = process._exchange:output(true)
  close_pipes(process)
  return out, err
end

function Popen:communicate(...)
  local input, timeout = options.read_communicate(...)
  local problem = begin(self, input)
  if problem then error(problem, 2) end
  return communicate(self, timeout)
end

-- --- Functions that see to the end ------------------------------------------

-- Whatever ends them early, the child is killed: a __close of this kind runs
-- even in a thread that is killed.
local Guard = {}

function Guard.__close(guard)
  local process = guard.process
  local handle = process._handle
  if not handle:pid() then return end
  if not guard.done then handle:signal("KILL") end
  close_pipes(process)
  handle:wait()
end

--- Runs to the end by checked options; 'args' is for the result.
local function complete(o, args)
  if o.capture_output then o.stdout, o.stderr = core.PIPE, core.PIPE end
  if o.input then o.stdin = core.PIPE end
  local guard <close> = setmetatable({ process = create(args), done = false }, Guard)
  local process = start(guard.process, o)
  begin(process, o.input)
  local out, err = communicate(process, o.timeout)
  guard.done = true
  return setmetatable(
    { args = args, returncode = process.returncode, stdout = out, stderr = err }, Completed)
end

local function checked(result)
  if result.returncode ~= 0 then error(failure(result), 0) end
  return result
end

function subprocess.run(args, opts)
  local o = options.read("run", options.run, args, opts)
  local result = complete(o, given_args(args, opts))
  return o.check and checked(result) or result
end

function subprocess.call(args, opts)
  local o = options.read("call", options.call, args, opts)
  return complete(o, given_args(args, opts)).returncode
end

function subprocess.check_call(args, opts)
  local o = options.read("check_call", options.call, args, opts)
  return checked(complete(o, given_args(args, opts))).returncode
end

function subprocess.check_output(args, opts)
  local o = options.read("check_output", options.check_output, args, opts)
  o.stdout = core.PIPE
  return checked(complete(o, given_args(args, opts))).stdout
end

local function status_output(name, command)
  if type(command) ~= "string" then
    error(("bad argument #1 to '%s' (string expected, got %s)"):format(name, type(command)), 3)
  end
  local o = options.read(name, options.Popen, command, { shell = true }, 5)
  o.stdout, o.stderr = core.PIPE, core.STDOUT
  local result = complete(o, command)
  return result.returncode, (result.stdout:gsub("\n$", ""))
end

function subprocess.getstatusoutput(command)
  local code, output = status_output("getstatusoutput", command)
  return code, output
end

function subprocess.getoutput(command)
  local _, output = status_output("getoutput", command)
  return output
end

return subprocess

--- The options of subprocess's functions: checked, and copied into tables that
--- nobody else has, as "tidelock._subprocess" wants them.
local core = require("tidelock._subprocess")

local INT_MAX = 0x7fffffff

local options = {}

local function got(value)
  return math.type(value) == "float" and tostring(value) or type(value)
end

local function expected(kind, value)
  return nil, ("%s expected, got %s"):format(kind, got(value))
end

--- What the system takes for a string ends at its first zero.
local function check_string(value, what)
  if type(value) ~= "string" then return expected(what or "string", value) end
  if value:find("\0", 1, true) then return nil, "embedded zero" end
  return value
end

local function check_boolean(value)
  if type(value) ~= "boolean" then return expected("boolean", value) end
  return value
end

local function check_integer(value, least)
  local number = type(value) == "number" and math.tointeger(value)
  if not number then return expected("integer", value) end
  if number < least or number > INT_MAX then return nil, "out of range" end
  return number
end

--- A copy of an array whose items check(item) accepts.
local function check_array(value, kind, check, ...)
  if type(value) ~= "table" then return expected(kind, value) end
  local copy = {}
  for i, item in ipairs(value) do
    local checked, problem = check(item, ...)
    if checked == nil then return nil, ("item %d: %s"):format(i, problem) end
    copy[i] = checked
  end
  for key in pairs(value) do
    if not copy[key] then
      return nil, ("not an array: it has a field '%s'"):format(tostring(key))
    end
  end
  return copy
end

local check = {
  capture_output = check_boolean,
  check = check_boolean,
  close_fds = check_boolean,
  cwd = check_string,
  shell = check_boolean,
  start_new_session = check_boolean,
}

function check.args(value)
  if type(value) == "string" then value = { value } end
  local copy, problem = check_array(value, "string or array of strings", check_string)
  if copy and #copy == 0 then return nil, "empty" end
  return copy, problem
end

function check.env(value)
  if type(value) ~= "table" then return expected("table", value) end
  local list = {}
  for name, text in pairs(value) do
    local checked, problem = check_string(name, "names: string")
    if not checked then return nil, problem end
    if name == "" or name:find("=", 1, true) then
      return nil, ("%q is no name of a variable"):format(name)
    end
    checked, problem = check_string(text)
    if not checked then return nil, ("'%s': %s"):format(name, problem) end
    list[#list + 1] = name .. "=" .. text
  end
  return list
end

function check.input(value)
  if type(value) ~= "string" then return expected("string", value) end
  return value
end

--- In ascending order, each once.
function check.pass_fds(value)
  local copy, problem = check_array(value, "array of descriptors", check_integer, 0)
  if not copy then return nil, problem end
  table.sort(copy)
  local once = {}
  for i, fd in ipairs(copy) do
    if fd ~= copy[i + 1] then once[#once + 1] = fd end
  end
  return once
end

function check.process_group(value) return check_integer(value, 0) end

function check.timeout(value)
  if type(value) ~= "number" then return expected("number", value) end
  if value >= 0 then return value end
  return nil, "timeout must be a number of seconds >= 0"
end

local function check_stream(value)
  if value == core.PIPE or value == core.DEVNULL then return value end
  local kind = io.type(value)
  if kind == "file" then return value end
  if kind then return nil, "the file is closed" end
  if type(value) ~= "number" then return expected("file, descriptor or constant", value) end
  return check_integer(value, 0)
end
check.stdin, check.stdout = check_stream, check_stream

function check.stderr(value)
  if value == core.STDOUT then return value end
  return check_stream(value)
end

--- A set of names: those of another set, more, without some.
local function names(base, more)
  local set = {}
  for name in pairs(base) do set[name] = true end
  for _, name in ipairs(more) do set[name] = true end
  return set
end

local STREAMS = { "stdin", "stdout", "stderr" }
local CHILD = names({}, { "args", "shell", "cwd", "env", "close_fds", "pass_fds",
  "start_new_session", "process_group", "stdin", "stderr" })

options.Popen = names(CHILD, { "stdout" })
options.call = names(options.Popen, { "timeout" })
options.check_output = names(CHILD, { "input", "timeout" })
options.run = names(options.call, { "input", "capture_output", "check" })
options.communicate = names({}, { "input", "timeout" })

--- Finds what does not go together.
local function find_conflict(o)
  if o.input and o.stdin then return "stdin and input may not both be given" end
  if o.capture_output and (o.stdout or o.stderr) then
    return "stdout and stderr may not be given with capture_output"
  end
end

--- Whether the only argument holds all the options.
local function is_whole(first, second)
  return second == nil and type(first) == "table" and first.args ~= nil
end

--- A new table of the options that a function was called with, as f(args,
--- options) or f{args = args, ...}; raises at the caller of the function, or at
--- the level that is given.
function options.read(name, allowed, first, second, level)
  local number, given = 2, second
  local function bad(problem, ...)
    error(("bad argument #%d to '%s' (%s)"):format(number, name, problem:format(...)), level or 4)
  end
  if is_whole(first, second) then
    number, given = 1, first
  elseif given ~= nil and type(given) ~= "table" then
    bad("table expected, got %s", type(given))
  end
  local o = {}
  for key, value in pairs(given or {}) do
    if not allowed[key] or number == 2 and key == "args" then
      bad("unknown option '%s'", tostring(key))
    end
    local checked, problem = check[key](value)
    if checked == nil then bad("%s: %s", key, problem) end
    o[key] = checked
  end
  if number == 2 then
    local checked, problem = check.args(first)
    if not checked then
      number = 1
      bad("args: %s", problem)
    end
    o.args = checked
  end
  local conflict = find_conflict(o)
  if conflict then bad("%s", conflict) end
  return o
end

--- Arguments (input, timeout) or one table of them.
function options.read_communicate(...)
  local input, timeout = ...
  local o, number = { input = input, timeout = timeout }, nil
  if type(input) == "table" then o, number = input, 1 end
  local result = {}
  for key, value in pairs(o) do
    local at = number or key == "input" and 1 or 2
    local problem = ("unknown option '%s'"):format(tostring(key))
    local checked
    if options.communicate[key] then checked, problem = check[key](value) end
    if checked == nil then
      error(("bad argument #%d to 'communicate' (%s: %s)"):format(at, key, problem), 3)
    end
    result[key] = checked
  end
  return result.input, result.timeout
end

--- What core.start takes. Flushes the files among the streams: their
--- descriptors stand where the script has got to then.
function options.to_start(o)
  local argv = o.args
  if o.shell then argv = table.move(argv, 1, #argv, 3, { "/bin/sh", "-c" }) end
  for _, name in ipairs(STREAMS) do
    if io.type(o[name]) then o[name]:flush() end
  end
  return {
    argv = argv,
    env = o.env,
    cwd = o.cwd,
    close_fds = o.close_fds ~= false or o.pass_fds ~= nil,
    keep = o.pass_fds,
    new_session = o.start_new_session,
    group = o.process_group,
    stdin = o.stdin,
    stdout = o.stdout,
    stderr = o.stderr,
  }
end

return options

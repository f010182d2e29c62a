--- Checks of what the constructors and methods of a pool are given. Each is
--- called by the function that a method calls, and raises what is wrong where
--- that method was called.
local arguments = require("tidelock._arguments")

local check = {}

local function bad(number, name, message, ...)
  error(("bad argument #%d to '%s' (%s)"):format(number, name, message:format(...)), 5)
end

--- These return the value as it is used, or nil if it is none.
local function to_count(value)
  local count = type(value) == "number" and math.tointeger(value)
  return count and count >= 1 and count or nil
end

local function to_callable(value) return arguments.is_callable(value) and value or nil end

local function to_arguments(value)
  return type(value) == "table" and arguments.copy(value) or nil
end

local function to_context(value)
  return type(value) == "table" and value.Process ~= nil and value or nil
end

local ARGUMENTS = "table of arguments" -- whose field 'n', if any, is their number

local OPTIONS = {
  processes = { to_count, "integer >= 1" },
  initializer = { to_callable, "function" },
  initargs = { to_arguments, ARGUMENTS },
  maxtasksperchild = { to_count, "integer >= 1" },
  context = { to_context, "context" },
  callback = { to_callable, "function" },
  error_callback = { to_callable, "function" },
  chunksize = { to_count, "integer >= 1" },
  buffersize = { to_count, "integer >= 1" },
}

local function describe(value) return math.type(value) and tostring(value) or type(value) end

local function is_options(value)
  return type(value) == "table" and not arguments.is_callable(value)
end

--- The named options of a table. Is called in the last place: so it stands in
--- that of the check.
local function read_table(number, name, names, t)
  local options, known = {}, {}
  for _, key in ipairs(names) do known[key] = OPTIONS[key] end
  for key, value in pairs(t) do
    if not known[key] then bad(number, name, "unknown option '%s'", tostring(key)) end
    options[key] = known[key][1](value)
    if options[key] == nil then
      bad(number, name, "%s: %s expected, got %s", key, known[key][2], describe(value))
    end
  end
  return options
end

--- The options of a constructor, which are in a table, or stand in the order of
--- the names.
function check.options(name, names, ...)
  if select("#", ...) == 1 and is_options((...)) then return read_table(1, name, names, ...) end
  local options = {}
  for i, key in ipairs(names) do
    local value = select(i, ...)
    if value ~= nil then options[key] = OPTIONS[key][1](value) end
    if value ~= nil and options[key] == nil then
      bad(i, name, "%s expected, got %s", OPTIONS[key][2], describe(value))
    end
  end
  return options
end

function check.callable(fn, name)
  if not arguments.is_callable(fn) then bad(1, name, "function expected, got %s", type(fn)) end
end

--- A copy of the arguments of a call.
function check.arguments(args, name)
  local copy = to_arguments(args == nil and {} or args)
  if not copy then bad(2, name, "%s expected, got %s", ARGUMENTS, type(args)) end
  return copy
end

function check.chunksize(size, name)
  if size == nil then return nil end
  local count = to_count(size)
  if not count then bad(3, name, "chunksize: integer >= 1 expected, got %s", describe(size)) end
  return count
end

local CALLBACKS = { "callback", "error_callback" }

function check.callbacks(options, number, name)
  if options == nil then return {} end
  if not is_options(options) then bad(number, name, "table expected, got %s", type(options)) end
  return read_table(number, name, CALLBACKS, options)
end

local AHEAD = { "chunksize", "buffersize" }

--- The options of an iterator, or its chunksize.
function check.ahead(options, name)
  if not is_options(options) then options = { chunksize = options } end
  return read_table(3, name, AHEAD, options)
end

--- Whether it is an object with items, as an Array is.
local function has_items(value)
  local meta = type(value) == "userdata" and getmetatable(value)
  return type(meta) == "table" and meta.__len ~= nil and meta.__index ~= nil
end

function check.items(list, name)
  if type(list) == "table" or arguments.is_callable(list) or has_items(list) then return end
  bad(2, name, "list or iterator expected, got %s", type(list))
end

--- Raises unless all n items are tables.
function check.tables(list, n, name)
  for i = 1, n do
    if type(list[i]) ~= "table" then
      bad(2, name, "item %d: %s expected, got %s", i, ARGUMENTS, type(list[i]))
    end
  end
end

return check

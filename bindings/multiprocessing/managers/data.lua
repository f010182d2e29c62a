--- dict, list, Namespace, Value and Array in a manager's server. Each method is
--- called with the referent, alone: see objects.lua.
local text = require("tidelock.multiprocessing.managers.text")
local typed = require("tidelock.multiprocessing.managers.typed")

local data = {}

local function bad(number, name, message)
  error(("bad argument #%d to '%s' (%s)"):format(number, name, message), 0)
end

local function check_table(value, number, name)
  if type(value) ~= "table" then bad(number, name, "table expected, got " .. type(value)) end
  return value
end

local function shallow(t)
  local copy = {}
  for key, value in pairs(t) do copy[key] = value end
  return copy
end

-- --- What all have ------------------------------------------------------------

local function index(t, _, key) return t[key] end

local function newindex(t, _, key, value) t[key] = value end

local function length(t) return #t end

--- The keys and the values, for a loop over them.
local function snapshot(t)
  local keys, values, n = {}, {}, 0
  for key, value in pairs(t) do
    n = n + 1
    keys[n], values[n] = key, value
  end
  return keys, values
end

-- --- dict ---------------------------------------------------------------------

local dict = { __index = index, __newindex = newindex, __len = length, __pairs = snapshot }
dict.copy = shallow

function dict.get(t, _, key, default)
  local value = t[key]
  if value == nil then value = default end
  return value
end

function dict.has(t, _, key) return t[key] ~= nil end

function dict.pop(t, _, key, default)
  local value = t[key]
  if value == nil then return default end
  t[key] = nil
  return value
end

function dict.popitem(t)
  local key, value = next(t)
  if key ~= nil then t[key] = nil end
  return key, value
end

function dict.setdefault(t, _, key, default)
  if t[key] == nil then t[key] = default end
  return t[key]
end

function dict.update(t, _, other)
  for key, value in pairs(check_table(other, 1, "update")) do t[key] = value end
end

function dict.clear(t)
  for key in next, t do t[key] = nil end
end

function dict.keys(t) return (snapshot(t)) end

function dict.values(t) return (select(2, snapshot(t))) end

function dict.items(t)
  local keys, values = snapshot(t)
  for i, key in ipairs(keys) do keys[i] = { key, values[i] } end
  return keys
end

function dict.len(t) return #dict.keys(t) end

data.dict = { methods = dict }
function data.dict.create(_, t)
  return t == nil and {} or shallow(check_table(t, 1, "dict"))
end

-- --- list ---------------------------------------------------------------------

local list = { __index = index, __len = length, __pairs = snapshot, copy = shallow, len = length }

function list.__newindex(t, _, key, value)
  local n, i = #t, math.type(key) and math.tointeger(key)
  if not i or i < 1 or i > n + 1 or value == nil and i < n then
    error(("a list of %d cannot have %s at index %s"):format(n,
      value == nil and "a hole" or "an element", tostring(key)), 0)
  end
  t[i] = value
end

local function check_value(value, number, name)
  if value == nil then bad(number, name, "value expected") end
  return value
end

local function check_index(i, number, name, last)
  local integer = math.type(i) and math.tointeger(i)
  if not integer then bad(number, name, "integer expected, got " .. type(i)) end
  if integer < 1 or integer > last then bad(number, name, "index out of range") end
  return integer
end

function list.append(t, _, value) t[#t + 1] = check_value(value, 1, "append") end

--- insert(value) or insert(i, value), as table.insert.
function list.insert(t, _, ...)
  local i, value = ...
  if select("#", ...) < 2 then return list.append(t, _, i) end
  i = check_index(i, 1, "insert", #t + 1)
  table.insert(t, i, check_value(value, 2, "insert"))
end

--- The element that was at i, at the end if absent; nil of an empty list.
function list.pop(t, _, i)
  if i == nil and #t == 0 then return nil end
  return table.remove(t, check_index(i == nil and #t or i, 1, "pop", #t))
end
list.remove = list.pop

--- A copy of a table without holes.
local function elements(given, name)
  local n = #check_table(given, 1, name)
  local copy = table.move(given, 1, n, 1, {})
  for i = 1, n do
    if copy[i] == nil then bad(1, name, "the table has a hole") end
  end
  return copy
end

function list.extend(t, _, other)
  other = elements(other, "extend")
  table.move(other, 1, #other, #t + 1, t)
end

function list.index(t, _, value)
  for i, other in ipairs(t) do
    if other == value then return i end
  end
end

function list.count(t, _, value)
  local n = 0
  for _, other in ipairs(t) do
    if other == value then n = n + 1 end
  end
  return n
end

function list.reverse(t)
  local n = #t
  for i = 1, n // 2 do t[i], t[n + 1 - i] = t[n + 1 - i], t[i] end
end

function list.sort(t, _, lt)
  if lt ~= nil and type(lt) ~= "function" then
    bad(1, "sort", "function expected, got " .. type(lt))
  end
  table.sort(t, lt)
end

function list.clear(t)
  for i = #t, 1, -1 do t[i] = nil end
end

data.list = { methods = list }
function data.list.create(_, t)
  return t == nil and {} or elements(t, "list")
end

-- --- Namespace, Value, Array ----------------------------------------------------

--- Names that begin with '_' are not told.
local function public(t)
  local shown = {}
  for key, value in pairs(t) do
    if not (type(key) == "string" and key:sub(1, 1) == "_") then shown[key] = value end
  end
  return shown
end

data.Namespace = { shown = public, methods = {
  __index = index,
  __newindex = newindex,
  __pairs = function(t) return snapshot(public(t)) end,
} }
function data.Namespace.create(_, t)
  return t == nil and {} or shallow(check_table(t, 1, "Namespace"))
end

data.Value = {
  shown = function(v) return { v.value } end,
  methods = {
    __index = index,
    __newindex = newindex,
    get = function(v) return v.value end,
    set = function(v, _, value) v.value = value end,
  },
  create = typed.Value,
}

data.Array = {
  methods = { __index = index, __newindex = newindex, __len = length, __pairs = snapshot,
    copy = shallow, len = length },
  create = typed.Array,
}

data.dict.is_plain, data.Namespace.is_plain = true, true

for _, kind in pairs(data) do
  kind.is_data = true
  kind.methods.__tostring = function(t) return text.of(kind.shown and kind.shown(t) or t) end
end

return data

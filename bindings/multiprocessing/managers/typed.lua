--- Values of the types of C, as Value and Array of a manager's server hold them.
local typed = {}

--- How string.pack writes them; and "bool", and "char": a string of one byte.
local FORMATS = {
  int8 = "i1", int16 = "i2", int32 = "i4", int64 = "i8",
  uint8 = "I1", uint16 = "I2", uint32 = "I4", uint64 = "I8",
  float = "f", double = "d", bool = "bool", char = "char",
  b = "i1", h = "i2", i = "i4", l = "i8", q = "i8",
  B = "I1", H = "I2", I = "I4", L = "I8", Q = "I8",
  f = "f", d = "d", ["?"] = "bool", c = "char",
}

local ZEROS = { bool = false, char = "\0" }

local function zero_of(format)
  local zero = ZEROS[format]
  return zero == nil and 0 or zero
end

local function check_type(code, name)
  local format = FORMATS[code]
  if format then return format end
  error(("bad argument #1 to '%s' (unknown type '%s')"):format(name, tostring(code)), 0)
end

--- The value as the type holds it; raises for what it cannot hold.
local function convert(format, code, value)
  if format == "bool" then
    if type(value) == "boolean" then return value end
  elseif format == "char" then
    if type(value) == "string" and #value == 1 then return value end
  elseif type(value) == "number" then
    local ok, bytes = pcall(string.pack, format, value)
    if ok then return (string.unpack(format, bytes)) end
  end
  error(("a value of type '%s' cannot be %s"):format(code,
    type(value) == "number" and tostring(value) or type(value)), 0)
end

-- --- Value ---------------------------------------------------------------------

local Value = { __name = "Value" }

function Value.__index(self, key)
  if key == "value" then return self[Value] end
  error(("a Value has no field '%s'"):format(tostring(key)), 0)
end

function Value.__newindex(self, key, value)
  if key ~= "value" then error(("a Value has no field '%s'"):format(tostring(key)), 0) end
  rawset(self, Value, convert(rawget(self, "format"), rawget(self, "code"), value))
end

--- An object with a field 'value'.
function typed.Value(_, code, value)
  local format = check_type(code, "Value")
  if value == nil then value = zero_of(format) end
  value = convert(format, code, value)
  return setmetatable({ code = code, format = format, [Value] = value }, Value)
end

-- --- Array ---------------------------------------------------------------------

local Array = { __name = "Array" }

local function check_index(self, key)
  local i = math.type(key) and math.tointeger(key)
  if i and i >= 1 and i <= rawget(self, "size") then return i end
  error(("index %s is out of range"):format(tostring(key)), 0)
end

function Array.__index(self, key) return rawget(self, "items")[check_index(self, key)] end

function Array.__newindex(self, key, value)
  local i = check_index(self, key)
  rawget(self, "items")[i] = convert(rawget(self, "format"), rawget(self, "code"), value)
end

function Array.__len(self) return rawget(self, "size") end

function Array.__pairs(self)
  return function(_, i)
    i = i + 1
    if i <= #self then return i, self[i] end
  end, nil, 0
end

--- An object of so many zeros, or of a table's values, or of a string's bytes.
function typed.Array(_, code, given)
  local format = check_type(code, "Array")
  local items, size = {}
  if format == "char" and type(given) == "string" then
    size = #given
    for i = 1, size do items[i] = given:sub(i, i) end
  elseif type(given) == "table" then
    size = #given
    for i = 1, size do items[i] = convert(format, code, given[i]) end
  else
    size = math.type(given) and math.tointeger(given)
    if not size or size < 0 then
      error("bad argument #2 to 'Array' (a size or a table expected)", 0)
    end
    local zero = convert(format, code, zero_of(format))
    for i = 1, size do items[i] = zero end
  end
  return setmetatable({ code = code, format = format, size = size, items = items }, Array)
end

return typed

--- Shared memory with a name: ShareableList, over "tidelock._shared_memory";
--- all is documented in types/multiprocessing.shared_memory.lua.
---
--- A list lies in its block as words of eight bytes: MAGIC, the number of slots
--- n, n + 1 offsets of where slots begin and the last one ends, n words that
--- say what is in a slot, and the slots. Such a word is a kind and, of a string,
--- 256 times its length.
local core = require("tidelock._shared_memory")

local MAGIC = string.unpack("=i8", "TLlist 1")
local WORD = 8 -- bytes
local NIL, BOOLEAN, INTEGER, FLOAT, STRING = 0, 1, 2, 3, 4

-- As CPython's format tells of values of a size.
local FORMATS = { [NIL] = "xxxxxx?x", [BOOLEAN] = "xxxxxxx?", [INTEGER] = "q", [FLOAT] = "d" }

local function kind_of(value)
  local kind = type(value)
  if kind == "nil" then return NIL end
  if kind == "boolean" then return BOOLEAN end
  if kind == "string" then return STRING end
  if kind == "number" then return math.type(value) == "integer" and INTEGER or FLOAT end
end

--- Bytes of the slot of a value: as CPython's, a string has room for at least
--- one byte more.
local function slot_size(value)
  if type(value) ~= "string" then return WORD end
  return WORD * (#value // WORD + 1)
end

local ShareableList = {}
ShareableList.__name = "multiprocessing.shared_memory.ShareableList"

local methods = {}

-- The words that a list of n slots has before them, and where its parts are: the
-- offset of slot i is words[OFFSETS + i], what it holds is words[OFFSETS + n + 1 + i].
local OFFSETS = 2

local function header_size(n) return WORD * (OFFSETS + n + 1 + n) end

--- The object over an open block.
local function attach(shm)
  local words = shm.buf:view("int64")
  return setmetatable({
    shm = shm,
    _buf = shm.buf,
    _count = words[2],
    _words = words,
    _floats = shm.buf:view("double"),
  }, ShareableList)
end

--- Where slot i is, and its size.
local function slot(list, i)
  local words = list._words
  local offset = words[OFFSETS + i]
  return offset, words[OFFSETS + i + 1] - offset
end

--- A string goes before what tells of it, so that nobody reads what was there
--- under its length.
local function store(list, i, value, kind)
  local offset = slot(list, i)
  local at = offset // WORD + 1
  local head = kind
  if kind == STRING then
    list._buf:write(offset, value)
    head = kind + 256 * #value
  elseif kind == INTEGER then
    list._words[at] = value
  elseif kind == FLOAT then
    list._floats[at] = value
  elseif kind == BOOLEAN then
    list._words[at] = value and 1 or 0
  end
  list._words[OFFSETS + list._count + 1 + i] = head
end

local function head(list, i)
  local word = list._words[OFFSETS + list._count + 1 + i]
  return word & 255, word >> 8
end

local function load(list, i)
  local kind, length = head(list, i)
  local offset, size = slot(list, i)
  local at = offset // WORD + 1
  if kind == STRING then return list._buf:read(offset, math.min(length, size)) end
  if kind == INTEGER then return list._words[at] end
  if kind == FLOAT then return list._floats[at] end
  if kind == BOOLEAN then return list._words[at] ~= 0 end
  return nil
end

--- A list that could not be made whole has no name.
local unmade = {
  __close = function(making, problem)
    if not problem or not making.shm then return end
    making.shm:close()
    making.shm:unlink()
  end,
}

local function create(list, name)
  local n = list.n
  if n == nil then n = #list end
  if math.type(n) ~= "integer" or n < 0 then
    error("bad argument #1 to 'ShareableList' (field 'n' is no number of slots)", 2)
  end
  local offset, offsets, values = header_size(n), {}, {}
  for i = 1, n do
    local value = list[i] -- once: other threads may change the table
    if not kind_of(value) then
      error(("bad argument #1 to 'ShareableList' (element %d: a %s cannot be in it)")
        :format(i, type(value)), 2)
    end
    offsets[i], values[i] = offset, value
    offset = offset + slot_size(value)
  end
  offsets[n + 1] = offset
  local making <close> = setmetatable({ shm = false }, unmade)
  making.shm = core.SharedMemory(name, true, offset)
  local shm = making.shm
  local words = shm.buf:view("int64")
  words[2] = n
  words:write(OFFSETS + 1, offsets)
  local object = attach(shm)
  for i = 1, n do store(object, i, values[i], kind_of(values[i])) end
  words[1] = MAGIC -- what has been opened before this is no list
  return object
end

--- Whether the block holds a list, which it cannot be hoped of a stranger's.
local function is_list(shm)
  if shm.size < header_size(0) then return false end
  local words = shm.buf:view("int64")
  local n = words[2]
  if words[1] ~= MAGIC or n < 0 or n > #words or header_size(n) > shm.size then return false end
  local last = header_size(n)
  if words[OFFSETS + 1] ~= last then return false end
  for i = 2, n + 1 do
    local offset = words[OFFSETS + i]
    if offset % WORD ~= 0 or offset < last + WORD or offset > shm.size then return false end
    last = offset
  end
  return true
end

--- How it travels.
function ShareableList.__portable(list) return core.portable_list(list.shm) end

local function open(name)
  local shm = core.SharedMemory(name)
  if is_list(shm) then return attach(shm) end
  shm:close()
  error(("bad argument #2 to 'ShareableList' (there is no list in %q)"):format(name), 2)
end

local function bad_index(list, i, operation)
  if math.type(i) ~= "integer" then
    error(("bad argument #2 to '%s' (integer expected, got %s)"):format(operation, type(i)), 4)
  end
  error(("bad argument #2 to '%s' (index %d is out of range [1, %d])")
    :format(operation, i, list._count), 4)
end

--- The number of the slot that the key of an access stands for.
local function check_index(list, key, operation)
  local i, n = math.tointeger(key), list._count
  if i and i < 0 and i >= -n then i = n + 1 + i end
  if not i or i < 1 or i > n then bad_index(list, i or key, operation) end
  return i
end

function ShareableList.__index(list, key)
  if type(key) == "number" then return load(list, check_index(list, key, "index")) end
  if key == "format" then return methods._format(list) end
  return methods[key]
end

function ShareableList.__newindex(list, key, value)
  if type(key) ~= "number" then
    error(("no attribute '%s' to set in a ShareableList"):format(tostring(key)), 2)
  end
  local i, kind = check_index(list, key, "newindex"), kind_of(value)
  if not kind then
    error(("bad argument #3 to 'newindex' (a %s cannot be in it)"):format(type(value)), 2)
  end
  local _, size = slot(list, i)
  if kind == STRING and #value > size then
    error(("bad argument #3 to 'newindex' (string of %d bytes, the slot has %d)")
      :format(#value, size), 2)
  end
  store(list, i, value, kind)
end

function ShareableList.__len(list) return list._count end

local function following(list, i)
  if i < list._count then return i + 1, load(list, i + 1) end
end

function ShareableList.__pairs(list) return following, list, 0 end

function ShareableList.__tostring(list)
  return ("<ShareableList %q of %d>"):format(list.shm.name, list._count)
end

function methods.count(list, value)
  local n = 0
  for _, element in pairs(list) do
    if element == value then n = n + 1 end
  end
  return n
end

function methods.index(list, value)
  for i, element in pairs(list) do
    if element == value then return i end
  end
  return nil
end

function methods._format(list)
  local parts = {}
  for i = 1, list._count do
    local _, size = slot(list, i)
    parts[i] = FORMATS[head(list, i)] or size .. "s"
  end
  return table.concat(parts)
end

return {
  _attach = function(shm)
    if not is_list(shm) then error(("there is no list in %q"):format(shm.name)) end
    return attach(shm)
  end,
  SharedMemory = core.SharedMemory,
  ShareableList = function(list, name)
    if name ~= nil and type(name) ~= "string" then
      error(("bad argument #2 to 'ShareableList' (string expected, got %s)"):format(type(name)), 2)
    end
    if list == nil then
      if name == nil then
        error("bad argument #1 to 'ShareableList' (table expected, or the name of a list)", 2)
      end
      return open(name)
    end
    if type(list) ~= "table" then
      error(("bad argument #1 to 'ShareableList' (table expected, got %s)"):format(type(list)), 2)
    end
    return create(list, name)
  end,
}

--- Where the items come from that are given to a pool: lists, and iterators.
local arguments = require("tidelock._arguments")
local errors = require("tidelock.errors")
local pool = require("tidelock._pool")

local sources = {}

--- How many items a list has: what its field 'n' says, or its length.
local function length(list)
  local n = type(list) == "table" and list.n
  if math.type(n) == "integer" and n >= 0 then return n end
  return #list
end

--- Adds items of an iterator to a list until it has so many.
local function fill(list, iterator, size)
  while list.n < size do
    local item = iterator()
    if item == nil then break end
    list.n, list[list.n + 1] = list.n + 1, item
  end
  return list
end

--- All items, as a table that has them itself, and their number.
function sources.all(items)
  if arguments.is_callable(items) then items = fill({ n = 0 }, items, math.huge) end
  local n = length(items)
  return pool.raw(items, n), n
end

local function of_list(list)
  local i, n = 0, length(list)
  return function(size)
    size = math.min(size, n - i)
    if size <= 0 then return nil end
    i = i + size return pool.slice(list, i - size + 1, size)
  end
end

local function of_iterator(iterator)
  return function(size)
    local chunk = { n = 0 }
    local ok, problem = errors.pcall(fill, chunk, iterator, size)
    return chunk.n > 0 and chunk or nil, not ok and { value = problem } or nil
  end
end

--- A function that gives up to so many items each time: nil at the end. If an
--- iterator fails, it gives what came before and the problem.
function sources.open(items)
  return arguments.is_callable(items) and of_iterator(items) or of_list(items)
end

return sources

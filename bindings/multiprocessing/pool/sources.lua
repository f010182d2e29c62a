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
  local n = length(list)
  return function(index, size)
    local begin = (index - 1) * size
    if begin < n then return pool.slice(list, begin + 1, math.min(size, n - begin)) end
  end
end

--- An iterator is not called again after its end.
local function of_iterator(iterator)
  local chunk, at, ended, problem = nil, 0, false, nil
  return function(index, size)
    if index ~= at then
      chunk = { n = 0 }
      at = index
    end
    if not ended and chunk.n < size then
      local ok, value = errors.pcall(fill, chunk, iterator, size)
      if not ok then problem = { value = value } end
      ended = chunk.n < size
    end
    if chunk.n > 0 then return chunk end
    return nil, problem
  end
end

--- A function that gives the chunk of that index, of up to so many items: each time
--- the same one, until it is asked for the next. Nil at the end; if an iterator has
--- failed, and the problem.
function sources.open(items)
  return arguments.is_callable(items) and of_iterator(items) or of_list(items)
end

return sources

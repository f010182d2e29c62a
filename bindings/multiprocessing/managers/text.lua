--- Tables as text, for people.
local text = {}

local DEPTH, MOST = 4, 40

local function key_text(key)
  if type(key) == "string" and key:match("^[%a_][%w_]*$") then return key end
  return "[" .. (type(key) == "string" and ("%q"):format(key) or tostring(key)) .. "]"
end

local function by_text(a, b) return a.key < b.key end

--- What is shown of a table: the list, and then the rest by their keys.
local function parts_of(t, depth)
  local parts, rest = {}, {}
  for i = 1, math.min(#t, MOST) do parts[i] = text.of(t[i], depth + 1) end
  for key, value in pairs(t) do
    if not (math.type(key) == "integer" and key >= 1 and key <= #t) then
      if #rest + #parts >= MOST then break end
      rest[#rest + 1] = { key = key_text(key), value = value }
    end
  end
  table.sort(rest, by_text)
  for _, part in ipairs(rest) do
    parts[#parts + 1] = part.key .. " = " .. text.of(part.value, depth + 1)
  end
  if #parts >= MOST then parts[#parts + 1] = "..." end
  return parts
end

function text.of(value, depth)
  depth = depth or 0
  if type(value) == "string" then return (("%q"):format(value):gsub("\\\n", "\\n")) end
  local meta = getmetatable(value)
  if type(value) ~= "table" or depth > 0 and meta then return tostring(value) end
  if depth >= DEPTH then return "{...}" end
  return "{" .. table.concat(parts_of(value, depth), ", ") .. "}"
end

--- The error that something cannot travel: its path begins at the value that was
--- given or is returned, not at the message around it.
function text.without_message(problem)
  problem.message = problem.message:gsub(" at value%[%d+%]", " at value", 1)
  return problem
end

return text

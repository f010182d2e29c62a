-- Serialization: pickle.dumps and pickle.loads of three values.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local pickle = require("pickle")

local now = _bench.now
local emit = _bench.emitter("ipc")

-- serialization ---------------------------------------------------------------

local function make_ints()
  local list = {}
  for i = 0, 99999 do list[i + 1] = i * 2654435761 % 2147483648 end
  return list
end

local function make_records()
  local list = {}
  for i = 0, 9999 do
    list[i + 1] = {
      id = i,
      name = "user" .. i,
      email = ("user%d@example.org"):format(i),
      active = i % 2 == 0,
      score = i * 0.5,
      ratio = 1 / (i + 1),
      tags = { "red", "green", "blue" },
      city = "city" .. i % 100,
      age = i % 90,
      zip = ("%05d"):format(i),
    }
  end
  return list
end

--- A full binary tree: 15 levels, 32767 nodes.
local function make_tree(depth, value)
  if depth == 1 then return { v = value } end
  return {
    v = value,
    l = make_tree(depth - 1, 2 * value),
    r = make_tree(depth - 1, 2 * value + 1),
  }
end

local function equal(a, b)
  if type(a) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not equal(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

--- The time of dumps and of loads, and the size.
local function once(value)
  local t0 = now()
  local data = pickle.dumps(value)
  local t1 = now()
  local copy = pickle.loads(data)
  local t2 = now()
  assert(equal(copy, value))
  return t1 - t0, t2 - t1, #data
end

local function serialization(name, value, repeats)
  local dumps, loads = math.huge, math.huge
  local size
  for _ = 1, repeats do
    local d, l
    d, l, size = once(value)
    dumps, loads = math.min(dumps, d), math.min(loads, l)
    collectgarbage() -- the copy is freed outside the times, as by 'del' there
  end
  emit(("serialize_%s_dumps"):format(name), dumps * 1e3, "ms", "lower")
  emit(("serialize_%s_loads"):format(name), loads * 1e3, "ms", "lower")
  emit(("serialize_%s_both_rate"):format(name), size / (dumps + loads) / 1e6, "MB/s", "higher")
  emit(("serialize_%s_size"):format(name), size / 1e3, "kB", "lower")
end

serialization("ints", make_ints(), 7)
serialization("records", make_records(), 7)
serialization("tree", make_tree(15, 1), 7)

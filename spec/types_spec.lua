--- bindings/types documents every public function and method, and nothing
--- that is not there.
local lu = require("luaunit")

local FOLDER = "bindings/types/"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("a")
  file:close()
  return text
end

local function stubs()
  local names = {}
  local pipe = assert(io.popen("ls " .. FOLDER))
  for line in pipe:lines() do table.insert(names, line:match("^(.+)%.lua$")) end
  pipe:close()
  return names
end

--- What a stub declares: class names of local tables, their parents, and their
--- functions and attributes.
local function parse(text)
  local stub = { class_of = {}, parent = {}, members = {}, fields = {} }
  local class
  for line in text:gmatch("[^\n]+") do
    local name, parent = line:match("^%-%-%-@class ([%w_.]+):? ?([%w_.]*)")
    if name then
      class = name
      stub.parent[class] = parent ~= "" and parent or nil
      stub.members[class] = stub.members[class] or {}
      stub.fields[class] = stub.fields[class] or {}
    end
    local field = line:match("^%-%-%-@field ([%w_]+)") or
      line:match("^%-%-%-@field private ([%w_]+)")
    if field and class then stub.fields[class][field] = true end
    local variable = line:match("^local ([%w_]+) = ")
    if variable and class then stub.class_of[variable] = class end
    local owner, member = line:match("^function ([%w_]+)[.:]([%w_]+)%(")
    if not owner then owner, member = line:match("^([%w_]+)%.([%w_]+) = ") end
    if not owner then owner, member = line:match('^([%w_]+)%["([%w_]+)"%] = ') end
    local known = owner and stub.class_of[owner]
    if known then stub.members[known][member] = true end
  end
  return stub
end

local function declares(stub, class, member)
  while class do
    if (stub.members[class] or {})[member] or (stub.fields[class] or {})[member] then
      return true
    end
    class = stub.parent[class]
  end
  return false
end

--- The methods and attributes of a C class, by its metatable.
local function offered(metatable)
  local index, found = metatable.__index, {}
  local tables = { index }
  if type(index) == "function" then
    local _, methods = debug.getupvalue(index, 2)
    local _, getters = debug.getupvalue(index, 3)
    tables = { methods, getters }
  end
  for _, list in ipairs(tables) do
    if type(list) == "table" then
      for name in pairs(list) do found[name] = true end
    end
  end
  return found
end

local function is_public(name) return type(name) == "string" and not name:find("^_") end

local TestTypes = {}

local modules = stubs()

function TestTypes.testThereAreStubs()
  local found = {}
  for _, name in ipairs(modules) do found[name] = true end
  for _, name in ipairs({ "bigint", "errors", "gil", "queue", "threading", "time" }) do
    lu.assertTrue(found[name], name)
  end
end

--- Adds what of the module is not documented, or is documented and missing.
local function compare_functions(module, stub, wrong)
  local real, class = require("tidelock." .. module), "tidelock." .. module
  for name in pairs(real) do
    if is_public(name) and not declares(stub, class, name) then
      table.insert(wrong, ("%s.%s has no stub"):format(module, name))
    end
  end
  for name in pairs(stub.members[class] or {}) do
    if real[name] == nil then
      table.insert(wrong, ("%s.%s does not exist"):format(module, name))
    end
  end
end

--- Classes that scripts meet: the module has one of that name, or the stub.
local function is_class_of(module, stub, name)
  local short = type(name) == "string" and name:match("^" .. module .. "%.([%w_]+)$")
  return short and (require("tidelock." .. module)[short] or stub.members[name])
end

local function compare_classes(module, stub, wrong)
  for name, metatable in pairs(debug.getregistry()) do
    local ours = is_class_of(module, stub, name)
    if ours and type(metatable) == "table" and metatable.__name == name then
      local there = offered(metatable)
      local class = type(ours) == "table" and ours or {}
      for member in pairs(class) do there[member] = true end
      for member in pairs(there) do
        if is_public(member) and not declares(stub, name, member) then
          table.insert(wrong, ("%s:%s has no stub"):format(name, member))
        end
      end
      for member in pairs(stub.members[name] or {}) do
        if not there[member] then
          table.insert(wrong, ("%s:%s does not exist"):format(name, member))
        end
      end
    end
  end
end

--- Objects of classes that are made in Lua, by what their stubs are named.
local MADE = {
  multiprocessing = {
    ["multiprocessing.Process"] = function(mp) return mp.Process(print) end,
    ["multiprocessing.Logger"] = function(mp) return mp.get_logger() end,
    ["multiprocessing.Pool"] = function(mp, keep) return keep(mp.ThreadPool(1)) end,
    ["multiprocessing.AsyncResult"] = function(mp, keep)
      return keep(mp.ThreadPool(1)):apply_async(type, { 1 })
    end,
    ["multiprocessing.IMapIterator"] = function(mp, keep)
      return keep(mp.ThreadPool(1)):imap(type, { 1 })
    end,
  },
  ["multiprocessing.connection"] = {
    ["multiprocessing.connection.Listener"] = function(connection, keep)
      return keep(connection.Listener())
    end,
  },
  subprocess = {
    ["subprocess.Popen"] = function(subprocess, keep) return keep(subprocess.Popen("true")) end,
    ["subprocess.CompletedProcess"] = function(subprocess) return subprocess.run("true") end,
  },
}

--- Adds the public names in a table, if it is one of functions alone, or 'any'.
local function add_names(list, found, any)
  for name, value in pairs(list) do
    if not any and type(value) ~= "function" then return end
    if is_public(name) then found[name] = true end
  end
end

--- The methods and attributes of such an object, by its metatable.
local function offered_by(object)
  local found, metatable = {}, getmetatable(object)
  add_names(metatable, found, true)
  local i, index = 0, metatable.__index
  if type(index) == "table" then add_names(index, found, true) end
  while type(index) == "function" do
    i = i + 1
    local name, value = debug.getupvalue(index, i)
    if not name then break end
    if type(value) == "table" and value ~= _G then add_names(value, found, value.subclass) end
  end
  return found
end

local function compare_made(module, stub, wrong)
  local kept = {}
  for class, make in pairs(MADE[module] or {}) do
    local there = offered_by(make(require("tidelock." .. module), function(object)
      kept[#kept + 1] = object
      return object
    end))
    lu.assertNotNil(next(there), class)
    for name in pairs(there) do
      if not declares(stub, class, name) then
        table.insert(wrong, ("%s:%s has no stub"):format(class, name))
      end
    end
    for name in pairs(stub.members[class] or {}) do
      if not there[name] then table.insert(wrong, ("%s:%s does not exist"):format(class, name)) end
    end
  end
  for _, object in ipairs(kept) do local _ <close> = object end
end

for _, module in ipairs(modules) do
  TestTypes["testStubsOf_" .. module] = function()
    local text = read(FOLDER .. module .. ".lua")
    lu.assertStrContains(text, "---@meta tidelock." .. module)
    local stub, wrong = parse(text), {}
    compare_functions(module, stub, wrong)
    compare_classes(module, stub, wrong)
    compare_made(module, stub, wrong)
    table.sort(wrong)
    lu.assertEquals(table.concat(wrong, "\n"), "")
  end
end

function TestTypes.testTheComparisonSeesWhatIsMissing()
  local stub, wrong = parse("---@class tidelock.time\nlocal time = {}\n" ..
    "function time.sleep(s) end\nfunction time.travel(years) end\n"), {}
  compare_functions("time", stub, wrong)
  wrong = table.concat(wrong, "\n")
  lu.assertStrContains(wrong, "time.travel does not exist")
  lu.assertStrContains(wrong, "time.monotonic has no stub")
  lu.assertNotStrContains(wrong, "time.sleep ")
end

return { TestTypes = TestTypes }

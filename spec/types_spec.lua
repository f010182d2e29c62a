--- bindings/types documents every public function and method, and nothing
--- that is not there.
local lu = require("luaunit")
local mp = require("multiprocessing")
local subprocess = require("subprocess")
local threading = require("threading")
local time = require("time")

local FOLDER = "bindings/types/"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("a")
  file:close()
  return text
end

local function files()
  local names = {}
  local pipe = assert(io.popen("ls " .. FOLDER))
  for line in pipe:lines() do table.insert(names, line:match("^(.+)%.lua$")) end
  pipe:close()
  return names
end

--- Adds what a file declares: the parents, functions and fields of classes, each
--- of which may be in several files. Returns what require knows it as; "_": as
--- nothing, it is a part of a module.
local function parse(text, all)
  local class, class_of = nil, {}
  for line in text:gmatch("[^\n]+") do
    local name, parents = line:match("^%-%-%-@class ([%w_.]+):? ?([%w_., ]*)")
    if name then
      class = all[name] or { parents = {}, members = {}, fields = {} }
      all[name] = class
      for parent in parents:gmatch("[%w_.]+") do table.insert(class.parents, parent) end
    end
    local field = line:match("^%-%-%-@field ([%w_]+)") or
      line:match("^%-%-%-@field private ([%w_]+)")
    if field and class then class.fields[field] = true end
    local variable = line:match("^local ([%w_]+) = ")
    if variable and class then class_of[variable] = class end
    local owner, member = line:match("^function ([%w_]+)[.:]([%w_]+)%(")
    if not owner then owner, member = line:match("^([%w_]+)%.([%w_]+) = ") end
    if not owner then owner, member = line:match('^([%w_]+)%["([%w_]+)"%] = ') end
    local known = owner and class_of[owner]
    if known then known.members[member] = true end
  end
  return text:match("^%-%-%-@meta ([%w_.]+)\n")
end

--- The functions and the fields of a class, those of its parents included.
local function declared(stubs, name, members, fields)
  local class = stubs[name] or { parents = {}, members = {}, fields = {} }
  members, fields = members or {}, fields or {}
  for member in pairs(class.members) do members[member] = true end
  for field in pairs(class.fields) do fields[field] = true end
  for _, parent in ipairs(class.parents) do declared(stubs, parent, members, fields) end
  return members, fields
end

--- What the methods and attributes of an object are found in: the __index of its
--- metatable or, where that is a function, the tables that this looks into.
local function sources(metatable)
  local index = metatable.__index
  if type(index) ~= "function" then return { index } end
  local tables, i = {}, 1
  repeat
    local name, value = debug.getupvalue(index, i)
    if type(value) == "table" and value ~= _G then table.insert(tables, value) end
    i = i + 1
  until not name
  return tables
end

--- Adds to 'wrong' what the tables have that the class does not document, and
--- which of its methods are missing, there and in the object.
local function compare(stubs, class, tables, object, wrong)
  local members, fields = declared(stubs, class)
  local there = {}
  for _, from in ipairs(tables) do
    for name in pairs(from) do
      local is_public = type(name) == "string" and not name:find("^_")
      there[name] = true
      if is_public and not members[name] and not fields[name] then
        table.insert(wrong, ("%s.%s has no stub"):format(class, name))
      end
    end
  end
  for name in pairs(members) do
    if not there[name] and (object == nil or object[name] == nil) then
      table.insert(wrong, ("%s.%s does not exist"):format(class, name))
    end
  end
end

local function check(wrong)
  table.sort(wrong)
  lu.assertEquals(table.concat(wrong, "\n"), "")
end

local TestTypes = {}

local stubs, modules = {}, {}
for _, file in ipairs(files()) do
  local name = parse(read(FOLDER .. file .. ".lua"), stubs)
  table.insert(modules, { file = file, name = name })
end

function TestTypes.testThereAreStubs()
  local found = {}
  for _, module in ipairs(modules) do found[module.name] = module.file end
  for _, name in ipairs({ "bigint", "errors", "gil", "multiprocessing", "queue", "threading" }) do
    lu.assertEquals(found["tidelock." .. name], name)
  end
end

--- Classes in C that scripts meet: the module has one of that name, or the stub.
local function classes_of(module)
  local real, found = require("tidelock." .. module), {}
  for name, metatable in pairs(debug.getregistry()) do
    local short = type(name) == "string" and name:match("^" .. module .. "%.([%w_]+)$")
    if short and (real[short] or stubs[name]) and type(metatable) == "table"
      and metatable.__name == name then
      found[name] = sources(metatable)
      if type(real[short]) == "table" then table.insert(found[name], real[short]) end
    end
  end
  return found
end

for _, module in ipairs(modules) do
  TestTypes["testStubsOf_" .. module.file] = function()
    if module.name == "_" then -- compared with the module that it is a part of
      local whole = module.file:match("^([%w_]+)%.")
      return lu.assertNotNil(stubs["tidelock." .. whole])
    end
    lu.assertEquals(module.name, "tidelock." .. module.file)
    local real, wrong = require(module.name), {}
    compare(stubs, module.name, { real }, real, wrong)
    for name, tables in pairs(classes_of(module.file)) do
      compare(stubs, name, tables, nil, wrong)
    end
    check(wrong)
  end
end

-- Here, for what takes names of shared memory away is started with the first block,
-- and stays.
local list = mp.shared_memory.ShareableList({ 1 })
list.shm:unlink()

--- An object of each class that is written in Lua, as scripts get it.
local OBJECTS = {
  ["multiprocessing.AsyncResult"] = function()
    local pool <close> = mp.ThreadPool(1)
    return pool:apply_async(math.abs, { 1 })
  end,
  ["multiprocessing.IMapIterator"] = function()
    local pool <close> = mp.ThreadPool(1)
    return pool:imap(math.abs, {})
  end,
  ["multiprocessing.Logger"] = mp.get_logger,
  ["multiprocessing.Pool"] = function() return mp.ThreadPool(1) end,
  ["multiprocessing.Process"] = function() return mp.Process(print) end,
  ["multiprocessing.connection.Listener"] = mp.connection.Listener,
  ["multiprocessing.managers.BaseManager"] = mp.managers.BaseManager,
  ["multiprocessing.managers.SyncManager"] = mp.managers.SyncManager,
  ["multiprocessing.shared_memory.ShareableList"] = function() return list end,
  ["subprocess.CompletedProcess"] = function() return subprocess.run("true") end,
  ["subprocess.Popen"] = function() return subprocess.Popen("true") end,
  ["threading.Timer"] = function() return threading.Timer(1, print) end,
}

for name, make in pairs(OBJECTS) do
  TestTypes["testStubOf_" .. name] = function()
    local object, wrong = make(), {}
    local metatable = getmetatable(object)
    local tables = sources(metatable)
    if type(object) == "table" then table.insert(tables, object) end
    compare(stubs, name, tables, object, wrong)
    if metatable.__close then
      local _ <close> = object
    end
    check(wrong)
  end
end

function TestTypes.testTheComparisonSeesWhatIsMissing()
  local some, wrong = {}, {}
  parse("---@class tidelock.traveller\nlocal traveller = {}\n" ..
    "function traveller:rest() end\n", some)
  parse("---@class tidelock.time: tidelock.traveller\nlocal time = {}\n" ..
    "function time.sleep(s) end\nfunction time.travel(years) end\n", some)
  compare(some, "tidelock.time", { time }, nil, wrong)
  wrong = table.concat(wrong, "\n")
  lu.assertStrContains(wrong, "time.travel does not exist")
  lu.assertStrContains(wrong, "time.rest does not exist")
  lu.assertStrContains(wrong, "time.monotonic has no stub")
  lu.assertNotStrContains(wrong, "time.sleep ")
end

return { TestTypes = TestTypes }

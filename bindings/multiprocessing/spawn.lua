--- Processes that are started anew: what they need to know is sent to them.
---
--- The first message is what must be there before anything else is read: the
--- folder, the module path, the names of the classes, and what is to be known
--- of the process if the rest cannot be read. The second has the classes,
--- the process object with its target and arguments, and the globals of the
--- script, as one value, so that what they share stays shared.
---
--- The starter writes both before there is a child: one who cannot be sent is
--- not started.
local classes = require("tidelock._classes")
local connection = require("tidelock._connection")
local context = require("tidelock.multiprocessing.context")
local core = require("tidelock._multiprocessing")
local descriptor = require("tidelock._descriptor")
local errors = require("tidelock.errors")
local family = require("tidelock.multiprocessing.family")
local log = require("tidelock.multiprocessing.log")
local pickle = require("tidelock.pickle")
require("tidelock.multiprocessing.managers.classes") -- for proxies that come

local spawn = {}

local executable -- nil: this program

--- The program that is started: by its path, or by a name that is looked for in
--- PATH.
function spawn.set_executable(path)
  if type(path) ~= "string" or path == "" then
    error(("bad argument #1 to 'set_executable' (path expected, got %s)"):format(type(path)), 2)
  end
  executable = path
end

-- --- Classes -----------------------------------------------------------------

-- How the child gets to know a class of the script: its functions first, for
-- other classes may contain objects of it, and then what is in its metatable.
local Declared = { __name = "multiprocessing.Declared" }
local Defined = { __name = "multiprocessing.Defined" }

-- The classes that the second message is about to make known: nobody else's bytes
-- may change a class.
local awaited = {}

pickle.register(Declared.__name, Declared, {
  reduce = function(class) return class.name, class.reduce, class.restore end,
  restore = function(name, reduce, restore)
    if not awaited[name] then return nil end
    pickle.register(name, classes[name], { reduce = reduce, restore = restore })
    return name
  end,
})

pickle.register(Defined.__name, Defined, {
  reduce = function(class) return class.name, class.content, class.meta end,
  restore = function(name, content, meta)
    if not awaited[name] then return nil end
    for key, value in next, content do rawset(classes[name], key, value) end
    debug.setmetatable(classes[name], meta)
    return name
  end,
})

local function source_of(f)
  return type(f) == "function" and debug.getinfo(f, "S").source:match("^@(.*)")
end

--- The file that a class comes from: that of one of its functions; nil if there
--- is none.
local function file_of(class)
  local meta = class[2]
  local index = rawget(meta, "__index")
  local found = source_of(class[3])
  for _, functions in ipairs({ meta, type(index) == "table" and index or nil }) do
    for _, key in ipairs(core.keys(functions)) do
      found = found or source_of(rawget(functions, key))
    end
  end
  return found
end

--- The modules that are loaded, by the files they come from.
local function loaded_files()
  local files = {}
  for _, name in ipairs(core.keys(package.loaded)) do
    local file = type(name) == "string" and package.searchpath(name, package.path)
    if file then files[file] = name end
  end
  return files
end

--- The classes of the script, a list, and the modules that register the others.
local function split_classes()
  local ours, modules, files = {}, {}, nil
  for _, class in ipairs(core.classes()) do
    local file = file_of(class)
    local module = file and file:match("^(tidelock/.*)%.lua$")
    module = module and module:gsub("/", ".")
    if file and not package.loaded[module] then -- a script may be in such a folder
      files = files or loaded_files()
      module = files[file]
    end
    if module then modules[module] = true else ours[#ours + 1] = class end
  end
  return ours, core.keys(modules)
end

-- --- What is sent ------------------------------------------------------------

-- Other threads may be writing to the tables that are gone through here: next
-- would lose its place.

local function copy(t)
  local result = {}
  for _, key in ipairs(core.keys(t)) do result[key] = rawget(t, key) end
  return result
end

--- The globals of the script: what it has not had from the start.
local function script_globals()
  local standard, globals = core.baseline(), {}
  for _, name in ipairs(core.keys(_G)) do
    local value = rawget(_G, name)
    if not rawequal(standard[name], value) then globals[name] = value end
  end
  globals.arg = nil
  return globals
end

--- The names of what it has had and has taken away.
local function removed_globals()
  local names = {}
  for name in next, core.baseline() do
    if rawequal(rawget(_G, name), nil) then names[#names + 1] = name end
  end
  return names
end

--- The first message. A process may have '_otherwise', a function and its first
--- argument: what is called instead, with the error and where it was raised, if
--- the process cannot be rebuilt.
local function preparation(process, method, ours, modules)
  local names = {}
  for i, class in ipairs(ours) do names[i] = class[1] end
  local found, cwd = pcall(core.getcwd) -- it may have been removed
  local memory = package.loaded["tidelock._shared_memory"]
  return {
    tracker = memory and memory.tracker(),
    cwd = found and cwd or nil,
    path = package.path,
    cpath = package.cpath,
    authkey = family.current_process().authkey,
    own_authkey = process.authkey,
    name = process.name,
    log = log.settings(),
    method = method,
    parent = core.self(),
    parent_name = family.get_name(),
    executable = executable,
    otherwise = process._otherwise,
    modules = modules,
    classes = names,
  }
end

--- The second message.
local function collect(process, ours)
  local all = { declared = {}, defined = {}, process = process, globals = script_globals(),
    removed = removed_globals(), missing = {}, arg = rawget(_G, "arg") }
  for i, class in ipairs(ours) do
    all.declared[i] = setmetatable({ name = class[1], reduce = class[3], restore = class[4] },
      Declared)
    all.defined[i] = setmetatable({ name = class[1], content = copy(class[2]),
      meta = debug.getmetatable(class[2]) }, Defined)
  end
  return all
end

--- The order in which it is written, and read.
local function arrange(all)
  return { all.declared, all.defined, all.process, all.globals, all.removed, all.missing, all.arg }
end

--- Why a value cannot travel, or nil.
local function obstacle(value, name)
  local ok, problem = pcall(core.check_travels, value, name or "key")
  if ok then return nil end
  if not errors.is(problem, errors.PicklingError) then error(problem, 0) end
  return problem.message
end

--- Takes out of a table what cannot travel; 'missing' gets the reasons.
local function prune(t, missing)
  for _, key in ipairs(core.keys(t)) do
    local nameless = obstacle(key)
    local why = nameless or obstacle(t[key], tostring(key))
    if why then t[key] = nil end
    if why and not nameless then missing[key] = why end
  end
end

--- Takes out of all what cannot travel and is no part of the process.
local function prune_all(all)
  prune(all.globals, all.missing)
  for i, class in ipairs(all.defined) do
    local missing = {}
    prune(class.content, missing)
    if obstacle(class.meta) then class.meta = nil end
    if obstacle(all.declared[i]) then
      all.declared[i].reduce, all.declared[i].restore = nil, nil
    end
  end
  if obstacle(all.arg) then all.arg = nil end
end

local function send_all(link, process, ours)
  local all = collect(process, ours)
  local ok, problem = pcall(link.send, link, arrange(all))
  if ok then return end
  if not errors.is(problem, errors.PicklingError) then error(problem, 0) end
  core.check_travels(process, "process")
  prune_all(all)
  link:send(arrange(all))
end

--- A connection that has both messages, for the child to read. Raises
--- PicklingError if the process cannot travel.
function spawn.pack(process, method)
  local theirs, ours <close> = family.open(nil, connection.Pipe, false)
  local script_classes, modules = split_classes()
  ours:send(preparation(process, method, script_classes, modules))
  local ok, problem = pcall(send_all, ours, process, script_classes)
  if ok then return theirs end
  theirs:close()
  if errors.is(problem, errors.PicklingError) then
    problem.message = problem.message:gsub(" at process%._", " at ")
  end
  error(problem, 0)
end

-- --- The child ---------------------------------------------------------------

--- What stands for a global that could not travel: every use of it says so.
local function stand_in(name, reason)
  local function refuse()
    error(("global '%s' is not in this process: %s"):format(name, reason), 2)
  end
  local meta = { __name = "missing global" }
  for _, event in ipairs({ "index", "newindex", "call", "len", "concat", "unm", "add", "sub", "mul",
    "div", "idiv", "mod", "pow", "band", "bor", "bxor", "bnot", "shl", "shr", "lt", "le" }) do
    meta["__" .. event] = refuse
  end
  function meta.__tostring() return ("<missing %s>"):format(name) end
  return setmetatable({}, meta)
end

local function apply_preparation(first)
  if first.tracker then first.tracker:adopt() end
  if first.cwd then core.chdir(first.cwd) end
  package.path, package.cpath = first.path, first.cpath
  log.apply(first.log)
  executable = first.executable
  local current = family.current_process() -- for what the second one needs
  current.authkey, current.name = first.authkey, first.name
  context.set_start_method(first.method, true)
  for _, name in ipairs(first.modules) do require(name) end
  for _, name in ipairs(first.classes) do
    pickle.register(name, {})
    awaited[name] = true
  end
end

local function set_globals(globals, removed, missing)
  for _, name in ipairs(removed) do rawset(_G, name, nil) end
  for name, value in next, globals do rawset(_G, name, value) end
  for name, reason in next, missing do
    rawset(_G, name, stand_in(tostring(name), reason))
  end
end

--- Reads the second message and becomes that process, which is returned.
local function rebuild(first, link)
  apply_preparation(first)
  local _, _, process, globals, removed, missing, arg = table.unpack(link:recv(), 1, 7)
  awaited = {}
  link:close()
  set_globals(globals, removed, missing)
  rawset(_G, "arg", arg)
  process.authkey = first.own_authkey
  family.become(process, first.parent, first.parent_name)
  return process
end

--- Reads both messages and becomes that process, which is returned; if there is
--- something else to be done, what does nothing more.
function spawn.become(link)
  local first = link:recv()
  local otherwise = first.otherwise
  if not otherwise then return rebuild(first, link) end
  local ok, process = xpcall(rebuild, function(value) otherwise[1](otherwise[2], value) end,
    first, link)
  return ok and process or { run = function() end }
end

--- What the started program does: the descriptor is that of the pipe.
function spawn.main(fd)
  core.live(function() family.run(spawn.become(connection.inherited(fd))) end, family.get_name)
end

--- Starts the program with a Lua statement and a connection, whose descriptor
--- is told to it.
function spawn.start(handle, link, statement)
  local other <close> = link:fileno() <= 2 and descriptor.copy(link:fileno()) or nil
  local fd = (other or link):fileno()
  handle:spawn(executable or core.executable(), { "-E", "-e", statement:format(fd) }, fd)
end

local CHILD = "require('tidelock.multiprocessing.spawn').main(%d)"

--- Starts a process.
function spawn.launch(process, handle, method)
  local theirs <close> = spawn.pack(process, method)
  spawn.start(handle, theirs, CHILD)
end

return spawn

--- This process, its parent and its children, and how they end with it. What a
--- process object is, process.lua knows.
local core = require("tidelock._multiprocessing")
local errors = require("tidelock.errors")

local family = {}

-- What this process is: the object that stands for it, the one that stands for
-- its parent, and the handles of its children that have not been seen to end,
-- by their objects; other threads may change that meanwhile.
local current, parent
local children = {}

-- What ends before the children do, and after them: objects with a method
-- at_end.
local ending, ending_last

-- What is open for starts that are under way, and the process that is to have it, if
-- it is one that is forked. Any other that a thread forks meanwhile has copies, which
-- keep others from seeing their ends: it closes them.
local under_way = setmetatable({}, { __mode = "k" })

--- Opens what a start needs: returns what make(...) does, a function in C. 'process'
--- is the one that is to have it, if it may be forked.
function family.open(process, make, ...)
  return core.keep(under_way, process or true, make, ...)
end

local function close_copies(process)
  for object, whose in pairs(under_way) do
    if whose ~= process then object:close() end
    under_way[object] = nil
  end
end

-- Called when a forked child begins: what it has of its parent is let go.
local when_forked = {}

-- Called when this process leaves, by os.exit or at its very end.
local when_left = {}

-- Tells the log (log.lua): tell(message, ...).
local tell = function() end

--- The parent, as a child sees it.
local Parent = {}
Parent.__index = Parent
Parent.__name = "multiprocessing.ParentProcess"

function Parent.__tostring(self)
  return ("<ParentProcess %q pid=%d>"):format(self.name, self.pid)
end

function Parent:is_alive() return self._handle:poll() == nil end

function Parent:join(timeout)
  if timeout ~= nil and not (type(timeout) == "number" and timeout >= 0) then
    error("bad argument #1 to 'join' (timeout must be a number of seconds >= 0)", 2)
  end
  return self._handle:wait(timeout)
end

--- Makes 'process' what this process is: of the program's first (without a
--- handle) or of a child, whose parent's handle and name are told.
function family.become(process, handle, name)
  if handle then
    parent = setmetatable({ name = name, pid = handle:pid(), _handle = handle }, Parent)
  end
  current, children, ending, ending_last = process, {}, {}, {}
  close_copies(process)
  for _, f in ipairs(when_forked) do f() end
end

--- What a child does, which has become 'process'.
function family.run(process)
  tell("child process calling self.run()")
  process:run()
end

--- Calls f() in a child when it begins.
function family.on_become(f) table.insert(when_forked, f) end

--- Calls f() last of all, when nothing is waited for any more.
function family.on_leave(f) table.insert(when_left, f) end

--- Where it is told what becomes of this process.
function family.set_tell(f) tell = f end

--- Calls object:at_end() at the end of this process, before its children end or,
--- if 'last', after they have, unless that is taken back.
function family.at_end(object, last) (last and ending_last or ending)[object] = true end
function family.not_at_end(object) ending[object], ending_last[object] = nil, nil end

-- What takes part in forks; it lives as long as others keep it.
local forking = setmetatable({}, { __mode = "k" })

--- Before each fork object:before_fork() is called, and in the child then, first of
--- all, object:after_fork() with what that has returned.
function family.at_fork(object) forking[object] = true end

function family.before_fork()
  local answers = {}
  for _, object in ipairs(core.keys(forking)) do
    answers[#answers + 1] = { object, object:before_fork() }
  end
  return answers
end

function family.after_fork(answers)
  for _, answer in ipairs(answers) do answer[1]:after_fork(answer[2]) end
end

function family.current_process() return current end

function family.get_name() return current._name end

function family.parent_process() return parent end

function family.is_main() return parent == nil end

--- A child that has been waited for needs no keeping.
local function forget_ended()
  for _, child in ipairs(core.keys(children)) do
    local handle = children[child]
    if handle and handle:pid() and handle:poll() then children[child] = nil end
  end
end

local function by_number(a, b) return a._number < b._number end

function family.active_children()
  forget_ended()
  local alive = {}
  for _, child in ipairs(core.keys(children)) do
    local handle = children[child]
    if handle and handle:pid() then alive[#alive + 1] = child end
  end
  table.sort(alive, by_number)
  return alive
end

-- --- The end of this process ------------------------------------------------

-- How long a daemonic process may take to end when it is asked to.
local PATIENCE = 1 -- seconds

local function end_objects(objects)
  for _, object in ipairs(core.keys(objects)) do object:at_end() end
end

--- Asks the daemonic ones to end.
local function terminate(alive)
  for _, child in ipairs(alive) do
    local handle = children[child]
    if child._daemon and handle then
      tell("calling terminate() for daemon %s", child._name)
      handle:signal("TERM")
    end
  end
end

local function end_family()
  tell("process shutting down")
  end_objects(ending)
  local alive = family.active_children()
  terminate(alive)
  for _, child in ipairs(alive) do
    local handle = children[child]
    if handle then
      tell("calling join() for process %s", child._name)
      if child._daemon and not handle:wait(PATIENCE) then handle:signal("KILL") end
      handle:wait()
      children[child] = nil
    end
  end
  end_objects(ending_last)
end

local registered = false -- the exit function; a forked child inherits both
local at_exit

--- There is something to be done, or told, at the end of this process.
function family.expect_end()
  if registered then return end
  core.atexit(at_exit) registered = true
end

function at_exit()
  registered = false
  local ok, problem = pcall(end_family)
  if ok then return end
  if errors.is(problem, errors.KeyboardInterrupt) then family.expect_end() end -- it goes on
  error(problem, 0)
end

-- os.exit does not wait: not even then do daemonic children live on.
core.atleave(function(code)
  pcall(terminate, family.active_children())
  for _, f in ipairs(when_left) do pcall(f) end
  if parent then tell("process exiting with exitcode %d", code) end
end)

--- Keeps a child that is about to be started, so that an interrupt cannot lose
--- it, and waits for it at the end of this process.
function family.add(child, handle)
  forget_ended()
  family.expect_end()
  children[child] = handle
end

--- It has ended, or was not started after all.
function family.remove(child) children[child] = nil end

return family

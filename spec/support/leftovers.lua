--- What a test may leave behind: threads, open files, child processes, sockets'
-- folders, names of shared memory, roots in the registry. Reads /proc, by way of
-- LuaFileSystem.
local lfs = require("lfs")
local threading = require("threading")
local time = require("time")

local leftovers = {}

-- Some things are made at first use and stay: a class's metatable, a table of
-- the core. More new roots than that in one test are a leak.
local FEW_ROOTS = 8

-- How long what ends by itself, as a process given to the reaper, may take.
local PATIENCE = 5 -- seconds

-- Small values in shared memory are cut from this; one such file stays open.
local CHUNK = "^/memfd:tidelock%-arena "

local function descriptors()
  local found, chunk = {}, false
  for fd in lfs.dir("/proc/self/fd") do
    local target = lfs.symlinkattributes("/proc/self/fd/" .. fd, "target")
    -- The folder that is being listed is open, too.
    if tonumber(fd) and target and not target:find("^/proc/%d+/fd$") then
      if not target:find(CHUNK) or chunk then found[fd] = target end
      chunk = chunk or target:find(CHUNK) ~= nil
    end
  end
  return found
end

local function children()
  local found = {}
  for task in lfs.dir("/proc/self/task") do
    local file = io.open("/proc/self/task/" .. task .. "/children")
    if tonumber(task) and file then
      for pid in file:read("a"):gmatch("%d+") do found[pid] = true end
    end
    if file then file:close() end
  end
  return found
end

-- Where ctest has sockets made, by this spec and its children alone.
local FOLDER = os.getenv("TIDELOCK_SPEC_FOLDER")

local function folders()
  local found = {}
  if FOLDER then
    for name in lfs.dir(FOLDER) do found[name] = true end
  end
  return found
end

local SHARED = "/dev/shm/"

--- The names of shared memory, whoever has made them.
local function shared()
  local found = {}
  for name in lfs.dir(SHARED) do found[name] = true end
  return found
end

--- Whether another process has the block of that name: a spec that runs at the same
-- time, perhaps.
local function is_anothers(name)
  local own = lfs.symlinkattributes("/proc/self", "target")
  for pid in lfs.dir("/proc") do
    local file = tonumber(pid) and pid ~= own and io.open("/proc/" .. pid .. "/maps")
    local maps = file and file:read("a")
    if file then file:close() end
    if maps and maps:find(SHARED .. name .. "\n", 1, true) then return true end
  end
  return false
end

--- Counts what the registry keeps alive: threads' states, and all the rest but
-- classes (under their names) and free references.
local function roots()
  local states, others = 0, 0
  for key, value in next, debug.getregistry() do
    if type(value) == "thread" then
      states = states + 1
    elseif type(key) ~= "string" and math.type(value) ~= "integer" then
      others = others + 1
    end
  end
  return states, others
end

--- What there is now.
function leftovers.take()
  collectgarbage()
  collectgarbage()
  local now = {
    threads = threading.active_count(),
    descriptors = descriptors(),
    children = children(),
    folders = folders(),
    shared = shared(),
  }
  now.states, now.others = roots()
  return now
end

--- Says what 'now' has that 'before' had not, or returns nil.
local function difference(before, now)
  if now.threads > before.threads then
    local names = {}
    for i, thread in ipairs(threading.enumerate()) do names[i] = thread.name end
    return ("threads still run: %s"):format(table.concat(names, ", "))
  end
  for pid in pairs(now.children) do
    if not before.children[pid] then return ("process %s is left"):format(pid) end
  end
  for fd, target in pairs(now.descriptors) do
    if before.descriptors[fd] ~= target then
      return ("descriptor %s is open: %s"):format(fd, target)
    end
  end
  for name in pairs(now.folders) do
    if not before.folders[name] then return ("%s/%s is left"):format(FOLDER, name) end
  end
  for name in pairs(now.shared) do
    if not before.shared[name] and not is_anothers(name) then
      return ("%s%s is left"):format(SHARED, name)
    end
  end
  if now.states > before.states then
    return ("the registry holds %d more threads"):format(now.states - before.states)
  end
  if now.others > before.others + FEW_ROOTS then
    return ("the registry holds %d more values"):format(now.others - before.others)
  end
end

--- Raises if there is more than at 'before' and it does not go away.
function leftovers.check(before)
  local deadline = time.monotonic() + PATIENCE
  while true do
    local left = difference(before, leftovers.take())
    if not left then return end
    if time.monotonic() > deadline then error("left over: " .. left, 0) end
    time.sleep(0.01)
  end
end

local function has_wake_descriptor()
  for _, target in pairs(descriptors()) do
    if target == "anon_inode:[eventfd]" then return true end
  end
end

-- The main thread's wake descriptor is opened at its first wait for I/O, and
-- stays. A read waits unless this thread is kept from it for as long as that.
io.popen("true"):close()
repeat io.popen("sleep 0.1"):read("a") until has_wake_descriptor()
collectgarbage()

return leftovers

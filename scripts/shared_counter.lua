-- A counter in shared memory that several processes raise: without its lock raises
-- are lost, for reading and writing are two steps; with it the count is exact.
local mp = require "multiprocessing"

local PROCESSES = 4
local times = os.getenv("TIDELOCK_QUICK") and 20000 or 200000

local function raise_without(counter)
  for _ = 1, times do counter.value = counter.value + 1 end
end

local function raise_with(counter)
  local lock = counter:get_lock()
  for _ = 1, times do
    local held <close> = lock:guard()
    counter.value = counter.value + 1
  end
end

local function run(title, raise)
  local counter = mp.Value("int64", 0)
  local processes = {}
  for i = 1, PROCESSES do processes[i] = mp.Process(raise, counter):start() end
  for _, process in ipairs(processes) do process:join() end
  local expected = PROCESSES * times
  print(("%-18s counted %7d of %d, lost %d")
    :format(title, counter.value, expected, expected - counter.value))
end

run("without its lock:", raise_without)
run("with its lock:", raise_with)

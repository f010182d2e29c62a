--- multiprocessing.Barrier: what threading's promises (behaviours 28 to 35), and
-- what is between processes: 107, 108.
local lfs = require("lfs")
local lu = require("luaunit")
local errors = require("errors")
local mp = require("multiprocessing")
local threading = require("threading")
local time = require("time")
local children = require("support.children")
local eventually = require("support.eventually")
local leave = require("support.leave")
local shared_suite = require("support.shared_suite")

local LIMIT = 30 -- seconds

--- "broken", or the index.
local function wait(barrier, ...)
  local ok, value = pcall(barrier.wait, barrier, ...)
  if ok then return value end
  if errors.is(value, errors.BrokenBarrierError) then return "broken" end
  error(value, 0)
end

--- A process that waits once; its exit code is its index, or 99.
local function comer(barrier, after)
  return mp.Process(function()
    local index = wait(barrier, LIMIT)
    if after then after() end
    leave(index == "broken" and 99 or index)
  end):start()
end

local TestBarrier = {}

-- 29, 107
function TestBarrier.testProcessesMeet()
  local barrier = mp.Barrier(4)
  for _ = 1, 3 do
    local processes, seen = {}, {}
    for i = 1, 3 do processes[i] = comer(barrier) end
    seen[barrier:wait(LIMIT)] = true
    for _, process in ipairs(processes) do seen[children.exitcode(process)] = true end
    for index = 0, 3 do lu.assertTrue(seen[index], index) end
  end
  lu.assertFalse(barrier.broken)
end

-- 29, 107
function TestBarrier.testNobodyLaps()
  local n, passes = 3, 40
  local barrier, counts = mp.Barrier(n), {}
  for pass = 1, passes do counts[pass] = mp.Semaphore(0) end
  local function go()
    for pass = 1, passes do
      counts[pass]:release()
      barrier:wait(LIMIT)
      if counts[pass]:get_value() ~= n then leave(1) end
      if pass + 2 <= passes and counts[pass + 2]:get_value() > 0 then leave(2) end
    end
    leave(5)
  end
  local processes = {}
  for i = 1, n do processes[i] = mp.Process(go):start() end
  for _, process in ipairs(processes) do lu.assertEquals(children.exitcode(process), 5) end
end

-- 30, 107
function TestBarrier.testTheActionRunsInOneOfTheProcesses()
  local acted = mp.Semaphore(0)
  local barrier = mp.Barrier(3, function() acted:release() end)
  local processes = { comer(barrier), comer(barrier) }
  barrier:wait(LIMIT)
  lu.assertEquals(acted:get_value(), 1)
  for _, process in ipairs(processes) do lu.assertTrue(children.exitcode(process) < 3) end
end

-- 32, 107
function TestBarrier.testATimeoutBreaksItForAllProcesses()
  local barrier = mp.Barrier(3)
  local process = comer(barrier)
  eventually(function() return barrier.n_waiting == 1 end)
  lu.assertEquals(wait(barrier, 0.05), "broken")
  lu.assertEquals(children.exitcode(process), 99)
  lu.assertTrue(barrier.broken)
  lu.assertEquals((children.outcome(function() barrier:reset() end)), 0)
  lu.assertFalse(barrier.broken)
end

-- 108
function TestBarrier.testTheDeathOfAWaiterBreaksIt()
  local barrier = mp.Barrier(3)
  local dead = comer(barrier)
  eventually(function() return barrier.n_waiting == 1 end)
  local waiter = comer(barrier)
  eventually(function() return barrier.n_waiting == 2 end)
  dead:kill()
  dead:join()
  lu.assertEquals(children.exitcode(waiter), 99)
  lu.assertTrue(barrier.broken)
  barrier:reset()
  local others = { comer(barrier), comer(barrier) }
  lu.assertNotEquals(wait(barrier, LIMIT), "broken")
  for _, process in ipairs(others) do lu.assertTrue(children.exitcode(process) < 3) end
end

-- 108: of one that has taken part, and is not there now.
function TestBarrier.testTheDeathOfOneThatWouldComeAgainBreaksIt()
  local barrier = mp.Barrier(2)
  local process = comer(barrier, function() time.sleep(LIMIT) end)
  barrier:wait(LIMIT)
  local waiter = threading.Thread(wait, barrier):start()
  eventually(function() return barrier.n_waiting == 1 end)
  process:kill()
  process:join()
  lu.assertEquals(waiter:result(LIMIT), "broken")
end

-- One that ended in order would not have come again.
function TestBarrier.testAnOrderlyEndDoesNotBreakIt()
  local barrier = mp.Barrier(2)
  local process = comer(barrier)
  barrier:wait(LIMIT)
  children.exitcode(process)
  local waiter = threading.Thread(wait, barrier):start()
  eventually(function() return barrier.n_waiting == 1 end)
  lu.assertFalse(waiter:join(0.1)) -- it has looked some times
  process = comer(barrier)
  lu.assertNotEquals(waiter:result(LIMIT), "broken")
  children.exitcode(process)
end

-- 108
function TestBarrier.testADeathInTheActionBreaksIt()
  local me = mp.current_process().pid
  local barrier = mp.Barrier(2, function()
    if mp.current_process().pid ~= me then os.execute("kill -KILL $PPID") end
  end)
  local waiter = threading.Thread(wait, barrier):start()
  eventually(function() return barrier.n_waiting == 1 end)
  lu.assertEquals(children.exitcode(comer(barrier)), -9)
  lu.assertEquals(waiter:result(LIMIT), "broken")
end

--- A file of the shared memory of the only barrier there is.
local function memory()
  for fd in lfs.dir("/proc/self/fd") do
    local path = "/proc/self/fd/" .. fd
    local target = lfs.symlinkattributes(path, "target")
    if target and target:find("^/memfd:tidelock%-barrier ") then
      local file = assert(io.open(path, "r+b"))
      file:setvbuf("no")
      return file
    end
  end
end

--- This process is in the middle of the barrier: its guard tells its owner's pid
-- and start, above two flags.
local function hold_guard(file)
  local stat <close> = io.open("/proc/self/stat")
  local start = stat:read("a"):match("^.*%)" .. (" %S+"):rep(19) .. " (%d+)")
  file:seek("set", 8)
  file:write(string.pack("I8", (mp.current_process().pid | math.tointeger(start) << 22) << 2))
end

local function let_guard_go(file)
  file:seek("set", 8)
  file:write(string.pack("I8", 0))
end

-- Other threads that ran meanwhile would be taken for finalizers.
function TestBarrier.testAFinalizerKeepsTheGil()
  local barrier, held, over = mp.Barrier(2), mp.Event(), false
  local process = mp.Process(function()
    local file = memory()
    hold_guard(file)
    held:set()
    time.sleep(0.05)
    let_guard_go(file)
  end):start()
  held:wait(LIMIT)
  local other = threading.Thread(function()
    while not over do threading.Event():wait(1e-3) end
  end):start()
  setmetatable({}, { __gc = function() barrier:abort() end })
  collectgarbage()
  over = true
  other:result(LIMIT)
  lu.assertEquals(children.exitcode(process), 0)
  lu.assertTrue(barrier.broken)
end

function TestBarrier.testTooManyParties()
  lu.assertErrorMsgContains("bad argument #1", mp.Barrier, 100000)
end

local classes = shared_suite("barrier", {})
classes.TestMultiprocessingBarrier = TestBarrier
return classes

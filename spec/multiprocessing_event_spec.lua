--- multiprocessing.Event: what threading's promises (behaviours 26 and 27), and
-- what is between processes: 107.
local lu = require("luaunit")
local mp = require("multiprocessing")
local time = require("time")
local leave = require("support.leave")
local shared_suite = require("support.shared_suite")

local LIMIT = 30 -- seconds

local TestEvent = {}

function TestEvent.testItTakesNoArguments()
  lu.assertErrorMsgContains("(no value expected, got boolean)", mp.Event, true)
  lu.assertFalse(mp.Event(nil):is_set())
end

-- 107
function TestEvent.testReachesOtherProcesses()
  local event, answer = mp.Event(), mp.Event()
  local process = mp.Process(function()
    event:wait(LIMIT)
    answer:set()
  end):start()
  lu.assertFalse(answer:is_set())
  event:set()
  lu.assertTrue(answer:wait(LIMIT))
  process:join()
  lu.assertEquals(process.exitcode, 0)
end

-- 27, 107: CPython's loses some of these.
function TestEvent.testSetAndClearLosesNoProcess()
  for _ = 1, 30 do
    local event, waiting = mp.Event(), mp.Semaphore(0)
    local processes = {}
    for i = 1, 2 do
      processes[i] = mp.Process(function()
        waiting:release()
        leave(event:wait(LIMIT) and 5 or 1)
      end):start()
    end
    for _ = 1, 2 do waiting:acquire() end
    for _, process in ipairs(processes) do
      local stat
      repeat -- until it sleeps
        local file = io.open("/proc/" .. process.pid .. "/stat")
        stat = file:read("a")
        file:close()
      until stat:find("%) S ")
    end
    event:set()
    event:clear()
    for _, process in ipairs(processes) do
      lu.assertTrue(process:join(LIMIT))
      lu.assertEquals(process.exitcode, 5)
    end
  end
end

-- A waiter that is killed takes nobody's wake-up along.
function TestEvent.testAKilledWaiterHindersNobody()
  local event = mp.Event()
  local processes = {}
  for i = 1, 4 do
    processes[i] = mp.Process(function() leave(event:wait(LIMIT) and 5 or 1) end):start()
  end
  time.sleep(0.01)
  processes[1]:kill()
  event:set()
  processes[2]:kill()
  for _, process in ipairs(processes) do lu.assertTrue(process:join(LIMIT)) end
  lu.assertEquals({ processes[3].exitcode, processes[4].exitcode }, { 5, 5 })
end

local classes = shared_suite("event", {})
classes.TestMultiprocessingEvent = TestEvent
return classes

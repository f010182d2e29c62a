--- What holds for all calls that wait: the section "Conventions" of the interface.
local errors = require("errors")
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")

local LONG = 60 -- seconds
local HUGE = { math.huge, 1e300, 1e10, math.maxinteger } -- seconds

local function spawn(f, ...) return threading.Thread(f, ...):start() end

--- Calls f(name, case, object) for each case of the tables.
local function each(f, ...)
  for _, cases in ipairs { ... } do
    for name, case in pairs(cases) do
      local object = case.new()
      f(name, case, object)
      if case.close then case.close(object) end
    end
  end
end

--- Asserts that the object can still be waited for as if nobody had.
local function assert_whole(name, case, object)
  local waiter = spawn(case.wait, object)
  blocked(case.blocked, waiter)
  case.wake(object)
  lu.assertTrue(waiter:result(LONG) and true, name)
end

--- The tests of waits. Of each: new makes the object, wait waits with a timeout and
--- returns false or nil in time, wake ends the wait, close ends the object; blocked
--- names what dump() says.
---@param timed table the waits, by their names
---@param raising table those that raise in time, an error of the class 'late'; one that
--- 'breaks' what it waited for leaves nothing to be waited for again
---@param endless table those without a timeout
return function(timed, raising, endless)
  local Test = {}

  function Test.testZeroDoesNotWait()
    each(function(name, case, object)
      local result = spawn(case.wait, object, 0):result(LONG)
      lu.assertFalse(result or false, name)
      assert_whole(name, case, object)
    end, timed)
  end

  function Test.testTheDeadlineEndsEachOfThem()
    each(function(name, case, object)
      local start = time.monotonic()
      local result = spawn(case.wait, object, 0.01):result(LONG)
      lu.assertFalse(result or false, name)
      lu.assertTrue(time.monotonic() - start >= 0.01, name)
      assert_whole(name, case, object)
    end, timed)
  end

  function Test.testTheDeadlineRaisesWhereThereIsNothingToReturn()
    each(function(name, case, object)
      local start = time.monotonic()
      local ok, err = spawn(pcall, case.wait, object, 0.01):result(LONG)
      lu.assertFalse(ok, name)
      lu.assertTrue(errors.is(err, case.late), name)
      lu.assertTrue(time.monotonic() - start >= 0.01, name)
      if not case.breaks then assert_whole(name, case, object) end
    end, raising)
  end

  function Test.testAHugeDurationMeansForEver()
    for _, huge in ipairs(HUGE) do
      each(function(name, case, object)
        local waiter = spawn(case.wait, object, huge)
        blocked(case.blocked, waiter)
        case.wake(object)
        lu.assertTrue(waiter:result(LONG) and true, name)
      end, timed, raising)
    end
  end

  -- 214: that this thread sees them wait is what it is about.
  function Test.testOthersRunDuringEachOfThem()
    each(assert_whole, timed, raising, endless)
  end

  -- 13: a cancel ends each of them and takes nothing.
  function Test.testACancelEndsEachOfThemAndTakesNothing()
    for _, how in ipairs { "cancel", "kill" } do
      each(function(name, case, object)
        local waiter = spawn(case.wait, object)
        blocked(case.blocked, waiter)
        lu.assertTrue(waiter[how](waiter))
        lu.assertTrue(waiter:join(LONG), name)
        local ok, err = pcall(waiter.result, waiter)
        lu.assertFalse(ok, name)
        lu.assertTrue(errors.is(err, how == "kill" and errors.Killed or errors.Cancelled), name)
        assert_whole(name, case, object)
      end, timed, raising, endless)
    end
  end

  -- 13
  function Test.testACancelEndsEachOfThemInACoroutine()
    each(function(name, case, object)
      local caught
      local waiter = spawn(function()
        local ok, err = pcall(coroutine.wrap(function() return case.wait(object) end))
        caught = not ok and err
        return "went on"
      end)
      blocked(case.blocked, waiter)
      waiter:cancel()
      lu.assertEquals(waiter:result(LONG), "went on", name)
      lu.assertTrue(errors.is(caught, errors.Cancelled), name)
      assert_whole(name, case, object)
    end, timed, raising, endless)
  end

  -- A C function on the stack, which no coroutine can leave, does not matter.
  function Test.testEachOfThemWaitsBelowACFunction()
    each(function(name, case, object)
      local result
      local waiter = spawn(function()
        string.gsub("x", "x", function() result = case.wait(object) end)
      end)
      blocked(case.blocked, waiter)
      case.wake(object)
      lu.assertTrue(waiter:join(LONG))
      lu.assertTrue(result and true, name)
    end, timed, raising, endless)
  end

  -- A thread of its own finds the main thread in the wait.
  function Test.testCtrlCEndsEachOfThem()
    -- Its runtime holds a signal back until the thread makes a call it knows.
    lu.skipIf(os.getenv("TIDELOCK_SANITIZER") == "thread", "ThreadSanitizer")
    each(function(name, case, object)
      local strike = spawn(function(main)
        blocked(case.blocked, main)
        os.execute("kill -INT $PPID")
      end, threading.main_thread())
      local ok, problem = pcall(case.wait, object)
      strike:result(LONG)
      lu.assertFalse(ok, name)
      lu.assertTrue(errors.is(problem, errors.KeyboardInterrupt), name)
      assert_whole(name, case, object)
    end, timed, raising, endless)
  end

  -- What is no duration is told, and changes nothing.
  function Test.testWhatIsNoDurationIsAnError()
    each(function(name, case, object)
      for _, wrong in ipairs { -0.5, -math.huge, 0 / 0, "x", {} } do
        local ok, problem = spawn(pcall, case.wait, object, wrong):result(LONG)
        lu.assertFalse(ok, name)
        lu.assertStrMatches(problem, ".*bad argument #%d to '[%w_.?]+' %(.*", nil, nil, name)
      end
      assert_whole(name, case, object)
    end, timed, raising)
  end

  return Test
end

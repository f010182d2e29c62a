--- The module errors: error values and their classes.
local lu = require("luaunit")
local errors = require("errors")
local queue = require("queue")
local threading = require("threading")
local time = require("time")

local TestErrors = {}

local PARENTS = {
  Killed = "Cancelled",
  BrokenThreadPool = "BrokenExecutor",
  BrokenProcessPool = "BrokenExecutor",
  BrokenInterpreterPool = "BrokenExecutor",
  ConnectionError = "RequestException",
  Timeout = "RequestException",
  HTTPError = "RequestException",
  TooManyRedirects = "RequestException",
  InvalidURL = "RequestException",
  SSLError = "RequestException",
}

local CLASSES = {
  "Error", "TimeoutError", "Cancelled", "Killed", "KeyboardInterrupt",
  "InvalidStateError", "BrokenBarrierError", "Deadlock", "OwnerDied", "EOFError",
  "OSError", "ShutDown", "Empty", "Full", "BrokenExecutor", "BrokenThreadPool",
  "BrokenProcessPool", "BrokenInterpreterPool", "WorkerLost",
  "AuthenticationError", "BufferTooShort", "PicklingError", "UnpicklingError",
  "ExecutionFailed", "ExceptionGroup", "RequestException", "ConnectionError",
  "Timeout", "HTTPError", "TooManyRedirects", "InvalidURL", "SSLError",
}

function TestErrors.testClassesAndTheirParents()
  for _, name in ipairs(CLASSES) do
    local class = errors[name]
    lu.assertIsTable(class, name)
    lu.assertTrue(errors.is(class, class))
    lu.assertTrue(errors.is(class, errors.Error))
    local e = errors.new(class)
    lu.assertTrue(errors.is(e, class))
    lu.assertEquals(e.name, class.name)
    lu.assertEquals(e.message, class.message)
    local parent = PARENTS[name]
    for _, other in ipairs(CLASSES) do
      local under = other == name or other == "Error" or other == parent
      lu.assertEquals(errors.is(e, errors[other]), under, name .. " is " .. other)
    end
  end
end

function TestErrors.testClassesAreTheSameElsewhere()
  lu.assertIs(queue.Empty, errors.Empty)
  lu.assertIs(queue.Full, errors.Full)
  lu.assertIs(queue.ShutDown, errors.ShutDown)
  lu.assertIs(threading.Cancelled, errors.Cancelled)
  lu.assertIs(threading.BrokenBarrierError, errors.BrokenBarrierError)
  local mp = require("multiprocessing")
  for _, name in ipairs { "AuthenticationError", "BufferTooShort", "TimeoutError" } do
    lu.assertIsTable(mp[name])
    lu.assertIs(mp[name], errors[name])
  end
  lu.assertIs(require("tidelock.errors"), errors)
end

function TestErrors.testNew()
  local e = errors.new(errors.Empty, "nothing there", { shelf = 3, [1] = "x" })
  lu.assertEquals(tostring(e), "queue.Empty: nothing there")
  lu.assertEquals(e.shelf, 3)
  lu.assertEquals(e[1], "x")
  lu.assertEquals(tostring(errors.Empty), "queue.Empty: the queue is empty")
  lu.assertEquals(tostring(errors.new(errors.Empty)), "queue.Empty: the queue is empty")
  lu.assertNotIs(errors.new(errors.Empty), errors.new(errors.Empty))
  lu.assertEquals(tostring(errors.new(errors.KeyboardInterrupt)), "interrupted!")
end

function TestErrors.testClass()
  local Broken = errors.class("app.Broken")
  local Bent = errors.class("app.Bent", Broken)
  local e = errors.new(Bent, "by 3 degrees")
  lu.assertEquals(tostring(e), "app.Bent: by 3 degrees")
  lu.assertTrue(errors.is(e, Bent))
  lu.assertTrue(errors.is(e, Broken))
  lu.assertTrue(errors.is(e, errors.Error))
  lu.assertFalse(errors.is(errors.new(Broken), Bent))
  lu.assertFalse(errors.is(e, errors.TimeoutError))
end

function TestErrors.testIsTakesAnyValue()
  for _, value in ipairs({ "Error", 1, true, {}, print, setmetatable({}, {}) }) do
    lu.assertFalse(errors.is(value, errors.Error))
  end
  lu.assertFalse(errors.is(nil, errors.Error))
end

function TestErrors.testBadArguments()
  local e = errors.new(errors.Empty)
  for _, class in ipairs({ e, {}, "Empty", 1, print }) do
    lu.assertErrorMsgContains("bad argument #1", errors.new, class)
    lu.assertErrorMsgContains("bad argument #2", errors.is, e, class)
    lu.assertErrorMsgContains("bad argument #2", errors.class, "x", class)
  end
  lu.assertErrorMsgContains("bad argument #2", errors.new, errors.Error, {})
  lu.assertErrorMsgContains("bad argument #3", errors.new, errors.Error, "x", 1)
  lu.assertErrorMsgContains("bad argument #1", errors.class)
  lu.assertErrorMsgContains("bad argument #2", errors.is, e)
  lu.assertErrorMsgContains("bad argument #1", errors.pcall)
  lu.assertErrorMsgContains("bad argument #1", errors.traceback)
end

function TestErrors.testErrorsKeepTheirIdentity()
  local e = errors.new(errors.OwnerDied)
  local ok, caught = pcall(error, e)
  lu.assertFalse(ok)
  lu.assertIs(caught, e)
end

function TestErrors.testPcallIsLikePcall()
  lu.assertEquals({ errors.pcall(function(...) return ... end, 1, nil, 3) },
    { true, 1, nil, 3 })
  lu.assertEquals({ errors.pcall(error, "plain", 0) }, { false, "plain" })
  lu.assertEquals({ errors.pcall(error) }, { false, nil })
  lu.assertEquals(errors.pcall(nil), false)
  local ok, e = errors.pcall(error, errors.new(errors.Empty))
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(e, errors.Empty))
end

function TestErrors.testPcallLetsInterruptionsThrough()
  for _, class in ipairs({ errors.Cancelled, errors.Killed, errors.KeyboardInterrupt }) do
    local e = errors.new(class)
    local ok, caught = pcall(errors.pcall, error, e)
    lu.assertFalse(ok)
    lu.assertIs(caught, e)
  end
end

function TestErrors.testPcallYields()
  local co = coroutine.wrap(function()
    return errors.pcall(function(a)
      local b = coroutine.yield(a + 1)
      local ok = errors.pcall(function()
        coroutine.yield(b + 1)
        error("inside")
      end)
      return ok, "out"
    end, 1)
  end)
  lu.assertEquals(co(), 2)
  lu.assertEquals(co(10), 11)
  lu.assertEquals({ co() }, { true, false, "out" })
end

function TestErrors.testPcallLetsACancelEndARetryLoop()
  local thread = threading.Thread(function()
    while true do errors.pcall(time.sleep, 1000) end
  end):start()
  thread:cancel("enough")
  lu.assertTrue(thread:join(10))
  local ok, e = pcall(thread.result, thread)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(e, errors.Cancelled))
  lu.assertEquals(e.message, "enough")
end

function TestErrors.testTraceback()
  lu.assertEquals(errors.traceback("text"), "text")
  lu.assertEquals(errors.traceback(nil), "nil")
  local cause = errors.new(errors.EOFError, "first", { traceback = "stack 1" })
  local e = errors.new(errors.Error, "second", { traceback = "stack 2", cause = cause })
  lu.assertEquals(errors.traceback(e), table.concat({
    "Error: second", "stack 2", "caused by: EOFError: first", "stack 1",
  }, "\n"))
  cause.cause = "a string"
  lu.assertStrContains(errors.traceback(e), "stack 1\ncaused by: a string")
  cause.cause = e -- for ever round: it ends nevertheless
  lu.assertStrContains(errors.traceback(e), "caused by: Error: second")
end

return { TestErrors = TestErrors }

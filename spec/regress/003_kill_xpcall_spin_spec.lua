--- A kill ends what catches every error: a message handler runs with hooks
-- off, a pcall loop goes on, a generator's variables are closed. Lua __close
-- functions get 100 ms in all; those in C always complete.
local errors = require("errors")
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local closing = require("support.closing")
local going = require("support.going")

local LONG = 60 -- seconds
local WORK = (os.getenv("TIDELOCK_SANITIZER") or "") == "" and 1000 or 10

local function spin() while true do end end

local function scope(close) return setmetatable({}, { __close = close }) end

local TestKill = {}

--- Runs f in a thread, waits until it is in its loop, ends it by the methods
-- named, and returns how long its end took.
local function ended(f, ...)
  local started = threading.Event()
  local t = threading.Thread { target = f, args = { started }, daemon = true }:start()
  lu.assertTrue(started:wait(LONG))
  going(t)
  local start = time.monotonic()
  for _, how in ipairs { ... } do
    t[how](t)
    time.sleep(0.002) -- the next one finds it somewhere on its way
  end
  lu.assertTrue(t:join(LONG))
  local took = time.monotonic() - start
  local ok, err = pcall(t.result, t)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(err, errors.Cancelled), tostring(err))
  return took
end

local loops = {
  XpcallSpinSpin = function(started)
    started:set()
    while true do xpcall(spin, spin) end
  end,
  XpcallInXpcall = function(started)
    started:set()
    while true do
      xpcall(function() xpcall(spin, spin) end, function() xpcall(spin, spin) end)
    end
  end,
  HandlerOfAnotherError = function(started)
    started:set()
    while true do xpcall(error, spin) end
  end,
  PcallLoop = function(started)
    started:set()
    while true do pcall(spin) end
  end,
  EmptyPcalls = function(started)
    started:set()
    while true do pcall(pcall) end
  end,
  NestedPcalls = function(started)
    started:set()
    local function nested(n)
      while true do
        if n > 0 then pcall(nested, n - 1) else spin() end
      end
    end
    nested(50)
  end,
  PcallInACoroutine = function(started)
    started:set()
    while true do
      coroutine.wrap(function() while true do pcall(spin) end end)()
    end
  end,
  ResumeLoop = function(started)
    started:set()
    while true do
      local co = coroutine.create(function()
        while true do pcall(coroutine.yield) end
      end)
      for _ = 1, 1000 do coroutine.resume(co) end
    end
  end,
  CoroutinesInCoroutines = function(started)
    local function nest(n)
      while true do
        pcall(coroutine.wrap(function()
          if n > 0 then nest(n - 1) end
          started:set()
          while true do pcall(spin) end
        end))
      end
    end
    nest(20)
  end,
  SpinInAClose = function(started)
    local _a <close> = scope(spin)
    local _b <close> = scope(function() while true do pcall(spin) end end)
    started:set()
    spin()
  end,
  ManyClosesThatSpin = function(started)
    local function nest(n)
      local _ <close> = scope(function() while true do xpcall(spin, spin) end end)
      if n > 0 then nest(n - 1) end
      started:set()
      spin()
    end
    nest(99)
  end,
  CloseInAGenerator = function(started)
    started:set()
    while true do
      pcall(function()
        for _ in coroutine.wrap(function()
          local _ <close> = scope(spin)
          while true do coroutine.yield(1) end
        end) do
          pcall(error)
        end
      end)
    end
  end,
  CloseOfASuspendedGenerator = function(started)
    local co = coroutine.create(function()
      local _ <close> = scope(spin)
      coroutine.yield()
    end)
    coroutine.resume(co)
    local _ <close> = scope(function() coroutine.close(co) end)
    started:set()
    spin()
  end,
  CloseThatSleeps = function(started)
    local _ <close> = scope(function() time.sleep(1000) end)
    started:set()
    spin()
  end,
  CloseThatSleepsAgainAndAgain = function(started)
    local _ <close> = scope(function() while true do pcall(time.sleep, 1000) end end)
    started:set()
    spin()
  end,
  ErrorsPcall = function(started)
    started:set()
    while true do pcall(errors.pcall, spin) end
  end,
  SortCallback = function(started)
    started:set()
    while true do
      pcall(table.sort, { 3, 2, 1 }, function() while true do pcall(spin) end end)
    end
  end,
  GsubCallback = function(started)
    started:set()
    while true do pcall(string.gsub, "x", "x", spin) end
  end,
  Metamethods = function(started)
    local t = setmetatable({}, {
      __index = function() while true do pcall(spin) end end,
      __tostring = function() while true do pcall(spin) end end,
    })
    started:set()
    while true do
      pcall(function() return t.x end)
      pcall(tostring, t)
    end
  end,
  ScriptHook = function(started)
    debug.sethook(function() pcall(error) end, "crl", 1)
    started:set()
    while true do pcall(spin) end
  end,
  BlockedInAPcallLoop = function(started)
    started:set()
    while true do pcall(time.sleep, 1000) end
  end,
  Requires = function(started)
    started:set()
    while true do pcall(require, "no such module") end
  end,
  Loads = function(started)
    started:set()
    while true do pcall(load, function() while true do pcall(spin) end end) end
  end,
}

for name, loop in pairs(loops) do
  TestKill["test" .. name] = function()
    for _ = 1, 3 do lu.assertTrue(ended(loop, "kill") < 10) end
    lu.assertTrue(ended(loop, "kill", "kill", "cancel", "kill") < 10)
    lu.assertTrue(ended(loop, "cancel", "cancel", "kill") < 10)
  end
end

-- Closers share their time, however many there are.
function TestKill.testClosersHaveTimeButNotForEver()
  closing(10, function()
    local done = 0
    ended(function(started)
      local function nest(n)
        local _ <close> = scope(function()
          for _ = 1, WORK do table.concat({ 1, 2, 3 }) end
          done = done + 1
        end)
        if n > 0 then return nest(n - 1), 1 end
        started:set()
        spin()
      end
      nest(9)
    end, "kill")
    return done
  end)
end

-- 100 closers that spin have 100 ms in all, not each.
function TestKill.testClosersThatSpinShareTheirTime()
  if WORK < 1000 then return end -- a sanitizer's speed is no measure
  lu.assertTrue(ended(loops.ManyClosesThatSpin, "kill") < 5)
end

-- In five tries one is not kept from the processor for 70 ms.
function TestKill.testACloserHasMoreThanAMoment()
  local done = false
  for _ = 1, 5 do
    ended(function(started)
      local _ <close> = scope(function()
        local begin = time.monotonic()
        repeat until time.monotonic() - begin > 0.03
        done = true
      end)
      started:set()
      spin()
    end, "kill")
    if done then break end
  end
  lu.assertTrue(done)
end

-- A guard's release is C: it completes although Lua's time is up.
function TestKill.testCloseInCCompletesAfterTheTime()
  local locks = {}
  for i = 1, 20 do locks[i] = threading.Lock() end
  ended(function(started)
    local function nest(n)
      local held <close> = locks[n]:guard()
      local _ <close> = scope(spin) -- takes all the time there is
      if n < #locks then nest(n + 1) end
      started:set()
      spin()
    end
    nest(1)
  end, "kill")
  for _, lock in ipairs(locks) do lu.assertFalse(lock:locked()) end
end

-- Variables of coroutines on the way are closed, too.
function TestKill.testGeneratorsOnTheWayAreClosed()
  closing({ "inner", "outer" }, function()
    local closed = {}
    ended(function(started)
      coroutine.wrap(function()
        local _ <close> = scope(function() table.insert(closed, "outer") end)
        coroutine.wrap(function()
          local _ <close> = scope(function() table.insert(closed, "inner") end)
          started:set()
          spin()
        end)()
      end)()
    end, "kill")
    return closed
  end)
end

return { TestKill = TestKill }

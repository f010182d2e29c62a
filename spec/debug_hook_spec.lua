--- debug.sethook behaves as in lua5.4, in every thread and while preemption
--- uses the same place.
local lu = require("luaunit")
local threading = require("threading")
local twin = require("support.twin")

local LONG = 60 -- seconds
local TURNS = os.getenv("TIDELOCK_SANITIZER") == "thread" and 10000 or 50000

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local TestDebugHook = {}

function TestDebugHook.testCallAndReturnEvents()
  twin([[
    local events = {}
    local function f(x) return x end
    local function tail(x) return f(x) end
    debug.sethook(function(event, line)
      local info = debug.getinfo(2, "nS")
      table.insert(events, ("%s:%s:%s:%s"):format(event, line, info.name, info.what))
    end, "cr")
    f(1)
    tail(2)
    tostring(3)
    pcall(f, 4)
    pcall(error)
    debug.sethook()
    for _, e in ipairs(events) do print(e) end
  ]])
end

function TestDebugHook.testLineEvents()
  twin("local TURNS = " .. TURNS .. [[

    local lines = {}
    debug.sethook(function(event, line) table.insert(lines, event .. line) end, "l")
    for i = 1, 3 do
      local x = i
      if x == 2 then
        x = x + 1
      end
    end
    local t = setmetatable({}, { __index = function(_, k)
      return k
    end })
    local _ = t.x .. t.y
    debug.sethook()
    print(table.concat(lines, " "))
    -- A long run: each event is there, however often the thread gave way.
    local n = 0
    debug.sethook(function() n = n + 1 end, "l")
    for i = 1, TURNS do
      local x = i
    end
    debug.sethook()
    print(n)
    n = 0
    debug.sethook(function(event) if event == "call" then n = n + 1 end end, "c")
    local function f() end
    for _ = 1, TURNS do f() end
    debug.sethook()
    print(n)
    n = 0
    debug.sethook(function() n = n + 1 end, "r")
    for _ = 1, TURNS do f() end
    debug.sethook()
    print(n)
  ]])
end

function TestDebugHook.testCountEvents()
  twin("local TURNS = " .. TURNS .. [[

    for _, count in ipairs { 1, 2, 7, 100, 999, 1000, 1001, 2500, 23457 } do
      local n, at = 0, {}
      local i = 0
      debug.sethook(function(event, line)
        n = n + 1
        if #at < 5 then table.insert(at, event .. i) end
      end, "", count)
      while i < TURNS do i = i + 1 end
      debug.sethook()
      print(count, n, table.concat(at, " "))
    end
    -- With other events; a count is not affected by them.
    local events = { count = 0, line = 0, call = 0, ["return"] = 0, ["tail call"] = 0 }
    debug.sethook(function(event) events[event] = events[event] + 1 end, "crl", 1000)
    local function f(x) return x end
    local function g(x) return f(x) end
    for i = 1, 20000 do g(i) end
    debug.sethook()
    print(events.count, events.line, events.call, events["return"], events["tail call"])
  ]])
end

function TestDebugHook.testALimitThatRaises()
  twin([[
    local i = 0
    debug.sethook(function() error("limit", 0) end, "", 1000000)
    print(pcall(function() while true do i = i + 1 end end))
    debug.sethook()
    print(i)
    i = 0
    local co = coroutine.create(function() while true do i = i + 1 end end)
    debug.sethook(co, function() error("limit") end, "", 54321)
    print(coroutine.resume(co))
    print(i, coroutine.status(co))
  ]])
end

function TestDebugHook.testGethook()
  twin([[
    print(debug.gethook())
    local function h() end
    for _, mask in ipairs { "", "c", "r", "l", "cr", "crl", "x" } do
      for _, count in ipairs { 0, 1, 5, 100000 } do
        debug.sethook(h, mask, count)
        for _ = 1, 2000 do end
        local f, m, n = debug.gethook()
        debug.sethook()
        print(mask, count, f == h, m, n)
      end
    end
    debug.sethook(h, "l")
    debug.sethook(nil)
    print(debug.gethook())
    debug.sethook(h, "l")
    debug.sethook(h, "")
    print(debug.gethook())
  ]])
end

function TestDebugHook.testOfCoroutines()
  twin([[
    local n = 0
    local function h() n = n + 1 end
    local co = coroutine.create(function()
      for _ = 1, 1000 do end
      coroutine.yield(debug.gethook() == h)
      for _ = 1, 1000 do end
    end)
    print(debug.gethook(co))
    debug.sethook(co, h, "", 100)
    print(debug.gethook(co) == h, select(2, debug.gethook(co)))
    print(coroutine.resume(co))
    print(n, debug.gethook())
    print(coroutine.resume(co))
    print(n)
    -- A coroutine made under a hook has its mask, but no function.
    n = 0
    debug.sethook(h, "", 10)
    co = coroutine.create(function() for _ = 1, 1000 do end return n end)
    print(select("#", debug.gethook(co)), (select(2, debug.gethook(co))),
      (select(3, debug.gethook(co))))
    debug.sethook()
    n = 0
    print(coroutine.resume(co))
    print(n)
    -- A hook of the creator does not count in the coroutine.
    debug.sethook(h, "l")
    coroutine.wrap(function()
      local x = 1
      x = 2
    end)()
    debug.sethook()
    print(n)
  ]])
end

function TestDebugHook.testAHookIsNotHookedAndMayChangeItself()
  twin([[
    local n, m = 0, 0
    debug.sethook(function()
      n = n + 1
      local x = 1
      x = 2
      if n == 3 then debug.sethook(function() m = m + 1 end, "l") end
    end, "l")
    for i = 1, 5 do
      local x = i
    end
    debug.sethook()
    print(n, m)
    n = 0
    debug.sethook(function() n = n + 1; debug.sethook() end, "", 5)
    for i = 1, 100 do end
    print(n, debug.gethook())
  ]])
end

function TestDebugHook.testWrongArguments()
  twin([[
    print(pcall(debug.sethook, 1))
    print(pcall(debug.sethook, print))
    print(pcall(debug.sethook, print, 1, "x"))
    print(pcall(debug.sethook, coroutine.create(print), 1, "l"))
    print(pcall(debug.sethook, {}, "l"))
    print(select("#", debug.sethook()))
    print(select("#", debug.sethook(print, "")))
    print(pcall(debug.gethook, 1))
    print(debug.gethook())
  ]])
end

function TestDebugHook.testErrorsInAHook()
  twin([[
    local function raising()
      debug.sethook()
      error("from the hook", 0)
    end
    for _, mask in ipairs { "c", "r", "l", "" } do
      print(mask, pcall(function()
        debug.sethook(raising, mask, mask == "" and 1000 or 0)
        local x = 1
        while true do tostring(x) end
      end))
      print(debug.gethook())
    end
  ]])
end

function TestDebugHook.testOtherFunctionsOfDebug()
  twin([[
    local names = {}
    for name, f in pairs(debug) do table.insert(names, name .. ":" .. type(f)) end
    table.sort(names)
    print(table.concat(names, " "))
    local function f(a, ...)
      local b = 2
      return (debug.traceback("t", 1):gsub("\n\t%[C%]: in %?", ""))
    end
    local text = f(1):match("^t\nstack traceback:\n\tchunk:%d+: in [^\n]+")
    print(text)
    local co = coroutine.create(function(a) local b = a coroutine.yield() end)
    coroutine.resume(co, 5)
    print(debug.getlocal(co, 1, 1), debug.getlocal(co, 1, 2))
    print(debug.traceback(co))
    print(debug.getinfo(1, "l").currentline)
  ]])
end

local TestDebugHookOfThreads = {}

-- Each thread has its own hook, and does not lose it to the others'.
function TestDebugHookOfThreads.testAreIndependent()
  local function count(mask, n)
    local seen, lines = 0, 0
    debug.sethook(function() seen = seen + 1 end, mask, mask == "" and n or nil)
    for _ = 1, 100000 do
      lines = lines + 1
    end
    debug.sethook()
    return seen
  end
  local threads = {}
  for i = 1, 6 do
    threads[i] = spawn(count, i % 2 == 0 and "l" or "", 1000 * i)
  end
  for i, t in ipairs(threads) do
    local n = t:result(LONG)
    local least = i % 2 == 0 and 200000 or 200000 // (1000 * i)
    lu.assertTrue(n >= least and n <= least + 5, ("thread %d: %d"):format(i, n))
  end
  lu.assertNil(debug.gethook())
end

function TestDebugHookOfThreads.testAreNotInherited()
  local function h() end
  debug.sethook(h, "l")
  local inherited = spawn(function() return debug.gethook() end):result(LONG)
  debug.sethook()
  lu.assertNil(inherited)
end

-- A hook may be set in the base state of another thread.
function TestDebugHookOfThreads.testMayBeSetFromAnother()
  local base, seen, stop = nil, 0, false
  local started = threading.Event()
  local t = spawn(function()
    base = coroutine.running()
    started:set()
    while not stop do end
  end)
  started:wait()
  debug.sethook(base, function()
    seen = seen + 1
    stop = seen == 10
  end, "", 1000)
  lu.assertTrue(t:join(LONG))
  lu.assertEquals(seen, 10)
end

return { TestDebugHook = TestDebugHook, TestDebugHookOfThreads = TestDebugHookOfThreads }

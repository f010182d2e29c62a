--- coroutine behaves as in lua5.4, in every thread and while it is preempted;
--- the base state of a thread answers as a main state does.
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local twin = require("support.twin")

local LONG = 60 -- seconds

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local TestCoroutine = {}

function TestCoroutine.testStatusAndResults()
  twin([[
    local co = coroutine.create(function(...)
      print("in", coroutine.status(co), select("#", ...), ...)
      print(coroutine.yield(1, nil))
      print(coroutine.yield())
      return nil, 2, nil
    end)
    print(coroutine.status(co), coroutine.isyieldable(co))
    print(coroutine.resume(co, nil, 1, nil))
    print(coroutine.status(co))
    print(coroutine.resume(co, "a", nil))
    print(coroutine.resume(co))
    print(coroutine.status(co))
    print(coroutine.resume(co))
    print(coroutine.resume(co))
    print(coroutine.close(co), coroutine.close(co))
  ]])
end

function TestCoroutine.testNesting()
  twin([[
    local outer
    outer = coroutine.create(function()
      local inner = coroutine.create(function()
        print(coroutine.status(outer), coroutine.resume(outer))
        print(pcall(coroutine.close, outer))
        print(coroutine.isyieldable(), select(2, coroutine.running()))
        print(coroutine.resume(coroutine.running()))
        print(pcall(coroutine.close, coroutine.running()))
        print(coroutine.status(coroutine.running()))
        coroutine.yield("inner")
      end)
      print(coroutine.resume(inner))
      print(coroutine.status(inner))
      coroutine.yield("outer")
    end)
    print(coroutine.resume(outer))
    print(coroutine.status(outer))
  ]])
end

function TestCoroutine.testErrors()
  twin([[
    local function inside(f, ...)
      local co = coroutine.create(f)
      local results = table.pack(coroutine.resume(co, ...))
      print(coroutine.status(co), table.unpack(results, 1, results.n))
      print(coroutine.close(co))
      print(coroutine.status(co), coroutine.resume(co))
    end
    inside(error, "text", 0)
    inside(function() error("with position") end)
    inside(function() error() end)
    inside(function() error(42) end)
    inside(function() local t = nil; return t.x end)
    inside(function() error(setmetatable({}, {__tostring = function() return "object" end})) end)
    print(pcall(coroutine.wrap(function() error("wrapped") end)))
    print(pcall(coroutine.wrap(function() error({}) end)) == false)
    local f = coroutine.wrap(function() return 1 end)
    print(f(), pcall(f))
    local g = coroutine.wrap(function()
      local _ <close> = setmetatable({}, {__close = function(_, e) print("closing", e) end})
      error("in scope")
    end)
    print(pcall(g))
    local h = coroutine.wrap(function()
      local _ <close> = setmetatable({}, {__close = function() error("in close") end})
      error("in scope")
    end)
    print(pcall(h))
  ]])
end

function TestCoroutine.testWrongArguments()
  twin([[
    for _, name in ipairs { "create", "wrap", "resume", "status", "close" } do
      print(name, pcall(coroutine[name]))
      print(name, pcall(coroutine[name], 1))
      print(name, pcall(coroutine[name], nil))
    end
    print(pcall(coroutine.create, print) == true)
    print(pcall(coroutine.isyieldable, 1))
    print(pcall(coroutine.isyieldable, nil))
    print(pcall(coroutine.resume, coroutine.create(print), "printed"))
    print(select("#", coroutine.running()))
    for _, name in ipairs { "create", "wrap", "resume", "status", "close", "yield",
        "running", "isyieldable" } do
      print(name, type(coroutine[name]), debug.getinfo(coroutine[name], "S").what)
    end
  ]])
end

function TestCoroutine.testClosing()
  twin([[
    local function scope(name, fails)
      return setmetatable({}, { __close = function(_, e)
        print("close", name, e)
        if fails then error(name .. " failed", 0) end
      end })
    end
    local co = coroutine.create(function()
      local a <close> = scope("a")
      local b <close> = scope("b")
      coroutine.yield()
    end)
    print(coroutine.close(coroutine.create(print)))
    coroutine.resume(co)
    print(coroutine.close(co), coroutine.status(co))
    co = coroutine.create(function()
      local a <close> = scope("a")
      local b <close> = scope("b", true)
      coroutine.yield()
    end)
    coroutine.resume(co)
    print(coroutine.close(co))
    print(coroutine.close(co))
    -- Closing one from inside another.
    co = coroutine.create(function()
      local a <close> = setmetatable({}, { __close = function()
        print("closes", coroutine.status(co), select(2, coroutine.running()),
          coroutine.isyieldable())
      end })
      coroutine.yield()
    end)
    coroutine.resume(co)
    coroutine.wrap(function() print(coroutine.close(co)) end)()
    -- The variable of a for loop.
    local function iterator()
      return coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end), nil, nil,
        scope("loop")
    end
    for i in iterator() do if i == 2 then break end end
  ]])
end

function TestCoroutine.testYieldAcross()
  twin([[
    local function run(f)
      local co = coroutine.create(f)
      print(coroutine.resume(co))
      print(coroutine.resume(co, "again"))
    end
    run(function() return pcall(coroutine.yield, 1) end)
    run(function() return pcall(function() coroutine.yield(1) error("e", 0) end) end)
    run(function() return xpcall(coroutine.yield, print, 1) end)
    run(function() return pcall(pcall, coroutine.yield, 1) end)
    run(function()
      local t = setmetatable({}, { __index = function(_, k) return coroutine.yield(k) end,
        __lt = function() return coroutine.yield("lt") end,
        __concat = function() return coroutine.yield("concat") end })
      return t.key
    end)
    run(function() local t = setmetatable({}, {__lt = function() return coroutine.yield("lt") end})
      return t < t end)
    run(function() for i in coroutine.yield, 1 do return i end end)
    run(function() return table.sort({ 3, 2, 1 }, function() coroutine.yield() end) end)
    run(function() return ("x"):gsub("x", function() coroutine.yield() end) end)
    run(function() return load(function() coroutine.yield() end) end)
    run(function()
      local _ <close> = setmetatable({}, { __close = function() coroutine.yield("closing") end })
      return "returned"
    end)
    run(function() return require("no such module") and 1 end)
    run(coroutine.yield)
    run(function() return select("#", coroutine.yield(table.unpack({}, 1, 200))) end)
  ]])
end

function TestCoroutine.testManyValuesAndDepth()
  twin([[
    local co = coroutine.wrap(function(...)
      local n = select("#", ...)
      while true do n = select("#", coroutine.yield(table.unpack({}, 1, n))) end
    end)
    for _, n in ipairs { 0, 1, 100, 10000, 200000 } do
      print(select("#", co(table.unpack({}, 1, n))))
    end
    local depth = 0
    local function nest()
      depth = depth + 1
      local ok, err = coroutine.resume(coroutine.create(nest))
      if not ok then error(err, 0) end
    end
    print(pcall(nest))
    print(depth > 150 and depth < 250)
    print(pcall(coroutine.wrap(function()
      local function f() return 1 + f() end
      return f()
    end)))
    print(pcall(coroutine.resume, coroutine.create(print), table.unpack({}, 1, 300000)))
  ]], { "main alone", "worker alone" })
end

function TestCoroutine.testHeavyUse()
  twin([[
    local function numbers(n)
      return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end)
    end
    local function map(f, gen)
      return coroutine.wrap(function() for x in gen do coroutine.yield(f(x)) end end)
    end
    local function permutations(a, n)
      if n <= 1 then coroutine.yield(table.concat(a, " ")) return end
      for i = 1, n do
        a[n], a[i] = a[i], a[n]
        permutations(a, n - 1)
        a[n], a[i] = a[i], a[n]
      end
    end
    local sum = 0
    for x in map(function(x) return x * 2 end, map(tostring, numbers(20000))) do sum = sum + x end
    print(sum)
    local n, text = 0, ""
    for p in coroutine.wrap(function() permutations({ 1, 2, 3, 4, 5, 6, 7 }, 7) end) do
      n, text = n + 1, p
    end
    print(n, text)
    local pool = {}
    for i = 1, 200 do
      pool[i] = coroutine.create(function(a)
        local total = a
        for _ = 1, 50 do total = total + select(2, pcall(coroutine.yield, total)) end
        return total
      end)
    end
    local total = 0
    for round = 1, 51 do
      for i = 1, 200 do
        local ok, v = coroutine.resume(pool[i], i)
        total = total + v
      end
    end
    print(total, coroutine.status(pool[1]), coroutine.status(pool[200]))
  ]])
end

function TestCoroutine.testPcallAndXpcall()
  twin([[
    print(pcall(error))
    print(pcall(error, nil))
    print(pcall(pcall))
    print(pcall(xpcall, print))
    print(xpcall(error, function(e) return "handled " .. tostring(e) end, "e", 0))
    print(xpcall(error, function() error("again") end, "e"))
    print(xpcall(function() local x = nil + 1 end, function(e)
      return (debug.traceback(e):gsub("\n.*", ""))
    end))
    print(xpcall(function(...) return select("#", ...), ... end, print, nil, nil))
    print(pcall(string.rep, "x", -1), pcall(string.rep, "x", 1 << 40))
    local function deep(n) if n == 0 then error("deep", 0) end local ok, e = pcall(deep, n - 1)
      error(e .. n, 0) end
    print(#select(2, pcall(deep, 100)))
    local n = 0
    for i = 1, 50000 do
      local ok, e = pcall(error, i)
      if not ok and e == i then n = n + 1 end
    end
    print(n)
    n = 0
    for i = 1, 20000 do
      local ok, e = xpcall(function() if i % 3 == 0 then error("x", 0) end return i end,
        function(e) return e .. i end)
      if ok and e == i or e == "x" .. i then n = n + 1 end
    end
    print(n)
    print(pcall(function()
      local _ <close> = setmetatable({}, { __close = function(_, e) error("closing " .. e, 0) end })
      error("first", 0)
    end))
  ]])
end

local TestBaseState = {}

--- What is true of a main state in lua5.4, wherever it is asked.
local function suite(where)
  local T = {}

  function T.testIsRunningAndMain()
    where(function()
      local co, is_main = coroutine.running()
      lu.assertIsThread(co)
      lu.assertTrue(is_main)
      lu.assertEquals(coroutine.status(co), "running")
      lu.assertIs(coroutine.running(), co)
      lu.assertFalse(coroutine.isyieldable())
      lu.assertFalse(coroutine.isyieldable(co))
      coroutine.wrap(function()
        lu.assertFalse(select(2, coroutine.running()))
        lu.assertTrue(coroutine.isyieldable())
        lu.assertFalse(coroutine.isyieldable(co))
        lu.assertEquals(coroutine.status(co), "normal")
      end)()
    end)
  end

  function T.testCannotYield()
    where(function()
      lu.assertErrorMsgEquals("attempt to yield from outside a coroutine", coroutine.yield)
      lu.assertErrorMsgEquals("attempt to yield from outside a coroutine", coroutine.yield, 1)
      lu.assertErrorMsgContains("attempt to yield", function()
        local t = setmetatable({}, { __index = coroutine.yield })
        return t.x
      end)
      lu.assertErrorMsgContains("attempt to yield", table.sort, { 3, 2, 1 }, coroutine.yield)
    end)
  end

  function T.testCannotBeResumedOrClosed()
    where(function()
      local co = coroutine.running()
      local function try()
        lu.assertEquals({ coroutine.resume(co) },
          { false, "cannot resume non-suspended coroutine" })
      end
      try()
      lu.assertErrorMsgEquals("cannot close a running coroutine", coroutine.close, co)
      coroutine.wrap(function()
        try()
        lu.assertErrorMsgEquals("cannot close a normal coroutine", coroutine.close, co)
      end)()
    end)
  end

  function T.testHasATraceback()
    where(function()
      local text = debug.traceback("here")
      lu.assertStrContains(text, "here\nstack traceback:")
      lu.assertEquals(debug.traceback(coroutine.running(), "x"), debug.traceback("x"))
    end)
  end

  return T
end

local TestBaseOfMain = suite(function(f) f() end)
local TestBaseOfWorker = suite(function(f) spawn(f):result(LONG) end)

-- A thread's base state, seen from another thread.
function TestBaseState.testOfAnotherThread()
  local stop, base = threading.Event(), nil
  local t = spawn(function()
    base = coroutine.running()
    stop:wait()
  end)
  while not base do time.sleep(0) end
  lu.assertNotEquals(base, (coroutine.running()))
  lu.assertNotEquals(coroutine.status(base), "suspended")
  lu.assertNotEquals(coroutine.status(base), "dead")
  lu.assertFalse(coroutine.isyieldable(base))
  lu.assertFalse((coroutine.resume(base)))
  lu.assertErrorMsgContains("cannot close", coroutine.close, base)
  lu.assertStrContains(debug.traceback(base), "wait")
  stop:set()
  t:join()
  lu.assertEquals(coroutine.status(base), "dead")
  lu.assertEquals({ coroutine.resume(base) }, { false, "cannot resume dead coroutine" })
end

function TestBaseState.testOfTheMainThreadSeenFromAWorker()
  local main = coroutine.running()
  lu.assertFalse(spawn(function()
    return coroutine.isyieldable(main) or (coroutine.resume(main))
  end):result(LONG))
  lu.assertStrContains(select(2, spawn(pcall, coroutine.close, main):result(LONG)),
    "cannot close")
end

local TestCoroutineElsewhere = {}

-- A coroutine belongs to no thread.
function TestCoroutineElsewhere.testGoesOnInAnotherThread()
  local co = coroutine.create(function(a)
    while true do a = coroutine.yield(threading.get_ident(), a) end
  end)
  lu.assertEquals({ coroutine.resume(co, 1) }, { true, threading.get_ident(), 1 })
  for i = 1, 20 do
    local t = spawn(coroutine.resume, co, i)
    lu.assertEquals({ t:result(LONG) }, { true, t.ident, i })
  end
  lu.assertEquals({ coroutine.resume(co, 2) }, { true, threading.get_ident(), 2 })
end

function TestCoroutineElsewhere.testRunsInOneThreadOnly()
  local inside, go = threading.Event(), threading.Event()
  local co = coroutine.create(function()
    inside:set()
    go:wait()
    return "done"
  end)
  local t = spawn(coroutine.resume, co)
  inside:wait()
  lu.assertEquals({ coroutine.resume(co) }, { false, "cannot resume non-suspended coroutine" })
  lu.assertErrorMsgContains("cannot close", coroutine.close, co)
  go:set()
  lu.assertEquals({ t:result(LONG) }, { true, "done" })
  lu.assertEquals(coroutine.status(co), "dead")
end

function TestCoroutineElsewhere.testOutlivesItsThread()
  local gen = spawn(function()
    local gen = coroutine.wrap(function()
      for i = 1, 1000 do coroutine.yield(i) end
    end)
    gen()
    return gen
  end):result(LONG)
  collectgarbage()
  lu.assertEquals(gen(), 2)
  lu.assertEquals(spawn(gen):result(LONG), 3)
end

-- Several threads race for the same coroutines; each step is taken once.
function TestCoroutineElsewhere.testAStepIsTakenOnce()
  local co = coroutine.create(function()
    for i = 1, 2000 do coroutine.yield(i) end
    return nil
  end)
  local function take()
    local sum = 0
    while coroutine.status(co) ~= "dead" do
      local ok, i = coroutine.resume(co)
      if ok and i then sum = sum + i end
    end
    return sum
  end
  local a, b = spawn(take), spawn(take)
  lu.assertEquals(a:result(LONG) + b:result(LONG) + take(), 2000 * 2001 / 2)
end

return {
  TestCoroutine = TestCoroutine,
  TestBaseOfMain = TestBaseOfMain,
  TestBaseOfWorker = TestBaseOfWorker,
  TestBaseState = TestBaseState,
  TestCoroutineElsewhere = TestCoroutineElsewhere,
}

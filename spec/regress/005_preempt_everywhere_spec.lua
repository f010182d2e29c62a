--- Loops of every kind give way and can be cancelled and killed: also those
-- that spend their time in coroutines, protected calls, metamethods, tail
-- calls, iterators or library functions.
local errors = require("errors")
local gil = require("gil")
local lu = require("luaunit")
local threading = require("threading")

local LONG = 60 -- seconds

local loops = {
  Empty = function() while true do end end,
  Numeric = function() while true do for _ = 1, 1000000 do end end end,
  RepeatUntil = function() repeat until false end,
  Goto = function() ::again:: goto again end,
  Arithmetic = function() local n = 0 while true do n = n + 1 end end,
  Calls = function() local function f() end while true do f() end end,
  TailCalls = function() local function f(n) return f(n + 1) end f(1) end,
  MutualTailCalls = function()
    local f, g
    function f(n) return g(n) end
    function g(n) return f(n) end
    f(1)
  end,
  Recursion = function()
    local function f(n) if n > 0 then return 1 + f(n - 1) end return 0 end
    while true do f(100) end
  end,
  Resume = function()
    local co = coroutine.create(function() while true do coroutine.yield() end end)
    while true do coroutine.resume(co) end
  end,
  Wrap = function()
    local gen = coroutine.wrap(function() while true do coroutine.yield(1) end end)
    while true do gen() end
  end,
  ForWrap = function()
    for _ in coroutine.wrap(function() while true do coroutine.yield(1) end end) do end
  end,
  NewCoroutines = function()
    while true do coroutine.wrap(function() end)() end
  end,
  InsideACoroutine = function()
    coroutine.wrap(function() while true do end end)()
  end,
  DeepInCoroutines = function()
    local function nest(n)
      coroutine.wrap(function()
        if n > 0 then nest(n - 1) end
        while true do end
      end)()
    end
    nest(50)
  end,
  Pcall = function() while true do pcall(math.abs, 1) end end,
  PcallInside = function() pcall(function() while true do end end) error("caught") end,
  PcallErrors = function() while true do pcall(math.abs) end end,
  Xpcall = function() while true do xpcall(math.abs, tostring, 1) end end,
  Index = function()
    local t = setmetatable({}, { __index = function(_, k) return k end })
    while true do local _ = t.x end
  end,
  Arith = function()
    local t = setmetatable({}, { __add = function(a) return a end })
    while true do t = t + 1 end
  end,
  IndexInC = function()
    local t = setmetatable({}, { __index = string })
    while true do local _ = t.len end
  end,
  CallMetamethod = function()
    local t = setmetatable({}, { __call = function() end })
    while true do t() end
  end,
  CMetamethod = function()
    local t = setmetatable({}, { __index = rawlen, __len = rawlen })
    while true do local _ = #t end
  end,
  GenericFor = function()
    local function forever(_, i) return i + 1 end
    for _ in forever, nil, 0 do end
  end,
  Pairs = function() local t = { 1, 2, 3, a = 1 } while true do for _ in pairs(t) do end end end,
  Next = function() local t = {} while true do next(t) end end,
  StringMethods = function()
    local s = "abc"
    while true do s:upper():lower():rep(2):sub(1, 3) end
  end,
  Concat = function() while true do local _ = "a" .. 1 .. "b" end end,
  Gmatch = function() while true do for _ in ("a b c"):gmatch("%a") do end end end,
  GsubCallback = function() ("x"):gsub("x", function() while true do end end) end,
  SortCallback = function() table.sort({ 3, 2, 1 }, function() while true do end end) end,
  Tables = function() while true do local _ = { 1, 2, { 3 } } end end,
  Closures = function() while true do local _ = function() end end end,
  Varargs = function() local function f(...) return ... end while true do f(1, 2, 3) end end,
  Select = function() while true do select("#", 1, 2, 3) end end,
  Closing = function()
    local c = setmetatable({}, { __close = function() end })
    while true do local _ <close> = c end
  end,
  InAClose = function()
    local _ <close> = setmetatable({}, { __close = function() while true do end end })
  end,
  Loading = function() while true do load("return 1")() end end,
  LoadedCode = function() load("while true do end")() end,
  Tostring = function() while true do tostring(1.5) end end,
  Globals = function() while true do spec_no_global = nil end end, -- luacheck: ignore
  LineHook = function()
    debug.sethook(function() end, "l")
    while true do
      local _ = 1
    end
  end,
  CountHook = function()
    debug.sethook(function() end, "", 1000000)
    while true do end
  end,
  CallHook = function()
    debug.sethook(function() end, "cr")
    local function f() end
    while true do f() end
  end,
}

local TestPreemptEverywhere = {}

function TestPreemptEverywhere:setUp() self.interval = gil.switch_interval(1e-4) end

function TestPreemptEverywhere:tearDown() gil.switch_interval(self.interval) end

for name, loop in pairs(loops) do
  TestPreemptEverywhere["test" .. name] = function()
    for _, how in ipairs { "cancel", "kill" } do
      local started = threading.Event()
      local t = threading.Thread {
        daemon = true,
        target = function()
          started:set()
          local ok, err = pcall(loop)
          if not ok and errors.is(err, errors.Cancelled) then error(err, 0) end
          error("ended by itself: " .. tostring(err), 0)
        end,
      }
      local hook = threading.excepthook
      threading.excepthook = function() end
      t:start()
      lu.assertTrue(started:wait(LONG))
      -- Others get their turns.
      for _ = 1, 3 do
        lu.assertEquals(threading.Thread(function() return 1 end):start():result(LONG), 1)
      end
      -- A pcall loop may swallow a cancel, so it is repeated.
      local deadline = 2000
      repeat
        t[how](t)
        deadline = deadline - 1
      until t:join(0.01) or deadline == 0
      threading.excepthook = hook
      lu.assertFalse(t:is_alive(), how)
      local ok, err = pcall(t.result, t)
      lu.assertFalse(ok)
      if name ~= "PcallInside" or how == "kill" then
        lu.assertTrue(errors.is(err, errors.Cancelled), tostring(err))
      end
    end
  end
end

return { TestPreemptEverywhere = TestPreemptEverywhere }

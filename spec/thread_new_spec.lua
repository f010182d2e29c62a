--- Making a threading.Thread: target, arguments, options and names; behaviours
--- 39 and 40.
local lu = require("luaunit")
local threading = require("threading")

local LONG = 60 -- seconds

local TestNew = {}

function TestNew.testArgumentsKeepTheirNils()
  local function echo(...) return select("#", ...), ... end
  local function results(t) return { t:start():result(LONG) } end
  lu.assertEquals(results(threading.Thread(echo)), { 0 })
  lu.assertEquals(results(threading.Thread(echo, nil)), { 1, nil })
  lu.assertEquals(results(threading.Thread(echo, nil, 2, nil)), { 3, nil, 2, nil })
  lu.assertEquals(results(threading.Thread { target = echo, args = { 1, 2 } }), { 2, 1, 2 })
  local packed = threading.Thread { target = echo, args = table.pack(nil, nil) }
  lu.assertEquals(results(packed), { 2 })
  local many = {}
  for i = 1, 10000 do many[i] = i end
  local n, first = threading.Thread { target = echo, args = many }:start():result(LONG)
  lu.assertEquals({ n, first }, { 10000, 1 })
end

-- 40
function TestNew.testANilTargetDoesNothing()
  for _, t in ipairs {
    threading.Thread(), threading.Thread {}, threading.Thread { target = nil },
    threading.Thread { name = "idle" }, threading.Thread { args = { 1 } },
  } do
    lu.assertTrue(t:start():join(LONG))
    lu.assertEquals(select("#", t:result()), 0)
  end
end

-- 40
function TestNew.testACallableObjectIsATarget()
  local callable = setmetatable({}, {
    __call = function(self, a) return self, a end,
    __len = function() return 0 end,
  })
  local got, a = threading.Thread(callable, 7):start():result(LONG)
  lu.assertIs(got, callable)
  lu.assertEquals(a, 7)
  got, a = threading.Thread { target = callable, args = { 8 } }:start():result(LONG)
  lu.assertIs(got, callable)
  lu.assertEquals(a, 8)
end

function TestNew.testWrongArgumentsAreNamed()
  local function wrong(message, ...)
    -- Called so that Lua knows its name.
    local args = table.pack(...)
    lu.assertErrorMsgContains("bad argument #1 to 'Thread' (" .. message, function()
      return threading.Thread(table.unpack(args, 1, args.n)), nil
    end)
  end
  wrong("function expected, got nil", nil)
  wrong("function expected, got nil", nil, 1)
  wrong("function expected, got table", { target = print }, 1)
  wrong("function expected", 1)
  wrong("function expected", "print")
  wrong("function expected", true)
  wrong("target: function expected, got number", { target = 1 })
  wrong("unknown option 'traget'", { traget = print })
  wrong("args: table expected, got number", { target = print, args = 1 })
  wrong("daemon: boolean expected, got string", { target = print, daemon = "no" })
  wrong("stack size must be an integer", { target = print, stack_size = "big" })
  wrong("stack size", { target = print, stack_size = 1 })
  wrong("stack size", { target = print, stack_size = -1 })
  wrong("stack size", { target = print, stack_size = math.maxinteger })
  for _, n in ipairs { -1, 1.5, 0 / 0, math.huge, math.maxinteger, "1", true } do
    wrong("args: ", { target = print, args = { n = n } })
  end
  lu.assertEquals(threading.active_count(), 1)
end

function TestNew.testManyArgumentsFit()
  local args = { n = 400000 } -- twice on the stack of a vararg function
  local n = threading.Thread {
    target = function(...) return (select("#", ...)) end, args = args,
  }:start():result(LONG)
  lu.assertEquals(n, 400000)
  args.n = 999999 -- a Lua stack, which holds a million, has other things on it
  local t = threading.Thread { target = print, args = args }
  lu.assertErrorMsgContains("too many arguments", t.start, t)
  lu.assertFalse(t:is_alive())
  lu.assertEquals(threading.active_count(), 1)
end

-- The table of arguments stays the caller's.
function TestNew.testThreadsMayShareATableOfArguments()
  local args = { 1, nil, 3, n = 3, [0] = "zero" }
  local function one(...) return "one", ... end
  local function two(...) return "two", ... end
  local a = threading.Thread { target = one, args = args }
  local b = threading.Thread { target = two, args = args }
  local idle = threading.Thread { args = args }
  args[1] = "changed later"
  lu.assertEquals({ a:start():result(LONG) }, { "one", 1, nil, 3 })
  lu.assertEquals({ b:start():result(LONG) }, { "two", 1, nil, 3 })
  idle:start():join()
  lu.assertEquals(args, { "changed later", nil, 3, n = 3, [0] = "zero" })
end

local function kept() end

-- 39
function TestNew.testNames()
  local function worker() end
  _G.spec_worker = function() end
  lu.assertStrMatches(threading.Thread(kept).name, "Thread%-%d+ %(kept%)")
  lu.assertStrMatches(threading.Thread(_G.spec_worker).name, "Thread%-%d+ %(spec_worker%)")
  _G.spec_worker = nil
  lu.assertStrMatches(threading.Thread().name, "Thread%-%d+")
  lu.assertStrMatches(threading.Thread(worker).name, "Thread%-%d+ %(worker%)")
  lu.assertStrMatches(threading.Thread { target = worker }.name, "Thread%-%d+ %(worker%)")
  lu.assertStrMatches(threading.Thread(function() end).name, "Thread%-%d+")
  lu.assertEquals(threading.Thread { name = "mine" }.name, "mine")
  lu.assertEquals(threading.Thread { name = 42 }.name, "42")
  lu.assertEquals(threading.Thread { name = "" }.name, "")
  local object = setmetatable({}, { __tostring = function() return "an object" end })
  lu.assertEquals(threading.Thread { name = object }.name, "an object")
  local long = ("n"):rep(1000)
  local t = threading.Thread { target = worker, name = long }
  lu.assertEquals(t.name, long)
  t.name = "other"
  lu.assertEquals(t.name, "other")
  t:start():join()
  t.name = 7
  lu.assertEquals(t.name, "7")
end

-- 39
function TestNew.testDefaultNamesDiffer()
  local a, b = threading.Thread(), threading.Thread()
  lu.assertNotEquals(a.name, b.name)
end

return { TestNew = TestNew }

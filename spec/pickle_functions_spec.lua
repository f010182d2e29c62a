--- Functions, and what travels by name.
local lu = require("luaunit")
local pickle = require("pickle")
local errors = require("errors")
local threading = require("threading")
local helper = require("support.eventually") -- a module that is a function
local program = require("support.program") -- and one that is a table

local LONG = 60 -- seconds

local function copy(value) return pickle.loads(pickle.dumps(value), { functions = true }) end

local TestFunctions = {}

function TestFunctions:testAFunctionAndItsUpvalues()
  local list, n = { 1 }, 5
  local f = copy(function(x)
    n = n + x
    return n, list
  end)
  local got, other = f(1)
  lu.assertEquals(got, 6)
  lu.assertEquals(other, { 1 })
  lu.assertNotIs(other, list)
  lu.assertEquals(f(1), 7)
  lu.assertEquals(n, 5)
end

function TestFunctions:testVarargsAndManyUpvalues()
  local text, sum = {}, {}
  for i = 1, 100 do
    text[i] = ("local u%d = %d"):format(i, i)
    sum[i] = "u" .. i
  end
  local make = table.concat(text, "\n") .. "\nreturn function(...) return select('#', ...) + "
    .. table.concat(sum, "+") .. " end"
  lu.assertEquals(copy(load(make)())(nil, nil), 5052)
end

function TestFunctions:testSharedUpvaluesStayShared()
  local n, other = 0, 0
  local function inc() n = n + 1 end
  local function get() return n, other end
  local function set() other = other + 10 end
  local a, b, c, again = table.unpack(copy({ inc, get, set, inc }))
  a()
  a()
  c()
  lu.assertEquals({ b() }, { 2, 10 })
  lu.assertIs(again, a)
  lu.assertEquals({ get() }, { 0, 0 })
end

function TestFunctions:testUpvaluesThatAreSharedByClosuresOfOneFunction()
  local made = {}
  for i = 1, 3 do
    local mine = i
    made[i] = function(d)
      mine = mine + d
      return mine
    end
    made[i + 3] = function() return mine end
  end
  local got = copy(made)
  got[1](10)
  got[3](30)
  lu.assertEquals({ got[4](), got[5](), got[6]() }, { 11, 2, 33 })
end

function TestFunctions:testRecursiveFunctions()
  local function factorial(n) return n == 0 and 1 or n * factorial(n - 1) end
  lu.assertEquals(copy(factorial)(10), 3628800)
  local even, odd
  function even(n) return n == 0 or odd(n - 1) end
  function odd(n) return n ~= 0 and even(n - 1) end
  lu.assertTrue(copy(even)(10))
end

function TestFunctions:testTheTableOfGlobalsIsTheReceivers()
  lu.assertIs(copy(_G), _G)
  lu.assertIs(copy({ env = _ENV }).env, _G)
  _G.pickle_probe = 7
  lu.assertEquals(copy(function() return pickle_probe end)(), 7) -- luacheck: ignore
  _G.pickle_probe = nil
end

function TestFunctions:testAnotherEnvironmentTravelsAsATable()
  local env = { x = 5 }
  local f = load("x = x + 1; return x", "chunk", "t", env)
  local g, e = table.unpack(copy({ f, env }))
  lu.assertEquals(g(), 6)
  lu.assertEquals(e.x, 6)
  lu.assertEquals(env.x, 5)
end

function TestFunctions:testErrorsInACopyNameTheirLines()
  local f = load("\n\nerror('x')", "@some.lua")
  lu.assertStrContains(select(2, pcall(copy(f))), "some.lua:3: x")
end

function TestFunctions:testFunctionsAsKeysAndInMetatables()
  local Class = {}
  Class.__index = Class
  pickle.register("functions_spec.Class", Class)
  local function key() return "key" end
  local got = copy(setmetatable({ [key] = key }, Class))
  local k, v = next(got)
  lu.assertIs(k, v)
  lu.assertEquals(k(), "key")
end

function TestFunctions:testTheSameCodeIsSentOnce()
  local list = {}
  for i = 1, 100 do
    list[i] = function() return i end
  end
  local one, all = #pickle.dumps({ list[1] }), #pickle.dumps(list)
  lu.assertTrue(all < one + 100 * 12, all)
  local got = copy(list)
  for i = 1, 100 do lu.assertEquals(got[i](), i) end
end

-- By name -----------------------------------------------------------------------

function TestFunctions:testModulesAndWhatIsInThem()
  for _, value in ipairs({ string, string.format, print, require, package.loaded, package.path and
    package, io.write, threading, threading.Thread, threading.Lock, pickle, pickle.dumps, errors,
    program, program.run, helper, math.floor, coroutine.wrap, io.stdin, io.stdout, io.stderr }) do
    local got = copy({ value, value, [value] = 1 })
    lu.assertIs(got[1], value)
    lu.assertIs(got[2], value)
    lu.assertEquals(got[value], 1)
  end
end

function TestFunctions:testAFunctionUsesModulesByName()
  local format, lock = string.format, threading.Lock
  lu.assertEquals(copy(function() return format("%d", 5), type(lock()) end)(), "5")
end

-- Lua functions of the script, and of modules that a receiver would not find.
function TestFunctions:testOtherFunctionsOfModulesTravelAsBytecode()
  _G.pickle_global = function() return 1 end
  package.loaded["functions_spec.made"] = { f = function() return 2 end }
  package.preload["functions_spec.preloaded"] = function()
    return { f = function() return 3 end }
  end
  for i, f in ipairs({ _G.pickle_global, package.loaded["functions_spec.made"].f,
    require("functions_spec.preloaded").f }) do
    local got = copy(f)
    lu.assertNotIs(got, f)
    lu.assertEquals(got(), i)
  end
  -- But its table does, since it is there.
  local made = package.loaded["functions_spec.made"]
  lu.assertIs(copy(made), made)
  _G.pickle_global = nil
  package.loaded["functions_spec.made"] = nil
  package.loaded["functions_spec.preloaded"] = nil
  package.preload["functions_spec.preloaded"] = nil
end

function TestFunctions:testANameDoesNotDependOnTheOrderOfTables()
  local first = pickle.dumps({ threading, print })
  package.loaded["z.threading"] = threading
  package.loaded["a.threading"] = threading
  lu.assertEquals(pickle.dumps({ threading, print }), first)
  lu.assertStrContains(first, "tidelock.threading")
  package.loaded["z.threading"] = nil
  package.loaded["a.threading"] = nil
end

function TestFunctions:testAModuleThatTheReceiverLacksIsRequired()
  package.preload["functions_spec.late"] = function() return { value = 5 } end
  package.loaded["functions_spec.late"] = { value = 4 }
  local bytes = pickle.dumps(package.loaded["functions_spec.late"])
  package.loaded["functions_spec.late"] = nil
  lu.assertEquals(pickle.loads(bytes, { functions = true }).value, 5)
  package.loaded["functions_spec.late"] = nil
  package.preload["functions_spec.late"] = nil
  lu.assertErrorMsgContains("module 'functions_spec.late' not found", pickle.loads, bytes,
    { functions = true })
end

function TestFunctions:testANameThatTheReceiverLacks()
  local module, floor = package.loaded.math, math.floor
  module.floor, module.functions_spec = nil, floor
  local bytes = pickle.dumps(floor)
  module.floor, module.functions_spec = floor, nil
  lu.assertErrorMsgContains("the module 'math' has no 'functions_spec' here", pickle.loads,
    bytes, { functions = true })
end

-- What ends a thread does so in a searcher, too, which may wait.
function TestFunctions:testACancelledThreadThatAsksRequire()
  local entered = threading.Event()
  package.loaded["functions_spec.unknown"] = {}
  table.insert(package.searchers, 2, function(name)
    if name ~= "functions_spec.unknown" then return end
    entered:set()
    threading.Event():wait(LONG)
  end)
  local thread = threading.Thread(pickle.dumps, print):start()
  entered:wait(LONG)
  thread:cancel()
  local ok, err = pcall(thread.result, thread, LONG)
  table.remove(package.searchers, 2)
  package.loaded["functions_spec.unknown"] = nil
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(err, errors.Cancelled))
end

-- Another process ---------------------------------------------------------------

function TestFunctions:testAFreshProcessRunsThem()
  local count = 0
  local mylist = { "a" }
  local text = pickle.dumps({
    run = function(n)
      count = count + n
      local sum = 0
      for _ = 1, count do sum = sum + #mylist end
      return sum, threading.get_ident(), string.format("%s", errors.Empty.name)
    end,
    class = errors.new(errors.class("functions_spec.Mine"), "text"),
  })
  local out = program.eval(([[
    local v = require("tidelock.pickle").loads(%q, {functions = true})
    print(v.run(3))
    print(v.class)
    print(require("tidelock.errors").is(v.class, require("tidelock.errors").Error))]]):format(text))
  lu.assertEquals(out, "3\t1\tqueue.Empty\nfunctions_spec.Mine: text\ntrue\n")
end

-- Refused -----------------------------------------------------------------------

function TestFunctions:testTheyAreLoadedOnDemandOnly()
  for _, case in ipairs({
    { "a function", function() end },
    { "what travels by name", print },
    { "what travels by name", string },
    { "what travels by name", io.stdout },
    { "the table of globals", _G },
  }) do
    for _, options in ipairs({ false, {}, { functions = false } }) do
      local ok, err = pcall(pickle.loads, pickle.dumps({ case[2] }), options or nil)
      lu.assertFalse(ok)
      lu.assertTrue(errors.is(err, pickle.UnpicklingError))
      lu.assertStrContains(err.message, case[1] .. " is loaded only from one's own family")
    end
  end
end

function TestFunctions:testBytecodeThatIsNone()
  local bytes = pickle.dumps(function() return 1 end)
  local at = assert(bytes:find("\27Lua", 1, true))
  local ok, err = pcall(pickle.loads, bytes:sub(1, at - 1) .. "return" .. bytes:sub(at + 6),
    { functions = true })
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(err, pickle.UnpicklingError))
end

return { TestFunctions = TestFunctions }

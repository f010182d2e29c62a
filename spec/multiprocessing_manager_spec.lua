-- Managers: tables and custom types. Numbers are those of CPython's
-- behaviours that each test holds tidelock to.
local lu = require("luaunit")
local errors = require("errors")
local managers = require("multiprocessing.managers")
local mp = require("multiprocessing")
local pickle = require("pickle")
local assert_raises = require("support.assert_raises")
local bunch = require("support.bunch")
local raised = require("support.raised")
local with_manager = require("support.with_manager")

local LIMIT = 60 -- seconds, for what should take a moment

--- Runs f(...) in a child to its end.
local function in_child(f, ...)
  local process = mp.Process(f, ...):start()
  lu.assertTrue(process:join(LIMIT))
  lu.assertEquals(process.exitcode, 0)
end

-- --- Tables -------------------------------------------------------------------

local TestTables = with_manager({})

function TestTables:testADictIsATable()
  local given = { x = 1, get = "data", [3] = true }
  local d = self.m:dict(given)
  given.x = 2
  lu.assertEquals(d.x, 1)
  lu.assertEquals(d.get, "data") -- no method
  lu.assertNil(d.update)
  lu.assertTrue(d[3])
  d.y, d[1.5], d[true] = "new", "float", false
  lu.assertEquals(d.y, "new")
  lu.assertEquals(d[1.5], "float")
  lu.assertFalse(d[true])
  d.x = nil
  lu.assertNil(d.x)
  local seen = {}
  for key, value in pairs(d) do seen[key] = value end
  lu.assertEquals(seen, { get = "data", [3] = true, y = "new", [1.5] = "float", [true] = false })
  assert_raises("index is nil", function() d[nil] = 1 end)
  assert_raises("index is NaN", function() d[0 / 0] = 1 end)
end

function TestTables:testPairsGoesOverASnapshot()
  local d = self.m:dict({ a = 1, b = 2 })
  local n = 0
  for key in pairs(d) do
    n = n + 1
    d[key .. "more"] = true
  end
  lu.assertEquals(n, 2)
  lu.assertEquals(managers.call(d, "len"), 4)
end

function TestTables:testMethodsOfADict()
  local d = self.m:dict({ a = 1 })
  local function call(...) return managers.call(d, ...) end
  call("update", { b = 2, c = 3 })
  lu.assertItemsEquals(call("keys"), { "a", "b", "c" })
  lu.assertItemsEquals(call("values"), { 1, 2, 3 })
  lu.assertItemsEquals(call("items"), { { "a", 1 }, { "b", 2 }, { "c", 3 } })
  lu.assertEquals(call("copy"), { a = 1, b = 2, c = 3 })
  lu.assertEquals(call("get", "no", 7), 7)
  lu.assertEquals(call("pop", "a"), 1)
  lu.assertEquals(call("pop", "a", "none"), "none")
  lu.assertFalse(call("has", "a"))
  lu.assertEquals(call("setdefault", "z", 5), 5)
  lu.assertEquals(call("setdefault", "z", 6), 5)
  local key = call("popitem")
  lu.assertNil(d[key])
  call("clear")
  lu.assertEquals(call("copy"), {})
  lu.assertNil(call("popitem"))
  assert_raises("bad argument #1 to 'update' (table expected, got number)", call, "update", 1)
  -- 114
  assert_raises("'dict' has no exposed method 'nothing'", call, "nothing")
  assert_raises("bad argument #1 to 'call' (proxy expected", managers.call, {}, "x")
  assert_raises("bad argument #2 to 'call' (string expected", managers.call, d, 1)
end

function TestTables:testAListIsATableWithMethods()
  local l = self.m:list({ 3, 1, 2 })
  lu.assertEquals(#l, 3)
  lu.assertEquals(l[2], 1)
  lu.assertNil(l[4])
  l[4] = 9
  l[#l] = nil
  table.insert(l, 1, "first")
  lu.assertEquals(l:copy(), { "first", 3, 1, 2 })
  lu.assertEquals(table.remove(l, 1), "first")
  l:sort()
  lu.assertEquals(l:copy(), { 1, 2, 3 })
  l:sort(function(a, b) return a > b end)
  l:append(4)
  l:insert(1, 0)
  l:insert(5)
  l:extend({ 6, 3 })
  lu.assertEquals(l:copy(), { 0, 3, 2, 1, 4, 5, 6, 3 })
  lu.assertEquals(l:index(3), 2)
  lu.assertEquals(l:count(3), 2)
  lu.assertEquals(l:pop(), 3)
  lu.assertEquals(l:pop(1), 0)
  l:reverse()
  lu.assertEquals(table.concat(l, " "), "6 5 4 1 2 3")
  lu.assertEquals({ table.unpack(l) }, { 6, 5, 4, 1, 2, 3 })
  local seen = {}
  for i, value in ipairs(l) do seen[i] = value end
  lu.assertEquals(seen, l:copy())
  l:clear()
  lu.assertEquals(#l, 0)
  lu.assertNil(l:pop())
  assert_raises("index 3", function() l[3] = 1 end)
  assert_raises("index name", function() l.name = 1 end)
  assert_raises("index 1", function() l["1"] = 1 end)
  assert_raises("bad argument #1 to 'sort' (function expected, got number)", l.sort, l, 5)
  assert_raises("index out of range", l.pop, l, 1)
  assert_raises("bad argument #1 to 'extend' (the table has a hole)", l.extend, l, { 1, nil, 3 })
  assert_raises("bad argument #1 to 'list' (the table has a hole)", self.m.list, self.m,
    { 1, nil, 3 })
  l:extend({ 1, 2 })
  l:extend(l)
  lu.assertEquals(l:copy(), { 1, 2, 1, 2 })
  l:clear()
  assert_raises("bad argument #1 to 'append' (value expected)", l.append, l, nil)
  lu.assertEquals(#l, 0)
end

-- 116
function TestTables:testANamespaceHidesNames()
  local ns = self.m:Namespace({ x = 1, _hidden = 2 })
  ns.y = 3
  ns._own = 4
  lu.assertEquals(ns._own, 4)
  lu.assertNil(ns._hidden)
  lu.assertStrContains(tostring(ns), "{x = 1, y = 3}")
  local names = {}
  for name in pairs(ns) do names[#names + 1] = name end
  lu.assertItemsEquals(names, { "x", "y" })
  in_child(function(n) assert(n._own == nil and n.y == 3) end, pickle.loads(pickle.dumps(ns)))
end

function TestTables:testValueAndArrayHaveTypes()
  local v = self.m:Value("int8", 5)
  v.value = v.value + 1
  lu.assertEquals(v.value, 6)
  v:set(7)
  lu.assertEquals(v:get(), 7)
  assert_raises("cannot be 300", function() v.value = 300 end)
  assert_raises("no field 'other'", function() v.other = 1 end)
  lu.assertEquals(v.value, 7)
  lu.assertFalse(self.m:Value("bool").value)
  local a = self.m:Array("double", 3)
  a[2] = 1.5
  lu.assertEquals({ a[1], a[2], a[3], #a }, { 0.0, 1.5, 0.0, 3 })
  assert_raises("index 4 is out of range", function() a[4] = 1 end)
  assert_raises("index 1 is out of range", function() a["1"] = 1 end)
  assert_raises("cannot be string", function() a[1] = "x" end)
  assert_raises("unknown type 'no'", self.m.Array, self.m, "no", 1)
  assert_raises("a size or a table", self.m.Array, self.m, "d", -1)
end

function TestTables:testTheTypesOfValuesAreThoseWithoutAManager()
  for _, code in ipairs({ "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "f", "d", "?", "c",
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float", "double",
    "bool", "char" }) do
    lu.assertEquals(self.m:Value(code).value, mp.Value(code).value, code)
    lu.assertEquals(self.m:Array(code, 2)[2], mp.Array(code, 2)[2], code)
  end
  local c = self.m:Value("c", "x")
  c.value = "y"
  lu.assertEquals(c.value, "y")
  assert_raises("cannot be", function() c.value = "yy" end)
  assert_raises("cannot be", function() c.value = 5 end)
  lu.assertEquals(managers.call(self.m:Array("char", "abc"), "copy"), { "a", "b", "c" })
end

-- 115
function TestTables:testAProxyInAProxyIsLive()
  local d, inner, l = self.m:dict(), self.m:dict(), self.m:list()
  d.inner, d.plain = inner, { b = 1 }
  l:append(d)
  inner.x = 1
  lu.assertEquals(l[1].inner.x, 1)
  l[1].inner.x = 2
  lu.assertEquals(inner.x, 2)
  in_child(function(top) top[1].inner.x = "child's" end, l)
  lu.assertEquals(inner.x, "child's")
  d.plain.b = 2 -- of a copy
  lu.assertEquals(d.plain, { b = 1 })
  managers.apply(d, function(t) t.plain.b, t.inner.y = 3, "through" end)
  lu.assertEquals(d.plain.b, 3)
  lu.assertEquals(inner.y, "through")
end

-- 114
function TestTables:testTextAndEquality()
  local d = self.m:dict({ x = { 1, 2 }, s = "a\n" })
  lu.assertEquals(tostring(d), '<dict proxy {s = "a\\n", x = {1, 2}}>')
  lu.assertEquals(tostring(self.m:list({ 1, d })), "<list proxy {1, " .. tostring(d) .. "}>")
  local same, other = pickle.loads(pickle.dumps(d)), self.m:dict({ x = { 1, 2 }, s = "a\n" })
  lu.assertFalse(rawequal(d, same))
  lu.assertTrue(d == same)
  lu.assertFalse(d == other)
end

function TestTables:testThePathToWhatCannotTravelIsThatOfTheValue()
  local co = coroutine.create(print)
  local d, l, q = self.m:dict(), self.m:list(), self.m:Queue()
  local function assert_path(path, f, ...)
    local problem = assert_raises("cannot pickle a thread at ", f, ...)
    lu.assertTrue(errors.is(problem, errors.PicklingError))
    lu.assertEquals(problem.message:match(" at (.*)"), path)
  end
  assert_path("value", function() d.f = co end)
  assert_path("value[1]", l.append, l, { co })
  assert_path("value.z[1]", self.m.dict, self.m, { z = { co } })
  assert_path("value.x", q.put, q, { x = co })
  assert_path("value[2]", managers.apply, d, function() return { 1, coroutine.create(print) } end)
end

-- --- apply --------------------------------------------------------------------

local TestApply = with_manager({})

-- 118
function TestApply:testThreadsAndProcessesCountExactly()
  local d = self.m:dict({ n = 0 })
  local function count(proxy)
    for _ = 1, 50 do managers.apply(proxy, function(t) t.n = t.n + 1 end) end
  end
  local children = {}
  for i = 1, 3 do children[i] = mp.Process(count, d):start() end
  local _, problems = bunch(8, function() count(d) end)
  lu.assertEquals(problems, {})
  for _, child in ipairs(children) do
    lu.assertTrue(child:join(LIMIT))
    lu.assertEquals(child.exitcode, 0)
  end
  lu.assertEquals(d.n, 50 * 11)
end

function TestApply:testNothingComesBetween()
  local d = self.m:dict({ n = 0 })
  local slow = function(t)
    local before = t.n
    require("time").sleep(0.02)
    local same = t.n == before
    t.n = before + 1
    return same
  end
  local undisturbed = 0
  local _, problems = bunch(4, function(i)
    if i % 2 ~= 0 then return managers.call(d, "update", { n = 100 * i }) end
    if managers.apply(d, slow) then undisturbed = undisturbed + 1 end
  end)
  lu.assertEquals(problems, {})
  lu.assertEquals(undisturbed, 2)
  local e = self.m:dict({ n = 0 })
  bunch(6, function() managers.apply(e, slow) end)
  lu.assertEquals(e.n, 6)
end

function TestApply:testArgumentsResultsAndErrors()
  local d = self.m:dict({ x = 1 })
  lu.assertEquals({ managers.apply(d, function(t, a, b) return t.x, a, nil, b end, 5, 6) },
    { 1, 5, nil, 6 })
  assert_raises("bad argument #2 to 'apply' (function expected, got number)",
    managers.apply, d, 1)
  assert_raises("apply is not for 'Lock'", managers.apply, self.m:Lock(), print)
  local problem = assert_raises("queue.Full", managers.apply, d,
    function() error(require("errors").new(require("errors").Full, "queue.Full")) end)
  lu.assertTrue(errors.is(problem, errors.Full))
  lu.assertStrContains(problem.traceback, "multiprocessing_manager_spec")
  lu.assertEquals(select(2, pcall(managers.apply, d, function() error("plain", 0) end)), "plain")
  problem = assert_raises("thread", managers.apply, d,
    function() error(coroutine.create(print)) end)
  lu.assertTrue(errors.is(problem, managers.RemoteError)) -- 114
  problem = assert_raises("thread", managers.apply, d,
    function() return coroutine.create(print) end)
  lu.assertTrue(errors.is(problem, errors.PicklingError))
  lu.assertEquals(d.x, 1)
end

-- --- Custom types -------------------------------------------------------------

local TestCustom = with_manager({})

local Counter = { __name = "Counter" }
Counter.__index = Counter
local function new_counter(n) return setmetatable({ n = n or 0, label = "c" }, Counter) end
function Counter:add(k)
  self.n = self.n + (k or 1)
  return self.n
end
function Counter:fail() error(errors.new(errors.TimeoutError, "as it is")) end -- luacheck: no self
function Counter:child() return new_counter(self.n * 2) end
function Counter:each()
  local i = 0
  return function()
    i = i + 1
    if i <= self.n then return i end
  end
end
function Counter:_private() return self end
function Counter:__tostring() return "Counter " .. self.n end

function TestCustom:testMethodsOfARegisteredType()
  local m = self.m
  m:register("Counter", new_counter,
    { method_to_typeid = { child = "Counter", each = "Iterator" } })
  local c = m:Counter(5)
  lu.assertEquals(c:add(2), 7)
  lu.assertEquals(tostring(c), "<Counter proxy Counter 7>")
  lu.assertEquals(c:child():add(), 15)
  local sum = 0
  for i in c:each() do sum = sum + i end -- 116
  lu.assertEquals(sum, 28)
  -- 114
  local problem = assert_raises("as it is", c.fail, c)
  lu.assertTrue(errors.is(problem, errors.TimeoutError))
  lu.assertStrContains(problem.traceback, "multiprocessing_manager_spec")
  assert_raises("'Counter' has no exposed method '_private'", function() return c._private end)
  assert_raises("'Counter' has no exposed method '_private'", managers.call, c, "_private")
  assert_raises("'Counter' has no exposed method 'n'", function() return c.n end)
  managers.apply(c, function(object) object.n = 100 end)
  lu.assertEquals(c:add(), 101)
  in_child(function(counter) counter:add(9) end, c)
  lu.assertEquals(c:add(0), 110)
end

function TestCustom:testExposedAndOwnClasses()
  local Mine = managers.BaseManager:subclass()
  Mine:register("Counter", new_counter, { exposed = { "add", "label" } })
  local Derived = Mine:subclass { greet = function() return "hello" end }
  Derived:register("shared", function() return { x = 1 } end, { proxytype = "dict" })
  local m <close> = Derived():start()
  lu.assertEquals(m:greet(), "hello")
  local c = m:Counter(1)
  lu.assertEquals(c.label, "c")
  lu.assertEquals(c:add(), 2)
  assert_raises("no exposed method 'each'", function() return c.each end)
  local d = m:shared()
  d.y = 2
  lu.assertEquals(d.x + d.y, 3)
  lu.assertNil(m.dict)
  lu.assertNil(Mine().shared)
end

function TestCustom:testAnObjectThatIsSharedByItsConstructor()
  local one = new_counter(1)
  local Mine = managers.BaseManager:subclass()
  Mine:register("get_one", function() return one end)
  local m <close> = Mine():start() -- a fork has what the script has
  local a, b = m:get_one(), m:get_one()
  a:add(5)
  lu.assertEquals(b:add(), 7)
  lu.assertTrue(a == b)
  lu.assertEquals(one.n, 1)
  one = nil -- luacheck: ignore
  self.m:register("bad", function() end)
  assert_raises("returned for 'bad' is no object (a nil)", self.m.bad, self.m)
  self.m:register("failing", function() error("in the constructor", 0) end)
  assert_raises("in the constructor", self.m.failing, self.m)
end

--- What is registered as a dict may be any table, with fields that raise; a thing that
--- is no table is told.
function TestCustom:testOddTables()
  local function odd() error("an odd field", 0) end
  self.m:register("odd", function()
    return setmetatable({ x = 1 }, { __index = odd })
  end, { proxytype = "dict" })
  local d = self.m:odd()
  lu.assertEquals(d.x, 1)
  lu.assertEquals(raised(function() return d.y end), "an odd field")
  lu.assertEquals(d.x, 1)
  self.m:register("none", function() return print end, { proxytype = "dict" })
  assert_raises("returned for 'none' is no table (a function)", self.m.none, self.m)
  self.m:register("box", function() return { get = function() return 5 end } end,
    { method_to_typeid = { get = "dict" } })
  local box = self.m:box()
  assert_raises("returned for 'dict' is no table (a number)", box.get, box)
end

function TestCustom:testBadRegistrations()
  local function refused(text, ...) assert_raises(text, self.m.register, self.m, ...) end
  refused("bad argument #1 to 'register' (string expected, got nil)")
  refused("bad argument #2 to 'register' (function expected, got number)", "x", 1)
  refused("bad argument #3 to 'register' (unknown option 'no')", "x", print, { no = 1 })
  refused("exposed: table expected, got string", "x", print, { exposed = "a" })
  refused("dict, list or Namespace expected", "x", print, { proxytype = "none" })
  refused("dict, list or Namespace expected", "x", print, { proxytype = "Lock" })
  refused("create_method: boolean expected, got number", "x", print, { create_method = 1 })
  lu.assertStrContains(assert_raises("bad argument #1 to 'register'",
    function() self.m:register(5) end), "manager_spec.lua:")
end

function TestCustom:testATypeWithoutACreator()
  self.m:register("Counter", nil, { create_method = false })
  lu.assertNil(self.m.Counter)
  lu.assertNil(self.m.AsyncResult)
end

function TestCustom:testNoArgumentIsOverlooked()
  local function refused(text, name, ...) assert_raises(text, self.m[name], self.m, ...) end
  refused("bad argument #1 to 'dict' (table expected, got number)", "dict", 1)
  refused("bad argument #2 to 'dict' (no value expected, got number)", "dict", {}, 1)
  refused("bad argument #2 to 'Queue' (no value expected, got number)", "Queue", 1, 2)
  refused("bad argument #1 to 'Queue' (unknown option 'foo')", "Queue", { foo = 1 })
  refused("bad argument #1 to 'Barrier' (unknown option 'foo')", "Barrier", { foo = 1 })
  refused("bad argument #1 to 'Lock' (no value expected, got number)", "Lock", 1)
  refused("bad argument #3 to 'Value' (no value expected, got boolean)", "Value", "i", 1, true)
  lu.assertEquals(self.m:Queue(nil, nil):qsize(), 0)
end

return { TestTables = TestTables, TestApply = TestApply, TestCustom = TestCustom }

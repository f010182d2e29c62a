--- Deep and large values, little memory, many threads.
local errors = require("errors")
local gil = require("gil")
local lu = require("luaunit")
local pickle = require("pickle")
local threading = require("threading")
local bunch = require("support.bunch")
local exhaust = require("support.exhaust")

local sanitized = (os.getenv("TIDELOCK_SANITIZER") or "") ~= ""
local DEEP = sanitized and 100000 or 1000000
local LONG = 60 -- seconds

local function copy(value) return pickle.loads(pickle.dumps(value), { functions = true }) end

local TestLimits = {}

-- Depth -------------------------------------------------------------------------

local shapes = {
  linkedByAField = function(inner) return { next = inner } end,
  linkedByAnElement = function(inner) return { inner } end,
  linkedByAKey = function(inner) return { [inner] = true } end,
  linkedBehindOthers = function(inner) return { 1, 2, inner, x = 1 } end,
  functions = function(inner) return function() return inner end end,
}

local follow = {
  linkedByAField = function(t) return t.next end,
  linkedByAnElement = function(t) return t[1] end,
  linkedByAKey = function(t) return (next(t)) end,
  linkedBehindOthers = function(t) return t[3] end,
  functions = function(f) return f() end,
}

local function deep_copy(name)
  local value = false
  for _ = 1, DEEP do value = shapes[name](value) end
  local got, n = copy(value), 0
  while got do
    n = n + 1
    got = follow[name](got)
  end
  return n
end

for name in pairs(shapes) do
  TestLimits["testDeep_" .. name] = function() lu.assertEquals(deep_copy(name), DEEP) end
end

function TestLimits:testDeepInACoroutine()
  lu.assertEquals(coroutine.wrap(deep_copy)("linkedByAField"), DEEP)
end

function TestLimits:testDeepOnASmallStack()
  local before = threading.stack_size()
  threading.stack_size(512 * 1024 * (sanitized and 4 or 1))
  local thread = threading.Thread(deep_copy, "linkedByAKey"):start()
  threading.stack_size(before)
  lu.assertEquals(thread:result(4 * LONG), DEEP)
end

function TestLimits:testDeepReducedObjectsAndErrorCauses()
  local Box = {}
  pickle.register("limits_spec.Box", Box, {
    reduce = function(box) return box[1] end,
    restore = function(inner) return setmetatable({ inner }, Box) end,
  })
  local value = false
  for _ = 1, DEEP // 10 do value = setmetatable({ value }, Box) end
  local got, n = copy(value), 0
  while got do got, n = got[1], n + 1 end
  lu.assertEquals(n, DEEP // 10)
  local err
  for _ = 1, 1000 do err = errors.new(errors.OSError, "x", { cause = err }) end
  got, n = copy(err), 0
  while got do got, n = got.cause, n + 1 end
  lu.assertEquals(n, 1000)
end

function TestLimits:testALongList()
  local list = {}
  for i = 1, DEEP do list[i] = i end
  local got = copy(list)
  lu.assertEquals(#got, DEEP)
  for i = 1, DEEP do
    if got[i] ~= i then lu.assertEquals(got[i], i) end
  end
end

-- Changes in the middle ---------------------------------------------------------

--- Pickles a table that holds an object whose reduce function calls change.
local function changing(change, size)
  local Class = {}
  pickle.register("limits_spec.Changing" .. tostring(Class), Class, {
    reduce = function(object)
      change(object.outer)
      return 1
    end,
    restore = function() return 1 end,
  })
  local outer = {}
  for i = 1, size do outer["k" .. i] = setmetatable({ outer = outer }, Class) end
  for i = 1, 20 do outer[i] = i end
  return pcall(pickle.dumps, outer)
end

function TestLimits:testATableThatChangesMeanwhile()
  local n = 0
  for name, change in pairs({
    grows = function(t)
      for _ = 1, 100 do
        n = n + 1
        t["new" .. n] = n
      end
    end,
    shrinks = function(t)
      for key in pairs(t) do t[key] = nil end
      collectgarbage()
    end,
    shrinksByOne = function(t)
      for key, value in pairs(t) do
        if value ~= nil and type(key) == "string" then
          t[key] = nil
          return
        end
      end
    end,
    shifts = function(t) table.remove(t, 1) end,
    losesItsMetatable = function(t)
      for _, object in pairs(t) do
        if type(object) == "table" then setmetatable(object, nil) end
      end
    end,
    givesWayToOthers = function(t)
      for key in pairs(t) do t[key] = { {}, {}, tostring(key):rep(3) } end
      collectgarbage()
    end,
  }) do
    for round = 1, 20 do
      local ok, got = changing(change, round % 2 == 0 and 20 or 400)
      if ok then
        lu.assertEquals(type(pickle.loads(got)), "table", name)
      else
        lu.assertTrue(errors.is(got, errors.PicklingError), name .. ": " .. tostring(got))
      end
    end
  end
end

-- An object that a reduce function made and threw away must not be taken for a
-- later one at the same address.
function TestLimits:testObjectsThatDieMeanwhileAreNotConfused()
  local Class = {}
  pickle.register("limits_spec.Fresh", Class, {
    reduce = function(object)
      collectgarbage()
      return { object.n, { object.n, "s" .. object.n } }
    end,
    restore = function(t) return t end,
  })
  local list = {}
  for i = 1, 200 do list[i] = setmetatable({ n = i }, Class) end
  local got = copy(list)
  for i = 1, 200 do lu.assertEquals(got[i], { i, { i, "s" .. i } }) end
end

-- A young collection for each percent of growth: if the walk made an object for
-- each table, some dozens of finalizers would run in it.
function TestLimits:testFinalizersDoNotRunInTheMiddle()
  local value = {}
  for i = 1, 20000 do value["k" .. i] = { i } end
  local runs, active = 0, true
  local function arm()
    setmetatable({}, { __gc = function()
      runs = runs + 1
      if active then arm() end
    end })
  end
  collectgarbage()
  local mode = collectgarbage("generational", 1, 100)
  arm()
  local most, rounds = 0, 0
  repeat
    rounds = rounds + 1
    -- What lives through a full collection is old then, and stays until the next one.
    if rounds % 50 == 0 then collectgarbage() end
    local before = runs
    pickle.dumps(value)
    most = math.max(most, runs - before)
  until runs >= 20 or rounds == 5000
  active = false
  collectgarbage()
  collectgarbage(mode)
  lu.assertTrue(runs >= 20)
  lu.assertTrue(most <= 5, most)
end

function TestLimits:testPicklingInAFinalizerAndInReduce()
  local got
  setmetatable({}, { __gc = function() got = copy({ 1, { 2 } }) end })
  collectgarbage()
  lu.assertEquals(got, { 1, { 2 } })
  local Class = {}
  pickle.register("limits_spec.Nested", Class, {
    reduce = function(object) return pickle.dumps(object.inner) end,
    restore = function(bytes) return pickle.loads(bytes) end,
  })
  lu.assertEquals(copy({ setmetatable({ inner = { 5 } }, Class) }), { { 5 } })
end

-- Threads -----------------------------------------------------------------------

function TestLimits:testThreadsThatPickleAtOnce()
  local interval = gil.switch_interval(20e-6)
  local Class = {}
  pickle.register("limits_spec.Slow", Class, {
    reduce = function(object)
      local sum = 0
      for i = 1, 200 do sum = sum + i end
      return object.i, sum
    end,
    restore = function(i) return setmetatable({ i = i }, Class) end,
  })
  local shared = { n = 0 }
  local results, failures = bunch(4, function(me)
    for round = 1, sanitized and 10 or 50 do
      local value = { me, round, f = function() return me end, shared = shared }
      for i = 1, 50 do value[i + 2] = setmetatable({ i = i }, Class) end
      shared.n = shared.n + 1
      local got = copy(value)
      assert(got[1] == me and got[2] == round and got.f() == me)
      for i = 1, 50 do assert(got[i + 2].i == i) end
    end
    return me
  end)
  gil.switch_interval(interval)
  lu.assertEquals(failures, {})
  lu.assertEquals(results, { 1, 2, 3, 4 })
end

function TestLimits:testACancelledThreadLeavesItsDump()
  local Class, entered = {}, threading.Event()
  pickle.register("limits_spec.Waits", Class, {
    reduce = function()
      entered:set()
      threading.Event():wait()
    end,
    restore = function() return 1 end,
  })
  local value = { setmetatable({}, Class) }
  for i = 1, 1000 do value[i + 1] = "s" .. i end
  local thread = threading.Thread(pickle.dumps, value):start()
  entered:wait(LONG)
  thread:cancel()
  local ok, err = pcall(thread.result, thread, LONG)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(err, errors.Cancelled))
end

-- Memory ------------------------------------------------------------------------

local Point, Box = {}, {}
pickle.register("limits_spec.Point", Point)
pickle.register("limits_spec.Own", Box, {
  reduce = function(box) return box[1], nil, 3 end,
  restore = function(a, b, c) return setmetatable({ a, b, c }, Box) end,
})

local function make()
  local many, n = {}, 0
  for i = 1, 70 do many["key" .. i] = { i, tostring(i) } end
  local function inc() n = n + 1 end
  local value = {
    many = many,
    point = setmetatable({ x = 1 }, Point),
    box = setmetatable({ { 1 } }, Box),
    error = errors.new(errors.class("limits_spec.Memory"), "text"),
    functions = { inc, function() return n end, string.format, print },
    threading = threading,
  }
  value.self = value
  for i = 1, 70 do value = { value, i } end
  return value
end

local function check_copy(got)
  for _ = 1, 70 do got = got[1] end
  lu.assertEquals(got.many.key70, { 70, "70" })
  lu.assertIs(getmetatable(got.point), Point)
  lu.assertIs(getmetatable(got.box), Box)
  lu.assertIs(got.self, got)
  got.functions[1]()
  lu.assertEquals(got.functions[2](), 1)
  lu.assertIs(got.threading, threading)
  lu.assertEquals(tostring(got.error), "limits_spec.Memory: text")
end

exhaust.add(TestLimits, "DumpsWithoutMemory", {
  make = make,
  act = pickle.dumps,
  check = function(_, failed, bytes)
    if not failed then check_copy(pickle.loads(bytes, { functions = true })) end
  end,
})

exhaust.add(TestLimits, "LoadsWithoutMemory", {
  make = function() return pickle.dumps(make()) end,
  act = function(bytes) return pickle.loads(bytes, { functions = true }) end,
  check = function(_, failed, got)
    if not failed then check_copy(got) end
  end,
})

-- A class that its module has is found there, or the memory was missing: not that
-- of its name.
exhaust.add(TestLimits, "ErrorClassesWithoutMemory", {
  make = function()
    local class = errors.class("limits_spec.Homely")
    exhaust.Homely = class
    local bytes = pickle.dumps(class)
    exhaust.Homely = errors.class("limits_spec.Homely")
    return bytes
  end,
  act = function(bytes) return pickle.loads(bytes, { functions = true }) end,
  check = function(_, failed, got)
    if not failed then lu.assertTrue(rawequal(got, exhaust.Homely)) end
  end,
})

exhaust.add(TestLimits, "RefusingWithoutMemory", {
  make = function() return { a = { [1.5] = coroutine.create(print) } } end,
  act = function(value)
    local ok, err = pcall(pickle.dumps, value)
    if not errors.is(err, errors.PicklingError) then error(err, 0) end
    return ok, err.message
  end,
  check = function(_, failed, _, message)
    if not failed then lu.assertEquals(message, "cannot pickle a thread at value.a[1.5]") end
  end,
})

local names = 0
exhaust.add(TestLimits, "RegisteringWithoutMemory", {
  make = function() return {} end,
  act = function(class)
    names = names + 1
    pickle.register("limits_spec.Registered" .. names, class)
  end,
  check = function(class, failed)
    if not failed then
      lu.assertIs(getmetatable(copy(setmetatable({}, class))), class)
    end
  end,
})

return { TestLimits = TestLimits }

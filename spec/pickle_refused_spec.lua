--- What cannot travel, and how the path to it reads.
local errors = require("errors")
local lu = require("luaunit")
local pickle = require("pickle")
local threading = require("threading")

local file = io.tmpfile()
local thread = coroutine.create(print)

local TestRefused = {}

local function refuses(message, value)
  local ok, err = pcall(pickle.dumps, value)
  lu.assertFalse(ok, message)
  lu.assertTrue(errors.is(err, pickle.PicklingError))
  lu.assertEquals(err.message, message)
end

function TestRefused:testKinds()
  local LPEG = require("lpeg")
  refuses("cannot pickle a userdata (FILE*) at value", file)
  refuses("cannot pickle a thread at value", thread)
  refuses("cannot pickle a C function at value: no module has it", string.gmatch("", ""))
  refuses("cannot pickle a light userdata at value", debug.upvalueid(refuses, 1))
  refuses("cannot pickle a userdata (lpeg-pattern) at value", LPEG.P(1))
  refuses("cannot pickle a table with a metatable at value: its class is not registered",
    setmetatable({}, {}))
  refuses("cannot pickle a table (Foo) at value: its class is not registered",
    setmetatable({}, { __name = "Foo" }))
end

function TestRefused:testAMetatableThatIsHiddenIsSeen()
  refuses("cannot pickle a table with a metatable at value: its class is not registered",
    setmetatable({}, { __metatable = false }))
end

function TestRefused:testAUserdataWhoseClassIsRegisteredWithoutReduce()
  pickle.register("refused_spec.Local", debug.getmetatable(threading.Local()))
  refuses("cannot pickle a userdata (threading.Local) at value: "
    .. "its class was registered without reduce", threading.Local())
end

function TestRefused:testPaths()
  refuses("cannot pickle a thread at value[2].log", { 1, { log = thread } })
  refuses("cannot pickle a thread at value.a._b1[3]", { a = { _b1 = { 1, 2, thread } } })
  refuses('cannot pickle a thread at value["a b"]["1"]', { ["a b"] = { ["1"] = thread } })
  refuses('cannot pickle a thread at value[""]', { [""] = thread })
  refuses("cannot pickle a thread at value[1.5]", { [1.5] = thread })
  refuses("cannot pickle a thread at value[true]", { [true] = thread })
  refuses("cannot pickle a thread at value[-1]", { [-1] = thread })
  refuses("cannot pickle a thread at value[table].x", { [{}] = { x = thread } })
  refuses("cannot pickle a thread at value.x key", { x = { [thread] = 1 } })
  refuses("cannot pickle a thread at value key[1]", { [{ thread }] = 1 })
  refuses('cannot pickle a thread at value["' .. ("k"):rep(60) .. '..."]',
    { [("k"):rep(100)] = thread })
end

function TestRefused:testElementsInTheHashPart()
  local t = { x = 1 }
  for i = 9, 2, -1 do t[i] = i end
  t[1] = 1
  t[7] = thread
  refuses("cannot pickle a thread at value[7]", t)
end

function TestRefused:testUpvalues()
  local log = { file = thread }
  local function inner() return log end
  refuses("cannot pickle a thread at value upvalue 'log'.file", inner)
  refuses("cannot pickle a thread at value.f upvalue 'inner' upvalue 'log'.file",
    { f = function() return inner() end })
  local stripped = load(string.dump(inner, true))
  debug.setupvalue(stripped, 1, thread)
  refuses("cannot pickle a thread at value upvalue '(no name)'", stripped)
end

function TestRefused:testReducedValuesAndErrors()
  local Class = {}
  pickle.register("refused_spec.Class", Class, {
    reduce = function(object) return 1, object end,
    restore = print,
  })
  local Class2 = {}
  pickle.register("refused_spec.Class2", Class2, {
    reduce = function() return 1, { thread } end,
    restore = print,
  })
  refuses("cannot pickle a thread at value.o reduced[2][1]", { o = setmetatable({}, Class2) })
  refuses("cannot pickle a table with a metatable at value reduced[2]: "
    .. "what it is reduced to contains it", setmetatable({}, Class))
  local E = errors.class("refused_spec.E", errors.class("refused_spec.Parent"))
  E.extra = thread
  refuses("cannot pickle a thread at value class.extra", errors.new(E, "x"))
end

function TestRefused:testALongPathIsCut()
  local t = { thread }
  for i = 1, 100 do t = { ["k" .. i] = t } end
  refuses("cannot pickle a thread at value.k100.k99.k98.k97.k96.k95.k94.k93.k92.k91 ... "
    .. ".k9.k8.k7.k6.k5.k4.k3.k2.k1[1]", t)
end

function TestRefused:testADeepPathIsCutInLittleTime()
  local t = { thread }
  for _ = 1, 200000 do t = { next = t } end
  refuses("cannot pickle a thread at value" .. (".next"):rep(10) .. " ... " .. (".next"):rep(9)
    .. "[1]", t)
end

-- What fails leaves no trace: the same value can be pickled later on.
function TestRefused:testNothingIsLeftBehind()
  local t = { {}, {} }
  t[1].bad = file
  for _ = 1, 3 do lu.assertFalse((pcall(pickle.dumps, t))) end
  t[1].bad = nil
  lu.assertEquals(pickle.loads(pickle.dumps(t)), t)
end

return { TestRefused = TestRefused }

--- Error values and their classes.
local lfs = require("lfs")
local lu = require("luaunit")
local bigint = require("bigint")
local errors = require("errors")
local mp = require("multiprocessing")
local pickle = require("pickle")
local children = require("support.children")

local BY_NAME = { functions = true }

local function copy(value, options) return pickle.loads(pickle.dumps(value), options) end

local TestErrors = {}

function TestErrors:testErrorValuesKeepTheirClass()
  local e = errors.new(errors.TimeoutError, "late", { extra = { 1 }, traceback = "here" })
  e.cause = errors.new(errors.OSError, "why", { errno = 2, code = "ENOENT" })
  local got = copy(e)
  lu.assertTrue(errors.is(got, errors.TimeoutError))
  lu.assertFalse(errors.is(got, errors.OSError))
  lu.assertTrue(errors.is(got.cause, errors.OSError))
  lu.assertEquals(tostring(got), tostring(e))
  lu.assertEquals({ got.extra[1], got.traceback, got.cause.code }, { 1, "here", "ENOENT" })
end

function TestErrors:testErrorClassesAreThemselves()
  for name, class in pairs(errors) do
    if type(class) == "table" then lu.assertIs(copy({ class })[1], class, name) end
  end
end

function TestErrors:testClassesOfScriptsAreThemselves()
  local Base = errors.class("pickle_errors_spec.Base")
  local Derived = errors.class("pickle_errors_spec.Derived", Base)
  local Namesake = errors.class("pickle_errors_spec.Derived", errors.OSError)
  Derived.retry = { Derived }
  for _, class in ipairs({ Base, Derived, Namesake }) do
    lu.assertIs(copy(class), class)
    local got = copy(errors.new(class, "text"))
    for _, other in ipairs({ Base, Derived, Namesake, errors.OSError, errors.Error }) do
      lu.assertEquals(errors.is(got, other), errors.is(errors.new(class), other))
    end
  end
end

-- The receiver has not got the class: it is collected, here.
function TestErrors:testClassesThatAreUnknownAreMade()
  local function make()
    local Base = errors.class("pickle_errors_spec.Gone")
    local Derived = errors.class("pickle_errors_spec.GoneToo", Base)
    Derived.retry = { Derived }
    Derived.message = "by default"
    return pickle.dumps({ errors.new(Derived, "text"), Derived, Base })
  end
  local bytes = make()
  collectgarbage()
  collectgarbage()
  local e, Derived, Base = table.unpack(pickle.loads(bytes))
  lu.assertTrue(errors.is(e, Derived))
  lu.assertTrue(errors.is(e, Base))
  lu.assertTrue(errors.is(Base, errors.Error))
  lu.assertEquals(tostring(e), "pickle_errors_spec.GoneToo: text")
  lu.assertIs(Derived.retry[1], Derived)
  lu.assertEquals(errors.new(Derived).message, "by default")
  lu.assertIs(pickle.loads(bytes)[2], Derived)
end

-- Its bytes may come when it is gone.
function TestErrors:testAClassIsNotTakenForOneThatWasBefore()
  local bytes = pickle.dumps(errors.class("pickle_errors_spec.Before"))
  collectgarbage()
  collectgarbage()
  local After = errors.class("pickle_errors_spec.Before")
  local before = pickle.loads(bytes)
  lu.assertFalse(rawequal(before, After))
  lu.assertIs(pickle.loads(bytes), before)
  lu.assertIs(copy(After), After)
end

-- Anybody may load them, whatever they are beside.
function TestErrors:testErrorsBesideAnObjectOfACModule()
  local one = bigint.new(1)
  local got = copy({ one, errors.Empty, errors.new(errors.Full, "x") })
  lu.assertEquals(got[1], one)
  lu.assertIs(got[2], errors.Empty)
  lu.assertTrue(errors.is(got[3], errors.Full))
end

-- Of modules --------------------------------------------------------------------

local before

function TestErrors:setUp()
  before = package.path
  self.folder = os.tmpname()
  os.remove(self.folder)
  lfs.mkdir(self.folder)
  package.path = self.folder .. "/?.lua;" .. package.path
end

function TestErrors:tearDown()
  package.path = before
  for name in lfs.dir(self.folder) do
    os.remove(self.folder .. "/" .. name)
    package.loaded[name:gsub("%.lua$", "")] = nil
  end
  lfs.rmdir(self.folder)
end

--- Makes a module that a program finds, and loads it.
function TestErrors:module(name, text)
  local file <close> = assert(io.open(self.folder .. "/" .. name .. ".lua", "w"))
  file:write("local errors = require('errors')\n", text)
  file:close()
  return require(name)
end

local ONE = "return { Failure = errors.class('Failure') }"

-- A child that loads the modules the other way round makes the first class second.
function TestErrors:testClassesOfModulesDoNotChangePlaces()
  local first, second = self:module("errors_first", ONE), self:module("errors_second", ONE)
  local code, got = children.outcome_by(mp.get_context("spawn"), function(sender)
    local theirs = { require("errors_second"), require("errors_first") }
    sender:send(errors.new(theirs[2].Failure, "first"))
    sender:send({ errors.new(theirs[1].Failure, "second"), print })
    sender:send(theirs[2].Failure)
  end)
  lu.assertEquals(code, 0)
  lu.assertTrue(errors.is(got[1], first.Failure))
  lu.assertTrue(errors.is(got[2][1], second.Failure))
  lu.assertIs(got[3], first.Failure)
  local near <close>, far = mp.Pipe()
  local process = mp.get_context("spawn").Process(function(connection)
    local theirs = { require("errors_second"), require("errors_first") }
    local e = connection:recv()
    connection:send({ errors.is(e[1], theirs[2].Failure), errors.is(e[2], theirs[1].Failure) })
  end, far)
  process:start()
  far:close()
  near:send({ errors.new(first.Failure), errors.new(second.Failure) })
  lu.assertEquals(near:recv(), { true, true })
  lu.assertEquals(children.exitcode(process), 0)
end

-- The receiver that may use names loads the module, as for a function of it.
function TestErrors:testAClassIsThatOfItsModule()
  local Old = self:module("errors_late", "return { Late = errors.class('Late') }").Late
  local bytes = pickle.dumps({ errors.new(Old, "x"), Old })
  package.loaded.errors_late = nil
  local got = pickle.loads(bytes)
  lu.assertTrue(rawequal(got[2], Old))
  lu.assertNil(package.loaded.errors_late) -- nothing is required for anybody
  got = pickle.loads(bytes, BY_NAME)
  local New = package.loaded.errors_late.Late
  lu.assertFalse(rawequal(New, Old))
  lu.assertIs(got[2], New)
  lu.assertTrue(errors.is(got[1], New))
end

-- Its parents and its fields are those of the module, too.
function TestErrors:testFieldsOfAClassStayThose()
  local m = self:module("errors_tree", [[
    local Base = errors.class("tree.Base")
    local Leaf = errors.class("tree.Leaf", Base)
    Leaf.retry = 3
    return { Base = Base, Leaf = Leaf }]])
  local bytes = pickle.dumps(errors.new(m.Leaf, "x"))
  m.Leaf.retry = 4
  local got = pickle.loads(bytes, BY_NAME)
  lu.assertEquals(got.retry, 4)
  lu.assertTrue(errors.is(got, m.Base))
end

function TestErrors:testAModuleThatIsAClass()
  local Whole = self:module("errors_whole", "return errors.class('Whole')")
  lu.assertTrue(errors.is(copy(errors.new(Whole, "x")), Whole))
  lu.assertIs(copy({ Whole, print }, BY_NAME)[1], Whole)
  local bytes = pickle.dumps(Whole)
  package.loaded.errors_whole = nil
  local got = pickle.loads(bytes, BY_NAME)
  lu.assertFalse(rawequal(got, Whole))
  lu.assertIs(got, package.loaded.errors_whole)
end

-- Methods travel with a class by its name alone, so that they need not travel.
function TestErrors:testAClassWithMethods()
  local m = self:module("errors_methods", [[
    local Rich, thread = errors.class("Rich"), coroutine.create(print)
    function Rich:status() return self.name .. " " .. coroutine.status(thread) end
    return { Rich = Rich }]])
  local got = copy(errors.new(m.Rich), BY_NAME)
  lu.assertTrue(errors.is(got, m.Rich))
  lu.assertEquals(got:status(), "Rich suspended")
end

-- Then it is known by its own name, as are those of no module.
function TestErrors:testAClassWhoseModuleDoesNotHelp()
  local m = self:module("errors_odd", "return { Odd = errors.class('Odd') }")
  local Odd, bytes = m.Odd, pickle.dumps(m.Odd)
  for _, module in ipairs({ { Odd = nil }, { Odd = 1 }, { Odd = errors.new(Odd) }, 12 }) do
    package.loaded.errors_odd = module
    lu.assertIs(pickle.loads(bytes, BY_NAME), Odd)
  end
  for _, text in ipairs({ "error('broken')", "error({})", "=" }) do
    package.loaded.errors_odd = nil
    pcall(self.module, self, "errors_odd", text)
    lu.assertIs(pickle.loads(bytes, BY_NAME), Odd)
  end
  os.remove(self.folder .. "/errors_odd.lua")
  lu.assertIs(pickle.loads(bytes, BY_NAME), Odd)
end

function TestErrors:testWhatEndsTheReceiverIsPassedOn()
  local m = self:module("errors_ends", "return { Ends = errors.class('Ends') }")
  local bytes = pickle.dumps(m.Ends)
  package.loaded.errors_ends = nil
  package.preload.errors_ends = function() error(errors.Cancelled, 0) end
  local ok, problem = pcall(pickle.loads, bytes, BY_NAME)
  package.preload.errors_ends = nil
  lu.assertFalse(ok)
  lu.assertIs(problem, errors.Cancelled)
end

-- Modules that require does not find have none that it could give.
function TestErrors:testAClassInAModuleOfTheSendersOwn()
  local Own = errors.class("pickle_errors_spec.Own")
  package.loaded.errors_own = { Own = Own }
  local bytes = pickle.dumps(Own)
  package.loaded.errors_own = nil
  lu.assertNotStrContains(bytes, "errors_own")
  lu.assertIs(pickle.loads(bytes, BY_NAME), Own)
end

return { TestErrors = TestErrors }

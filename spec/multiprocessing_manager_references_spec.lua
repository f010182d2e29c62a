-- Who holds on to the objects of a manager: proxies in all processes and on their way;
-- and that the server counts them right, whatever two threads do at a time. Numbers are
-- those of CPython's behaviours that each test holds tidelock to.
local lu = require("luaunit")
local Objects = require("multiprocessing.managers.objects")
local errors = require("errors")
local managers = require("multiprocessing.managers")
local mp = require("multiprocessing")
local pickle = require("pickle")
local between = require("support.between")
local eventually = require("support.eventually")
local raised = require("support.raised")
local with_manager = require("support.with_manager")

local LIMIT = 60 -- seconds, for what should take a moment

local TestReferences = with_manager({})

local function collect()
  collectgarbage()
  collectgarbage()
end

function TestReferences:await(n)
  eventually(function()
    collect()
    return self.m:_number_of_objects() == n
  end)
end

-- 116
function TestReferences:testTheLastProxyTakesItsObjectAlong()
  local d, l = self.m:dict(), self.m:list()
  l:append(d)
  lu.assertEquals(self.m:_number_of_objects(), 2)
  d = nil -- luacheck: ignore
  self:await(2)
  lu.assertNotNil(l[1])
  l = nil -- luacheck: ignore
  self:await(0)
end

-- 116
function TestReferences:testAChildsProxiesCount()
  local receiver <close>, sender = mp.Pipe(false)
  local go = mp.Event()
  local child
  do
    local d = self.m:dict({ x = 1 })
    child = mp.Process(function()
      sender:send("here")
      go:wait()
      assert(d.x == 1)
      d = nil
    end):start()
  end
  collect()
  sender:close()
  lu.assertEquals(receiver:recv(), "here")
  lu.assertEquals(self.m:_number_of_objects(), 1)
  go:set()
  lu.assertTrue(child:join(LIMIT))
  lu.assertEquals(child.exitcode, 0)
  self:await(0)
end

-- 116
function TestReferences:testAKilledChildsReferencesGo()
  local child = mp.Process(function(m)
    local d = m:dict()
    d.x = 1
    mp.Event():wait()
  end, self.m):start()
  eventually(function() return self.m:_number_of_objects() == 1 end)
  child:kill()
  lu.assertTrue(child:join(LIMIT))
  self:await(0)
end

-- 114
function TestReferences:testAProxyOnItsWayKeepsItsObject()
  local bytes = pickle.dumps(self.m:dict({ x = 1 }))
  self:await(1)
  local first, second = pickle.loads(bytes), pickle.loads(bytes)
  lu.assertEquals(first.x, 1)
  lu.assertEquals(second.x, 1)
  first = nil -- luacheck: ignore
  collect()
  lu.assertEquals(second.x, 1)
  second = nil -- luacheck: ignore
  self:await(0)
  local problem = raised(function() return pickle.loads(bytes).x end)
  lu.assertStrContains(problem, "the object of this proxy no more")
end

-- 116
function TestReferences:testAProxyThatIsReceivedAndNeverUsed()
  local bytes = pickle.dumps(self.m:dict())
  self:await(1)
  pickle.loads(bytes)
  self:await(0)
end

-- 116
function TestReferences:testProxiesOfOneObjectThatAreReceivedAndNeverUsed()
  local ours <close>, theirs = mp.Pipe()
  local child = mp.get_context("spawn").Process(function(conn)
    local e = conn:recv()
    for _ = 1, 2 do conn:recv() end
    collectgarbage()
    e.x = "the first call" -- by which it connects, and can tell
    conn:recv()
    collectgarbage()
    conn:recv()
    return e
  end, theirs):start()
  theirs:close()
  local d, e = self.m:dict(), self.m:dict()
  ours:send(e)
  for _ = 1, 3 do ours:send(d) end
  d = nil -- luacheck: ignore
  self:await(1)
  lu.assertEquals(e.x, "the first call")
  ours:send("done")
  lu.assertTrue(child:join(LIMIT))
end

function TestReferences:testAnAnswerThatCannotTravelGivesNothing()
  local d = self.m:dict()
  d.inner = self.m:dict()
  local problem = raised(managers.apply, d,
    function(t) return t.inner, coroutine.create(print) end)
  lu.assertTrue(errors.is(problem, errors.PicklingError), tostring(problem))
  d.inner = nil
  self:await(1)
end

-- 114
function TestReferences:testThroughQueuesAndConnections()
  local ours <close>, theirs = mp.Pipe()
  local child = mp.Process(function(conn)
    local d = conn:recv()
    d.seen = true
    conn:send(d)
    conn:recv()
  end, theirs):start()
  theirs:close()
  ours:send(self.m:dict())
  collect()
  local back = ours:recv()
  lu.assertTrue(back.seen)
  ours:send("done")
  lu.assertTrue(child:join(LIMIT))
  local q = self.m:Queue()
  q:put(back)
  q:put(q)
  back = nil -- luacheck: ignore
  collect()
  lu.assertTrue(q:get().seen)
  lu.assertTrue(q:get() == q)
end

function TestReferences:testDamagedBytes()
  local d = self.m:dict()
  local bytes = pickle.dumps(d)
  for i = 1, #bytes do
    for _, byte in ipairs({ 0, 1, 127, 255, bytes:byte(i) ~ 1 }) do
      local ok, problem = pcall(pickle.loads,
        bytes:sub(1, i - 1) .. string.char(byte) .. bytes:sub(i + 1))
      lu.assertTrue(ok or errors.is(problem, errors.UnpicklingError), problem)
    end
  end
end

function TestReferences:testAProxyOfAClassThatThereIsNot()
  local head, tail = pickle.dumps(self.m:dict()):match("^(.*)Dict(.-)$")
  local ok, problem = pcall(pickle.loads, head .. "Dixt" .. tail)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, errors.UnpicklingError), problem)
end

-- --- The counts in the server ---------------------------------------------------

local TestObjects = {}

local KIND = Objects.kind({ exposed = { "get" } })

local function new_value() return { get = function() end } end

--- Calls f(objects, case) with other(objects, case) before each of its lines, each
--- time with what new(objects) gives, and then check(objects, case).
local function at_every_line(new, f, other, check)
  local n, more = 0
  repeat
    n = n + 1
    local objects = Objects.new()
    local case = new(objects)
    more = between("managers/objects", n, f, other, objects, case)
    check(objects, case)
  until not more
  lu.assertTrue(n > 1)
end

--- Two receivers of what one process has sent twice.
function TestObjects:testTwoReferencesThatAreGivenUpAtOnce()
  local function release(objects, case) objects:release(case.refs, case.id) end
  at_every_line(function(objects)
    local refs, others = {}, {}
    local id = objects:add(refs, new_value(), "thing", KIND).id
    for _ = 1, 2 do objects:retain(refs, id) end
    objects:retain(others, id)
    return { id = id, refs = refs, others = others }
  end, release, release, function(objects, case)
    objects:release_all(case.refs)
    lu.assertNotNil(objects:find(case.id))
    objects:release_all(case.others)
    lu.assertEquals(objects:count(), 0)
  end)
end

function TestObjects:testAReferenceThatIsTakenAsTheLastOneGoes()
  at_every_line(function(objects)
    local last = {}
    return { last = last, refs = {}, id = objects:add(last, new_value(), "thing", KIND).id }
  end, function(objects, case)
    case.taken = objects:retain(case.refs, case.id)
  end, function(objects, case)
    objects:release(case.last, case.id)
  end, function(objects, case)
    objects:release(case.last, case.id)
    lu.assertEquals(objects:find(case.id) ~= nil, case.taken)
    lu.assertEquals(case.refs[case.id], case.taken and 1 or nil)
  end)
end

--- A constructor that gives the same to all who call it.
function TestObjects:testAReferentIsOneObjectToAll()
  local function add(name)
    return function(objects, case)
      case[name] = objects:add(case.refs, case.value, "thing", KIND)
    end
  end
  at_every_line(function() return { refs = {}, value = new_value() } end, add("a"), add("b"),
    function(objects, case)
      lu.assertTrue(case.b == nil or rawequal(case.a, case.b))
      lu.assertEquals(objects:count(), 1)
      objects:release_all(case.refs)
      lu.assertEquals(objects:count(), 0)
    end)
end

function TestObjects:testAReferentThatIsGivenAgainAsTheLastReferenceGoes()
  at_every_line(function(objects)
    local last, value = {}, new_value()
    return { last = last, refs = {}, value = value,
      id = objects:add(last, value, "thing", KIND).id }
  end, function(objects, case)
    case.object = objects:add(case.refs, case.value, "thing", KIND)
  end, function(objects, case)
    objects:release(case.last, case.id)
  end, function(objects, case)
    lu.assertTrue(rawequal(objects:find(case.object.id), case.object))
    lu.assertEquals(case.refs[case.object.id], 1)
  end)
end

return { TestReferences = TestReferences, TestObjects = TestObjects }

-- The referents in a manager's server, and who holds on to them: whatever two threads
-- do at a time, the counts are right.
local lu = require("luaunit")
local Objects = require("multiprocessing.managers.objects")
local between = require("support.between")

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

return { TestObjects = TestObjects }

--- threading.Local: behaviour 52.
local lu = require("luaunit")
local threading = require("threading")
local bunch = require("support.bunch")

local function elsewhere(f, ...)
  return threading.Thread(f, ...):start():result(60)
end

local TestLocal = {}

-- 52
function TestLocal.testFieldsAreInvisibleToOtherThreads()
  local data = threading.Local()
  data.x, data[1] = "main", 10
  local before, after, other = elsewhere(function()
    local before = data.x
    data.x = "worker"
    return before, data.x, data[1]
  end)
  lu.assertNil(before)
  lu.assertEquals(after, "worker")
  lu.assertNil(other)
  lu.assertEquals(data.x, "main")
  lu.assertEquals(data[1], 10)
end

-- 52
function TestLocal.testManyThreadsKeepTheirOwn()
  local data = threading.Local()
  local results, errors = bunch(6, function(i)
    data.n = 0
    for _ = 1, 300 do
      data.n = data.n + i
      if data.n % 50 == 0 then collectgarbage("step") end
    end
    return data.n
  end)
  lu.assertEquals(errors, {})
  for i = 1, 6 do lu.assertEquals(results[i], 300 * i) end
  lu.assertNil(data.n)
end

-- 52
function TestLocal.testValuesAreFreedWhenTheThreadEnds()
  local data = threading.Local()
  local weak = setmetatable({}, { __mode = "v" })
  elsewhere(function()
    local value = {}
    data.value, weak.value = value, value
  end)
  collectgarbage()
  collectgarbage()
  lu.assertNil(weak.value)
  lu.assertNil(data.value)
end

-- 52
function TestLocal.testValuesAreFreedWithTheObject()
  local weak = setmetatable({}, { __mode = "k" })
  do
    local data = threading.Local()
    data.self = data -- does not keep itself alive
    data.value = {}
    weak[data], weak[data.value] = true, true
  end
  collectgarbage()
  collectgarbage()
  lu.assertNil(next(weak))
end

-- 52
function TestLocal.testAFinalizerOfAValueMayUseTheSameObject()
  local data = threading.Local()
  local ran = 0
  local function finalizer()
    ran = ran + 1
    data.again = (data.again or 0) + 1
    return data.value
  end
  elsewhere(function()
    data.value = setmetatable({}, { __gc = finalizer })
  end)
  collectgarbage()
  collectgarbage()
  lu.assertEquals(ran, 1)
  data.again = nil
end

function TestLocal.testPairsVisitsThisThreadsFields()
  local data = threading.Local()
  local function fields()
    local found = {}
    for k, v in pairs(data) do found[k] = v end
    return found
  end
  lu.assertEquals(fields(), {})
  data.a, data.b, data[1] = 1, 2, 3
  lu.assertEquals(fields(), { a = 1, b = 2, [1] = 3 })
  lu.assertEquals(elsewhere(fields), {})
  for k in pairs(data) do data[k] = nil end -- as with next
  lu.assertEquals(fields(), {})
end

function TestLocal.testAnyKeyAndValue()
  local data, key = threading.Local(), {}
  data[key], data[1.5], data[true] = false, "f", nil
  lu.assertEquals(data[key], false)
  lu.assertEquals(data[1.5], "f")
  lu.assertNil(data[true])
  lu.assertNil(data[nil])
  lu.assertNil(data[0 / 0])
  lu.assertErrorMsgContains("index is nil", function() data[nil] = 1 end)
  lu.assertErrorMsgContains("index is NaN", function() data[0 / 0] = 1 end)
  data[key] = nil
  lu.assertNil(data[key])
end

function TestLocal.testTwoObjectsAreApart()
  local a, b = threading.Local(), threading["local"]()
  a.x = 1
  lu.assertNil(b.x)
  b.x = 2
  lu.assertEquals(a.x, 1)
end

function TestLocal.testCoroutinesShareTheirThreadsFields()
  local data = threading.Local()
  data.x = 1
  lu.assertEquals(coroutine.wrap(function()
    data.y = 2
    return data.x
  end)(), 1)
  lu.assertEquals(data.y, 2)
end

function TestLocal.testManyObjectsComeAndGo()
  collectgarbage()
  local before = collectgarbage("count")
  for i = 1, 20000 do
    local data = threading.Local()
    data.x = i
  end
  collectgarbage()
  collectgarbage()
  lu.assertTrue(collectgarbage("count") - before < 1000)
end

function TestLocal.testTostring()
  lu.assertStrMatches(tostring(threading.Local()), "<Local .+>")
end

return { TestLocal = TestLocal }

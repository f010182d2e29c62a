-- Every example of scripts/ runs to its end and prints what it is to show.
local lu = require("luaunit")

local program = require("support.program")

-- What the script prints.
local function run(name)
  local out, err, code = program.run({"scripts/" .. name .. ".lua"},
    {env = {TIDELOCK_QUICK = "1"}})
  lu.assertEquals({code, err}, {0, ""}, out)
  return out
end

local function times(output, pattern)
  return select(2, output:gsub(pattern, ""))
end

-- Where the lines stand in the output, which must be in that order.
local function assertInOrder(output, lines)
  local from = 1
  for _, line in ipairs(lines) do
    local at = output:find(line, from, true)
    lu.assertNotNil(at, ("%q missing after byte %d of\n%s")
      :format(line, from, output))
    from = at + #line
  end
end

-- What each of them shows: a function that looks at its output.
local says = {}

-- Each name five times.
function says.names(output)
  for i = 1, 3 do lu.assertEquals(times(output, "worker%-" .. i), 5, output) end
end

-- All of them end.
function says.downloads(output)
  lu.assertEquals(times(output, ": started\n"), 3, output)
  lu.assertEquals(times(output, ": done after"), 3, output)
end

-- They come in order, beside the main thread.
function says.numbers(output)
  assertInOrder(output, {"1\n", "2\n", "3\n", "4\n", "5\n", "has finished"})
  assertInOrder(output, {"Main thread continues...\n", "5\n"})
end

-- A time for each way.
function says.cpu_vs_io(output)
  lu.assertEquals(times(output, " %d+%.%d+ s\n"), 6, output)
end

-- Updates are lost only without the lock.
function says.race(output)
  local without = tonumber(output:match("without a lock:.-lost (%d+)"))
  local with = tonumber(output:match("with a lock:.-lost (%d+)"))
  lu.assertTrue(without > 0, output)
  lu.assertEquals(with, 0, output)
end

-- What was produced is consumed once.
function says.producer_consumer(output)
  for _, who in ipairs{"a", "b"} do
    for i = 1, 5 do
      lu.assertEquals(times(output, (" %s%d by "):format(who, i)), 1, output)
    end
  end
  assertInOrder(output, {"All 10 items were consumed."})
end

-- The semaphore limits them.
function says.semaphore_downloads(output)
  lu.assertEquals(times(output, ": done\n"), 6, output)
  assertInOrder(output, {"At most 2 downloads ran at once."})
end

-- Nobody starts before the gun.
function says.start_gun(output)
  local bang = output:find("Bang!", 1, true)
  lu.assertEquals(times(output, "sets off"), 5, output)
  lu.assertTrue(bang < output:find("sets off", 1, true), output)
end

-- Everything is measured, within 80 columns.
function says.tour(output)
  for n = 1, 6 do assertInOrder(output, {("\n%d. "):format(n)}) end
  for line in output:gmatch("[^\n]+") do
    lu.assertTrue(#line <= 80, line)
    lu.assertNil(line:match("%f[%a]nan%f[%A]") or line:match("%f[%a]inf%f[%A]"),
      line)
  end
end

local TestScripts = {}

for name, check in pairs(says) do
  TestScripts["test_" .. name] = function() check(run(name)) end
end

function TestScripts.testEveryExampleIsRun()
  local there, known = {}, {}
  local listing <close> = assert(io.popen("ls scripts"))
  for file in listing:lines() do table.insert(there, file) end
  for name in pairs(says) do table.insert(known, name .. ".lua") end
  lu.assertItemsEquals(there, known)
end

return {TestScripts = TestScripts}

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

-- The thread sanitizer does not support threads in the child of a fork.
local function skip_forks(name)
  local file <close> = assert(io.open("scripts/" .. name .. ".lua"))
  lu.skipIf(os.getenv("TIDELOCK_SANITIZER") == "thread" and
    file:read("a"):find("multiprocessing", 1, true), "ThreadSanitizer")
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

local TestScripts = {}

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
  for _, way in ipairs{"one after the other", "in two threads", "in two processes"} do
    lu.assertEquals(times(output, way), 2, output)
  end
  lu.assertEquals(times(output, " %d+%.%d+ s\n"), 6, output)
end

-- Exact ones, each by a process of its own.
function says.factorials(output)
  assertInOrder(output, {
    "1000! has 2568 digits: 40238726007709377354...",
    "1200! has 3176 digits: 63507890863456767124...",
    "1500! has 4115 digits: 48119977967797748601...",
    "All in",
  })
  for i = 1, 3 do
    lu.assertEquals(times(output, "Process%-" .. i), 1, output)
  end
end

-- All digits go where they are wanted.
function TestScripts.testDigitsOfFactorials()
  skip_forks("factorials")
  local name = os.tmpname()
  local out, err, code = program.run({"scripts/factorials.lua", "--print",
    "--digits", name, "30", "0"})
  local file = assert(io.open(name))
  local digits = file:read("a")
  file:close()
  os.remove(name)
  lu.assertEquals({code, err}, {0, ""})
  lu.assertEquals(digits, "265252859812191058636308480000000\n1\n")
  assertInOrder(out, {"265252859812191058636308480000000\n", "1\n"})
  for _, wrong in ipairs{"-5", "x", "--digits"} do
    out, err, code = program.run{"scripts/factorials.lua", wrong}
    lu.assertEquals({code, out}, {2, ""})
    lu.assertStrContains(err, "usage: factorials.lua")
  end
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

-- Everything is measured, within 80 columns; the comparison has what it is about.
function says.tour(output)
  assertInOrder(output, {"Threads and processes side by side", "threads", "processes",
    "memory is", "speed of", "start and join", "memory of one", "by a queue", "a pool's task"})
  for n = 1, 9 do assertInOrder(output, {("\n%d. "):format(n)}) end
  for line in output:gmatch("[^\n]+") do
    -- How long an echo takes is the machine's.
    lu.assertTrue(#line:gsub("p50 %d+ us, p99 %d+ us", "p50 5 us, p99 5 us") <= 80, line)
    lu.assertNil(line:match("%f[%a]nan%f[%A]") or line:match("%f[%a]inf%f[%A]"),
      line)
  end
end

-- In the order of the list, by several.
function says.pool_squares(output)
  for i = 1, 10 do
    lu.assertStrContains(output, ("%2d squared is %3d, says ForkPoolWorker-")
      :format(i, i * i))
  end
  lu.assertStrMatches(output, ".*\n%d workers took %d+.%d+ s.*")
end

-- Both print all, beside the main process.
function says.numbers_and_letters(output)
  for i = 1, 5 do
    lu.assertStrContains(output, "Number: " .. i)
    lu.assertStrContains(output, "Letter: " .. ("ABCDE"):sub(i, i))
  end
  assertInOrder(output, {"Main process continues...", "Both processes have finished."})
end

-- Near enough.
function says.monte_carlo_pi(output)
  for off in output:gmatch("off by (%d.%d+)") do
    lu.assertTrue(tonumber(off) < 0.05, output)
  end
  lu.assertEquals(times(output, "pi is about 3.1"), 2, output)
end

-- Each question is answered by the other process.
function says.pipe_conversation(output)
  assertInOrder(output, {"Answerer heard: Hello", "Answerer heard: 42",
    "Answerer heard: true", "MainProcess asked, Answerer computed: 42", "is over"})
end

-- Only the lock makes it exact.
function says.shared_counter(output)
  local without = tonumber(output:match("without its lock:.-lost (%d+)"))
  local with = tonumber(output:match("with its lock:.-lost (%d+)"))
  lu.assertNotNil(without, output) -- none, perhaps, on one CPU
  lu.assertEquals(with, 0, output)
end

-- As many as there are, the frequent ones first.
function says.word_counts(output)
  local words, last = tonumber(output:match("^(%d+) words")), math.huge
  lu.assertTrue(words > 1000, output)
  for n in output:gmatch("\n +(%d+) %a+") do
    lu.assertTrue(tonumber(n) <= last, output)
    last = tonumber(n)
  end
end

-- All rows are counted.
function says.sales_table(output)
  local sum = 0
  for n in output:gmatch("\n%u%l+ +(%d+) ") do sum = sum + tonumber(n) end
  lu.assertEquals(sum, 20000, output)
end

-- A child's write is not seen, its crash harms nobody.
function says.isolation(output)
  assertInOrder(output, {"'two':  one\n", "'three': one, three\n", "signal 6",
    "ended with code 0", "false, multiprocessing.WorkerLost", "the pool goes on: done"})
end

-- All run at once, each with an exit code of its own.
function says.instances(output)
  for i = 1, 4 do
    lu.assertStrMatches(output, (".*exit code %d: instance %d worked.*"):format(i, i))
  end
end

local pictures = {} -- the files they write, to be looked at and removed

local function read_picture(path)
  local file <close> = assert(io.open(path, "rb"))
  local text = file:read("a")
  local width, height, at = text:match("^P6 (%d+) (%d+) 255\n()")
  lu.assertEquals(#text - at + 1, width * height * 3)
  return tonumber(width), tonumber(height), text:sub(at)
end

-- A picture that is whole, dark in the set and symmetrical.
function pictures.mandelbrot(path)
  local width, height, points = read_picture(path)
  lu.assertEquals({width, height}, {96, 64})
  local function point(x, y) return points:sub((y * width + x) * 3 + 1, (y * width + x) * 3 + 3) end
  lu.assertEquals(point(width * 2 // 3 - 6, height // 2), "\0\0\0")
  for x = 0, width - 1 do lu.assertEquals(point(x, 12), point(x, height - 12)) end
end

-- All grey.
function pictures.picture(path)
  local _, _, points = read_picture(path)
  for r, g, b in points:gmatch("(.)(.)(.)") do lu.assertTrue(r == g and g == b) end
end

-- A bar that grows as the rows come.
function TestScripts.testTheProgressOfAPicture()
  skip_forks("mandelbrot")
  local path = os.tmpname()
  local _, err, code = program.run({"scripts/mandelbrot.lua", path, "24"},
    {env = {TIDELOCK_QUICK = false}})
  os.remove(path)
  lu.assertEquals(code, 0, err)
  local last = 0
  for bar, percent in err:gmatch("\r%[(#*) *%] +(%d+) %%") do
    lu.assertTrue(tonumber(percent) > last, err)
    last = tonumber(percent)
    lu.assertAlmostEquals(#bar, last * 40 / 100, 1)
  end
  lu.assertEquals(last, 100)
end

for name, check in pairs(pictures) do
  TestScripts["test_" .. name] = function()
    skip_forks(name)
    local path = os.tmpname()
    local options = name == "mandelbrot" and {path} or {"", path}
    if name == "picture" then
      options[1] = os.tmpname()
      program.run({"scripts/mandelbrot.lua", options[1]}, {env = {TIDELOCK_QUICK = "1"}})
    end
    local out, err, code = program.run({"scripts/" .. name .. ".lua", table.unpack(options)},
      {env = {TIDELOCK_QUICK = "1"}})
    lu.assertEquals({code, err}, {0, ""}, out)
    check(path)
    for _, file in ipairs({path, options[1]}) do os.remove(file) end
  end
end

for name, check in pairs(says) do
  TestScripts["test_" .. name] = function()
    skip_forks(name)
    check(run(name))
  end
end

function TestScripts.testEveryExampleIsRun()
  local there, known = {}, {}
  local listing <close> = assert(io.popen("ls scripts"))
  for file in listing:lines() do table.insert(there, file) end
  for _, list in ipairs({says, pictures}) do
    for name in pairs(list) do table.insert(known, name .. ".lua") end
  end
  lu.assertItemsEquals(there, known)
end

return {TestScripts = TestScripts}

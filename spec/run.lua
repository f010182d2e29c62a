--- Runs spec files: tidelock spec/run.lua FILE... [options of luaunit]
-- A file returns {TestX = {testY = function}}. After each test nothing may be
-- left over that was not there before it.
local root = arg[0]:match("^(.*)run%.lua$")
package.path = root .. "?.lua;" .. package.path

local lu = require("luaunit")
local leftovers = require("support.leftovers")

local wrapped = {}

--- Puts the look for leftovers around setUp and tearDown.
local function watch(class)
  if wrapped[class] then return end
  wrapped[class] = true
  local setUp, tearDown = class.setUp, class.tearDown
  local before
  function class.setUp(self)
    before = leftovers.take()
    if setUp then setUp(self) end
  end
  function class.tearDown(self)
    if tearDown then tearDown(self) end
    leftovers.check(before)
  end
end

local files, options, classes = {}, { "-v" }, {}
for _, word in ipairs(arg) do
  table.insert(word:find("%.lua$") and files or options, word)
end
if #files == 0 then error("usage: tidelock spec/run.lua FILE...", 0) end

for _, file in ipairs(files) do
  for name, class in pairs(assert(loadfile(file))(file)) do
    watch(class)
    table.insert(classes, { name, class })
  end
end
table.sort(classes, function(a, b) return a[1] < b[1] end)

-- Unbuffered: what a test that is killed has printed is not lost.
io.stdout:setvbuf("no")
local runner = lu.LuaUnit.new()
function runner.initFromArguments(self)
  return lu.LuaUnit.initFromArguments(self, table.unpack(options))
end
local failures = runner:runSuiteByInstances(classes)
os.exit(failures == 0, true)

--- Eight threads at a switch interval of 20 us do all that the collector and
--- the preemption could stumble over; each checks its own results.
-- TIDELOCK_STRESS: seconds for each way of collecting garbage; ./dev sanitize
-- sets 30.
local errors = require("errors")
local gil = require("gil")
local lu = require("luaunit")
local queue = require("queue")
local seed = require("support.seed")
local threading = require("threading")
local time = require("time")

local SECONDS = tonumber(os.getenv("TIDELOCK_STRESS")) or 3
local LONG = 120 -- seconds

local function check(ok, ...)
  if not ok then error(("wrong result: %s %s"):format(...), 2) end
end

--- What one round of each kind of work does; r is the thread's own generator.
local work = {}

function work.allocation(r)
  local list, sum = {}, 0
  for i = 1, r(500) do
    list[i] = { i, tostring(i), { value = i } }
    if r(4) == 1 then list[r(i)][3].value = 0 end
  end
  for i, item in ipairs(list) do
    check(item[2] == tostring(i) and item[1] == i, "allocation", i)
    sum = sum + item[3].value
  end
  check(sum <= #list * (#list + 1) / 2, "allocation", sum)
end

function work.coroutines(r)
  local n = r(50)
  local function count(depth)
    return coroutine.wrap(function()
      if depth == 0 then
        for i = 1, n do coroutine.yield(i) end
      else
        for i in count(depth - 1) do coroutine.yield(i) end
      end
    end)
  end
  local sum = 0
  for i in count(r(4)) do sum = sum + i end
  check(sum == n * (n + 1) // 2, "coroutines", sum)

  local closed = 0
  local co = coroutine.create(function()
    local held <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
    coroutine.yield(1)
  end)
  coroutine.resume(co)
  check(coroutine.close(co) and closed == 1, "coroutines", closed)
  local ok, message = coroutine.resume(coroutine.create(function() error("inside", 0) end))
  check(not ok and message == "inside", "coroutines", message)
end

function work.strings(r)
  local parts = {}
  for i = 1, r(100) do parts[i] = string.char(96 + r(26)):rep(r(20)) end
  local text = table.concat(parts, ",")
  local n = 0
  for part in text:gmatch("[^,]+") do
    n = n + 1
    check(part == parts[n], "strings", part)
  end
  check(n == #parts, "strings", n)
  check(text:upper():lower():reverse():reverse() == text, "strings", "case")
  check(("%d:%s"):format(n, text):sub(-#text) == text, "strings", "format")
end

function work.sorting(r)
  local list = {}
  for i = 1, r(200) do list[i] = { key = r(50), place = i } end
  table.sort(list, function(a, b)
    if a.key ~= b.key then return a.key < b.key end
    return a.place < b.place
  end)
  for i = 2, #list do check(list[i - 1].key <= list[i].key, "sorting", i) end
end

local Number = {}
Number.__index = function(_, key) return key == "zero" and 0 or nil end
Number.__add = function(a, b) return setmetatable({ v = a.v + b.v }, Number) end
Number.__eq = function(a, b) return a.v == b.v end
Number.__lt = function(a, b) return a.v < b.v end
Number.__concat = function(a, b) return tostring(a) .. tostring(b) end
Number.__tostring = function(a) return "<" .. a.v .. ">" end
Number.__call = function(self, x) return self.v + x end
Number.__len = function(self) return self.v end

function work.metamethods(r)
  local sum, plain = setmetatable({ v = 0 }, Number), 0
  for _ = 1, r(100) do
    local v = r(1000)
    local item = setmetatable({ v = v }, Number)
    check((item < item) == false and item == setmetatable({ v = v }, Number), "metamethods", v)
    sum, plain = sum + item, plain + v
  end
  check(sum.v == plain and sum(1) == plain + 1 and #sum == plain, "metamethods", plain)
  check(sum .. sum == ("<%d><%d>"):format(plain, plain), "metamethods", "concat")
  check(sum.zero == 0 and sum.none == nil, "metamethods", "index")
end

function work.gsub(r)
  local n = r(200)
  local text = ("x"):rep(n)
  local seen = 0
  local result = text:gsub("x", function(c)
    seen = seen + 1
    return select(2, pcall(string.rep, c, 2))
  end)
  check(seen == n and #result == 2 * n, "gsub", seen)
end

-- Finalizers that re-enter what their own thread may be in the middle of.
local finalizer_lock = threading.RLock()
local finalizer_try = threading.Lock()
local finalizer_queue = queue.SimpleQueue()
local finalized = 0

local function finalize()
  if finalizer_lock:acquire(false) then finalizer_lock:release() end
  if finalizer_try:acquire(false) then finalizer_try:release() end
  finalizer_queue:put(true)
  finalized = finalized + 1
end

function work.finalizers(r)
  for _ = 1, r(50) do setmetatable({}, { __gc = finalize }) end
  finalizer_lock:acquire()
  setmetatable({}, { __gc = finalize })
  local s = ("y"):rep(r(1000))
  finalizer_lock:release()
  local held <close> = finalizer_try:guard()
  finalizer_queue:put(s)
  for _ = 1, 100 do
    if finalizer_queue:get_nowait() == nil then break end
  end
end

function work.hooks(r)
  local counted, lines, limit = 0, 0, 1000 + r(1000)
  debug.sethook(function() counted = counted + 1 end, "", limit)
  for _ = 1, 3 * limit do end
  debug.sethook()
  -- Each turn of the loop is one instruction.
  check(counted == 3, "count hook", counted)
  debug.sethook(function() lines = lines + 1 end, "l")
  for _ = 1, 100 do
    local _ = r
  end
  debug.sethook()
  check(lines >= 200 and lines < 210, "line hook", lines)
  check(debug.gethook() == nil, "hook", "left")
end

function work.pcalls(r)
  local caught = 0
  for i = 1, r(100) do
    local ok, err = pcall(function()
      if i % 2 == 0 then error({ i }) end
      return i
    end)
    if not ok then
      caught = caught + 1
      check(err[1] == i, "pcall", i)
    end
    ok, err = xpcall(error, function(e) return e .. "!" end, "e", 0)
    check(not ok and err == "e!", "xpcall", err)
  end
  check(caught <= 50, "pcall", caught)
end

-- A thread of its own that is cancelled or killed in the middle.
local victim_lock = threading.Lock()

function work.cancels(r)
  local rounds = 0
  local victim = threading.Thread(function()
    while true do
      pcall(function()
        local held <close> = victim_lock:guard()
        rounds = rounds + #tostring(rounds)
      end)
      for _ in coroutine.wrap(function() coroutine.yield(1) end) do end
    end
  end):start()
  for _ = 1, r(5) do victim:cancel() end
  if r(2) == 1 then time.sleep(0) end
  victim:kill()
  check(victim:join(LONG), "cancels", "not joined")
  local ok, err = pcall(victim.result, victim)
  check(not ok and errors.is(err, errors.Cancelled), "cancels", err)
end

local kinds = {}
for name in pairs(work) do table.insert(kinds, name) end
table.sort(kinds)

--- A generator of its own for each thread, so that a seed tells what it does.
local function generator(state)
  return function(n)
    state = (state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
    return (state >> 33) % n + 1
  end
end

local TestEverything = {}

function TestEverything:setUp()
  self.interval = gil.switch_interval(20e-6)
end

function TestEverything:tearDown()
  gil.switch_interval(self.interval)
  collectgarbage("generational")
end

local function run(seconds)
  local first = seed() & 0x7fffffff
  local deadline = time.monotonic() + seconds
  local shared = { lock = threading.Lock(), n = 0 }
  local threads = {}
  for i = 1, 8 do
    threads[i] = threading.Thread {
      name = "stress-" .. i,
      target = function()
        local r, rounds = generator(first + i), 0
        repeat
          work[kinds[r(#kinds)]](r)
          shared.lock:with(function() shared.n = shared.n + 1 end)
          rounds = rounds + 1
        until time.monotonic() > deadline
        return rounds
      end,
    }
    threads[i]:start()
  end
  local rounds = 0
  for i, thread in ipairs(threads) do
    if not thread:join(seconds + LONG) then
      threading.dump(io.stderr)
      error(("thread %d hangs"):format(i))
    end
    local n = thread:result()
    lu.assertTrue(n > 0)
    rounds = rounds + n
  end
  lu.assertEquals(shared.n, rounds)
  lu.assertFalse(victim_lock:locked())
  lu.assertFalse(finalizer_lock:locked())
  lu.assertFalse(finalizer_try:locked())
  collectgarbage()
  lu.assertTrue(finalized > 0)
  finalizer_queue = queue.SimpleQueue()
end

function TestEverything:testUnderIncrementalCollectionThatNeverRests()
  collectgarbage("incremental", 10, 400)
  run(SECONDS)
end

function TestEverything:testUnderGenerationalCollection()
  collectgarbage("generational")
  run(SECONDS)
end

return { TestEverything = TestEverything }

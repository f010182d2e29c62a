--- Small objects between processes lie many to a file: how many descriptors and
-- how much memory they take, and that each is one of its own.
local lu = require("luaunit")
local mp = require("multiprocessing")
local exhaust = require("support.exhaust")
local leave = require("support.leave")
local program = require("support.program")

local LIMIT = 60 -- seconds, for what should take a moment

--- What a program prints that may have so many descriptors.
local function limited(descriptors, chunk)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write([[
    local lfs, mp = require("lfs"), require("multiprocessing")
    local function descriptors()
      local n = 0
      for _ in lfs.dir("/proc/self/fd") do n = n + 1 end
      return n
    end
    local before = descriptors()
    --- Bytes of shared memory.
    local function shared()
      for line in io.lines("/proc/self/status") do
        local kib = line:match("^RssShmem:%s+(%d+)")
        if kib then return kib * 1024 end
      end
    end
  ]], chunk)
  file:close()
  local out, err = program.run(
    { "-c", ('ulimit -n %d; exec "$0" "$1"'):format(descriptors), program.path, name },
    { program = "sh", timeout = LIMIT })
  os.remove(name)
  return out, err
end

local TestArena = {}

function TestArena:testTenThousandOfEachKind()
  local out, err = limited(256, [[
    local objects, made = {}, {
      mp.Lock, mp.RLock, mp.Event, function() return mp.Value("int64", 0) end
    }
    for kind, make in ipairs(made) do
      objects[kind] = {}
      for i = 1, 10000 do objects[kind][i] = make() end
    end
    print(descriptors() - before < 50)
    local locks, rlocks, events, values = table.unpack(objects)
    for i = 1, 10000, 2 do
      locks[i]:acquire()
      rlocks[i]:acquire()
      events[i]:set()
      values[i].value = i
      values[i]:get_lock():acquire()
    end
    local wrong = 0
    for i = 1, 10000 do
      local odd = i % 2 == 1
      if locks[i]:locked() ~= odd or events[i]:is_set() ~= odd or
        (values[i].value == i) ~= odd or rlocks[i]:locked() ~= odd or
        values[i]:get_lock():locked() ~= odd then
        wrong = wrong + 1
      end
    end
    print(wrong)
    objects, locks, rlocks, events, values = nil, nil, nil, nil, nil
    collectgarbage() collectgarbage()
    print(descriptors() - before < 3)]])
  lu.assertEquals({ out, err }, { "true\n0\ntrue\n", "" })
end

-- Blocks are never used again; what is dropped must go all the same, also if
-- one that stays was made in between.
function TestArena:testWhatIsDroppedAddsUpToNothing()
  local out, err = limited(64, [[
    local n = os.getenv("TIDELOCK_SANITIZER") == "" and 1000000 or 100000
    local kept = {}
    for i = 1, n do
      local lock = mp.Lock()
      if i % (n // 4) == n // 8 then kept[#kept + 1] = lock end
    end
    collectgarbage() collectgarbage()
    print(#kept, descriptors() - before < 16, shared() < 1 << 20)
    for _, lock in ipairs(kept) do lock:acquire() end]])
  lu.assertEquals({ out, err }, { "4\ttrue\ttrue\n", "" })
end

-- The collector knows nothing of descriptors: it is asked when there are none.
function TestArena:testGarbageIsCollectedForDescriptors()
  local out, err = limited(24, [[
    collectgarbage("stop")
    for _ = 1, 20 do
      local kept = {}
      for i = 1, 3 do kept[i] = mp.RawArray("c", 5000) end
      for _ = 1, 2000 do mp.Lock() mp.Value("int8") end
    end
    print(true)]])
  lu.assertEquals({ out, err }, { "true\n", "" })
end

function TestArena:testAForkedChildSharesWhatThereWas()
  local locks, events, go = {}, {}, mp.Event()
  for i = 1, 3000 do locks[i], events[i] = mp.Lock(), mp.Event() end
  local process = mp.Process(function()
    local own = {} -- none of them is one that the parent makes
    for i = 1, 2000 do
      own[i] = mp.Lock()
      own[i]:acquire()
    end
    for i = 1, 3000, 3 do
      locks[i]:acquire()
      events[i]:set()
    end
    go:set()
    leave(events[2]:wait(LIMIT) and own[1]:locked() and own[2000]:locked() and 0 or 1)
  end):start()
  local theirs = {}
  for i = 1, 2000 do theirs[i] = mp.Lock() end
  lu.assertTrue(go:wait(LIMIT))
  for i = 1, 3000 do
    lu.assertEquals({ locks[i]:locked(), events[i]:is_set() }, { i % 3 == 1, i % 3 == 1 })
  end
  for i = 1, 2000 do
    lu.assertFalse(theirs[i]:locked())
    theirs[i]:acquire()
    theirs[i]:release()
  end
  events[2]:set()
  lu.assertTrue(process:join(LIMIT))
  lu.assertEquals(process.exitcode, 0)
end

-- One descriptor for all, on the way as well.
function TestArena:testAThousandTravelInOneMessage()
  for _, method in ipairs({ "spawn", "forkserver" }) do
    local out, err = limited(64, ([[
      local context = mp.get_context(%q)
      local all = {}
      for i = 1, 1000 do all[i] = { mp.Value("int64", i), mp.Lock(), mp.Event(), mp.RLock() } end
      local count = mp.Value("int32", 0)
      local function work(all, count)
        local lfs, n = require("lfs"), 0
        for _ in lfs.dir("/proc/self/fd") do n = n + 1 end
        count.value = n
        for i, each in ipairs(all) do
          each[1].value = -each[1].value
          if i %% 2 == 0 then each[2]:acquire() else each[3]:set() end
          local held <close> = each[4]:guard()
        end
        return
      end
      local process = context.Process(work, all, count):start()
      process:join()
      local wrong = 0
      for i, each in ipairs(all) do
        local even = i %% 2 == 0
        if each[1].value ~= -i or each[2]:locked() ~= even or each[3]:is_set() == even
          or each[4]:locked() then
          wrong = wrong + 1
        end
      end
      print(process.exitcode, wrong, count.value < 32)]]):format(method))
    lu.assertEquals({ out, err }, { "0\t0\ttrue\n", "" })
  end
end

-- --- Lack of memory ----------------------------------------------------------

for _, name in ipairs({ "Lock", "RLock", "Event" }) do
  exhaust.add(TestArena, "MakingA" .. name, {
    act = mp[name],
    check = function(_, failed, object)
      if not failed then lu.assertStrContains(tostring(object), name) end
    end,
  })
  exhaust.add(TestArena, "ReceivingA" .. name, {
    make = function()
      local receiver, sender = mp.Pipe(false)
      sender:send({ mp[name](), mp[name]() })
      return { receiver = receiver, sender = sender }
    end,
    act = function(object) return object.receiver:recv() end,
    check = function(object, failed, got)
      if object.receiver:poll() then got, failed = object.receiver:recv(), false end
      if not failed then lu.assertStrContains(tostring(got[2]), name) end
      object.receiver:close()
      object.sender:close()
    end,
  })
end

return { TestArena = TestArena }

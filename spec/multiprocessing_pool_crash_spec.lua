-- What becomes of a task when something ends, leaves or fails at any stage of
-- its way; and that no task is run twice. Numbers are those of CPython's
-- behaviours.
local lu = require("luaunit")
local mp = require("multiprocessing")
local errors = require("errors")
local threading = require("threading")
local time = require("time")
local children = require("support.children")
local eventually = require("support.eventually")
local is_running = require("support.is_running")
local seed = require("support.seed")

local LIMIT = 60 -- seconds, for what should take a moment

-- The fork server stays until the end.
mp.get_context("forkserver").Process(function() end):start():join()

-- What a program of the matrix begins with: a class whose objects do 'how' when
-- they are pickled ('encode') or made again ('decode') in the main process
-- ('main') or a worker.
local PROGRAM = [[
  local pickle, errors = require("pickle"), require("errors")
  Meta = {__name = "crash_spec.Trap"}
  function Strike(how)
    io.write("struck ") -- a kill at the time limit looks the same
    io.stdout:flush()
    if how == "kill" then os.execute("kill -KILL $PPID") while true do end end
    if how == "exit" then os.exit(7) end
    error("struck", 0)
  end
  function Trap(where, side, how)
    return setmetatable({where = where, side = side, how = how}, Meta)
  end
  function Pass(self, where)
    local side = require("multiprocessing").parent_process() and "worker" or "main"
    if self.where == where and self.side == side then Strike(self.how) end
  end
  function Register()
    local meta = Meta
    require("pickle").register("crash_spec.Trap", meta, {
      reduce = function(self) Pass(self, "encode") return self.where, self.side, self.how end,
      restore = function(...)
        local self = setmetatable({}, meta)
        self.where, self.side, self.how = ...
        Pass(self, "decode")
        return self
      end,
    })
  end
  Register()
  if mp.is_main() then
    local context = mp.get_context("%s")
    local pool <close> = context.Pool{processes = 2, initializer = function() Register() end}
    for _, p in ipairs(mp.active_children()) do io.write("pid ", p.pid, "\n") end
    io.stdout:flush()
    assert(pool:apply(function() return 1 end) == 1)
    local others = pool:map_async(function(x) return x end, {1, 2, 3, 4, 5}, 1)
    local how = "%s"
    local ok, problem = pcall(function() %s end)
    print(ok, tostring(problem))
    if not ok and errors.is(problem, errors.WorkerLost) then print("lost") end
    assert(#others:get(20) == 5)
    local again = pool:map(function(x) return x * x end, {1, 2, 3}, 1)
    print("again", table.concat(again, " "))
  end
]]

--- What is called at each stage, and whether that is in a worker.
local STAGES = {
  task_encode = { false, "pool:apply(type, {Trap('encode', 'main', how)})" },
  task_decode = { true, "pool:apply(type, {Trap('decode', 'worker', how)})" },
  run = { true, "pool:apply(function(h) Strike(h) end, {how})" },
  result_encode = { true, "pool:apply(function(h) return Trap('encode', 'worker', h) end, {how})" },
  result_decode = { false, "pool:apply(function(h) return Trap('decode', 'main', h) end, {how})" },
}

--- In the main process it ends the program; then no worker may remain.
local function check_main(out, code, how)
  lu.assertStrContains(out, "struck ")
  lu.assertEquals(code, how == "kill" and -9 or 7)
  local count = 0
  for pid in out:gmatch("pid (%d+)") do
    count = count + 1
    eventually(function() return not is_running(pid) end)
  end
  lu.assertEquals(count, 2)
end

local TestPoolCrash = {}

-- 127, 128, 129; 1, 2 and 3 of the pains
for _, method in ipairs(mp.get_all_start_methods()) do
  for stage, entry in pairs(STAGES) do
    for _, how in ipairs({ "kill", "exit", "error" }) do
      TestPoolCrash[("test_%s_%s_%s"):format(method, stage, how)] = function()
        local in_worker, call = entry[1], entry[2]
        local out, err, code = children.host(PROGRAM:format(method, how, call))
        if how ~= "error" and not in_worker then return check_main(out, code, how) end
        lu.assertEquals(code, 0, out .. err)
        lu.assertStrContains(out, "again\t1 4 9")
        if how == "error" then
          lu.assertStrContains(out, "false\tstruck")
        else
          lu.assertStrContains(out, "\nlost\n")
          lu.assertStrContains(out, how == "kill" and "signal 9" or "exit code 7")
        end
      end
    end
  end
end

--- A worker that aborts in C.
function TestPoolCrash:testAnAbortFailsItsTask()
  local pool <close> = mp.Pool(1)
  local ok, problem = pcall(pool.apply, pool, function() os.execute("kill -ABRT $PPID") end)
  lu.assertFalse(ok)
  lu.assertTrue(errors.is(problem, mp.WorkerLost))
  lu.assertStrContains(problem.message, "signal 6")
  lu.assertEquals(pool:apply(function() return 1 end), 1)
end

--- What is promised: a task is run at most once. Its result comes, or WorkerLost
--- if the worker that took it died before its result was there; then it may have
--- been run, or not, or in part. Here each task notes in memory that it was
--- begun, and workers are killed at random all the time.
function TestPoolCrash:testNoTaskIsRunTwiceNorForgotten()
  local quick = os.getenv("TIDELOCK_SANITIZER") ~= "" and os.getenv("TIDELOCK_SANITIZER")
  local rounds, size = quick and 4 or 30, 400
  seed()
  local begun, progress = mp.Queue(), mp.Semaphore(0)
  local pool <close> = mp.Pool(3)
  local stop = false
  local killed = 0
  local killer = threading.Thread(function()
    while not stop do
      progress:acquire() -- a slow machine's workers get something done, too
      time.sleep(math.random() * 0.003)
      local list = mp.active_children()
      local victim = list[math.random(#list)]
      if victim and pcall(victim.kill, victim) then killed = killed + 1 end
      while progress:acquire(false) do end
    end
  end):start()
  local function work(id)
    begun:put(id)
    progress:release()
    local sum = 0
    for i = 1, id % 7 * 300 do sum = sum + i end
    return id
  end
  local lost, done = 0, 0
  for round = 1, rounds do
    local results = {}
    for i = 1, size do
      local id = round * size + i
      results[i] = { id, pool:apply_async(work, { id }) }
    end
    local count = {}
    for _, pair in ipairs(results) do
      local ok, value = pcall(pair[2].get, pair[2], LIMIT)
      count[pair[1]] = ok and "done" or "lost"
      if ok then
        lu.assertEquals(value, pair[1])
        done = done + 1
      else
        lu.assertTrue(errors.is(value, mp.WorkerLost), value)
        lost = lost + 1
      end
    end
    local seen = {}
    while true do
      local id = begun:get(false)
      if not id then break end
      lu.assertNil(seen[id], "a task was run twice")
      seen[id] = true
    end
    for id, how in pairs(count) do
      if how == "done" then lu.assertTrue(seen[id], "a task was not run") end
    end
  end
  stop = true
  progress:release()
  killer:join()
  lu.assertEquals(done + lost, rounds * size)
  lu.assertTrue(killed > 0 and done > 0)
  lu.assertTrue(lost <= killed, ("%d of %d tasks lost, %d kills"):format(lost, done, killed))
  print(("(%d kills, %d lost, %d done)"):format(killed, lost, done))
end

--- The pool ends, with the last result, while a thread looks for results: at each line
--- of that.
function TestPoolCrash:testAPoolThatEndsMeanwhile()
  local source, n, line = "pool/processes.lua", 0
  repeat
    n, line = n + 1, 0
    local gate = mp.Event()
    local pool = mp.get_context("fork").Pool(1)
    local result = pool:apply_async(function() return gate:wait() end)
    pool:close()
    local looking = threading.Thread(function()
      debug.sethook(function()
        if not debug.getinfo(2, "S").source:find(source, 1, true) then return end
        line = line + 1
        if line ~= n then return end
        gate:set()
        pool._engine.keeper:join()
      end, "l")
      result:ready()
      debug.sethook()
    end):start()
    lu.assertTrue(looking:join(LIMIT))
    gate:set()
    lu.assertEquals({ n, pcall(result.get, result, LIMIT) }, { n, true, true })
    pool:join()
  until line < n
end

return { TestPoolCrash = TestPoolCrash }

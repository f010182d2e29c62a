-- Many starts, starts in several threads, and such as are struck: what comes of them,
-- and that nothing is left; one suite for the three contexts. Numbers are those of
-- CPython's behaviours that each test holds tidelock to.
local forkserver = require("tidelock.multiprocessing.forkserver")
local lu = require("luaunit")
local mp = require("multiprocessing")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local bunch = require("support.bunch")
local children = require("support.children")
local descriptors = require("support.descriptors")
local eventually = require("support.eventually")
local program = require("support.program")

local LIMIT = 60 -- seconds, for what should take a moment

-- Processes that are started one after the other.
local CYCLES = { fork = 1000, spawn = 1000, forkserver = 1000 }
if (os.getenv("TIDELOCK_SANITIZER") or "") ~= "" then
  CYCLES = { fork = 100, spawn = 20, forkserver = 50 }
end

local function suite(method)
  local ctx = mp.get_context(method)
  local Test = {}

  -- The fork server would be left over.
  if method == "forkserver" then Test.tearDown = forkserver.stop end

  local function sleeper() return children.sleeper(ctx) end

  -- 87
  function Test:testSeveralThreadsStartProcesses()
    local first, last = threading.Barrier(8), threading.Barrier(8) -- as in regress/101
    local numbers, failed = bunch(8, function(i)
      first:wait()
      local sum = 0
      for _ = 1, 3 do
        local code, messages = children.outcome_by(ctx, function(sender)
          sender:send(i)
        end)
        sum = sum + (code == 0 and messages[1] or math.mininteger)
      end
      last:wait()
      return sum
    end)
    lu.assertEquals(failed, {})
    lu.assertEquals(numbers, { 3, 6, 9, 12, 15, 18, 21, 24 })
  end

  -- 89: whoever starts a process can wait for it; else there is none.
  function Test:testWithoutDescriptors()
    local script = ([[
      local mp, errors = require("multiprocessing"), require("errors")
      local ctx = mp.get_context(%q)
      if ctx.get_start_method() == "forkserver" then
        ctx.Process(function() end):start():join()
      end
      local kept, started = {}, 0
      while #kept < 1000 do
        local file = io.open("/dev/null")
        if not file then break end
        kept[#kept + 1] = file
      end
      for _ = 1, 20 do
        local process = ctx.Process(require("time").sleep, 60)
        local ok, problem = pcall(process.start, process)
        if ok then
          assert(process:join(0.001) == false)
          process:kill()
          assert(process:join(60) and process.exitcode == -9)
          started = started + 1
        else
          assert(problem.code == "EMFILE", tostring(problem))
          assert(not process.pid and #mp.active_children() == 0)
        end
        table.remove(kept):close()
      end
      print(started > 0, started < 20)]]):format(method)
    local out, err = program.run(
      { "-c", "ulimit -n 60; exec \"$0\" -e \"$1\"", program.path, script },
      { program = "sh", timeout = LIMIT })
    lu.assertEquals({ out, err }, { "true\ttrue\n", "" })
  end

  -- 89
  function Test:testManyProcessesLeaveNothing()
    ctx.Process(function() end):start():join()
    local before = descriptors()
    local target = function() end
    for _ = 1, CYCLES[method] do
      local process = ctx.Process(target):start()
      process:join()
      if process.exitcode ~= 0 then error(process.exitcode) end
    end
    lu.assertEquals(descriptors(), before)
    lu.assertEquals(mp.active_children(), {})
  end

  -- 89
  function Test:testHandlesThatWereForgottenLeaveNoZombie()
    ctx.Process(function() end):start():join()
    local before = descriptors()
    for _ = 1, 10 do ctx.Process(function() end):start() end
    eventually(function() return #mp.active_children() == 0 end)
    lu.assertEquals(descriptors(), before)
  end

  function Test:testJoinCanBeCancelled()
    local process = sleeper()
    local thread = threading.Thread(process.join, process)
    thread:start()
    blocked("process", thread)
    thread:cancel()
    lu.assertTrue(thread:join(LIMIT))
    lu.assertErrorMsgContains("Cancelled", thread.result, thread)
    lu.assertTrue(process:is_alive())
    process:kill()
    process:join()
  end

  --- Several threads wait for the end of one process, by join and by wait_any.
  function Test:testManyWaitForOne()
    local process = sleeper()
    local threads = {}
    local function wait_for(p) return #threading.wait_any { p } == 1 end
    for i = 1, 8 do
      local wait = i % 2 == 0 and process.join or wait_for
      threads[i] = threading.Thread(wait, process):start()
    end
    process:terminate()
    for _, thread in ipairs(threads) do lu.assertTrue(thread:result(LIMIT)) end
    process:join()
    lu.assertEquals(process.exitcode, -15)
  end

  --- A child that is killed at any moment of its start is a child that was killed.
  function Test:testChildrenAreKilledWhileTheyStart()
    local seed = os.time()
    math.randomseed(seed)
    local target = function() time.sleep(0.001) end
    for _ = 1, 30 do
      local process = ctx.Process(target):start()
      time.sleep(math.random() * 0.004)
      process:kill()
      if not process:join(LIMIT) then error("it hangs; seed " .. seed) end
      local code = process.exitcode
      if code ~= -9 and code ~= 0 then error(("exitcode %s; seed %d"):format(code, seed)) end
    end
  end

  --- A start that is interrupted at any moment has been a start or has not: one
  --- that has not runs nothing, and nothing is left of either.
  function Test:testStartsAreInterrupted()
    ctx.Process(function() end):start():join()
    local before = descriptors()
    local seed = os.time()
    math.randomseed(seed)
    local receiver <close>, sender = mp.Pipe(false)
    local target = function(out, i) out:send(i) end
    local started = {}
    for i = 1, 60 do
      ctx.Process(function() end):start():join() -- a fork server is there
      local process = ctx.Process(target, sender, i)
      local thread = threading.Thread(process.start, process):start()
      time.sleep(math.random() * 0.0015)
      thread:cancel()
      thread:join()
      if process.pid then
        started[i] = true
        if not process:join(LIMIT) then error("it hangs; seed " .. seed) end
        local code = process.exitcode
        if code ~= 0 then error(("exitcode %d; seed %d"):format(code, seed)) end
      end
    end
    sender:close()
    local ran = {}
    while true do
      local ok, i = pcall(receiver.recv, receiver)
      if not ok then break end
      if ran[i] then error(("%d ran twice; seed %d"):format(i, seed)) end
      if not started[i] then error(("%d ran, start has raised; seed %d"):format(i, seed)) end
      ran[i] = true
    end
    receiver:close()
    for i in pairs(started) do
      if not ran[i] then error(("%d has not run; seed %d"):format(i, seed)) end
    end
    eventually(function() return #mp.active_children() == 0 and descriptors() <= before + 2 end)
  end

  return Test
end

return { TestForkStarts = suite("fork"), TestSpawnStarts = suite("spawn"),
  TestForkserverStarts = suite("forkserver") }

-- What is the same whichever way a process is started: one suite for the three
-- contexts. Numbers are those of CPython's behaviours that each test holds
-- tidelock to.
local forkserver = require("tidelock.multiprocessing.forkserver")
local lfs = require("lfs")
local lu = require("luaunit")
local mp = require("multiprocessing")
local subprocess = require("subprocess")
local threading = require("threading")
local time = require("time")
local children = require("support.children")
local eventually = require("support.eventually")
local is_running = require("support.is_running")
local program = require("support.program")

local LIMIT = 60 -- seconds, for what should take a moment

--- Code for a program of its own: the context is 'ctx'.
local function host(method, chunk, ...)
  return children.host(("local ctx = mp.get_context(%q)\n"):format(method) .. chunk, ...)
end

local function suite(method)
  local ctx = mp.get_context(method)
  local Test = {}

  -- The fork server would be left over.
  if method == "forkserver" then Test.tearDown = forkserver.stop end

  --- Runs f(sender, ...) in a child; returns the exit code and what f sent.
  local function outcome(f, ...) return children.outcome_by(ctx, f, ...) end

  local function sleeper() return children.sleeper(ctx) end

  -- 71: in a program of its own, for LuaUnit has an os.exit of its own.
  function Test:testExitcodes()
    local out, err = host(method, [[
      for _, f in ipairs {
        function() return 5 end, function() os.exit(7) end, function() os.exit(true) end,
        function() os.exit(false) end, function() os.exit() end, function() os.exit(3, true) end,
        function() coroutine.wrap(function() os.exit(9) end)() end,
        function() threading.Thread(function() os.exit(5, true) end):start():join() end,
        function()
          ctx.Process(function() time.sleep(0.01) io.write("child ") end):start()
          os.exit(4, true)
        end,
      } do
        local p = ctx.Process(f)
        p:start() p:join() io.write(p.exitcode, " ")
      end]])
    lu.assertEquals({ out, err }, { "0 7 0 1 0 3 9 5 child 4 ", "" })
  end

  -- 71
  function Test:testAnErrorIsReportedUnderTheNameOfTheProcess()
    local out, err, code = host(method, [[
      local function bad(what) mp.current_process().name = "worse" error(what) end
      for _, what in ipairs{"oops", require("errors").new(mp.TimeoutError, "late")} do
        local p = ctx.Process{name = "bad", target = bad, args = {what}}
        p:start() p:join() print(p.exitcode)
      end]])
    lu.assertEquals({ out, code }, { "1\n1\n", 0 }, err)
    lu.assertStrMatches(err, "Process worse:\n[^\n]*: oops\nstack traceback:\n.*" ..
      "Process worse:\n[^\n]*late\nstack traceback:\n.*")
  end

  -- 71, 73
  function Test:testExitcodeTellsTheSignal()
    for name, code in pairs { terminate = -15, kill = -9 } do
      local process = sleeper()
      lu.assertNil(process.exitcode)
      process[name](process)
      lu.assertTrue(process:join(LIMIT))
      lu.assertEquals(process.exitcode, code)
      process[name](process)
      lu.assertEquals(process.exitcode, code)
    end
    local code, messages = outcome(function(sender)
      sender:send("started")
      os.execute("kill -USR1 $PPID")
      time.sleep(LIMIT)
    end)
    lu.assertEquals({ code, messages }, { -10, { "started" } })
  end

  -- 72
  function Test:testExitcodeIsNilWhileItRuns()
    local process = sleeper()
    lu.assertNil(process.exitcode)
    lu.assertTrue(process:is_alive())
    lu.assertFalse(process:join(0))
    lu.assertFalse(process:join(0.01))
    process:kill()
    lu.assertTrue(process:join(LIMIT))
    lu.assertFalse(process:is_alive())
    lu.assertEquals(process.exitcode, -9)
    lu.assertTrue(process:join())
  end

  -- 73
  function Test:testInterruptRaisesInTheChild()
    local receiver <close>, sender = mp.Pipe(false)
    local process = ctx.Process(function(out)
      local ok, problem = pcall(function()
        out:send("ready")
        time.sleep(60)
      end)
      out:send(tostring(ok) .. tostring(problem))
    end, sender):start()
    sender:close()
    lu.assertEquals(receiver:recv(), "ready")
    process:interrupt()
    lu.assertEquals(receiver:recv(), "falseinterrupted!")
    process:join()
    lu.assertEquals(process.exitcode, 0)
  end

  -- 71
  function Test:testAnInterruptIsOneTracebackAndOne()
    local out, err = host(method, [[
      local r, s = mp.Pipe(false)
      local p = ctx.Process(function(out) out:send(1) time.sleep(60) end, s)
      p:start() r:recv() p:interrupt() p:join() print(p.exitcode)]])
    lu.assertEquals(out, "1\n", err)
    lu.assertStrMatches(err, "Process Process%-1:\ninterrupted!\nstack traceback:\n.*")
    lu.assertEquals(select(2, err:gsub("stack traceback", "")), 1)
  end

  --- Ctrl-C reaches all processes of the program: each says so once, and the fork
  --- server nothing.
  function Test:testAnInterruptOfAllProcesses()
    local popen = subprocess.Popen({ program.path, "-e", ([[
      local mp, time = require("multiprocessing"), require("time")
      local ctx = mp.get_context(%q)
      local r, s = mp.Pipe(false)
      local function work(out) out:send(1) time.sleep(60) end
      local a, b = ctx.Process(work, s):start(), ctx.Process(work, s):start()
      r:recv() r:recv()
      local ok, problem = pcall(function() print("ready") io.stdout:flush() a:join() end)
      print(ok, problem, a:join(60), b:join(60), a.exitcode, b.exitcode)]]):format(method) },
      { start_new_session = true, stdout = subprocess.PIPE, stderr = subprocess.PIPE })
    lu.assertEquals(popen.stdout:read(), "ready")
    os.execute("kill -INT -" .. popen.pid)
    local out, err = popen:communicate()
    lu.assertEquals(popen.returncode, 0, err)
    lu.assertEquals(out, "false\tinterrupted!\ttrue\ttrue\t1\t1\n")
    local one = "Process Process%%-%d:\ninterrupted!\nstack traceback:\n"
    for i = 1, 2 do lu.assertEquals(select(2, err:gsub(one:format(i), "")), 1, err) end
    lu.assertEquals(select(2, err:gsub("traceback", "")), 2, err)
    eventually(function() return not os.execute("pgrep -s " .. popen.pid .. " >/dev/null") end)
  end

  -- 74
  function Test:testSentinelIsWaitedForBesideConnections()
    local receiver <close>, sender = mp.Pipe(false)
    local _ <close> = sender
    local process = ctx.Process(function() time.sleep(60) end)
    lu.assertErrorMsgContains("not been started", function() return process.sentinel end)
    process:start()
    local sentinel = process.sentinel
    lu.assertEquals(mp.connection.wait({ sentinel, receiver }, 0.01), {})
    sender:send(1)
    lu.assertEquals(mp.connection.wait({ sentinel, receiver }, LIMIT), { receiver })
    process:kill()
    receiver:recv()
    lu.assertEquals(mp.connection.wait({ sentinel, receiver }, LIMIT), { sentinel })
    process:join()
    lu.assertEquals(mp.connection.wait({ process.sentinel, process }, LIMIT), { sentinel, process })
    process:close()
  end

  -- 75
  function Test:testClose()
    local process = sleeper()
    lu.assertErrorMsgContains("still running", process.close, process)
    process:kill()
    process:join()
    process:close()
    process:close()
    for _, name in ipairs { "start", "join", "is_alive", "kill", "terminate" } do
      lu.assertErrorMsgContains("closed", process[name], process)
    end
    for _, field in ipairs { "pid", "exitcode", "sentinel" } do
      lu.assertErrorMsgContains("closed", function() return process[field] end)
    end
    lu.assertEquals(tostring(process), ('<Process "%s" closed>'):format(process.name))
    ctx.Process(print):close()
  end

  -- 76
  function Test:testOnlyItsCreatorMayUseIt()
    local process = sleeper()
    local idle = ctx.Process(print)
    local verbs = { join = "join", is_alive = "test", kill = "kill", terminate = "terminate",
      interrupt = "interrupt", close = "close", sentinel = "watch", start = "start" }
    local expected = {}
    for name, verb in pairs(verbs) do
      local which = name == "start" and idle or process
      expected[name] = ("only the process that made %s can %s it"):format(which.name, verb)
    end
    local code, messages = outcome(function(sender, started, unstarted)
      local told = {}
      for name in pairs(expected) do
        local _, message = pcall(function()
          local which = name == "start" and unstarted or started
          local act = which[name]
          act(which)
        end)
        told[name] = message:match("^[^:]*start_methods_spec.lua:%d+: (.*)") or message
      end
      sender:send(told)
      sender:send(tostring(started.exitcode))
    end, process, idle)
    lu.assertEquals(messages, { expected, "nil" })
    lu.assertEquals(code, 0)
    lu.assertTrue(process:is_alive())
    process:kill()
    process:join()
    lu.assertErrorMsgContains("twice", process.start, process)
  end

  -- 77
  function Test:testDaemonsHaveNoChildren()
    local receiver <close>, sender = mp.Pipe(false)
    local process = ctx.Process { daemon = true, args = { sender }, target = function(out)
      local ok, message = pcall(function() ctx.Process(print):start() end)
      out:send(tostring(ok) .. " " .. message)
    end }
    process:start()
    sender:close()
    lu.assertStrContains(receiver:recv(), "not allowed to have children")
    process:join()
    lu.assertErrorMsgContains("daemon", function() process.daemon = false end)
  end

  -- 77
  function Test:testDaemonsEndWithTheProgram()
    for _, ending in ipairs { "", "os.exit(0)", "os.exit(0, true)" } do
      local out, err, code = host(method, [[
        local r, s = mp.Pipe(false)
        local p = ctx.Process{daemon = true, args = {s}, target = function(out)
          out:send(1)
          time.sleep(1000)
        end}
        p:start() r:recv() print(p.pid) ]] .. ending)
      lu.assertEquals({ err, code }, { "", 0 })
      eventually(function() return not is_running(out:match("%d+")) end)
    end
  end

  -- 77
  function Test:testOtherChildrenAreJoinedAtTheEnd()
    local out, err, code = host(method, [[
      io.stdout:setvbuf("no")
      local r, s = mp.Pipe(false)
      ctx.Process(function(go) go:recv() io.write("child\n") end, r):start()
      io.write("parent\n")
      threading.Thread(function() time.sleep(0.05) s:send("go") end):start()]])
    lu.assertEquals({ out, err, code }, { "parent\nchild\n", "", 0 })
  end

  -- 78
  function Test:testActiveChildren()
    lu.assertEquals(mp.active_children(), {})
    local a, b = sleeper(), sleeper()
    local active = ctx.active_children()
    lu.assertEquals(#active, 2)
    lu.assertTrue(rawequal(active[1], a) and rawequal(active[2], b))
    a:kill()
    threading.wait_any({ a }, LIMIT)
    lu.assertEquals(#mp.active_children(), 1)
    b:kill()
    b:join()
    lu.assertEquals(mp.active_children(), {})
    lu.assertEquals(a.exitcode, -9)
  end

  -- 79
  function Test:testAChildJoinsItsThreadsAndChildren()
    local code, messages = outcome(function(sender)
      local gate = threading.Event()
      threading.Thread(function()
        gate:wait()
        sender:send("thread")
        ctx.Process(function(out) out:send("grandchild") end, sender):start()
      end):start()
      threading.Thread(function()
        time.sleep(0.01)
        gate:set()
      end):start()
    end)
    lu.assertEquals({ code, messages }, { 0, { "thread", "grandchild" } })
  end

  -- 79
  function Test:testOutputIsFlushed()
    local out = host(method, [[
      io.stdout:setvbuf("full")
      local function child(f) local p = ctx.Process(f) p:start() p:join() end
      child(function() io.stdout:setvbuf("full") io.write("a ") error("x") end)
      child(function() io.stdout:setvbuf("full") io.write("b ") os.exit(0) end)
      child(function() io.stdout:setvbuf("full") io.write("c ") os.exit(0, true) end)
      io.write("end\n")]])
    lu.assertEquals(out, "a b c end\n")
  end

  -- 80
  function Test:testParentProcess()
    lu.assertNil(mp.parent_process())
    lu.assertTrue(mp.is_main())
    local me = mp.current_process()
    local _, messages = outcome(function(sender)
      local parent = mp.parent_process()
      sender:send { parent.name, parent.pid, parent:is_alive(), parent:join(0), mp.is_main() }
    end)
    lu.assertEquals(messages, { { "MainProcess", me.pid, true, false, false } })
  end

  -- 80
  function Test:testAChildNoticesItsParentsDeath()
    local receiver <close>, sender = mp.Pipe(false)
    local middle = ctx.Process(function(out)
      ctx.Process(function(result)
        local parent = mp.parent_process()
        result:send(mp.current_process().pid)
        local ended = parent:join(60)
        result:send(tostring(ended) .. tostring(parent:is_alive()))
      end, out):start()
      out:close()
      time.sleep(60)
    end, sender)
    middle:start()
    sender:close()
    receiver:recv()
    middle:kill()
    lu.assertEquals(receiver:recv(), "truefalse")
    middle:join()
    lu.assertErrorMsgContains("EOFError", receiver.recv, receiver)
  end

  -- 81
  function Test:testTheTargetIsReleased()
    local weak = setmetatable({}, { __mode = "v" })
    local process
    do
      local argument, captured = {}, {}
      local target = function(x) return x, captured end
      weak[1], weak[2], weak[3] = argument, captured, target
      process = ctx.Process(target, argument)
      process:start()
    end
    process:join()
    collectgarbage()
    collectgarbage()
    lu.assertNil(next(weak))
    lu.assertEquals(process.exitcode, 0)
  end

  -- 83
  function Test:testContexts()
    lu.assertEquals(ctx.get_start_method(), method)
    lu.assertTrue(rawequal(ctx.get_context(), ctx))
    lu.assertTrue(rawequal(mp.get_context(method), ctx))
    lu.assertError(ctx.set_start_method, "fork")
    lu.assertStrContains(tostring(ctx), method)
    lu.assertErrorMsgContains("bad argument #1 to 'get_context'", ctx.get_context, "thread")
    local code, messages = outcome(function(sender, same)
      sender:send { mp.get_start_method(), rawequal(same, mp.get_context(method)) }
    end, ctx)
    lu.assertEquals({ code, messages }, { 0, { { method, true } } })
  end

  -- 88
  function Test:testAChildIsInTheSamePlace()
    ctx.Process(function() end):start():join() -- a fork server starts elsewhere
    local there, path, key = lfs.currentdir(), package.path, mp.current_process().authkey
    local level = mp.get_logger().level
    local _, _, made = pcall(function()
      lfs.chdir("/usr")
      package.path = path .. ";/nowhere/?.lua"
      mp.get_logger():setLevel(35)
      return outcome(function(sender)
        sender:send { lfs.currentdir(), package.path, arg[0], mp.current_process().authkey,
          mp.get_logger().level }
      end)
    end)
    lfs.chdir(there)
    package.path = path
    mp.get_logger():setLevel(level)
    lu.assertEquals(made, { { "/usr", path .. ";/nowhere/?.lua", arg[0], key, 35 } })
  end

  function Test:testSubclass()
    local receiver <close>, sender = mp.Pipe(false)
    local Worker
    Worker = ctx.Process:subclass {
      init = function(worker, what, out) worker.what, worker.out = what, out end,
      double = function(worker) return worker.what .. worker.what end,
      run = function(worker)
        local is_current = rawequal(worker, mp.current_process())
        worker.out:send { Worker.double(worker), worker.name, is_current }
      end,
    }
    local Loud = Worker:subclass {
      double = function(worker) return Worker.double(worker) .. "!" end,
      run = function(worker) worker.what = worker:double() Worker.run(worker) end,
    }
    for class, said in pairs { [Worker] = "workwork", [Loud] = "workwork!workwork!" } do
      local worker = class("work", sender)
      worker.name = "W"
      worker:start()
      lu.assertEquals(receiver:recv(), { said, "W", true })
      worker:join()
      lu.assertEquals(worker.exitcode, 0)
    end
    sender:close()
  end

  function Test:testChildrenGetOtherRandomNumbers()
    local function draw(sender) sender:send(math.random(0)) end
    local _, a = outcome(draw)
    local _, b = outcome(draw)
    lu.assertNotEquals(a, b)
  end

  --- As CPython's children, which have /dev/null in the place of standard input.
  function Test:testStandardInputIsTheParentsAlone()
    local out, err = program.run({ "-e", ([[
      local mp = require("multiprocessing")
      local ctx = mp.get_context(%q)
      print(io.read())
      local p = ctx.Process(function()
        print(io.read(), io.read("a"), (io.lines()()))
        os.execute("cat")
      end)
      p:start() p:join()
      print(io.read(), io.read())]]):format(method) }, { stdin = "one\ntwo\nthree\n" })
    lu.assertEquals({ out, err }, { "one\nnil\t\tnil\ntwo\tthree\n", "" })
  end

  return Test
end

return { TestForkMethod = suite("fork"), TestSpawnMethod = suite("spawn"),
  TestForkserverMethod = suite("forkserver") }

-- The fork server: how it lives and dies. Numbers are those of CPython's
-- behaviours that each test holds tidelock to.
local lu = require("luaunit")
local mp = require("multiprocessing")
local children = require("support.children")
local eventually = require("support.eventually")
local is_running = require("support.is_running")

local TestForkserver = {}

--- A program of its own; server() is the pid of its fork server, and run(f, ...)
--- starts f, waits for it and returns the exit code.
local function host(chunk)
  return children.host([[
    io.stdout:setvbuf("no")
    local ctx = mp.get_context("forkserver")
    package.path = package.path .. ";spec/?.lua"
    local blocked = require("support.blocked")
    local stopped = require("support.stopped")
    local function server()
      local pipe <close> = io.popen("pgrep -f multiprocessing[.]forkserver -P " ..
        mp.current_process().pid)
      return pipe:read("n")
    end
    local function signal(name, pid) os.execute(("kill -%s %d"):format(name, pid)) end
    local function run(...)
      local p = ctx.Process(...)
      p:start()
      assert(p:join(60), "it hangs")
      return p.exitcode
    end
  ]] .. chunk)
end

local function check(chunk, expected)
  local out, err, code = host(chunk)
  lu.assertEquals({ out, err, code }, { expected, "", 0 })
end

function TestForkserver:testOneServerServesAll()
  check([[
    run(print, "a")
    local first = server()
    run(print, "b")
    print(server() == first, first ~= nil)]], "a\nb\ntrue\ttrue\n")
end

-- 89: those that have ended are no zombies of the server.
function TestForkserver:testTheServerReapsItsChildren()
  check([[
    for _ = 1, 50 do run(function() end) end
    local path = "/proc/%d/task/%d/children"
    require("support.eventually")(function()
      local file <close> = io.open(path:format(server(), server()))
      return file:read("a") == ""
    end)
    print("done")]], "done\n")
end

-- 85
function TestForkserver:testAServerThatWasKilledIsReplaced()
  check([[
    run(function() end)
    for _, name in ipairs{"KILL", "TERM", "ABRT"} do
      local first = server()
      signal(name, first)
      print(run(function() os.exit(3) end), server() ~= first)
    end]], "3\ttrue\n3\ttrue\n3\ttrue\n")
end

-- 85
function TestForkserver:testAnInterruptOfTheServerDoesNotEndIt()
  check([[
    local r, s = mp.Pipe(false)
    local p = ctx.Process(function(go) go:recv() end, r)
    p:start()
    local first = server()
    for _ = 1, 10 do signal("INT", first) end
    time.sleep(0.05)
    print(p:is_alive(), server() == first)
    s:send(1)
    p:join()
    print(p.exitcode, run(function() os.exit(4) end), server() == first)]],
    "true\ttrue\n0\t4\ttrue\n")
end

--- Ctrl-C, and a child that answers it itself.
function TestForkserver:testChildrenAnswerInterrupts()
  check([[
    local r, s = mp.Pipe(false)
    local p = ctx.Process(function(out)
      local _, problem = pcall(function() out:send(1) time.sleep(60) end)
      print(problem)
    end, s)
    p:start() r:recv() p:interrupt() p:join() print(p.exitcode)]], "interrupted!\n0\n")
end

--- As CPython's: nobody is left who could tell the code.
function TestForkserver:testTheChildOfADeadServerEndsWithACodeThatIsNotKnown()
  check([[
    local r, s = mp.Pipe(false)
    local p = ctx.Process(function(go) go:recv() end, r)
    p:start()
    signal("KILL", server())
    local waiting = threading.Thread(p.join, p):start()
    time.sleep(0.05)
    print(p:is_alive(), p.exitcode, p:join(0.05), waiting:is_alive(), #mp.active_children())
    s:send("go")
    print(p:join(60), p.exitcode, p:is_alive(), waiting:result(60))
    local q = ctx.Process(function() time.sleep(60) end)
    q:start()
    signal("KILL", server())
    q:terminate()
    print(q:join(60))]], "true\tnil\tfalse\ttrue\t1\ntrue\t255\tfalse\ttrue\ntrue\n")
end

--- While several threads start children, the server is killed again and again:
--- each child runs once.
function TestForkserver:testServersAreKilledAtAnyMoment()
  local out, err, code = host([[
    local seed = os.time()
    math.randomseed(seed)
    local r, s = mp.Pipe(false)
    local left, started = 4, 0
    local function work(k)
      for i = 1, 25 do
        local p = ctx.Process(function(out, n) out:send(n) end, s, 100 * k + i)
        p:start()
        started = started + 1
        assert(p:join(60), "it hangs, seed " .. seed)
        assert(p.exitcode == 0 or p.exitcode == 255, "exitcode " .. p.exitcode)
      end
      left = left - 1
    end
    local threads = {}
    for k = 1, 4 do threads[k] = threading.Thread(work, k):start() end
    while left > 0 do
      time.sleep(math.random() * 0.03)
      local pid = server()
      local before = started
      if pid then signal("KILL", pid) end
      while started == before and left > 0 do
        time.sleep(0.001)
        for _, thread in ipairs(threads) do if not thread:is_alive() then thread:result() end end
      end
      for _, thread in ipairs(threads) do if not thread:is_alive() then thread:result() end end
    end
    for _, thread in ipairs(threads) do thread:result() end
    s:close()
    local ran, n = {}, 0
    while true do
      local ok, i = pcall(r.recv, r)
      if not ok then break end
      assert(not ran[i], "twice, seed " .. seed)
      ran[i] = true
      n = n + 1
    end
    print(n, #mp.active_children(), "seed " .. seed)]])
  lu.assertStrMatches(out, "100\t0\tseed %d+\n", nil, nil, err)
  lu.assertEquals(code, 0)
end

--- Whichever way the program ends, its server does, too.
function TestForkserver:testTheServerEndsWithTheProgram()
  for ending, status in pairs {
    [""] = 0, ["error('x')"] = 1, ["os.exit(3)"] = 3, ["os.exit(3, true)"] = 3,
    ["signal('KILL', mp.current_process().pid) time.sleep(60)"] = -9,
    ["mp.get_context('fork').Process(function() run(print, 2) end):start():join()"] = 0,
    ["ctx.Process{daemon = true, target = time.sleep, args = {60}}:start()"] = 0,
    ["signal('KILL', server()) " ..
      "ctx.Process{daemon = true, target = time.sleep, args = {60}}:start()"] = 0,
  } do
    local out, err, code = host("run(print, 1) print(server()) " .. ending)
    lu.assertEquals(code, status, ending .. err)
    local pid = out:match("1\n(%d+)")
    eventually(function() return not is_running(pid) end)
  end
end

--- A child by fork has its parent's connection to the server, and its lock.
function TestForkserver:testForkedChildrenHaveServersOfTheirOwn()
  check([[
    local fork = mp.get_context("fork")
    run(function() end)
    local first, stop = server(), false
    local busy = threading.Thread(function() while not stop do run(function() end) end end):start()
    for _ = 1, 10 do
      local p = fork.Process(function()
        assert(run(function() os.exit(5) end) == 5)
        assert(server() ~= first)
      end)
      p:start() assert(p:join(60)) assert(p.exitcode == 0)
    end
    stop = true
    busy:result()
    print(server() == first)]], "true\n")
end

--- A thread that is killed leaves no answer behind for the next one.
function TestForkserver:testAStarterThatIsKilled()
  check([[
    run(function() end)
    local first = server()
    stopped(first)
    local starter = threading.Thread(function() ctx.Process(function() end):start() end):start()
    blocked("read", starter)
    starter:kill()
    starter:join()
    signal("CONT", first)
    for _ = 1, 3 do
      local r, s = mp.Pipe(false)
      local p = ctx.Process(function() s:send(mp.current_process().pid) end):start()
      assert(r:recv() == p.pid)
      p:join()
    end
    print("done")]], "done\n")
end

--- Another one takes over.
function TestForkserver:testAServerThatHasNoDescriptorLeft()
  check([[
    run(function() end)
    os.execute("prlimit --nofile=8 --pid " .. server())
    local children = {}
    for i = 1, 8 do
      children[i] = ctx.Process{target = time.sleep, args = {60}, daemon = true}
      children[i]:start()
    end
    for _, child in ipairs(children) do assert(child:is_alive()) end
    print("done")]], "done\n")
end

--- What a child by fork has of a start that was under way in another thread.
function TestForkserver:testAForkDuringAStart()
  check([[
    run(function() end)
    local first = server()
    stopped(first)
    local go, mine = mp.Event(), mp.Event()
    local p = ctx.Process(function() mine:wait() end)
    local starter = threading.Thread(function() p:start() end):start()
    blocked("read", starter)
    local other = mp.get_context("fork").Process(function() go:wait() end):start()
    signal("CONT", first)
    starter:result()
    signal("KILL", first)
    mine:set()
    print(p:join(60), p.exitcode, other:is_alive())
    go:set()
    other:join()]], "true\t255\ttrue\n")
end

--- Wherever the start is: it forks at each instruction, as another thread may. The
--- child has nothing of it that would keep others from seeing its end.
function TestForkserver:testAForkAtAnyMomentOfAStart()
  check([[
    local fork = mp.get_context("fork")
    local lfs = require("lfs")
    local function count_sockets()
      local n = 0
      for name in lfs.dir("/proc/self/fd") do
        local what = lfs.symlinkattributes("/proc/self/fd/" .. name, "target")
        if what and what:find("^socket:") then n = n + 1 end
      end
      os.exit(n)
    end
    local n, copies = 0, {}
    local function fork_here()
      local place = debug.getinfo(3, "Sl")
      local child = fork.Process(count_sockets):start()
      child:join()
      n = n + 1
      if child.exitcode ~= 0 then
        table.insert(copies, ("%s:%d"):format(place.short_src, place.currentline))
      end
    end
    local p = ctx.Process(function() end)
    local within = false
    debug.sethook(function()
      local source = debug.getinfo(2, "S").source
      if within or p.pid or not source:find("forkserver", 1, true) then return end
      within = true
      fork_here()
      within = false
    end, "", 1)
    p:start()
    debug.sethook()
    p:join()
    print(n > 100, table.concat(copies, " "))]], "true\t\n")
end

function TestForkserver:testChildrenHaveChildren()
  check([[
    local function nest(depth)
      if depth == 0 then print(mp.current_process().name, mp.get_start_method()) return end
      local p = ctx.Process(nest, depth - 1)
      p:start() p:join()
      os.exit(p.exitcode + 1, true)
    end
    print(run(nest, 3))]], "Process-1:1:1:1\tforkserver\n3\n")
end

function TestForkserver:testPreload()
  local name = os.tmpname()
  local folder, module = name:match("^(.*)/([^/]*)$")
  local file <close> = io.open(name .. ".lua", "w")
  file:write("return {pid = require('multiprocessing').current_process().pid}")
  file:flush()
  local out, err = host(([[
    package.path = %q .. "/?.lua;" .. package.path
    mp.set_forkserver_preload{"no.such.module", %q}
    local function show(name) print(require(name).pid == mp.current_process().pid) end
    run(show, %q)
    run(function() print(require(%q).pid == server()) end)]])
    :format(folder, module, module, module))
  os.remove(name)
  os.remove(name .. ".lua")
  lu.assertEquals({ out, err }, { "false\nfalse\n", "" })
  lu.assertErrorMsgContains("bad argument #1 to 'set_forkserver_preload'",
    mp.set_forkserver_preload, "x")
  lu.assertErrorMsgContains("bad argument #1 to 'set_forkserver_preload'",
    mp.set_forkserver_preload, { 1 })
end

-- 83
function TestForkserver:testTheMethodIsChosenOnce()
  check([[
    print(mp.get_start_method(true))
    mp.set_start_method("forkserver")
    print(pcall(mp.set_start_method, "spawn"))
    print(pcall(mp.set_start_method, "thread", true))
    print(mp.get_start_method())
    local p = mp.Process(function() print(mp.get_start_method(), server() == nil) end)
    p:start() p:join()
    mp.set_start_method("spawn", true)
    print(mp.get_start_method(), mp.get_context().get_start_method(), server() ~= nil)
    mp.set_start_method(nil, true)
    print(mp.get_start_method(true), table.concat(mp.get_all_start_methods(), " "))]],
    "nil\nfalse\tthe start method is 'forkserver' already\nfalse\tbad argument #1 to " ..
    "'set_start_method' (start method 'fork', 'spawn' or 'forkserver' expected, got 'thread')\n" ..
    "forkserver\nforkserver\ttrue\nspawn\tspawn\ttrue\nnil\tfork spawn forkserver\n")
end

return { TestForkserver = TestForkserver }

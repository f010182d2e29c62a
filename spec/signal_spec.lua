-- Ctrl-C and other signals, sent to a program in a process of its own once it
-- says that it is ready. Numbers are those of CPython's behaviours.
local lu = require("luaunit")
local program = require("support.program")

-- TSan's runtime holds a signal back until the thread makes a call it knows.
local HELD_BACK = os.getenv("TIDELOCK_SANITIZER") == "thread"

local TestInterrupt, TestSignals = {}, {}

local PRELUDE = [[
local errors, queue, threading, time, mp = require("errors"), require("queue"),
  require("threading"), require("time"), require("multiprocessing")
local function ready() io.stdout:write("ready\n") io.stdout:flush() end
local function forever() while true do end end
local function ready_at_the_end() -- once the main thread waits for the others
  local function waits()
    local report = {}
    threading.dump { write = function(_, text) report[#report + 1] = text end }
    return table.concat(report):find('"MainThread"[^\n]*: blocked on threads to end')
  end
  threading.Thread{daemon = true, target = function()
    while not waits() do time.sleep(0.001) end
    ready()
  end}:start()
end
]]

-- What the scripts that send signals wait with. Each gives up after a while.
--   until_so COMMAND...: until the command is true
--   settled: the main thread sleeps, as in a call that waits, or has worked for
--     20 ms: it is where it was going to. That it is there is likely, not sure:
--     a signal that comes before is right as well, unless a test says more
--   await N: the program has written "ready" N times, and has settled
--   said TEXT: its standard error has the text
--   prompts N: it has written N prompts, and has settled
--   delivered: the last SIGINT has reached it
--   ended: it is no more
--   reads: it has begun and waits for its standard input
local WAIT = [[
until_so() {
  i=0
  until "$@" || [ $i -gt 2000 ]; do i=$((i + 1)); sleep 0.01; done
}
stat() { cut -d ')' -f 2- /proc/$pid/task/$pid/stat | cut -d ' ' -f "$1"; }
ticks() { echo $(($(stat 13) + $(stat 14))); }
is_settled() { [ "$(stat 2)" = S ] || [ "$(ticks)" -ge $((begun + 2)) ]; }
settled() { begun=$(ticks); until_so is_settled; }
has() { [ "$(grep -o "$1" "$2" | wc -l)" -ge "$3" ]; }
await() { until_so has ready out "$1"; settled; }
said() { until_so grep -q "$1" err; }
prompts() { until_so has '> ' out "$1"; settled; }
# bit FIELD: of SIGINT in a mask of the process
bit() { mask=$(sed -n "s/^$1:.*\(.\)$/0x\1/p" /proc/$pid/status); [ $((mask & 2)) != 0 ]; }
is_delivered() { ! bit ShdPnd; }
delivered() { until_so is_delivered; }
is_ended() { ! kill -0 $pid; }
ended() { until_so is_ended; }
reads() { until_so bit SigCgt; settled; }
]]

local function write(name, text)
  local file <close> = assert(io.open(name, "w"))
  file:write(text)
end

local function read(name)
  local file <close> = assert(io.open(name))
  return file:read("a")
end

--- Runs the program while a shell script sends it signals: $pid is its process,
-- its outputs are the files "out" and "err". Standard input is a pipe that never
-- ends, the file "in". What the script can wait with is above.
---@return string stdout, string stderr, integer code minus the signal if one ended it
local function run(args, actions)
  local dir = os.tmpname()
  os.remove(dir)
  assert(os.execute(("mkdir '%s' && mkfifo '%s/in'"):format(dir, dir)))
  write(dir .. "/actions", ("cd '%s'\npid=$1\n%s%s\n"):format(dir, WAIT, actions))
  local _, how, code = os.execute(([[
    cd '%s'; : >out
    (sh actions $$; sleep 20 & guard=$!
     while kill -0 $$ && kill -0 $guard; do sleep 0.02; done; kill -9 $$; kill $guard
    ) 2>/dev/null >/dev/null </dev/null &
    exec '%s' %s <>in >out 2>err]]):format(dir, program.path, args))
  local out, err = read(dir .. "/out"), read(dir .. "/err")
  os.execute("rm -rf '" .. dir .. "'")
  return out, err, how == "signal" and -code or code
end

local function run_script(chunk, actions)
  local name = os.tmpname()
  write(name, PRELUDE .. chunk)
  local out, err, code = run(name, actions)
  os.remove(name)
  return out:gsub("ready\n", ""), err, code
end

--- An interrupt that nobody catches: the message, the traceback, and code 130.
local function assertInterrupted(chunk)
  local _, err, code = run_script(chunk, "await 1; kill -INT $pid")
  lu.assertStrMatches(err, "[^\n]*: interrupted!\nstack traceback:\n.*")
  lu.assertEquals(code, 130)
end

local BUSY = {
  ALoop = "ready() while true do end",
  ALoopInAFunction = "ready() forever()",
  ALoopOfCalls = "local function f() end ready() while true do f() end",
  ALoopOfMethods = "local s = 'x' ready() while true do s = s:rep(2):sub(1, 1) end",
  ALoopOfMetamethods = [[local t = setmetatable({}, {__index = function() end})
    ready() while true do local _ = t.x end]],
  ACoroutine = "coroutine.wrap(function() ready() forever() end)()",
  ACoroutineInACoroutine = [[coroutine.wrap(function()
    local co = coroutine.create(function() ready() forever() end)
    local ok, problem = coroutine.resume(co)
    if not ok then error(problem, 0) end
  end)()]],
  AGenerator = [[local next_one = coroutine.wrap(function()
    while true do coroutine.yield(1) end end) ready() while true do next_one() end]],
  ACallback = "string.gsub('x', 'x', function() ready() forever() end)",
  AComparison = "table.sort({2, 1}, function() ready() forever() end)",
  AProtectedLoop = "ready() while true do assert(errors.pcall(string.rep, 'x', 9)) end",
  AHook = "debug.sethook(function() end, 'l') ready() forever()",
  ALoopBesideABusyThread = [[
    threading.Thread{target = forever, daemon = true}:start() ready() forever()]],
}

local BLOCKED = {
  LockAcquire = "local l = threading.Lock() l:acquire() ready() l:acquire()",
  LockAcquireInACoroutine = [[coroutine.wrap(function()
    local l = threading.Lock() l:acquire() ready() l:acquire() end)()]],
  LockAcquireInACallback = [[local l = threading.Lock() l:acquire()
    string.gsub('x', 'x', function() ready() l:acquire() end)]],
  RLockAcquire = [[local l = threading.RLock()
    local taken = threading.Event()
    threading.Thread{daemon = true, target = function()
      l:acquire() taken:set() time.sleep(60) end}:start()
    taken:wait() ready() l:acquire()]],
  LockGuard = "local l = threading.Lock() l:acquire() ready() local _ <close> = l:guard()",
  LockWith = "local l = threading.Lock() l:acquire() ready() l:with(print)",
  ConditionWaitFor = [[local c = threading.Condition() c:acquire() ready()
    c:wait_for(function() return false end)]],
  QueueGetMany = "local q = queue.Queue() ready() q:get_many(3)",
  ConditionWait = [[local c = threading.Condition() c:acquire() ready() c:wait()]],
  SemaphoreAcquire = "local s = threading.Semaphore(0) ready() s:acquire()",
  EventWait = "local e = threading.Event() ready() e:wait()",
  EventWaitWithTimeout = "local e = threading.Event() ready() e:wait(60)",
  BarrierWait = "local b = threading.Barrier(2) ready() b:wait()",
  QueueGet = "local q = queue.Queue() ready() q:get()",
  SimpleQueueGet = "local q = queue.SimpleQueue() ready() q:get()",
  QueuePut = "local q = queue.Queue(1) q:put(1) ready() q:put(2)",
  QueueJoin = "local q = queue.Queue() q:put(1) ready() q:join()",
  WaitAny = "ready() threading.wait_any({threading.Event()})",
  Sleep = "ready() time.sleep(60)",
  ThreadJoin = [[
    local t = threading.Thread{daemon = true, target = function() time.sleep(60) end}
    t:start() ready() t:join()]],
  ThreadJoinOfABusyOne = [[
    local t = threading.Thread{daemon = true, target = forever}
    t:start() ready() t:join()]],
  ThreadResult = [[
    local t = threading.Thread{daemon = true, target = function() time.sleep(60) end}
    t:start() ready() t:result()]],
  ReadOfAPipe = "ready() io.read()",
  ReadOfAPipesAll = "ready() io.read('a')",
  LinesOfAPipe = "ready() for _ in io.lines() do end",
  ReadOfAProcess = "local p = io.popen('exec sleep 3') ready() p:read()",
  WriteToAFullPipe = [[local p = io.popen('exec sleep 3', 'w') ready()
    p:write(('x'):rep(1 << 20))]],
  ProcessJoin = [[local p = mp.Process{daemon = true, target = function() time.sleep(60) end}
    p:start() ready() p:join()]],
  ConnectionReceive = "local r, s = mp.Pipe(false) ready() r:recv_bytes()",
  ConnectionSend = [[local r, s = mp.Pipe(false) ready()
    while true do s:send_bytes(('x'):rep(1000)) end]],
  ConnectionPoll = "local r, s = mp.Pipe(false) ready() r:poll(60)",
}

-- 224: what the handler raises ends the call of the main thread.
for name, chunk in pairs(BUSY) do
  TestInterrupt["testReaches" .. name] = function() assertInterrupted(chunk) end
end
for name, chunk in pairs(BLOCKED) do
  TestInterrupt["testEnds" .. name] = function() assertInterrupted(chunk) end
end

function TestInterrupt:testIsCaughtAsAnError()
  local out, err, code = run_script([[
    for _, call in ipairs{pcall, function(f) return xpcall(f, debug.traceback) end} do
      local ok, problem = call(function() ready() forever() end)
      print(ok, problem, errors.is(problem, errors.KeyboardInterrupt))
    end]], "for i in 1 2; do await $i; kill -INT $pid; done")
  lu.assertEquals({ out, err, code }, { ("false\tinterrupted!\ttrue\n"):rep(2), "", 0 })
end

function TestInterrupt:testUnwindsScopes()
  local out, _, code = run_script([[
    local scope <close> = setmetatable({}, {__close = function() print("closed") end})
    coroutine.wrap(function()
      local inner <close> = setmetatable({}, {__close = function() print("inner") end})
      ready()
      forever()
    end)()]], "await 1; kill -INT $pid")
  lu.assertEquals({ out, code }, { "inner\nclosed\n", 130 })
end

function TestInterrupt:testLeavesALockFree()
  local out = run_script([[
    local lock = threading.Lock()
    pcall(function() local held <close> = lock:guard() ready() forever() end)
    print(lock:locked())
    lock:acquire()
    pcall(function() ready() lock:acquire() end)
    lock:release()
    print(lock:acquire(false))]], "for i in 1 2; do await $i; kill -INT $pid; done")
  lu.assertEquals(out, "false\ntrue\n")
end

function TestInterrupt:testLosesNoItem()
  local out = run_script([[
    local q = queue.Queue()
    pcall(function() ready() q:get() end)
    q:put("kept")
    print(q:get())]], "await 1; kill -INT $pid")
  lu.assertEquals(out, "kept\n")
end

-- 58: raised in the main thread, whichever runs when it arrives.
function TestInterrupt:testIsTheMainThreadsOnly()
  local out, err, code = run_script([[
    local stop = threading.Event()
    local t = threading.Thread(function()
      local n = 0
      while not stop:is_set() do n = n + 1 end
      return n > 0
    end):start()
    print(pcall(function() ready() forever() end))
    print(t:is_alive())
    stop:set()
    print(t:result())]], "await 1; kill -INT $pid")
  lu.assertEquals({ out, err, code }, { "false\tinterrupted!\ntrue\ntrue\n", "", 0 })
end

function TestInterrupt:testIsNotLostInExecute()
  local out, err, code = run_script([[
    local ok, problem = pcall(function() ready() print(os.execute("kill -INT $PPID; exit 3")) end)
    print(ok, problem)
    ready() os.execute("echo $$ >child; exec sleep 60")]],
    -- The terminal sends it to the command as well, which then ends.
    "await 2; until_so test -s child; kill -INT $pid; kill -INT $(cat child)")
  lu.assertEquals({ out, code }, { "false\tinterrupted!\n", 130 }, err)
end

function TestInterrupt:testTwiceEndsTheWaitForACommand()
  local out, err, code = run_script([[ready() os.execute("echo $$ >child; exec sleep 60")]], [[
    await 1; until_so test -s child; child=$(cat child)
    kill -INT $pid; delivered; kill -INT $pid; ended; kill $child]])
  lu.assertStrContains(err, "interrupted!")
  lu.assertEquals({ out, code }, { "", 130 })
end

function TestInterrupt:testTwiceEndsAProgramThatIsStuckInC()
  if HELD_BACK then lu.skip("the signal is held back") end
  local _, err, code = run_script([[ready()
    string.find(("a"):rep(1 << 16), ("a-"):rep(20) .. "b")]],
    "await 1; kill -INT $pid; delivered; while kill -INT $pid; do sleep 0.1; done")
  lu.assertStrContains(err, "interrupted again before")
  lu.assertEquals(code, 130)
end

function TestInterrupt:testOfAScriptThatIsStillRead()
  local _, err, code = run("-W -", "reads; kill -INT $pid")
  lu.assertStrMatches(err, ".*: interrupted!\n")
  lu.assertEquals(code, 130)
end

function TestInterrupt:testThePromptSurvives()
  local out, err, code = run("-i", [[
    exec 3>in
    echo 'print("rea" .. "dy")' >&3; prompts 2; kill -INT $pid; prompts 3
    echo 'print(6 * 7); print("rea" .. "dy") while true do end' >&3
    await 2; kill -INT $pid; prompts 4
    echo 'x =' >&3; prompts 5; kill -INT $pid; prompts 6
    echo '"last"' >&3; echo 'os.exit(3)' >&3]])
  lu.assertStrContains(out, "> ready\n> \n> 42\nready\n> >> \n> last\n> ")
  lu.assertStrMatches(err, "interrupted!\nstack traceback:\n\tstdin:1: in main chunk\n.*")
  lu.assertEquals(code, 3)
end

-- 225
function TestInterrupt:testWhileTheEndWaitsForThreadsNamesThem()
  local out, err, code = run_script([[
    local gate = threading.Event()
    for _, name in ipairs{"first", "second"} do
      threading.Thread{name = name, target = function() gate:wait() print("done") end}:start()
    end
    threading.Thread{daemon = true, name = "daemon", target = forever}:start()
    threading.Thread{daemon = true, target = function() io.read() gate:set() end}:start()
    ready_at_the_end()]], "await 1; kill -INT $pid; said second; echo go >in")
  lu.assertEquals(out, "done\ndone\n")
  lu.assertStrContains(err, "still waiting for first, second")
  lu.assertNotStrContains(err, "daemon")
  lu.assertEquals(code, 0)
end

-- 225
function TestInterrupt:testTwiceWhileTheEndWaitsExits()
  local out, err, code = run_script([[
    threading.Thread{name = "stuck", target = function() time.sleep(60) end}:start()
    io.write("output") ready_at_the_end()]],
    "await 1; kill -INT $pid; said stuck; kill -INT $pid")
  lu.assertEquals(out, "output")
  lu.assertStrContains(err, "still waiting for stuck")
  lu.assertEquals(code, 130)
end

-- 225
function TestInterrupt:testWhileTheEndWaitsForProcesses()
  local _, err, code = run_script([[
    mp.Process(function() mp.parent_process():join() end):start()
    ready()]], "await 1; kill -INT $pid; said processes; kill -INT $pid")
  lu.assertStrContains(err, "still waiting for processes")
  lu.assertEquals(code, 130)
end

-- 225
function TestInterrupt:testInTheLastFinalizersEndsTheProcess()
  local _, _, code = run_script([[
    Last = setmetatable({}, {__gc = function() ready() forever() end})]],
    "await 1; kill -INT $pid")
  lu.assertEquals(code, -2)
end

-- 226
function TestSignals:testAStreamOfThemStopsNobody()
  local out, err, code = run_script([[
    local stop, turns, wakes = false, 0, 0
    local counter = threading.Thread(function()
      while not stop do turns = turns + 1 end
    end):start()
    local ping, pong = queue.Queue(), queue.Queue()
    threading.Thread(function()
      for item in ping:iter() do pong:put(item) end
    end):start()
    local ended = threading.Event()
    threading.Thread(function() io.read() ended:set() end):start()
    ready()
    while not ended:is_set() do
      ping:put(1)
      pong:get()
      assert(not ended:wait(0.0001) or ended:is_set())
      wakes = wakes + 1
    end
    local before = turns
    time.sleep(0.1)
    assert(turns > before)
    stop = true
    counter:join()
    ping:shutdown()
    print(wakes > 100 and "many" or wakes)]], [[
    await 1
    for i in $(seq 300); do
      kill -URG $pid; kill -WINCH $pid; sleep 0.001
      [ $((i % 50)) = 0 ] && kill -QUIT $pid
    done
    echo go >in]])
  lu.assertEquals({ out, code }, { "many\n", 0 }, err)
  lu.assertStrContains(err, "MainThread")
end

-- 218, 221
function TestSignals:testQuitWritesAReport()
  if HELD_BACK then lu.skip("the signal is held back") end
  local out, err, code = run_script([[
    local lock = threading.Lock()
    lock:acquire()
    local t = threading.Thread{name = "waiter", target = function()
      local function waits_for_the_lock() lock:acquire() end
      waits_for_the_lock()
    end}:start()
    local u = threading.Thread{name = "spinner", daemon = true, target = forever}:start()
    local event = threading.Event()
    threading.Thread{daemon = true, target = function() io.read() event:set() end}:start()
    ready()
    event:wait()
    lock:release()
    print(t:join())]], "await 1; kill -QUIT $pid; said waits_for_the_lock; echo go >in")
  lu.assertEquals({ out, code }, { "true\n", 0 })
  for _, text in ipairs { "MainThread", "waiter", "spinner", "waits_for_the_lock", "lock" } do
    lu.assertStrContains(err, text)
  end
end

-- 218
function TestSignals:testQuitReachesABusyMainThread()
  local _, err, code = run_script([[
    local function the_busy_function() local u = io.stdin ready()
      repeat for _ = 1, 1e6 do end until io.open("go") end
    the_busy_function()]], "await 1; kill -QUIT $pid; said the_busy_function; : >go")
  lu.assertStrContains(err, "the_busy_function")
  lu.assertEquals(code, 0)
end

-- 218: a request that comes while a thread holds the GIL in one long C call is
-- answered after it.
function TestSignals:testQuitDuringALongCCallOfAnother()
  if HELD_BACK then lu.skip("the signal is held back") end
  local out, err, code = run_script([[
    local done
    threading.Thread{name = "matcher", target = function()
      ready()
      local text = ("a"):rep(18)
      repeat text:find(("a?"):rep(18) .. text .. "b") until io.open("go")
      done = true
    end}:start():join()
    print(done)]], "await 1; kill -QUIT $pid; said MainThread; : >go")
  lu.assertEquals({ out, code }, { "true\n", 0 })
  lu.assertStrContains(err, 'Thread "MainThread"')
end

-- 223: signals that raise nothing neither shorten a sleep nor begin it anew.
function TestSignals:testASleepGoesOnForTheTimeThatIsLeft()
  local out, err, code = run_script([[
    local start = time.monotonic()
    ready()
    time.sleep(1)
    print(time.monotonic() - start >= 1)
    io.stdout:flush()
    repeat until io.open("go") -- at its end the program has no handler any more]],
    "await 1; until has true out 1; do kill -QUIT $pid; sleep 0.1; done; : >go")
  lu.assertEquals({ out, code }, { "true\n", 0 })
  lu.assertStrContains(err, "time.sleep'")
end

function TestSignals:testTermEndsTheProgram()
  local _, err, code = run_script("ready() forever()", "await 1; kill -TERM $pid")
  lu.assertEquals({ err, code }, { "", -15 })
end

--- One that was sent, and is no fault that would happen again.
function TestSignals:testSegvEndsTheProgram()
  if (os.getenv("TIDELOCK_SANITIZER") or "") ~= "" then
    lu.skip("the sanitizer's runtime takes it")
  end
  local _, _, code = program.eval([[
    os.execute("kill -SEGV $PPID")
    os.exit(3)]])
  lu.assertEquals(code, -11)
end

-- A child process is born with no signal blocked.
function TestSignals:testChildrenCanBeSignalled()
  local out = run_script([[
    local function masks()
      print(io.popen("grep SigBlk /proc/self/status"):read())
      os.execute("grep SigBlk /proc/self/status")
    end
    io.stdout:setvbuf("no")
    masks()
    threading.Thread(masks):start():join()]], "")
  lu.assertEquals(out, ("SigBlk:\t0000000000000000\n"):rep(4))
end

return { TestInterrupt = TestInterrupt, TestSignals = TestSignals }

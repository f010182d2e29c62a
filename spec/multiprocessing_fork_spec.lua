-- What a forked child has of its parent, and what it has not. Numbers are those of CPython's
-- behaviours that each test holds tidelock to.
local lu = require("luaunit")
local subprocess = require("subprocess")
local bunch = require("support.bunch")
local threading = require("threading")
local children = require("support.children")

local LIMIT = 60 -- seconds, for what should take a moment

local TestFork = {}

-- 79
function TestFork:testDaemonThreadsDoNotHoldAChild()
  lu.assertEquals(children.outcome(function()
    threading.Thread { daemon = true, target = function() while true do end end }:start()
  end), 0)
end

-- 79
function TestFork:testOutputIsFlushedAlsoAfterAnError()
  local out = children.host([[
    io.stdout:setvbuf("full")
    io.write("parent ")
    local p = mp.Process(function() io.write("child ") error("x") end)
    p:start() p:join()
    p = mp.Process(function() io.write("leaves ") os.exit(0) end)
    p:start() p:join()
    io.write("end\n")]])
  lu.assertEquals(out, "parent child leaves end\n")
end

-- 79
function TestFork:testFilesAreFlushed()
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write("parent ")
  children.outcome(function() file:write("child ") end)
  file:write("end")
  file:flush()
  local read <close> = io.open(name)
  lu.assertEquals(read:read("a"), "parent child end")
  os.remove(name)
end

-- 79
function TestFork:testAChildRunsNothingThatIsTheParents()
  local out = children.host([[
    Kept = setmetatable({}, {__gc = function() io.write("gc ") end})
    local function child() io.write("child ") end
    local function leaver() io.write("leaver ") os.exit(0, true) end
    local function failing() error("x") end
    do
      local guard <close> = setmetatable({}, {__close = function() io.write("close ") end})
      local function start(f) local p = mp.Process(f) p:start() p:join() end
      pcall(function() start(child) start(leaver) start(failing) end)
      coroutine.wrap(function() start(child) end)()
      threading.Thread(start, child):start():join()
    end
    io.write("end ")]])
  lu.assertEquals(out, "child leaver child child close end gc ")
end

-- 87
function TestFork:testAThreadThatForksIsTheChildsMainThread()
  local result = bunch(1, function()
    local _, message = children.outcome(function(sender)
      sender:send_bytes(tostring(threading.current_thread() == threading.main_thread()))
      sender:send_bytes(tostring(threading.active_count()))
    end)
    return message
  end)
  lu.assertEquals(result, { "true 1" })
end

-- 54: in the child only the thread that forked is there, and it is main.
function TestFork:testTheOtherThreadsAreGoneInAChild()
  local gate = threading.Event()
  local other = threading.Thread { target = gate.wait, args = { gate }, name = "other" }
  other:start()
  local parents_main = threading.main_thread()
  local forker = threading.Thread(function()
    local me = threading.current_thread()
    return children.outcome(function(sender)
      local list = threading.enumerate()
      for _, value in ipairs {
        #list == 1 and list[1] == me, threading.main_thread() == me, me:is_alive(),
        other:is_alive(), parents_main:is_alive(), other:join(LIMIT), parents_main:join(LIMIT),
        other:cancel(), threading.Thread(function() return 7 end):start():result(LIMIT),
      } do
        sender:send_bytes(tostring(value))
      end
    end)
  end):start()
  local code, values = forker:result(LIMIT)
  gate:set()
  other:join()
  lu.assertEquals(values, "true true true false false true true false 7")
  lu.assertEquals(code, 0)
end

-- 54: what the threads that are gone were in the middle of does not hold a
-- child: neither the library's own locks nor those of files.
function TestFork:testWhatTheOthersWereDoingHoldsNoChild()
  -- Its allocator's locks stay as they were in the child (LLVM before 15, GCC 12).
  lu.skipIf(os.getenv("TIDELOCK_SANITIZER") == "address", "AddressSanitizer")
  local out = children.host([[
    local stop = false
    local function start(f) threading.Thread(function() while not stop do f() end end):start() end
    local null = io.open("/dev/null", "w")
    start(function() null:write("text") end)
    start(function() io.open("/dev/null"):close() end)
    start(function() time.sleep(0) end)
    start(function() package.loaded["tidelock.queue"] = nil require("tidelock.queue") end)
    local reader = threading.Thread{daemon = true, target = function()
      local pipe <close> = io.popen("exec sleep 30")
      pipe:read()
    end}
    reader:start()
    local codes = {}
    for i = 1, 10 do
      local p = mp.Process(function()
        null:write("child")
        null:flush()
        time.sleep(0.001)
        require("tidelock.queue").Queue():put(1)
        collectgarbage()
        os.exit(threading.Thread(function() return i end):start():result(), true)
      end)
      p:start()
      assert(p:join(20), "a child hangs")
      codes[i] = p.exitcode
    end
    stop = true
    reader:cancel()
    print(table.concat(codes, " "))]])
  lu.assertEquals(out, "1 2 3 4 5 6 7 8 9 10\n")
end

-- 86, 87
function TestFork:testForkBesideBusyThreads()
  local stop, lock, first = false, threading.Lock(), threading.Barrier(5) -- as in regress/101
  local function busy()
    local n = 0
    first:wait()
    while not stop do
      local held <close> = lock:guard()
      n = #tostring(n) + #string.rep("x", n % 100)
    end
  end
  local threads = {}
  for i = 1, 4 do threads[i] = threading.Thread(busy):start() end
  first:wait()
  local codes = {}
  for i = 1, 10 do
    codes[i] = children.outcome(function(sender)
      local t = threading.Thread(function() sender:send_bytes(("y"):rep(10)) end)
      t:start()
      t:join()
    end)
  end
  stop = true
  for _, thread in ipairs(threads) do thread:join() end
  lu.assertEquals(codes, { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 })
end

-- 86: a thread forks while eight others are inside locks, queues and print.
function TestFork:testForkWhileOthersHammerLocksQueuesAndPrint()
  local out, err, code = children.host([[
    local queue = require("queue")
    local stop, lock, rlock = false, threading.Lock(), threading.RLock()
    local items, shared = queue.Queue(4), mp.Queue()
    local shared_lock = mp.Lock()
    local null = io.open("/dev/null", "w")
    local works = {
      function() local held <close> = lock:guard() end,
      function() rlock:with(function() rlock:with(tostring, 1) end) end,
      function() items:put(1) end,
      function() items:get() end,
      function() shared:put({1, "x"}) shared:get() end,
      function() local held <close> = shared_lock:guard() end,
      function() print("line") end,
      function() null:write("line\n") io.stderr:write("") end,
    }
    local threads = {}
    for i, work in ipairs(works) do
      threads[i] = threading.Thread{daemon = true, target = function()
        while not stop do work() end
      end}:start()
    end
    local codes = {}
    threading.Thread(function()
      for i = 1, 30 do
        local p = mp.Process(function()
          print("child")
          null:write("x") null:flush()
          local own <close> = threading.Lock():guard()
          local q = queue.Queue()
          q:put(i)
          local other = mp.Queue()
          other:put(q:get())
          local t = threading.Thread(function() print("thread") return other:get() end):start()
          os.exit(t:result(), true)
        end)
        p:start()
        assert(p:join(60), "a child hangs")
        codes[i] = p.exitcode
      end
    end):start():result()
    stop = true
    for i, code in ipairs(codes) do assert(code == i, code) end
    io.stderr:write("done")
    os.exit(0)]])
  lu.assertEquals({ err, code }, { "done", 0 })
  local lines, odd = {}, {}
  for line in out:gmatch("([^\n]*)\n") do
    lines[line] = (lines[line] or 0) + 1
    if line ~= "line" and line ~= "child" and line ~= "thread" then odd[#odd + 1] = line end
  end
  lu.assertEquals(odd, {})
  lu.assertEquals({ lines.child, lines.thread }, { 30, 30 })
end

function TestFork:testAChildsWriteIsNotSeen()
  local shared = { 1 }
  children.outcome(function() shared[1] = 2 end)
  lu.assertEquals(shared, { 1 })
end

--- It is not the child's to reap: its end is seen all the same, its code is not.
function TestFork:testAProgramThatTheParentHasStarted()
  local process = subprocess.Popen({ "cat" }, { stdin = subprocess.PIPE })
  local code, messages = children.outcome(function(sender)
    sender:send_bytes(tostring(process:poll()))
    sender:send_bytes(tostring(process:wait(0)))
    process:send_signal("TERM")
    sender:send_bytes(tostring(process:wait(LIMIT)))
  end)
  lu.assertEquals({ code, messages }, { 0, "nil false 1" })
  lu.assertEquals(process:wait(LIMIT), -15)
  process.stdin:close()
end

return { TestFork = TestFork }

--- What all calls that wait have in common, and all constructors: the section
--- "Conventions" of the interface; 214, and 13 for every wait.
local errors = require("errors")
local lfs = require("lfs")
local lu = require("luaunit")
local mp = require("multiprocessing")
local queue = require("queue")
local threading = require("threading")
local time = require("time")
local blocked = require("support.blocked")
local closing = require("support.closing")
local program = require("support.program")
local waits = require("support.waits")

local LONG = 60 -- seconds

local function spawn(f, ...) return threading.Thread(f, ...):start() end

local function full_queue()
  local q = queue.Queue(1)
  q:put("first")
  return q
end

local function held(lock)
  spawn(lock.acquire, lock):join()
  return lock
end

--- A process that lives until it is terminated.
local function child()
  return mp.Process(function() time.sleep(LONG) end):start()
end

local function unlock(lock) lock:release() end
local function fill(q) q:put("item") end
local function empty(q) q:get() end

-- What waits: see support/waits.lua.
local WAITS = {
  ["Lock:acquire"] = {
    blocked = "lock", new = function() return held(threading.Lock()) end,
    wait = function(l, s) return l:acquire(true, s) end, wake = unlock,
  },
  ["RLock:acquire"] = {
    blocked = "rlock",
    new = function()
      local lock, gate, taken = threading.RLock(), threading.Event(), threading.Event()
      local owner = spawn(function()
        lock:acquire()
        taken:set()
        gate:wait()
        lock:release()
      end)
      taken:wait()
      return { lock = lock, gate = gate, owner = owner }
    end,
    wait = function(l, s) return l.lock:acquire(true, s) end,
    wake = function(l) l.gate:set() end,
  },
  ["Condition:wait"] = {
    blocked = "condition", new = threading.Condition,
    wait = function(c, s) return c:with(c.wait, c, s) end,
    wake = function(c) c:with(c.notify, c) end,
  },
  ["Condition:wait_for"] = {
    blocked = "condition",
    new = function() return { condition = threading.Condition(), ready = false } end,
    wait = function(o, s)
      local c = o.condition
      return c:with(c.wait_for, c, function() return o.ready end, s)
    end,
    wake = function(o)
      o.ready = true
      o.condition:with(o.condition.notify, o.condition)
    end,
  },
  ["Semaphore:acquire"] = {
    blocked = "semaphore", new = function() return threading.Semaphore(0) end,
    wait = function(s, seconds) return s:acquire(true, seconds) end, wake = unlock,
  },
  ["Event:wait"] = {
    blocked = "event", new = threading.Event,
    wait = function(e, s) return e:wait(s) end, wake = function(e) e:set() end,
  },
  ["Thread:join"] = {
    blocked = "thread",
    new = function()
      local gate = threading.Event()
      return { gate = gate, thread = spawn(gate.wait, gate) }
    end,
    wait = function(t, s) return t.thread:join(s) end,
    wake = function(t) t.gate:set() end,
  },
  ["Queue:get"] = {
    blocked = "queue", new = queue.Queue,
    wait = function(q, s) return q:get(true, s) end, wake = fill,
  },
  ["Queue:get_many"] = {
    blocked = "queue", new = queue.Queue,
    wait = function(q, s) return q:get_many(9, s) end, wake = fill,
  },
  ["Queue:put"] = {
    blocked = "full queue", new = full_queue,
    wait = function(q, s) return q:put("second", true, s) end, wake = empty,
  },
  ["SimpleQueue:get"] = {
    blocked = "queue", new = queue.SimpleQueue,
    wait = function(q, s) return q:get(true, s) end, wake = fill,
  },
  ["LifoQueue:get"] = {
    blocked = "queue", new = queue.LifoQueue,
    wait = function(q, s) return q:get(true, s) end, wake = fill,
  },
  ["PriorityQueue:get"] = {
    blocked = "queue", new = queue.PriorityQueue,
    wait = function(q, s) return q:get(true, s) end, wake = fill,
  },
  wait_any = {
    blocked = "several things", new = threading.Event,
    wait = function(e, s) return threading.wait_any({ threading.Event(), e }, s)[1] end,
    wake = function(e) e:set() end,
  },
  ["wait_any with a connection"] = {
    blocked = "several things",
    new = function() return { threading.Event(), mp.Pipe() } end,
    wait = function(list, s) return threading.wait_any(list, s)[1] end,
    wake = function(list) list[1]:set() end,
    close = function(list)
      list[2]:close()
      list[3]:close()
    end,
  },
  ["Connection:poll"] = {
    blocked = "read",
    new = function()
      local receiver, sender = mp.Pipe(false)
      return { receiver = receiver, sender = sender }
    end,
    wait = function(p, s) return p.receiver:poll(s) end,
    wake = function(p) p.sender:send_bytes("x") end,
    close = function(p)
      p.receiver:close()
      p.sender:close()
    end,
  },
  ["Process:join"] = {
    blocked = "process", new = child,
    wait = function(p, s) return p:join(s) end, wake = function(p) p:terminate() end,
    close = function(p)
      p:terminate()
      p:join()
    end,
  },
}

--- The same with waits that raise in time: an error of the class 'late'. One
--- that breaks what it waited for leaves nothing to be waited for again.
local RAISING = {
  ["Thread:result"] = {
    blocked = "thread", late = errors.TimeoutError,
    new = function()
      local gate = threading.Event()
      return { gate = gate, thread = spawn(gate.wait, gate) }
    end,
    wait = function(t, s) return t.thread:result(s) end,
    wake = function(t) t.gate:set() end,
  },
  ["Barrier:wait"] = {
    blocked = "barrier", late = errors.BrokenBarrierError, breaks = true,
    new = function() return threading.Barrier(2) end,
    wait = function(b, s) return b:wait(s) end, wake = function(b) b:wait() end,
  },
  ["Barrier's own timeout"] = {
    blocked = "barrier", late = errors.BrokenBarrierError, breaks = true,
    new = function() return {} end,
    wait = function(o, s)
      o.barrier = threading.Barrier { parties = 2, timeout = s }
      return o.barrier:wait()
    end,
    wake = function(o) o.barrier:wait() end,
  },
}

--- Further waits: without a timeout.
local ENDLESS = {
  ["Lock:guard"] = {
    blocked = "lock", new = function() return held(threading.Lock()) end,
    wait = function(l) local _ <close> = l:guard() return true end, wake = unlock,
  },
  ["Lock:with"] = {
    blocked = "lock", new = function() return held(threading.Lock()) end,
    wait = function(l) return l:with(function() return true end) end, wake = unlock,
  },
  ["Semaphore:with"] = {
    blocked = "semaphore", new = function() return threading.Semaphore(0) end,
    wait = function(s) return s:with(function() return true end) end, wake = unlock,
  },
  ["Queue:join"] = {
    blocked = "queue's tasks", new = full_queue,
    wait = function(q) return q:join() or true end, wake = function(q) q:task_done() end,
  },
  ["Queue:iter"] = {
    blocked = "queue", new = queue.Queue,
    wait = function(q)
      local next_item, state = q:iter()
      return next_item(state)
    end,
    wake = fill,
  },
}

local TestWaits = waits(WAITS, RAISING, ENDLESS)

function TestWaits.testATimersIntervalMayBeHuge()
  local fired = false
  for _, huge in ipairs { math.huge, 1e300, 1e10, math.maxinteger } do
    local timer = threading.Timer(huge, function() fired = true end):start()
    blocked("event", timer)
    timer:cancel()
    lu.assertTrue(timer:join(LONG))
    lu.assertFalse(fired)
  end
end

-- A program with a daemon in each of the waits.
local END_OF_EACH = [[
  local mp, queue, threading, time = require("multiprocessing"), require("queue"),
    require("threading"), require("time")
  local child = mp.Process { daemon = true, target = function() time.sleep(1000) end }:start()
  local lock, rlock, full = threading.Lock(), threading.RLock(), queue.Queue(1)
  local condition, of_lock = threading.Condition(), threading.Condition(lock)
  local barrier, main = threading.Barrier(2, nil, 1000), threading.main_thread()
  local a, b = mp.Pipe()
  local receiver, sender = mp.Pipe(false)
  local name = os.tmpname()
  os.execute(("rm %s; mkfifo %s"):format(name, name))
  local fifo = io.open(name, "r+")
  os.remove(name)
  lock:acquire() rlock:acquire() full:put(1)
  local daemon = threading.Thread { daemon = true, target = time.sleep, args = { 1000 } }:start()
  local waits = {
    function() lock:acquire() end,
    function() rlock:acquire() end,
    function() of_lock:acquire() end,
    function() local _ <close> = lock:guard() end,
    function() local _ <close> = rlock:guard() end,
    function() local _ <close> = of_lock:guard() end,
    function() lock:with(print) end,
    function() rlock:with(print) end,
    function() of_lock:with(print) end,
    function() condition:with(condition.wait, condition) end,
    function() condition:with(condition.wait_for, condition, function() end) end,
    function() threading.Semaphore(0):acquire() end,
    function() threading.BoundedSemaphore(0):acquire() end,
    function() local _ <close> = threading.Semaphore(0):guard() end,
    function() threading.Semaphore(0):with(print) end,
    function() threading.Event():wait() end,
    function() threading.Barrier(2):wait() end,
    function() barrier:wait() end,
    function() main:join() end,
    function() main:result() end,
    function() daemon:join() end,
    function() daemon:result() end,
    function() threading.wait_any { threading.Event() } end,
    function() threading.wait_any { child } time.sleep(1000) end,
    function() queue.Queue():get() end,
    function() queue.Queue():get_many(2) end,
    function() queue.SimpleQueue():get() end,
    function() queue.SimpleQueue():get_many(2) end,
    function() for _ in queue.Queue():iter() do end end,
    function() full:put(2) end,
    function() full:join() end,
    function() child:join() time.sleep(1000) end,
    function() a:recv_bytes() end,
    function() a:recv_bytes() end,
    function() threading.wait_any { a } end,
    function() threading.wait_any { a, threading.Event() } end,
    function() return receiver:poll(nil), sender end,
    function() while true do a:send_bytes(("x"):rep(1 << 16)) end return b end,
    function() fifo:read() end,
    function() time.sleep(1000) end,
  }
  for _, wait in ipairs(waits) do
    threading.Thread { daemon = true, target = function()
      local _ <close> = setmetatable({}, { __close = function() io.write("closed ") end })
      wait()
      io.write("went on ")
    end }:start()
  end
  package.path = package.path .. ";spec/?.lua"
  require("support.blocked").all()
  print(child.pid, #waits, time.monotonic())]]

--- The end of the interpreter ends what daemons wait for; their variables are
--- closed, and the process that one of them joins is no more.
function TestWaits.testTheEndOfTheProgramEndsEachOfThem()
  closing("", function()
    local out, err, code = program.eval(END_OF_EACH, { timeout = LONG })
    local stop = time.monotonic()
    lu.assertEquals({ err, code }, { "", 0 })
    local pid, n, start, text = out:match("^(%d+)\t(%d+)\t(%S+)\n(.*)$")
    lu.assertNil(lfs.attributes("/proc/" .. pid))
    local rest, closed = text:gsub("closed ", "")
    return rest .. ("not closed "):rep(n - closed), stop - start
  end, 1)
end

local TestConstructors = {}

function TestConstructors.testUnknownOptionsAreNamed()
  for name, new in pairs {
    Thread = threading.Thread, Timer = threading.Timer, Barrier = threading.Barrier,
    Semaphore = threading.Semaphore, BoundedSemaphore = threading.BoundedSemaphore,
    Queue = queue.Queue, LifoQueue = queue.LifoQueue, PriorityQueue = queue.PriorityQueue,
    Process = mp.Process,
  } do
    local options = name == "Timer" and { interval = 1, fn = print } or {}
    if name == "Barrier" then options.parties = 2 end
    options.wrong = 1
    local ok, message = pcall(new, options)
    lu.assertFalse(ok, name)
    lu.assertStrContains(message, "unknown option 'wrong'", false, name)
  end
  lu.assertEquals(threading.active_count(), 1)
end

function TestConstructors.testACallableTableIsTheTarget()
  local options = { target = error, name = "not this" }
  local callable = setmetatable(options, { __call = function(self, x) return self, x end })
  local t = threading.Thread(callable, 5)
  lu.assertNotEquals(t.name, "not this")
  local got, x = t:start():result(LONG)
  lu.assertIs(got, callable)
  lu.assertEquals(x, 5)
end

function TestConstructors.testTheirObjectsNameThemselves()
  local timer = threading.Timer(1, print)
  timer.name = "late"
  for text, object in pairs {
    ["<Queue size=1 maxsize=1>"] = full_queue(),
    ["<SimpleQueue size=0>"] = queue.SimpleQueue(),
    ["<Barrier parties=2 waiting=0>"] = threading.Barrier(2),
    ['<Timer "late" initial>'] = timer,
  } do
    lu.assertEquals(tostring(object), text)
  end
end

return { TestWaits = TestWaits, TestConstructors = TestConstructors }

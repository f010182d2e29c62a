-- What holds for all calls that wait for other processes: support/waits.lua. What is
-- between processes of each of them is in a spec of its own.
local errors = require("errors")
local lu = require("luaunit")
local mp = require("multiprocessing")
local subprocess = require("subprocess")
local time = require("time")
local closing = require("support.closing")
local program = require("support.program")
local waits = require("support.waits")

local LONG = 60 -- seconds

local function finish(object)
  object:terminate()
  object:join()
end

--- A queue, full or with an item that is under way.
local function filled(make)
  local q = make(1)
  q:put("first")
  return q
end

--- A pool with a task that waits for the gate; result is what is waited for.
local function busy(make, call, input)
  return function()
    local pool, gate = make(1), mp.Event()
    local result = pool[call](pool, function()
      gate:wait()
      return true
    end, input)
    return { pool = pool, gate = gate, result = result }
  end
end

local function open_gate(object) object.gate:set() end
local function end_pool(object) finish(object.pool) end

local function pipe()
  local receiver, sender = mp.Pipe(false)
  return { receiver = receiver, sender = sender }
end

local function send(p) p.sender:send("message") end

local function close_pipe(p)
  p.receiver:close()
  p.sender:close()
end

local function cat() return subprocess.Popen({ "cat" }, { stdin = subprocess.PIPE }) end
local function end_input(process) process.stdin:close() end

local timed = {
  ["Process:join"] = {
    blocked = "process",
    new = function() return mp.Process(time.sleep, LONG):start() end,
    wait = function(p, s) return p:join(s) end, wake = mp.Process.terminate, close = finish,
  },
  ["Queue:get"] = {
    blocked = "mp queue", new = mp.Queue,
    wait = function(q, s) return q:get(true, s) end, wake = function(q) q:put(1) end,
  },
  ["Queue:put"] = {
    blocked = "mp queue", new = function() return filled(mp.Queue) end,
    wait = function(q, s) return q:put(2, true, s) end, wake = function(q) q:get() end,
  },
  ["Lock:acquire"] = {
    blocked = "mp lock",
    new = function()
      local lock = mp.Lock()
      lock:acquire()
      return lock
    end,
    wait = function(l, s) return l:acquire(true, s) end, wake = function(l) l:release() end,
  },
  ["Semaphore:acquire"] = {
    blocked = "mp semaphore", new = function() return mp.Semaphore(0) end,
    wait = function(o, s) return o:acquire(true, s) end, wake = function(o) o:release() end,
  },
  ["Condition:wait"] = {
    blocked = "mp condition", new = mp.Condition,
    wait = function(c, s) return c:with(c.wait, c, s) end,
    wake = function(c) c:with(c.notify, c) end,
  },
  ["Event:wait"] = {
    blocked = "mp event", new = mp.Event,
    wait = function(e, s) return e:wait(s) end, wake = function(e) e:set() end,
  },
  ["connection.wait"] = {
    blocked = "read", new = pipe,
    wait = function(p, s) return mp.connection.wait({ p.receiver }, s)[1] end,
    wake = send, close = close_pipe,
  },
  ["AsyncResult:wait"] = {
    blocked = "results", new = busy(mp.Pool, "apply_async"),
    wait = function(o, s) return o.result:wait(s) end, wake = open_gate, close = end_pool,
  },
  ["AsyncResult:wait of a ThreadPool"] = {
    blocked = "a pool's results", new = busy(mp.ThreadPool, "apply_async"),
    wait = function(o, s) return o.result:wait(s) end, wake = open_gate, close = end_pool,
  },
  ["Popen:wait"] = {
    blocked = "process", new = cat,
    wait = function(p, s) return p:wait(s) end, wake = end_input,
  },
}

local raising = {
  ["Barrier:wait"] = {
    blocked = "mp barrier", late = errors.BrokenBarrierError, breaks = true,
    new = function() return mp.Barrier(2) end,
    wait = function(b, s) return b:wait(s) end, wake = function(b) b:wait() end,
  },
  ["AsyncResult:get"] = {
    blocked = "results", late = errors.TimeoutError, new = busy(mp.Pool, "apply_async"),
    wait = function(o, s) return o.result:get(s) end, wake = open_gate, close = end_pool,
  },
  ["IMapIterator:next"] = {
    blocked = "results", late = errors.TimeoutError, new = busy(mp.Pool, "imap", { 1 }),
    wait = function(o, s) return o.result:next(s) end, wake = open_gate, close = end_pool,
  },
  ["Popen:communicate"] = {
    blocked = "read", late = subprocess.TimeoutExpired,
    new = function()
      return subprocess.Popen({ "sleep", tostring(LONG) }, { stdout = subprocess.PIPE })
    end,
    wait = function(p, s) return p:communicate(nil, s) end,
    wake = function(p) p:kill() end,
  },
}

local endless = {
  ["JoinableQueue:join"] = {
    blocked = "mp queue's tasks", new = function() return filled(mp.JoinableQueue) end,
    wait = function(q) return q:join() or true end,
    wake = function(q)
      q:get()
      q:task_done()
    end,
  },
  ["Connection:recv"] = {
    blocked = "read", new = pipe, wait = function(p) return p.receiver:recv() end,
    wake = send, close = close_pipe,
  },
  ["Connection:recv_bytes"] = {
    blocked = "read", new = pipe, wait = function(p) return p.receiver:recv_bytes() end,
    wake = send, close = close_pipe,
  },
  ["Listener:accept"] = {
    blocked = "accept", new = mp.connection.Listener,
    wait = function(l)
      local server <close> = l:accept()
      return server ~= nil
    end,
    wake = function(l) mp.connection.Client(l.address):close() end,
    close = function(l) l:close() end,
  },
  ["Pool:apply"] = {
    blocked = "results", new = busy(mp.Pool, "apply_async"),
    wait = function(o) return o.pool:apply(function() return true end) end,
    wake = open_gate, close = end_pool,
  },
  ["Pool:map"] = {
    blocked = "results", new = busy(mp.Pool, "apply_async"),
    wait = function(o) return o.pool:map(type, { 1 }) end, wake = open_gate, close = end_pool,
  },
}

local TestWaits = waits(timed, raising, endless)

-- A program with a daemon in each of the waits.
local END_OF_EACH = [[
  local mp, subprocess, threading, time = require("multiprocessing"), require("subprocess"),
    require("threading"), require("time")
  local lock, rlock, full, tasks = mp.Lock(), mp.RLock(), mp.Queue(1), mp.JoinableQueue()
  lock:acquire() rlock:acquire() full:put(1) tasks:put(1)
  local condition, barrier, listener = mp.Condition(), mp.Barrier(2), mp.connection.Listener()
  local receiver, sender = mp.Pipe(false)
  local sleeper = subprocess.Popen({ "sleep", "1000" }, { stdout = subprocess.PIPE })
  local pool, threads = mp.Pool(1), mp.ThreadPool(1)
  local slow = pool:apply_async(time.sleep, { 1000 })
  local lazy = threads:apply_async(time.sleep, { 1000 })
  local slow_items = pool:imap(time.sleep, { 1000 })
  local waits = {
    function() mp.Queue():get() end,
    function() full:put(2) end,
    function() tasks:join() end,
    function() lock:acquire() end,
    function() local _ <close> = lock:guard() end,
    function() rlock:acquire() end,
    function() rlock:with(print) end,
    function() mp.Semaphore(0):acquire() end,
    function() condition:with(condition.wait, condition) end,
    function() mp.Event():wait() end,
    function() barrier:wait() end,
    function() return receiver:recv(), sender end, -- whose end is not its collection
    function() mp.connection.wait { receiver, listener } end,
    function() listener:accept() end,
    function() sleeper:wait() end,
    function() sleeper:communicate() end,
  }
  local pools = { -- which have ended before, and their waits with them
    function() slow:get() end,
    function() slow_items:next() end,
    function() pool:map(type, { 1 }) end,
    function() lazy:get() end,
  }
  local function start(wait, close)
    threading.Thread { daemon = true, target = function()
      local _ <close> = setmetatable({}, { __close = close })
      wait()
      io.write("went on ")
    end }:start()
  end
  for _, wait in ipairs(waits) do start(wait, function() io.write("closed ") end) end
  for _, wait in ipairs(pools) do start(wait, function() end) end
  package.path = package.path .. ";spec/?.lua"
  require("support.blocked").all()
  print(#waits, sleeper.pid)]]

--- The end of the interpreter ends what daemons wait for, and says nothing.
function TestWaits.testTheEndOfTheProgramEndsEachOfThem()
  closing("", function()
    local out, err, code = program.eval(END_OF_EACH, { timeout = LONG })
    local n, pid, text = out:match("^(%d+)\t(%d+)\n(.*)$")
    os.execute("kill " .. (pid or ""))
    lu.assertEquals({ err, code }, { "", 0 })
    local rest, closed = text:gsub("closed ", "")
    return rest .. ("not closed "):rep(n - closed)
  end, 1)
end

return { TestWaits = TestWaits }

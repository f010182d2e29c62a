-- A child hung at its first wait: its parent had been forked while a request
-- for the GIL was on its way to the forking thread, and the lock that
-- pthread_kill holds over that thread was never released in the child.
local lu = require("luaunit")
local gil = require("gil")
local mp = require("multiprocessing")
local queue = require("queue")
local threading = require("threading")

local LIMIT = 20 -- seconds, for what should take a moment

local TestForkUnderRequests = {}

function TestForkUnderRequests:setUp()
  self.interval = gil.switch_interval(2e-5)
end

function TestForkUnderRequests:tearDown()
  gil.switch_interval(self.interval)
end

local function child(sender)
  local thread = threading.Thread(function()
    local n = 0
    for k = 1, 1000 do n = n + k end
    sender:send_bytes(tostring(n))
  end)
  thread:start()
  thread:join()
end

--- Starts processes one after the other; returns how many did as they should.
local function start_many(n)
  local good = 0
  for _ = 1, n do
    local receiver <close>, sender = mp.Pipe(false)
    local process = mp.Process(child, sender)
    process:start()
    sender:close()
    if receiver:poll(LIMIT) and receiver:recv_bytes() == "500500" and process:join(LIMIT) then
      good = good + 1
    else
      process:kill()
      process:join()
      return good
    end
  end
  return good
end

function TestForkUnderRequests:testEveryChildRuns()
  local stop, items, lock = false, queue.Queue(), threading.Lock()
  -- No thread starts or ends meanwhile: for that moment it may hold a lock of
  -- AddressSanitizer's allocator, which stays held in a child.
  local first, last = threading.Barrier(8), threading.Barrier(4)
  local busy, starters = {}, {}
  for i = 1, 4 do
    busy[i] = threading.Thread(function()
      first:wait()
      while not stop do
        local held <close> = lock:guard()
        items:put(string.format("%s", {}))
        items:get()
      end
    end):start()
    starters[i] = threading.Thread(function()
      first:wait()
      local good = start_many(30)
      last:wait()
      return good
    end):start()
  end
  local results = {}
  for i, starter in ipairs(starters) do results[i] = starter:result() end
  stop = true
  for _, thread in ipairs(busy) do thread:join() end
  lu.assertEquals(results, { 30, 30, 30, 30 })
end

return { TestForkUnderRequests = TestForkUnderRequests }

-- queue.Queue and queue.SimpleQueue: items/s, one to one and four to four.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local queue = require("queue")
local threading = require("threading")

local now = _bench.now
local emit = _bench.emitter("queue")

local function run(q, sides, total)
  local each = total // sides
  local got = {}

  local function produce()
    for i = 0, each - 1 do q:put(i) end
  end

  local function consume(me)
    local n = 0
    while q:get() do n = n + 1 end
    got[me] = n
  end

  local producers, consumers = {}, {}
  for i = 1, sides do
    producers[i] = threading.Thread(produce)
    consumers[i] = threading.Thread(consume, i)
  end
  local t0 = now()
  for _, t in ipairs(consumers) do t:start() end
  for _, t in ipairs(producers) do t:start() end
  for _, t in ipairs(producers) do t:join() end
  for _ = 1, sides do q:put(false) end -- one stop mark for each consumer
  for _, t in ipairs(consumers) do t:join() end
  local elapsed = now() - t0
  local sum = 0
  for _, n in ipairs(got) do sum = sum + n end
  assert(sum == each * sides, "the queue lost an item")
  return sum / elapsed
end

for _, case in ipairs{
  { "queue_1x1", queue.Queue(), 1, 60000 },
  { "simplequeue_1x1", queue.SimpleQueue(), 1, 100000 },
  { "queue_bounded100_1x1", queue.Queue(100), 1, 60000 },
  { "queue_4x4", queue.Queue(), 4, 60000 },
  { "simplequeue_4x4", queue.SimpleQueue(), 4, 100000 },
} do
  local name, q, sides, total = table.unpack(case)
  emit(name, run(q, sides, _bench.scaled(total, 8)), "items/s", "higher")
end

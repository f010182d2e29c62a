-- Two producers and two consumers share a queue of three places. A producer
-- waits while the queue is full, a consumer while it is empty.
local queue = require "queue"
local threading = require "threading"
local time = require "time"

local pause = os.getenv("TIDELOCK_QUICK") and 0.005 or 0.1
local q = queue.Queue(3)

local function produce(who)
  for i = 1, 5 do
    time.sleep(pause)
    q:put(("%s%d"):format(who, i))
    print(("produced %s%d"):format(who, i))
  end
end

local function consume()
  local name, taken = threading.current_thread().name, 0
  for item in q:iter() do -- until the queue is shut down and empty
    print(("         %s by %s"):format(item, name))
    time.sleep(3 * pause)
    taken = taken + 1
  end
  return taken
end

local producers, consumers = {}, {}
for i, who in ipairs{"a", "b"} do
  producers[i] = threading.Thread(produce, who):start()
  consumers[i] = threading.Thread{target = consume, name = "consumer-" .. i}
  consumers[i]:start()
end

for _, producer in ipairs(producers) do producer:join() end
q:shutdown()
local taken = 0
for _, consumer in ipairs(consumers) do taken = taken + consumer:result() end
print(("All %d items were consumed."):format(taken))

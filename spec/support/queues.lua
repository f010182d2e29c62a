--- Queues of every kind, filled and drained.
local lu = require("luaunit")
local queue = require("queue")

local queues = {}

local kinds = { queue.Queue, queue.LifoQueue, queue.PriorityQueue }

--- Runs f for each kind of queue, with a queue of that size.
function queues.each(maxsize, f)
  for _, make in ipairs(kinds) do f(make(maxsize)) end
end

--- The queue, with these items put into it.
function queues.filled(q, ...)
  for _, item in ipairs({ ... }) do lu.assertTrue(q:put(item)) end
  return q
end

--- A list of the items of the queue, taken out.
function queues.drained(q)
  local items = {}
  while not q:empty() do table.insert(items, (q:get())) end
  return items
end

return queues

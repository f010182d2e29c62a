---@meta tidelock.queue

--- Queues between threads.
---
--- A call marked with `---@async` waits with the GIL given up. Its wait ends
--- early when the thread is cancelled (raises `threading.Cancelled`), by
--- Ctrl-C in the main thread (raises `KeyboardInterrupt`) and when the
--- interpreter closes; nothing is lost then: an item not delivered stays in
--- its queue. The other calls keep the GIL.
---
--- Items of one producer come out in the order in which it put them (but for
--- the order that a LifoQueue or PriorityQueue makes), and each comes out once.
--- An item may be nil or false.
---@class tidelock.queue
local queue = {}

--- What a get returns when there is no item in time.
queue.Empty = {}

--- What a put returns when there is no place in time.
queue.Full = {}

--- What they return after `shutdown`.
queue.ShutDown = {}

--- First in, first out.
---@class queue.Queue
local Queue = {}

---@class queue.Options
---@field maxsize? integer how many items there is place for; 0 and less: no limit

--- A queue that gives its oldest item first.
---@param maxsize? integer|queue.Options
---@return queue.Queue
function queue.Queue(maxsize) end

--- Adds an item, waiting for a place if there is none. Without a maxsize it
--- never waits. Raises, with nothing changed, for a missing item, a `block`
--- that is no boolean and a timeout that is negative or NaN.
---@async
---@param item any
---@param block? boolean false: do not wait; usually true
---@param timeout? number seconds; nil and math.huge wait for ever
---@return true? put nil if it was not
---@return table? err then `queue.Full` or `queue.ShutDown`
function Queue:put(item, block, timeout) end

--- `put(item, false)`.
---@param item any
---@return true? put
---@return table? err
function Queue:put_nowait(item) end

--- Takes the next item, waiting for one if there is none. Raises, with nothing
--- changed, for a `block` that is no boolean and a timeout that is negative or
--- NaN.
---@async
---@param block? boolean false: do not wait; usually true
---@param timeout? number seconds; nil and math.huge wait for ever
---@return any item nil if there was none, or if it is nil itself
---@return table? err `queue.Empty` or `queue.ShutDown` if there was none
function Queue:get(block, timeout) end

--- `get(false)`.
---@return any item
---@return table? err
function Queue:get_nowait() end

--- Takes the items that are there, at least one and at most `max`, waiting for
--- the first one only.
---@async
---@param max integer at least 1
---@param timeout? number seconds; nil and math.huge wait for ever, 0 does not
---@return table? items an array; field `n` counts items that are nil as well
---@return table? err `queue.Empty` or `queue.ShutDown` if there was none
function Queue:get_many(max, timeout) end

--- Iterates over the items, waiting for each, until the queue is shut down and
--- empty: `for item in q:iter() do`. A nil item ends the loop, too.
---@async
---@return fun(q: queue.Queue): any
---@return queue.Queue
function Queue:iter() end

--- How many items there are now.
---@return integer
---@nodiscard
function Queue:qsize() end

--- Whether there is no item now.
---@return boolean
---@nodiscard
function Queue:empty() end

--- Whether there is no place now; false without a maxsize.
---@return boolean
---@nodiscard
function Queue:full() end

--- Tells that the work on an item that was taken is done. Raises if it is
--- called more often than items were put.
function Queue:task_done() end

--- Waits until `task_done` was called for every item that was put. Returns at
--- once if there was none.
---@async
function Queue:join() end

--- Closes the queue: from now on put returns `nil, queue.ShutDown`, and get as
--- well when there is no item left. Wakes all who wait. May be called again.
---@param immediate? boolean true: drop the items that are there; they count as
--- done. Usually false
function Queue:shutdown(immediate) end

--- Last in, first out.
---@class queue.LifoQueue: queue.Queue
local LifoQueue = {}

--- A queue that gives its newest item first.
---@param maxsize? integer|queue.Options
---@return queue.LifoQueue
function queue.LifoQueue(maxsize) end

--- Least first; of equal items the one that was put first.
---@class queue.PriorityQueue: queue.Queue
local PriorityQueue = {}

---@class queue.PriorityOptions: queue.Options
---@field key? fun(item: any): any what the item is ordered by; called once, by put
---@field lt? fun(a: any, b: any): boolean whether a comes before b; of keys, if
--- there are any, else of items

--- A queue that gives its least item first. Items are compared with `<`, or by
--- their first element where they are tables without `__lt`, or by `key` and
--- `lt`. What these or `<` raise is raised by put or get, and the queue is as
--- before. They must not wait for this queue.
---@param maxsize? integer|queue.PriorityOptions
---@param key? fun(item: any): any
---@param lt? fun(a: any, b: any): boolean
---@return queue.PriorityQueue
function queue.PriorityQueue(maxsize, key, lt) end

--- First in, first out, without a limit, shutdown or task_done.
---@class queue.SimpleQueue
local SimpleQueue = {}

--- The simplest queue. Its put may be called by a finalizer, even one that
--- interrupts another put.
---@return queue.SimpleQueue
function queue.SimpleQueue() end

--- Adds an item; never waits. `block` and `timeout` are checked as in
--- `Queue:put` and mean nothing.
---@param item any
---@param block? boolean
---@param timeout? number
---@return true
function SimpleQueue:put(item, block, timeout) end

--- As put.
---@param item any
---@return true
function SimpleQueue:put_nowait(item) end

--- As `Queue:get`.
---@async
---@param block? boolean
---@param timeout? number seconds
---@return any item
---@return table? err `queue.Empty` if there was none
function SimpleQueue:get(block, timeout) end

--- `get(false)`.
---@return any item
---@return table? err
function SimpleQueue:get_nowait() end

--- As `Queue:get_many`.
---@async
---@param max integer
---@param timeout? number seconds
---@return table? items
---@return table? err
function SimpleQueue:get_many(max, timeout) end

--- How many items there are now.
---@return integer
---@nodiscard
function SimpleQueue:qsize() end

--- Whether there is no item now.
---@return boolean
---@nodiscard
function SimpleQueue:empty() end

return queue

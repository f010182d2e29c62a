---@meta _

-- Of multiprocessing: queues between processes.

---@class tidelock.multiprocessing
local multiprocessing = {}

--- A queue between processes: each item is pickled and copied into memory that
--- they share. The item is in the queue when put returns: there is no thread that
--- feeds a pipe, nothing to flush, and nothing to wait for at the end of a process.
--- A process that dies, at whatever moment, keeps nobody from going on: what it was
--- putting is not there, what it was taking is there still, or has gone with it.
---@class multiprocessing.Queue
local Queue = {}

---@class multiprocessing.Queue.Options
---@field maxsize? integer items; usually 0, any number
---@field limit? integer bytes of all items, rounded up to a power of two; usually 256 MiB;
---as with maxsize, put waits where there is no room, or returns queue.Full in time

--- A queue. Items of one producer come in the order in which they were put. It
--- travels to children, by connections and as an argument. Raises OSError.
--- Keeps the GIL.
---@param maxsize? integer|multiprocessing.Queue.Options
---@param limit? integer
---@return multiprocessing.Queue
---@nodiscard
function multiprocessing.Queue(maxsize, limit) end

--- Puts an item. Gives up the GIL while the queue is full, and, whatever it is told,
--- for at most 10 ms while another process puts or takes. Raises PicklingError
--- for what cannot travel, and if the queue is closed.
---@async
---@param item any
---@param block? boolean usually true: wait while it is full
---@param timeout? number seconds; nil waits for ever
---@return true? done
---@return errors.Error? full queue.Full if there was no place in time
function Queue:put(item, block, timeout) end

--- Takes the first item. Gives up the GIL while there is none. Raises
--- UnpicklingError, and if the queue is closed.
---@async
---@param block? boolean usually true: wait while it is empty
---@param timeout? number seconds; nil waits for ever
---@return any item
---@return errors.Error? empty queue.Empty if none came in time
---@nodiscard
function Queue:get(block, timeout) end

--- As put(item, false).
---@param item any
---@return true? done
---@return errors.Error? full
function Queue:put_nowait(item) end

--- As get(false).
---@return any item
---@return errors.Error? empty
---@nodiscard
function Queue:get_nowait() end

--- How many items there are at this moment. Keeps the GIL.
---@return integer
function Queue:qsize() end

--- Whether it is empty at this moment. Keeps the GIL.
---@return boolean
function Queue:empty() end

--- Whether it has maxsize items at this moment. Keeps the GIL.
---@return boolean
function Queue:full() end

--- Closes it in this process; what is in it stays for the others. Twice is fine.
--- Raises OSError (EBUSY) while another thread waits for it. Keeps the GIL.
function Queue:close() end

--- Nothing: there is no such thread. For scripts that come from CPython.
function Queue:join_thread() end

--- Nothing.
function Queue:cancel_join_thread() end

--- A queue that counts what has been done of it.
---@class multiprocessing.JoinableQueue: multiprocessing.Queue
local JoinableQueue = {}

--- As Queue.
---@param maxsize? integer|multiprocessing.Queue.Options
---@param limit? integer
---@return multiprocessing.JoinableQueue
---@nodiscard
function multiprocessing.JoinableQueue(maxsize, limit) end

--- One item that was got is done. Raises if more are told done than were put.
--- Keeps the GIL.
function JoinableQueue:task_done() end

--- Waits until all items that were put are done. Gives up the GIL. Raises
--- OwnerDied if a process has ended that had got items and not told them done:
--- once, and they count as done then.
---@async
function JoinableQueue:join() end

--- A queue without options.
---@class multiprocessing.SimpleQueue: multiprocessing.Queue
local SimpleQueue = {}

--- As Queue().
---@return multiprocessing.SimpleQueue
---@nodiscard
function multiprocessing.SimpleQueue() end

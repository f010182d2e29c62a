---@meta _

-- Of multiprocessing: pools of workers.

---@class tidelock.multiprocessing
local multiprocessing = {}

--- Workers that call functions, at first as many as told, for ever: one that
--- ends by any means is replaced.
---
--- What a task calls and its arguments are pickled when it is submitted; what
--- cannot travel fails that task. Handles of shared memory (queues, locks, values)
--- travel; connections do not, but initargs may have them. A function over 4 KiB
--- with all that it captures is read once by each worker, not sent with each task;
--- one whose captured values have changed is another function.
---
--- A task is run at most once. Either its results arrive, or what it raised, or
--- WorkerLost if the worker that had taken it died before the result was there:
--- then the task may have been run, or in part, or not at all. A death costs that
--- one task. A chunk of map or imap is one task.
---
--- An error arrives as it was raised: a string stays a string, an error value is
--- of its class and gets a field traceback, if it has none, of where it was
--- raised; what cannot travel arrives as its text. An initializer that fails, or
--- cannot be rebuilt in a worker, fails all tasks with its error; so does
--- WorkerLost if workers end again and again before they have begun.
---
--- Workers ignore Ctrl-C. A pool that is left to the end of the program is
--- terminated then; one that nobody has any more is closed. Only the process that
--- made it uses it. `local pool <close> = mp.Pool(4)` terminates at the end of the
--- scope and waits for the workers.
---@class multiprocessing.Pool
local Pool = {}

---@class multiprocessing.Pool.Options
---@field processes? integer by default cpu_count()
---@field initializer? function|table what each worker calls first
---@field initargs? table its arguments; field n as of table.pack
---@field maxtasksperchild? integer tasks after which a worker is replaced
---@field context? table as get_context returns it; by default that of the call

--- A pool of processes: `Pool(n, ...)` or `Pool{...}`. Raises for wrong options,
--- and what the start of a process raises. Gives up the GIL.
---@async
---@param processes? integer|multiprocessing.Pool.Options
---@param initializer? function|table
---@param initargs? table
---@param maxtasksperchild? integer
---@param context? table
---@return multiprocessing.Pool
---@nodiscard
function multiprocessing.Pool(processes, initializer, initargs, maxtasksperchild, context) end

--- The same over threads of this process: nothing is pickled, arguments and
--- results are the same objects. It has neither maxtasksperchild nor context.
--- terminate cancels its threads. Keeps the GIL.
---@param processes? integer|multiprocessing.Pool.Options how many threads
---@param initializer? function|table
---@param initargs? table
---@return multiprocessing.Pool
---@nodiscard
function multiprocessing.ThreadPool(processes, initializer, initargs) end

---@class multiprocessing.Pool.Callbacks
---@field callback? function is called with the results
---@field error_callback? function is called with the error

--- Calls f with the arguments in a worker, and waits for its results. Raises what
--- it raised. Gives up the GIL.
---@async
---@param f function|table
---@param args? table field n as of table.pack
---@return any ...
function Pool:apply(f, args) end

--- The same without waiting. The callbacks of a pool are called one after the
--- other by a thread of their own; join waits for them. Keeps the GIL.
---@param f function|table
---@param args? table
---@param callbacks? multiprocessing.Pool.Callbacks
---@return multiprocessing.AsyncResult
function Pool:apply_async(f, args, callbacks) end

--- Calls f with each item, in chunks, and returns the first results in the order
--- of the items (nil leaves a hole). Raises what the first chunk that failed
--- raised, when all have ended. Gives up the GIL.
---@async
---@param f function|table
---@param list table|userdata|function a list (field n as of table.pack), an object
--- with items as an Array is, or an iterator
--- The chunksize is how many items are sent together; by default so many that
--- there are four chunks for each worker.
---@param chunksize? integer
---@return table
function Pool:map(f, list, chunksize) end

--- The same without waiting. Keeps the GIL.
---@param f function|table
---@param list table|userdata|function
---@param chunksize? integer
---@param callbacks? multiprocessing.Pool.Callbacks
---@return multiprocessing.AsyncResult
function Pool:map_async(f, list, chunksize, callbacks) end

--- As map, but each item is a table of arguments (field n as of table.pack).
---@async
---@param f function|table
---@param list table|userdata|function
---@param chunksize? integer
---@return table
function Pool:starmap(f, list, chunksize) end

--- The same without waiting. Keeps the GIL.
---@param f function|table
---@param list table|userdata|function
---@param chunksize? integer
---@param callbacks? multiprocessing.Pool.Callbacks
---@return multiprocessing.AsyncResult
function Pool:starmap_async(f, list, chunksize, callbacks) end

---@class multiprocessing.Pool.Ahead
---@field chunksize? integer by default 1
--- How many items at the most are taken from the input beyond those that have
--- been handed out; by default four chunks for each worker. No chunk is larger.
---@field buffersize? integer

--- An iterator over the results in the order of the items. The input is read as
--- the results are taken, no further ahead than buffersize; after close the rest
--- of it is read by join. An input that raises does so in its place. Keeps the GIL.
---@param f function|table
---@param list table|userdata|function a list or an iterator, which may be endless
---@param options? integer|multiprocessing.Pool.Ahead the chunksize, or both
---@return multiprocessing.IMapIterator
function Pool:imap(f, list, options) end

--- The same in the order in which the results arrive.
---@param f function|table
---@param list table|userdata|function
---@param options? integer|multiprocessing.Pool.Ahead
---@return multiprocessing.IMapIterator
function Pool:imap_unordered(f, list, options) end

--- Takes no more tasks; the workers end when all are done. Keeps the GIL.
function Pool:close() end

--- Ends the workers at once, by SIGTERM and after a second by SIGKILL; what was
--- not finished fails with WorkerLost. Keeps the GIL.
function Pool:terminate() end

--- Waits for the end of the workers, and until all callbacks have been called.
--- Raises if the pool is still running. Gives up the GIL.
---@async
function Pool:join() end

--- What a task will have come to.
---@class multiprocessing.AsyncResult
local AsyncResult = {}

--- Waits for the results. Raises what the task raised, each time; TimeoutError if
--- the time passed first. Gives up the GIL.
---@async
---@param timeout? number seconds; nil waits for ever
---@return any ...
function AsyncResult:get(timeout) end

--- Waits for the end of the task, and does not raise what it raised.
---@async
---@param timeout? number seconds; nil waits for ever
---@return boolean ready false if the time passed first
function AsyncResult:wait(timeout) end

--- Whether it has ended. Keeps the GIL.
---@return boolean
function AsyncResult:ready() end

--- Whether it has ended without an error. Raises if it has not ended. Keeps the
--- GIL.
---@return boolean
function AsyncResult:successful() end

--- Where the error was raised, in the process and thread that raised it; nil if
--- there is none, or if the task has not ended. Keeps the GIL.
---@return string?
function AsyncResult:traceback() end

--- Is called to get the next result: `for value in pool:imap(f, list) do`.
---@class multiprocessing.IMapIterator
---@operator call: any
local IMapIterator = {}

--- The next result; nil at the end; false where f returned nil. Raises what the
--- chunk of the item raised, whose other items are skipped then, and goes on with
--- the next one; TimeoutError if the time passed first. Gives up the GIL.
---@async
---@param timeout? number seconds; nil waits for ever
---@return any
function IMapIterator:next(timeout) end

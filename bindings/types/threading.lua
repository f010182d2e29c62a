---@meta tidelock.threading

--- Threads in one Lua heap and what they need to work together.
---
--- A call marked with `---@async` waits with the GIL given up. Its wait ends
--- early when the thread is cancelled (raises `threading.Cancelled`), by
--- Ctrl-C in the main thread (raises `KeyboardInterrupt`) and when the
--- interpreter closes; nothing is lost then.
---@class tidelock.threading
local threading = {}

--- What `require "tidelock.errors"` has under the same names.
threading.BrokenBarrierError = {}
threading.Cancelled = {}
threading.Deadlock = {}
threading.Killed = {} -- a Cancelled

-- Thread

--- An OS thread that runs a Lua function in the same heap: globals, upvalues
--- and tables are shared with all other threads.
---@class threading.Thread
---@field name string any value becomes a string
---@field daemon boolean the program does not wait for it at its end; set before the start
---@field ident? integer a small one, never used again; nil before the start; read-only
---@field native_id? integer the system's; nil before the start; read-only
---@field [any] any fields of the script's own
local Thread = {}

---@class threading.ThreadOptions
---@field target? function what it calls; nil: nothing
---@field args? any[] arguments of target; a field `n` counts trailing nils
---@field name? any usually `Thread-N`, with the target's name if it is known
---@field daemon? boolean usually the creator's
---@field stack_size? integer bytes of C stack, at least 512 KiB; 0 and nil: threading.stack_size()

--- A new thread, not started. Also called as `Thread{...}`: a single table that
--- cannot be called is options; without an argument it does nothing. The table
--- of arguments is copied. Raises for an unknown option, a target that is given
--- and cannot be called (nil as well), args that are no table or have a wrong
--- `n`, a daemon that is no boolean, a stack_size out of range. Keeps the GIL.
---@param target? function|threading.ThreadOptions
---@param ... any arguments of target
---@return threading.Thread
---@nodiscard
function threading.Thread(target, ...) end

--- A class of threads with these fields, `__name` (a string) being what tostring
--- calls them. `class(...)` makes one and calls its
--- method `init(self, ...)` if there is one; started, it calls `run(self)`. A
--- class can be subclassed further.
---@param body table
---@return fun(...: any): threading.Thread
function Thread:subclass(body) end

--- Starts it. Raises if it was started before, if the system refuses a thread,
--- if there are too many arguments, and once the interpreter is closing;
--- nothing has changed then. Keeps the GIL.
---@return threading.Thread self
function Thread:start() end

--- What a started thread calls: the target. A subclass has its own, and reaches
--- this one, as every method, through its base: `threading.Thread.run(self)`.
function Thread:run() end

--- Waits until it has finished. Raises for a thread that was not started and
--- for the calling one.
---@async
---@param timeout? number seconds; nil waits for ever, 0 does not wait
---@return boolean finished false if the time passed first
function Thread:join(timeout) end

--- Waits until it has finished, and returns what its target returned or raises
--- what ended it. Raises `TimeoutError` if the time passes first, and as join.
---@async
---@param timeout? number seconds; nil waits for ever, 0 does not wait
---@return any ...
function Thread:result(timeout) end

--- Whether it has been started and has not finished. Keeps the GIL.
---@return boolean
---@nodiscard
function Thread:is_alive() end

--- Raises `threading.Cancelled` once in the thread, at its next safe point or
--- in the call that it waits in. To-be-closed variables are closed; a `pcall`
--- may catch it and go on. A thread that is ended by it is not reported, and
--- its `result` raises it. Keeps the GIL.
---@param message? string
---@return boolean alive false, with nothing done, if it has finished or was not started
function Thread:cancel(message) end

--- Raises `threading.Killed`, a `Cancelled`, in the thread again and again
--- until it has unwound, so that no `pcall` survives it. Its Lua `__close`
--- functions get 100 ms in all. Keeps the GIL.
---@return boolean alive false, with nothing done, if it has finished or was not started
function Thread:kill() end

-- Timer

--- A thread that calls a function after a while.
---@class threading.Timer: threading.Thread
---@field interval number seconds
---@field fn function
---@field args any[]
---@field finished threading.Event set when it has fired or was cancelled
local Timer = {}

---@class threading.TimerOptions
---@field interval number
---@field fn function
---@field args? any[]

--- A new timer, not started: its time begins with `start`. Raises for an
--- interval that is negative or NaN, and a function that cannot be called.
---@param interval number|threading.TimerOptions seconds
---@param fn function
---@param args? any[] its arguments; a field `n` counts trailing nils
---@return threading.Timer
---@nodiscard
function threading.Timer(interval, fn, args) end

--- The function will not be called, unless it has been already.
function Timer:cancel() end

-- Functions about threads

--- The calling thread.
---@return threading.Thread
---@nodiscard
function threading.current_thread() end

--- The thread that opened the interpreter.
---@return threading.Thread
---@nodiscard
function threading.main_thread() end

--- The calling thread's `ident`.
---@return integer
---@nodiscard
function threading.get_ident() end

--- The calling thread's `native_id`.
---@return integer
---@nodiscard
function threading.get_native_id() end

--- How many threads are alive.
---@return integer
---@nodiscard
function threading.active_count() end

--- The threads that are alive, in the order of their start.
---@return threading.Thread[]
---@nodiscard
function threading.enumerate() end

--- The C stack of new threads. Raises for a size below 512 KiB other than 0.
---@param bytes? integer the new size; 0: the usual 1 MiB; nil: leave it
---@return integer bytes the size before
function threading.stack_size(bytes) end

---@class threading.ExceptHookArgs
---@field thread threading.Thread
---@field value any what was raised
---@field traceback string where

--- Called in a thread for an error that ends it, unless that is a `Cancelled`.
--- May be assigned. This one writes "Exception in thread NAME:", the error and
--- its traceback to stderr. If a hook fails both errors are written there.
---@param args threading.ExceptHookArgs
function threading.excepthook(args) end

--- The excepthook that was there at first.
---@param args threading.ExceptHookArgs
function threading.__excepthook__(args) end

--- Writes a report of every thread: its name, whether it runs, is ready or
--- blocked on what and since when, the owner of that lock, its traceback.
---@param file? file* usually stderr; anything with a method `write`
function threading.dump(file) end

-- Lock

--- What can be held: locks, conditions, which have one, and semaphores, of which a
--- permit is held; those between processes and those of a manager, too.
---@class threading.Lockable
local Lockable = {}

--- Takes the lock, waiting until it is free; one that is recursive at once if the
--- caller holds it already. Raises, with nothing changed, for a timeout together
--- with `blocking == false`, a negative one other than -1, and NaN.
---@async
---@param blocking? boolean false: do not wait; usually true
---@param timeout? number seconds; -1, nil and math.huge wait for ever
---@return boolean taken false if it was held until the time passed
function Lockable:acquire(blocking, timeout) end

--- Gives it up once. Raises if it is not locked, or, one that is recursive, if the
--- caller does not hold it. Keeps the GIL.
function Lockable:release() end

--- Takes it and returns it to be closed, which releases it once:
--- `local held <close> = lock:guard()`.
---@async
---@generic T
---@param self T
---@return T
---@nodiscard
function Lockable.guard(self) end

--- Calls `fn(...)` with it held and returns the results. It is released whether
--- that returns or raises; what it raises goes on.
---@async
---@generic R
---@param fn fun(...): R
---@param ... any
---@return R ...
function Lockable:with(fn, ...) end

--- A lock without an owner: any thread may release it. A thread that acquires
--- it twice waits for another one to release it. Waiters are served in order;
--- a running thread may overtake them for about 1 ms. In a forked child one that
--- another thread held at the fork, be it a Lock, an RLock or that of a Condition,
--- raises `OwnerDied` once to the next who acquires it, who then has it; guard and
--- with have released it again.
---@class threading.Lock: threading.Lockable
local Lock = {}

--- A new lock, unlocked.
---@return threading.Lock
function threading.Lock() end

--- Whether some thread holds it now. Keeps the GIL.
---@return boolean
---@nodiscard
function Lock:locked() end

--- A lock that its owner, the thread that holds it, may take again. It is free
--- after as many releases. A lock whose owner ended stays locked.
---@class threading.RLock: threading.Lockable
local RLock = {}

--- A new recursive lock, unlocked.
---@return threading.RLock
function threading.RLock() end

--- Whether some thread holds it now. Keeps the GIL.
---@return boolean
---@nodiscard
function RLock:locked() end

-- Condition

--- Waiting, under a lock, for a change that other threads make under it. It has
--- the lock's methods.
---@class threading.Condition: threading.Lockable
local Condition = {}

---@class threading.ConditionOptions
---@field lock? threading.Lock|threading.RLock

--- A condition over a lock, which several may share.
---@param lock? threading.Lock|threading.RLock|threading.ConditionOptions a new RLock if absent
---@return threading.Condition
function threading.Condition(lock) end

--- Gives the lock up, however often it is held, until notified, and takes it
--- again as often before it returns or raises. Raises if the lock is not held.
---@async
---@param timeout? number seconds; nil waits for ever, 0 only lets others in
---@return boolean notified false if the time passed first
function Condition:wait(timeout) end

--- Waits until `pred()`, called with the lock held, is true. Raises if the
--- lock is not held, and what `pred` raises.
---@async
---@generic R
---@param pred fun(): R
---@param timeout? number seconds in all; nil waits for ever, 0 does not wait
---@return R value pred's last one: false or nil if the time passed first
function Condition:wait_for(pred, timeout) end

--- Wakes the n threads that have waited longest, or fewer if no more wait; is
--- not remembered. They go on when they have the lock. Raises if the lock is
--- not held. Keeps the GIL.
---@param n? integer usually 1
function Condition:notify(n) end

--- Wakes all waiting threads. Raises if the lock is not held. Keeps the GIL.
function Condition:notify_all() end

-- Semaphore

--- A number of permits: acquire takes one, release gives some back. Waiters
--- are served in order; a running thread may overtake them for about 1 ms.
---@class threading.Semaphore: threading.Lockable
local Semaphore = {}

--- A semaphore without an upper bound.
---@param n? integer|{n?: integer, value?: integer} permits at first, at least 0; usually 1
---@return threading.Semaphore
function threading.Semaphore(n) end

--- A semaphore whose value never exceeds the first one.
---@param value? integer|{value?: integer} permits at first, at least 0; usually 1
---@return threading.Semaphore
function threading.BoundedSemaphore(value) end

--- Takes a permit, waiting for one. Raises, with nothing changed, for a
--- timeout together with `blocking == false`, a negative one, and NaN.
---@async
---@param blocking? boolean false: do not wait; usually true
---@param timeout? number seconds; nil and math.huge wait for ever
---@return boolean taken false if there was none until the time passed
function Semaphore:acquire(blocking, timeout) end

--- Gives n permits back. Raises, with none given, if n is less than 1 or a
--- bounded semaphore would exceed its first value. Keeps the GIL.
---@param n? integer usually 1
function Semaphore:release(n) end

-- Event

--- A flag that threads wait for.
---@class threading.Event
local Event = {}

--- A new event, not set.
---@return threading.Event
function threading.Event() end

--- Sets the flag and wakes all who wait, also if it is cleared at once. Keeps
--- the GIL.
function Event:set() end

--- Takes the flag back. Keeps the GIL.
function Event:clear() end

--- Whether the flag is set now. Keeps the GIL.
---@return boolean
---@nodiscard
function Event:is_set() end

--- Waits until the flag is set; returns at once if it is.
---@async
---@param timeout? number seconds; nil waits for ever, 0 does not wait
---@return boolean set false if the time passed first
function Event:wait(timeout) end

-- Barrier

--- Where a number of threads wait for each other, again and again.
---@class threading.Barrier
---@field parties integer how many wait for each other; read-only
---@field n_waiting integer how many wait for the others now; read-only
---@field broken boolean whether waits fail until reset; read-only
local Barrier = {}

---@class threading.BarrierOptions
---@field parties integer at least 1
---@field action? fun() runs in one of the threads before any of them goes on
---@field timeout? number seconds; for every wait that has none of its own

--- A new barrier.
---@param parties integer|threading.BarrierOptions at least 1
---@param action? fun() runs in one of the threads before any of them goes on
---@param timeout? number seconds; for every wait that has none of its own
---@return threading.Barrier
function threading.Barrier(parties, action, timeout) end

--- Waits until as many threads wait as the barrier has parties. The last one
--- to come runs the action; if that raises, the barrier breaks and the error
--- goes on in this thread.
---
--- Raises `BrokenBarrierError` if the barrier is broken or breaks: because this
--- or another wait timed out, an action failed, or by `abort`; or if it is
--- reset meanwhile. A wait that is cancelled just leaves.
---@async
---@param timeout? number seconds; nil: the barrier's own, or for ever
---@return integer index another one from 0 for each of the threads
function Barrier:wait(timeout) end

--- Empties the barrier, and mends it if it is broken. Those who wait get
--- `BrokenBarrierError`. Keeps the GIL.
function Barrier:reset() end

--- Breaks the barrier: those who wait and who come later get
--- `BrokenBarrierError`. Keeps the GIL.
function Barrier:abort() end

-- Local

--- An object with other fields for each thread. `pairs` visits those of the
--- calling thread. They are freed when the thread ends or with the object.
---@class threading.Local
---@field [any] any

--- A new object without fields.
---@return threading.Local
function threading.Local() end

--- The same as Local, under Python's name.
---@return threading.Local
threading["local"] = function() end

-- wait_any

--- Waits for the first of several objects: threads and processes that have ended,
--- events that are set, queues that have an item or are shut down (but not those of
--- multiprocessing, which are memory and no descriptors), connections that have a
--- message, the beginning of one or the end, listeners that somebody wants to connect
--- to, descriptors (integers, or objects with a method fileno) that can be read. Takes
--- nothing from them. An object that was ready only for an instant may go unnoticed.
--- For an empty list it returns at once. Raises if an object cannot be waited for.
---@async
---@param objects any[]
---@param timeout? number seconds; nil waits for ever, 0 does not wait
---@return any[] ready those that are, in their order; empty if the time passed
function threading.wait_any(objects, timeout) end

return threading

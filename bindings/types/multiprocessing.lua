---@meta tidelock.multiprocessing

--- Processes. Each has an interpreter, a GIL and a heap of its own, so they run
--- in parallel; a child by fork begins with a copy of its parent's heap.
---@class tidelock.multiprocessing
local multiprocessing = {}

--- What `require "tidelock.errors"` has under the same names.
multiprocessing.AuthenticationError = {}
multiprocessing.BufferTooShort = {}
multiprocessing.TimeoutError = {}
multiprocessing.WorkerLost = {}

--- A process that this one makes. Only the process that made the object may
--- start, wait for or signal it; elsewhere that is an error.
---@class multiprocessing.Process
---@field name string at first "Process-N"; may be set
--- Ended when the parent ends, and without children of its own; inherited from
--- the creator; may be set before the start.
---@field daemon boolean
---@field pid integer? nil before the start
---@field ident integer? the same
--- A secret that its children inherit: what Manager and others authenticate
--- with; at first random; may be set. It is told to the process when that is
--- started, and never pickled: an object that another process has sent has the
--- key of the process that got it.
---@field authkey string
--- nil while it runs; 0, 1 after an error, the code of os.exit, or -N if signal
--- N ended it.
---@field exitcode integer?
--- A descriptor that is readable once it has ended, until close; raises before
--- the start.
---@field sentinel integer
local Process = {}
multiprocessing.Process = Process

---@class multiprocessing.Process.Options
---@field target function|table what is called in the child
---@field args? table its arguments; field n as of table.pack
---@field name? string
---@field daemon? boolean

--- A process that has not been started: `Process(target, ...)` or
--- `Process{target = f, args = {...}, name = s, daemon = b}`. Raises for a
--- target that cannot be called, and for unknown options. Keeps the GIL.
---@param target function|multiprocessing.Process.Options
---@param ... any arguments of the target
---@return multiprocessing.Process
---@nodiscard
function multiprocessing.Process(target, ...) end

--- A class of processes: `local W = Process:subclass{run = function(self) end}`;
--- `W(...)` calls `init(self, ...)` if the body has it. Keeps the GIL.
---@param body table its methods; run is what the child calls
---@return fun(...: any): multiprocessing.Process
function Process:subclass(body) end

--- Starts it. The child runs the target in its main thread, its only one then (by
--- fork that which called start); joins the threads and processes that it starts
--- itself, and ends; what the target raises is written to stderr under the name
--- of the process, KeyboardInterrupt as well. Its generator of random numbers
--- starts elsewhere than the parent's, and its standard input is /dev/null, as a
--- child of CPython's.
---
--- By spawn and by the fork server it is sent the object with the target and its
--- arguments, `package.path`, `arg`, the folder, the log's level, the classes that
--- the script has registered with pickle, and the globals of the script: all as one
--- value, so what they share stays shared. Modules travel by name and are required
--- there, which brings what they register. A global that cannot travel raises when
--- it is used, and says why.
---
--- Raises if it was started before, if this process is daemonic, PicklingError if
--- the object cannot be sent, or OSError; then there is no process. Gives up the
--- GIL while a fork server is asked.
---@return multiprocessing.Process self
function Process:start() end

--- What the child calls: the target, unless a subclass has its own.
function Process:run() end

--- Waits for the end. Gives up the GIL. Raises for a process that was not
--- started, this process included.
---@async
---@param timeout? number seconds; nil waits for ever
---@return boolean ended false if the time passed first
function Process:join(timeout) end

--- Whether it has been started and not ended. Keeps the GIL.
---@return boolean
function Process:is_alive() end

--- Sends SIGTERM; nothing if it has ended. Keeps the GIL.
function Process:terminate() end

--- Sends SIGKILL; nothing if it has ended. Keeps the GIL.
function Process:kill() end

--- Sends SIGINT: KeyboardInterrupt in its main thread; nothing if it has ended.
--- Keeps the GIL.
function Process:interrupt() end

--- Releases what belongs to one that has ended or was never started; afterwards
--- all but name, daemon and close raise. Raises if it still runs. Keeps the GIL.
function Process:close() end

--- The parent as a child sees it.
---@class multiprocessing.ParentProcess
---@field name string
---@field pid integer
local ParentProcess = {}

--- Waits for the parent's end. Gives up the GIL.
---@async
---@param timeout? number seconds; nil waits for ever
---@return boolean ended false if the time passed first
function ParentProcess:join(timeout) end

--- Whether the parent still runs. Keeps the GIL.
---@return boolean
function ParentProcess:is_alive() end

--- The object of this process. Keeps the GIL.
---@return multiprocessing.Process
function multiprocessing.current_process() end

--- The process that started this one; nil in the program's first. Keeps the GIL.
---@return multiprocessing.ParentProcess?
function multiprocessing.parent_process() end

--- The children that run, in the order of their making; reaps those that have
--- ended. Keeps the GIL.
---@return multiprocessing.Process[]
function multiprocessing.active_children() end

--- Whether this is the program's first process. Keeps the GIL.
---@return boolean
function multiprocessing.is_main() end

--- How many processors this process may use, as CPython's os.process_cpu_count.
--- Keeps the GIL.
---@return integer
function multiprocessing.cpu_count() end

--- The ways to start processes, the usual one first: "fork" copies this process,
--- other threads or not, which is safe here and so not warned of; "spawn" starts
--- the program anew and sends it what the child needs;
--- "forkserver" forks a clean process that was spawned once. In a program that
--- has the library but does not allow fork (tl_allow_fork) only the last two, the
--- fork server first. Keeps the GIL.
---@return string[]
function multiprocessing.get_all_start_methods() end

--- How processes are started that are made without a context: the first of
--- get_all_start_methods, unless set. What it returns stays so. Keeps the GIL.
---@param allow_nil? boolean return nil, and choose nothing, if none is chosen
---@return string?
function multiprocessing.get_start_method(allow_nil) end

--- Chooses it. Raises for an unknown method, and if one was chosen or used
--- before, unless force is true; force and a nil method take the choice back.
--- Keeps the GIL.
---@param method string?
---@param force? boolean
function multiprocessing.set_start_method(method, force) end

--- The program that spawn and the fork server start, by its path or by a name that
--- is looked for in PATH; at first this one or, in a program that has the library,
--- the tidelock that is installed beside that. Raises for what is no path. Keeps
--- the GIL.
---@param path string
function multiprocessing.set_executable(path) end

--- What the next fork server requires before it forks its first child, which all
--- its children then have; a name that is not found is passed over. Keeps the GIL.
---@param names string[] modules
function multiprocessing.set_forkserver_preload(names) end

--- The module with a start method of its own: all that the module has, and its
--- processes are started that way. Raises for an unknown method. Keeps the GIL.
---@param method? string nil: the method of the module
---@return tidelock.multiprocessing
function multiprocessing.get_context(method) end

--- What the processes tell of themselves.
---@class multiprocessing.Logger
---@field level integer what is less is not told
---@field DEBUG integer 10
---@field INFO integer 20
---@field WARNING integer 30
---@field ERROR integer 40
---@field CRITICAL integer 50
local Logger = {}

--- Sets the level: an integer, or a name as "info". Keeps the GIL.
---@param level integer|string
function Logger:setLevel(level) end

--- Whether something of that level is told. Keeps the GIL.
---@param level integer|string
---@return boolean
function Logger:isEnabledFor(level) end

--- Tells something, as `[LEVEL/process] message`; further arguments are those of
--- string.format. Keeps the GIL.
---@param level integer|string
---@param message string
---@param ... any
function Logger:log(level, message, ...) end

--- Each is log with the level of its name.
---@param message string
---@param ... any
function Logger:debug(message, ...) end

---@param message string
---@param ... any
function Logger:info(message, ...) end

---@param message string
---@param ... any
function Logger:warning(message, ...) end

---@param message string
---@param ... any
function Logger:error(message, ...) end

---@param message string
---@param ... any
function Logger:critical(message, ...) end

--- This process's logger, which is silent until log_to_stderr. Keeps the GIL.
---@return multiprocessing.Logger
function multiprocessing.get_logger() end

--- From now on what is logged here, and in processes that are started later, is
--- written to stderr. Keeps the GIL.
---@param level? integer|string
---@return multiprocessing.Logger
function multiprocessing.log_to_stderr(level) end

--- Listener and Client, and what waits for several things:
--- `require "multiprocessing.connection"`.
multiprocessing.connection = {}

--- `require "multiprocessing.managers"`, which is done when this is first read.
multiprocessing.managers = nil

--- `require "multiprocessing.shared_memory"`, likewise.
multiprocessing.shared_memory = nil

--- One end of a pipe, or of what Listener and Client connect. A child has its own
--- copy of each end: who only reads must close the other end to see the end of the
--- messages. Several threads, and several processes, may send and receive on one
--- connection; each message goes to one of them. To be closed by close, by a
--- `<close>` variable or by the collector.
---
--- A message has at most 2 GiB - 1 bytes. Over a Unix socket, and so over a pipe, it
--- is sent and received whole: one who is interrupted or dies leaves no half ones.
--- Long ones (over 64 KiB) travel in shared memory, of which each direction keeps up
--- to 16 MiB; a sender waits while more than that is under way. Over TCP it is a
--- stream: a sender that is interrupted inside a message ends it.
---@class multiprocessing.Connection
---@field closed boolean
---@field readable boolean
---@field writable boolean
local Connection = {}

--- Sends a value: whatever pickle.dumps takes, and over a pipe, or a Unix socket
--- with an authkey, also connections, listeners and the other handles of this
--- library, which stay the sender's as well. Gives up the GIL while the other side is
--- slow. Raises PicklingError, with nothing sent, and what send_bytes raises.
---@async
---@param value any
function Connection:send(value) end

--- Receives a value. Functions, and all that travels by name, come only through a
--- pipe or a connection with an authkey. Gives up the GIL. Raises UnpicklingError for
--- what is no value, which is gone then; EOFError and OSError as recv_bytes does.
---@async
---@return any
---@nodiscard
function Connection:recv() end

--- Sends a part of a string as one message. Gives up the GIL while the other side
--- is slow. Raises OSError: EBADF if the connection is closed or read-only, EPIPE if
--- nobody can receive.
---@async
---@param bytes string
---@param offset? integer bytes to leave out at the beginning; usually 0
---@param size? integer bytes to send; usually all the rest
function Connection:send_bytes(bytes, offset, size) end

--- Receives one message; what Python's recv_bytes_into does, too, for strings are not
--- written into. Gives up the GIL. Raises EOFError when the other side
--- has been closed, BufferTooShort for a message of more than max bytes (which
--- stays), OSError (EBADF) if the connection is closed or write-only.
---@async
---@param max? integer bytes
---@return string
---@nodiscard
function Connection:recv_bytes(max) end

--- Whether there is something to receive, the end included. Gives up the GIL
--- while it waits.
---@async
---@param timeout? number seconds; none: does not wait; an explicit nil: for ever
---@return boolean
function Connection:poll(timeout) end

--- Its descriptor, to be waited for; what is read from it is no message. Raises
--- OSError if it is closed. Keeps the GIL.
---@return integer
function Connection:fileno() end

--- Closes it; twice is fine. Raises OSError (EBUSY) while another thread uses
--- it. Keeps the GIL.
function Connection:close() end

--- Two connected ends; with duplex false what is sent on the second is received
--- on the first, and nothing the other way. Raises OSError. Keeps the GIL.
---@param duplex? boolean|{duplex?: boolean} usually true
---@return multiprocessing.Connection receiver
---@return multiprocessing.Connection sender
---@nodiscard
function multiprocessing.Pipe(duplex) end

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
local SimpleQueue = {} -- luacheck: ignore

--- As Queue().
---@return multiprocessing.SimpleQueue
---@nodiscard
function multiprocessing.SimpleQueue() end

-- Locks and the like between processes
--
-- As threading's, in memory that processes share: a forked child has the
-- objects of its parent. Waits give up the GIL and are ended as all are. The
-- death of a process at any moment keeps no other one waiting: whoever waits
-- looks after the others from time to time, at the latest when it has waited
-- as long again, and once a second. The processes must see each other's pids.
-- Each object takes a descriptor; what nobody uses any more is collected when
-- none is left. The constructors raise OSError.

--- A lock that any process may release: see threading.Lock.
---
--- If the process that took it last ends without releasing it, in whatever way,
--- `OwnerDied` is raised once, to the next one that acquires it. acquire then
--- holds the lock all the same, for what it protects has to be looked at;
--- guard and with have released it again. Waiters are served nearly in order; a
--- running process may overtake one for about 1 ms.
---@class multiprocessing.Lock
local Lock = {}

--- A new lock, unlocked.
---@return multiprocessing.Lock
---@nodiscard
function multiprocessing.Lock() end

--- Takes the lock, waiting until it is free. Raises `OwnerDied`, with the lock
--- held; or, with nothing changed, for a timeout together with
--- `blocking == false`, a negative one other than -1, and NaN.
---@async
---@param blocking? boolean false: do not wait; usually true
---@param timeout? number seconds; -1, nil and math.huge wait for ever
---@return boolean taken false if the lock was held until the time passed
function Lock:acquire(blocking, timeout) end

--- Frees the lock. Raises if it is not locked. Keeps the GIL.
function Lock:release() end

--- Whether some process holds it now, or died with it. Keeps the GIL.
---@return boolean
---@nodiscard
function Lock:locked() end

--- Takes the lock and returns it to be closed, which releases it. Raises
--- `OwnerDied`, and has released it then.
---@async
---@return multiprocessing.Lock
---@nodiscard
function Lock:guard() end

--- Calls `fn(...)` with the lock held and returns its results; releases it also
--- on an error. Raises `OwnerDied`, and has released it then, without a call.
---@async
---@generic R
---@param fn fun(...): R
---@param ... any
---@return R ...
function Lock:with(fn, ...) end

--- A lock that its owner, a thread of a process, may take again: see
--- threading.RLock. The child of a fork does not own what its parent's thread
--- held. `OwnerDied` is as Lock's.
---@class multiprocessing.RLock
local RLock = {}

--- A new recursive lock, unlocked.
---@return multiprocessing.RLock
---@nodiscard
function multiprocessing.RLock() end

--- Takes the lock, waiting until it is free or at once if the caller holds it
--- already. Raises as Lock:acquire does.
---@async
---@param blocking? boolean false: do not wait; usually true
---@param timeout? number seconds; -1, nil and math.huge wait for ever
---@return boolean taken false if another held the lock until the time passed
function RLock:acquire(blocking, timeout) end

--- Takes back one acquire. Raises if the caller does not hold the lock. Keeps
--- the GIL.
function RLock:release() end

--- Whether some thread of some process holds it now. Keeps the GIL.
---@return boolean
---@nodiscard
function RLock:locked() end

--- Takes the lock and returns it to be closed, which releases it once: see
--- Lock:guard.
---@async
---@return multiprocessing.RLock
---@nodiscard
function RLock:guard() end

--- Calls `fn(...)` with the lock held: see Lock:with.
---@async
---@generic R
---@param fn fun(...): R
---@param ... any
---@return R ...
function RLock:with(fn, ...) end

--- Waiting, under a lock, for a change that other processes make under it: see
--- threading.Condition. Up to 1024 threads wait at a time; one more raises.
---@class multiprocessing.Condition
local Condition = {}

---@class multiprocessing.ConditionOptions
---@field lock? multiprocessing.Lock|multiprocessing.RLock

--- A condition over a lock, which several may share; a new RLock if absent.
---@param lock? multiprocessing.Lock|multiprocessing.RLock|multiprocessing.ConditionOptions
---@return multiprocessing.Condition
---@nodiscard
function multiprocessing.Condition(lock) end

--- Takes the lock: see Lock:acquire.
---@async
---@param blocking? boolean false: do not wait; usually true
---@param timeout? number seconds; -1, nil and math.huge wait for ever
---@return boolean taken false if the lock was held until the time passed
function Condition:acquire(blocking, timeout) end

--- Gives the lock up once: see Lock:release and RLock:release.
function Condition:release() end

--- Takes the lock and returns the condition to be closed: see Lock:guard.
---@async
---@return multiprocessing.Condition
---@nodiscard
function Condition:guard() end

--- Calls `fn(...)` with the lock held: see Lock:with.
---@async
---@generic R
---@param fn fun(...): R
---@param ... any
---@return R ...
function Condition:with(fn, ...) end

--- Gives the lock up, however often it is held, until notified, and takes it
--- again as often before it returns or raises. Raises if the lock is not held;
--- `OwnerDied`, with the lock held again, if a process died with it meanwhile.
---@async
---@param timeout? number seconds; nil waits for ever, 0 only lets others in
---@return boolean notified false if the time passed first
function Condition:wait(timeout) end

--- Waits until `pred()`, called with the lock held, is true. Raises as wait
--- does, and what `pred` raises.
---@async
---@generic R
---@param pred fun(): R
---@param timeout? number seconds in all; nil waits for ever, 0 does not wait
---@return R value pred's last one: false or nil if the time passed first
function Condition:wait_for(pred, timeout) end

--- Wakes the n threads of all processes that have waited longest, or fewer if
--- no more wait; is not remembered. What a process gets that dies before it has
--- gone on passes on to the next of them. Raises if the lock is not held. Keeps
--- the GIL.
---@param n? integer usually 1
function Condition:notify(n) end

--- Wakes all waiting threads. Raises if the lock is not held. Keeps the GIL.
function Condition:notify_all() end

--- A number of permits: see threading.Semaphore. What a process has acquired
--- and not released comes back if it is killed or crashes; if it ends in order,
--- or drops the object, it stays consumed, so that semaphores can be signals.
--- Up to 1023 processes use one at a time; for one more acquire and release
--- raise.
---@class multiprocessing.Semaphore
local Semaphore = {}

--- A semaphore without an upper bound but 2^31 - 1.
---@param n? integer|{n?: integer, value?: integer} permits at first, at least 0; usually 1
---@return multiprocessing.Semaphore
---@nodiscard
function multiprocessing.Semaphore(n) end

--- A semaphore whose value never exceeds the first one.
---@param value? integer|{value?: integer} permits at first, at least 0; usually 1
---@return multiprocessing.Semaphore
---@nodiscard
function multiprocessing.BoundedSemaphore(value) end

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

--- How many permits are free, those of the dead included. Keeps the GIL.
---@return integer
---@nodiscard
function Semaphore:get_value() end

--- Takes a permit and returns the semaphore to be closed, which gives it back.
---@async
---@return multiprocessing.Semaphore
---@nodiscard
function Semaphore:guard() end

--- Calls `fn(...)` with a permit held and returns its results; gives the
--- permit back also on an error.
---@async
---@generic R
---@param fn fun(...): R
---@param ... any
---@return R ...
function Semaphore:with(fn, ...) end

--- A flag that processes wait for.
---@class multiprocessing.Event
local Event = {}

--- A new event, clear.
---@return multiprocessing.Event
---@nodiscard
function multiprocessing.Event() end

--- Sets the flag; everybody who waits goes on, also if it is cleared at once.
--- Keeps the GIL.
function Event:set() end

--- Clears the flag. Keeps the GIL.
function Event:clear() end

--- Whether the flag is set. Keeps the GIL.
---@return boolean
---@nodiscard
function Event:is_set() end

--- Waits until the flag is set, or has been since the wait began.
---@async
---@param timeout? number seconds; nil waits for ever, 0 does not wait
---@return boolean set false if the time passed first
function Event:wait(timeout) end

--- Where a number of threads of several processes wait for each other, again
--- and again: see threading.Barrier. It breaks, too, when a process that has
--- taken part since the last reset is killed or crashes, at the latest when the
--- others look next; one that ended in order does not break it. Each process
--- runs its own copy of the action.
---@class multiprocessing.Barrier
---@field parties integer how many wait for each other; read-only
---@field n_waiting integer how many wait for the others now; read-only
---@field broken boolean whether waits fail until reset; read-only
local Barrier = {}

---@class multiprocessing.BarrierOptions
---@field parties integer from 1 to 1024
---@field action? fun() runs in one of the threads before any of them goes on
---@field timeout? number seconds; for every wait that has none of its own

--- A new barrier.
---@param parties integer|multiprocessing.BarrierOptions from 1 to 1024
---@param action? fun() runs in one of the threads before any of them goes on
---@param timeout? number seconds; for every wait that has none of its own
---@return multiprocessing.Barrier
---@nodiscard
function multiprocessing.Barrier(parties, action, timeout) end

--- Waits until as many threads wait as the barrier has parties. The last one
--- to come runs the action; if that raises, the barrier breaks and the error
--- goes on in this thread.
---
--- Raises `BrokenBarrierError` if the barrier is broken or breaks: because this
--- or another wait timed out, an action failed, a process died, or by `abort`;
--- or if it is reset meanwhile. A wait that is cancelled just leaves.
---@async
---@param timeout? number seconds; nil: the barrier's own, or for ever
---@return integer index another one from 0 for each of the threads
function Barrier:wait(timeout) end

--- Empties the barrier, and mends it if it is broken. Those who wait get
--- `BrokenBarrierError`. Gives up the GIL only while another process is in the
--- middle of a change.
function Barrier:reset() end

--- Breaks the barrier: those who wait and who come later get
--- `BrokenBarrierError`. Gives up the GIL as reset does.
function Barrier:abort() end

-- --- Values and arrays in shared memory ---------------------------------------
--
-- A forked child has the same memory as its parent. Types are "int8", "uint8",
-- "int16", "uint16", "int32", "uint32", "int64", "uint64", "float" (32 bits),
-- "double", "bool" and "char", or the letters of Python's array: b B h H i I
-- l L q Q f d, and ? and c. An element is read and written as a whole, never
-- half of it; its place among others is told by a lock alone.
--
-- Integers must fit, and floats stand for integers if they are some. "int64"
-- and "uint64" hold any integer of Lua: those of "uint64" from 2^63 on are the
-- negative ones with the same bits (math.ult compares them). What is too large
-- for "float" becomes infinite. "bool" takes true and false only, "char"
-- strings of one byte.
--
-- Memory is given back when no process has the object any more. Objects of up
-- to 4096 bytes share files of 64 KiB, at 64 bytes or a multiple of it each; a
-- larger one takes a descriptor of its own (OSError EMFILE if there is none).
-- They travel to other processes, where they are the same memory, as soon as
-- their locks do.

---@alias multiprocessing.Type
---| "int8"|"uint8"|"int16"|"uint16"|"int32"|"uint32"|"int64"|"uint64"
---| "float"|"double"|"bool"|"char"
---| "b"|"B"|"h"|"H"|"i"|"I"|"l"|"L"|"q"|"Q"|"f"|"d"|"?"|"c"

--- One element without a lock.
---@class multiprocessing.RawValue
---@field value number|boolean|string raises for a value that is not of the type
local RawValue = {}

--- Elements without a lock. `a[i]` counts from 1, or from the end if i is
--- negative; any other index is an error, also to read. So ipairs raises at the
--- end, and `for i, x in pairs(a)` is what goes over all elements. `#a` is their
--- number. None of the methods gives up the GIL.
---@class multiprocessing.RawArray
---@field [integer] number|boolean|string
---@field value string of an array of "char": what is before the first "\0"
---@field raw string of an array of "char": all bytes
local RawArray = {}

--- A slice: the n elements from i on, by default all that follow.
---@param i? integer default 1; negative from the end
---@param n? integer
---@return table
function RawArray:read(i, n) end

--- The same as bytes, as string.pack makes them, and much faster.
---@param i? integer default 1
---@param n? integer
---@return string
function RawArray:tobytes(i, n) end

--- Writes to i and behind it: the values of a table, or the bytes of a string, or
--- the elements of an array of the same type (whose lock is not taken), which
--- may be this one. Raises if one of them does not fit; nothing is written then.
---@param i integer
---@param source table|string|multiprocessing.RawArray
function RawArray:write(i, source) end

--- Writes one value to the n elements from i on, by default to all.
---@param value number|boolean|string
---@param i? integer default 1
---@param n? integer
function RawArray:fill(value, i, n) end

--- One element with a lock, which each access takes, so that it waits for whoever
--- holds it: what is set meanwhile is not lost. Two accesses are two: for
--- `v.value = v.value + 1` hold the lock around both, by `v:with(f)` or
--- `local held <close> = v:guard()`. The lock is an RLock between processes, or
--- the one that was given. If its owner has died, an access raises OwnerDied,
--- once, and does nothing.
---@class multiprocessing.Value: multiprocessing.RawValue
local Value = {}

--- Elements with a lock, which each access and each method takes.
---@class multiprocessing.Array: multiprocessing.RawArray
local Array = {}

--- The lock's methods.
---@async
---@return boolean
function Value:acquire(...) end

function Value:release() end

---@async
---@return any held to be closed
function Value:guard() end

---@async
---@param f function
---@param ... any
---@return any ...
function Value:with(f, ...) end

--- The lock.
---@return any
function Value:get_lock() end

--- The same memory without the lock.
---@return multiprocessing.RawValue
function Value:get_obj() end

--- The lock's methods.
---@async
---@return boolean
function Array:acquire(...) end

function Array:release() end

---@async
---@return any held to be closed
function Array:guard() end

---@async
---@param f function
---@param ... any
---@return any ...
function Array:with(f, ...) end

--- The lock.
---@return any
function Array:get_lock() end

--- The same memory without the lock.
---@return multiprocessing.RawArray
function Array:get_obj() end

--- A value in shared memory; also `Value{type = t, init = x, lock = l}`. Raises
--- for an unknown type and what is not of it, or OSError. Keeps the GIL.
---@param type multiprocessing.Type
---@param init? number|boolean|string default 0
---@param lock? boolean|table|userdata true: a new RLock (the default); false: a
--- RawValue; else what has acquire and release, which other objects may use too
---@return multiprocessing.Value|multiprocessing.RawValue
---@nodiscard
function multiprocessing.Value(type, init, lock) end

--- An array in shared memory; also `Array{type = t, init = n, lock = l}`. Raises
--- as Value; OSError ENOMEM if it is larger than the machine. Gives up the GIL
--- for 1 MiB and more.
---@param type multiprocessing.Type
---@param init integer|table|string the number of elements, which are zero then, or
--- a table of them, or, of "char", a string
---@param lock? boolean|table|userdata as for Value
---@return multiprocessing.Array|multiprocessing.RawArray
---@nodiscard
function multiprocessing.Array(type, init, lock) end

--- A value without a lock.
---@param type multiprocessing.Type
---@param init? number|boolean|string
---@return multiprocessing.RawValue
---@nodiscard
function multiprocessing.RawValue(type, init) end

--- An array without a lock.
---@param type multiprocessing.Type
---@param init integer|table|string
---@return multiprocessing.RawArray
---@nodiscard
function multiprocessing.RawArray(type, init) end

-- --- Pools -------------------------------------------------------------------

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

--- A started manager with the usual types: see `require "multiprocessing.managers"`.
--- Gives up the GIL. To be closed by shutdown, or a `<close>` variable.
---@async
---@return multiprocessing.managers.SyncManager
---@nodiscard
function multiprocessing.Manager() end

return multiprocessing

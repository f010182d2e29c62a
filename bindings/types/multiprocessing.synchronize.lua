---@meta _

-- Of multiprocessing: locks and the like between processes.
--
-- As threading's, in memory that processes share: a forked child has the
-- objects of its parent. Waits give up the GIL and are ended as all are. The
-- death of a process at any moment keeps no other one waiting: whoever waits
-- looks after the others from time to time, at the latest when it has waited
-- as long again, and once a second. The processes must see each other's pids.
-- A condition, a semaphore and a barrier take a descriptor each; what nobody
-- uses any more is collected when none is left. The constructors raise OSError.

---@class tidelock.multiprocessing
local multiprocessing = {}

--- A lock that any process may release: see threading.Lock.
---
--- If the process that took it last ends without releasing it, in whatever way,
--- `OwnerDied` is raised once, to the next one that acquires it. acquire then
--- holds the lock all the same, for what it protects has to be looked at;
--- guard and with have released it again. Waiters are served nearly in order; a
--- running process may overtake one for about 1 ms.
---@class multiprocessing.Lock: threading.Lockable
local Lock = {}

--- A new lock, unlocked.
---@return multiprocessing.Lock
---@nodiscard
function multiprocessing.Lock() end

--- Whether some process holds it now, or died with it. Keeps the GIL.
---@return boolean
---@nodiscard
function Lock:locked() end

--- A lock that its owner, a thread of a process, may take again: see
--- threading.RLock. The child of a fork does not own what its parent's thread
--- held. `OwnerDied` is as Lock's.
---@class multiprocessing.RLock: threading.Lockable
local RLock = {}

--- A new recursive lock, unlocked.
---@return multiprocessing.RLock
---@nodiscard
function multiprocessing.RLock() end

--- Whether some thread of some process holds it now. Keeps the GIL.
---@return boolean
---@nodiscard
function RLock:locked() end

--- Waiting, under a lock, for a change that other processes make under it: see
--- threading.Condition. Up to 1024 threads wait at a time; one more raises.
---
--- wait and wait_for raise `OwnerDied`, with the lock held again, if a process has
--- died with it meanwhile. notify wakes the threads of all processes; what a
--- process gets that dies before it has gone on passes on to the next of them.
---@class multiprocessing.Condition: threading.Condition
local Condition = {}

---@class multiprocessing.ConditionOptions
---@field lock? multiprocessing.Lock|multiprocessing.RLock

--- A condition over a lock, which several may share; a new RLock if absent.
---@param lock? multiprocessing.Lock|multiprocessing.RLock|multiprocessing.ConditionOptions
---@return multiprocessing.Condition
---@nodiscard
function multiprocessing.Condition(lock) end

--- A number of permits: see threading.Semaphore. What a process has acquired
--- and not released comes back if it is killed or crashes; if it ends in order,
--- or drops the object, it stays consumed, so that semaphores can be signals.
--- Up to 1023 processes use one at a time; for one more acquire and release
--- raise.
---@class multiprocessing.Semaphore: threading.Semaphore
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

--- How many permits are free, those of the dead included. Keeps the GIL.
---@return integer
---@nodiscard
function Semaphore:get_value() end

--- A flag that processes wait for: see threading.Event. A wait also ends if the
--- flag has been set since it began and is cleared again.
---@class multiprocessing.Event: threading.Event
local Event = {}

--- A new event, clear.
---@return multiprocessing.Event
---@nodiscard
function multiprocessing.Event() end

--- Where a number of threads of several processes wait for each other, again
--- and again: see threading.Barrier. It breaks, too, when a process that has
--- taken part since the last reset is killed or crashes, at the latest when the
--- others look next; one that ended in order does not break it. Each process
--- runs its own copy of the action. reset and abort give up the GIL only while
--- another process is in the middle of a change.
---@class multiprocessing.Barrier: threading.Barrier
local Barrier = {}

---@class multiprocessing.BarrierOptions: threading.BarrierOptions
---@field parties integer from 1 to 1024

--- A new barrier.
---@param parties integer|multiprocessing.BarrierOptions from 1 to 1024
---@param action? fun() runs in one of the threads before any of them goes on
---@param timeout? number seconds; for every wait that has none of its own
---@return multiprocessing.Barrier
---@nodiscard
function multiprocessing.Barrier(parties, action, timeout) end

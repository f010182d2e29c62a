---@meta tidelock.multiprocessing.managers

--- A server process that holds objects, for any number of processes and threads,
--- which have proxies of them. Every use of a proxy is a message to the server and
--- back; it gives up the GIL meanwhile. Each thread's call is served by a thread of
--- its own, so one that waits holds up nobody else; when its caller is cancelled or
--- dies it ends, and what it took goes back: an item is again the first of its
--- queue, a lock is free.
---
--- Proxies of a dict, a list, a Namespace, a Value or an Array behave like the tables
--- they stand for: `d.x`, `d.x = 1`, `l[i]`, `#l`, `pairs(d)`, `table.insert(l, v)`.
--- The keys of a dict are data, so it has no methods; `call(d, "update", t)` reaches
--- those of CPython's dict: clear, copy, get, has, items, keys, len, pop, popitem,
--- setdefault, update, values. The keys of a list are numbers, and it has methods,
--- with Lua's indices: append, clear, copy, count, extend, index, insert, pop,
--- remove, reverse, sort. `pairs` goes over what there is when it begins. `next`
--- sees nothing of a proxy, and what reads and then writes (`d.n = d.n + 1`,
--- table.insert) is several messages: `apply` is one.
---
--- What is stored or read is a copy, but for proxies, which stay what they are. So
--- `d.a.b = 1` changes only a copy if `d.a` is a plain table (CPython's does the same):
--- assign the whole (`local a = d.a; a.b = 1; d.a = a`), make it a proxy
--- (`d.a = manager:dict()`, then `d.a.b = 1` is seen by all), or use `apply`. Copies
--- are ordinary tables, which all of Lua's functions take, and so cannot tell when
--- one assigns to them.
---
--- A proxy can be sent to any process that has the server's authkey: as an argument of
--- a Process or a Pool's task, through queues and connections, into other proxies. The
--- object stays as long as there is a proxy in any process or on its way; what a
--- process has goes when that ends or is killed, and what it sent and nobody has used
--- a minute later. Proxies of one object are equal; tostring shows the object.
--- The bytes of a proxy say where its server is: who uses it connects there, and
--- proves that it has the authkey of its own process. So bytes from a stranger are not
--- to be loaded where proxies are known, though `pickle.loads` itself connects to
--- nobody; damaged ones raise UnpicklingError.
---
--- Locks and the like are those of threading, Queue and JoinableQueue are
--- queue.Queue's. A lock whose holder's process has died raises `OwnerDied` once, to
--- the next one that acquires it, who then has it (guard and with have released it
--- again); a barrier at which it waited breaks; as of locks between processes. Its permits
--- of semaphores return however it ended, which those of `mp.Semaphore` do not if it
--- ended in order: a semaphore that is a signal is one of those. A thread that is
--- cancelled leaves a barrier, and has a condition's lock again before that is raised. A
--- release is not interrupted. An RLock belongs to a thread of a process.
---
--- Errors in the server are raised in the caller as they are, errors with a
--- `traceback` of the server, or as `RemoteError` if they cannot travel. When the
--- server has ended all calls raise EOFError.
---@class tidelock.multiprocessing.managers
local managers = {}

--- An error of the server's that could not be sent; its message is the text.
managers.RemoteError = {}

--- Calls a method of the object that a proxy stands for. Raises if it has none of
--- that name, or if it is not exposed, and what the method raises.
---@async
---@param proxy any
---@param name string
---@param ... any
---@return any ...
function managers.call(proxy, name, ...) end

--- Calls `f(object, ...)` in the server, where the object is the table itself, and
--- returns its results; nobody else reads or changes it meanwhile:
--- `managers.apply(d, function(t) t.n = t.n + 1 end)`. For tables; and for custom
--- objects, whose methods do not wait for it. f travels with its upvalues, which are
--- copies there; proxies in them work. When the caller is cancelled or dies f is killed.
---@async
---@param proxy any
---@param f function
---@param ... any
---@return any ...
function managers.apply(proxy, f, ...) end

---@class multiprocessing.managers.Options
---@field address? multiprocessing.connection.Address usually a path of its own
---@field authkey? string usually the current process's
---@field ctx? tidelock.multiprocessing a context, by which the server is started
--- Seconds for its end when it is asked to, and as many again after SIGTERM, before it
--- is killed; usually 1.
---@field shutdown_timeout? number

--- A manager without any types but those that are registered. To be closed by shutdown
--- or a `<close>` variable, which leaves a server that another process has started as it
--- is; the server ends as well when the process that has started
--- it ends, or has neither the manager nor a proxy any more. It ignores SIGINT.
---@class multiprocessing.managers.BaseManager
---@field address multiprocessing.connection.Address
local BaseManager = {}
managers.BaseManager = BaseManager

--- A manager that is not started or connected. Keeps the GIL.
---@param address? multiprocessing.connection.Address|multiprocessing.managers.Options
---@param authkey? string
---@return multiprocessing.managers.BaseManager
---@nodiscard
function managers.BaseManager(address, authkey) end

--- A class of managers, with its own registered types beside those of this one.
---@param body? table methods
---@return multiprocessing.managers.BaseManager
function BaseManager:subclass(body) end

---@class multiprocessing.managers.RegisterOptions
--- False: managers have no method of that name, and the type is only for results.
---@field create_method? boolean
--- The names of the methods, and of the fields that can be read; usually all
--- methods that do not begin with "_". "__call" lets the proxy be called.
---@field exposed? string[]
--- Methods whose results stay in the server: the caller gets a proxy of that type.
--- "Iterator" is one for functions, which a for loop can call.
---@field method_to_typeid? table<string, string>
--- A type that the manager has: the constructor's tables are used as one of those.
---@field proxytype? "dict"|"list"|"Namespace"

--- From now on `manager:name(...)` calls `constructor(...)` in the server and returns a
--- proxy of the object, a table or another thing with methods. Of a class: for its
--- managers that are made later; of a manager that runs: at once. Without a
--- constructor: for those who connect to a server that has it. Several threads may be in
--- an object's methods at a time.
---@param name string
---@param constructor? function
---@param options? multiprocessing.managers.RegisterOptions
function BaseManager:register(name, constructor, options) end

--- Starts the server, which calls the initializer first, and waits until it listens.
--- Raises what hindered it.
---@async
---@param initializer? function
---@param initargs? table
---@return multiprocessing.managers.BaseManager self
function BaseManager:start(initializer, initargs) end

--- Connects to a server that another process has started, at the address and with the
--- authkey given to the constructor. Raises AuthenticationError for a wrong key, EOFError
--- if the server ends meanwhile, OSError if there is none.
---@async
---@return multiprocessing.managers.BaseManager self
function BaseManager:connect() end

--- A server that is run by this very process: its `serve_forever()` returns when a
--- client that has started it asks for its end, or is cancelled.
---@return table
---@nodiscard
function BaseManager:get_server() end

--- Ends the server, in order if it does so in time (see shutdown_timeout), and frees all
--- that it had. Twice is fine, and goes on with one that was interrupted. Only for the
--- process that has started it.
---@async
function BaseManager:shutdown() end

--- Waits for the end of the server's process.
---@async
---@param timeout? number seconds; nil waits for ever
---@return boolean ended false if the time passed first
function BaseManager:join(timeout) end

--- The manager with the types that everybody needs; mp.Manager() starts one.
---@class multiprocessing.managers.SyncManager: multiprocessing.managers.BaseManager
local SyncManager = {}
managers.SyncManager = SyncManager

--- As BaseManager.
---@param address? multiprocessing.connection.Address|multiprocessing.managers.Options
---@param authkey? string
---@return multiprocessing.managers.SyncManager
---@nodiscard
function managers.SyncManager(address, authkey) end

--- A table, at first a copy of the given one.
---@param t? table
---@return table
function SyncManager:dict(t) end

--- A list without holes, at first a copy of the given one.
---@param t? any[]
---@return any[]
function SyncManager:list(t) end

--- A table of fields; names that begin with "_" are the proxy's own.
---@param t? table
---@return table
function SyncManager:Namespace(t) end

---@class multiprocessing.managers.Value
---@field value number|boolean|string
---@field get fun(self): number|boolean|string the value
---@field set fun(self, value: number|boolean|string)

--- A number, boolean or character of a type of mp.Value; without a lock.
---@param type string
---@param value? number|boolean|string
---@return multiprocessing.managers.Value
function SyncManager:Value(type, value) end

--- Numbers, booleans or characters of a type of mp.Array; without a lock.
---@param type string
---@param size_or_table integer|any[]|string
---@return any[]
function SyncManager:Array(type, size_or_table) end

---@return threading.Lock
function SyncManager:Lock() end

---@return threading.RLock
function SyncManager:RLock() end

---@class multiprocessing.managers.Semaphore: threading.Semaphore
---@field get_value fun(self): integer how many permits there are

---@param n? integer
---@return multiprocessing.managers.Semaphore
function SyncManager:Semaphore(n) end

---@param n? integer
---@return multiprocessing.managers.Semaphore
function SyncManager:BoundedSemaphore(n) end

---@class multiprocessing.managers.Condition: threading.Condition
---@field locked fun(self): boolean whether its lock is held

--- A condition over the lock of a proxy. Its wait_for calls the predicate here.
---@param lock? threading.Lock|threading.RLock usually a new RLock
---@return multiprocessing.managers.Condition
function SyncManager:Condition(lock) end

---@return threading.Event
function SyncManager:Event() end

--- The action runs in the server.
---@param parties integer
---@param action? function
---@param timeout? number seconds
---@return threading.Barrier
function SyncManager:Barrier(parties, action, timeout) end

---@param maxsize? integer
---@return queue.Queue
function SyncManager:Queue(maxsize) end

---@param maxsize? integer
---@return queue.Queue
function SyncManager:JoinableQueue(maxsize) end

--- An mp.Pool whose workers are children of the server: what the asynchronous calls
--- return are proxies as well, with get, ready, successful and wait.
---@param processes? integer|table
---@return table
function SyncManager:Pool(processes) end

return managers

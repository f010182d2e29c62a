---@meta tidelock.multiprocessing

-- Processes, and how they are started. The rest of the module is in files beside
-- this one: multiprocessing.connection, .pool, .queues, .sharedctypes, .synchronize.

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
---@field level integer what is less is not told; 0: all is
local Logger = {}

-- Levels.
Logger.DEBUG = 10
Logger.INFO = 20
Logger.WARNING = 30
Logger.ERROR = 40
Logger.CRITICAL = 50

--- Sets the level: an integer, or a name as "info". Keeps the GIL.
---@param level integer|string
function Logger:setLevel(level) end

--- Whether something of that level is told. Keeps the GIL.
---@param level integer|string
---@return boolean
function Logger:isEnabledFor(level) end

--- Tells something, as `[LEVEL/process] message`. Keeps the GIL.
---@param level integer|string
---@param message string
---@param ... any those of string.format, if there are any
function Logger:log(level, message, ...) end

--- `log("debug", ...)`
---@param message string
---@param ... any
function Logger:debug(message, ...) end

--- `log("info", ...)`
---@param message string
---@param ... any
function Logger:info(message, ...) end

--- `log("warning", ...)`
---@param message string
---@param ... any
function Logger:warning(message, ...) end

--- `log("error", ...)`
---@param message string
---@param ... any
function Logger:error(message, ...) end

--- `log("critical", ...)`
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

--- A started manager with the usual types: see `require "multiprocessing.managers"`.
--- Gives up the GIL. To be closed by shutdown, or a `<close>` variable.
---@async
---@return multiprocessing.managers.SyncManager
---@nodiscard
function multiprocessing.Manager() end

return multiprocessing

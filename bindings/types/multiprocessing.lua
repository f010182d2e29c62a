---@meta tidelock.multiprocessing

--- Processes. Each has an interpreter, a GIL and a heap of its own, so they run
--- in parallel; a child by fork begins with a copy of its parent's heap.
---@class tidelock.multiprocessing
local multiprocessing = {}

--- What `require "tidelock.errors"` has under the same names.
multiprocessing.AuthenticationError = {}
multiprocessing.BufferTooShort = {}
multiprocessing.TimeoutError = {}

--- A process that this one makes. Only the process that made the object may
--- start, wait for or signal it; elsewhere that is an error.
---@class multiprocessing.Process
---@field name string at first "Process-N"; may be set
--- Ended when the parent ends, and without children of its own; inherited from
--- the creator; may be set before the start.
---@field daemon boolean
---@field pid integer? nil before the start
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

--- Starts it. The child runs the target in the thread that called start, its
--- only one then; joins the threads and processes that it starts itself, and
--- ends. Its generator of random numbers starts elsewhere than the parent's.
--- Raises if it was started before, if this process is daemonic, or OSError.
--- Keeps the GIL.
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

--- How processes are started. Keeps the GIL.
---@return "fork"
function multiprocessing.get_start_method() end

--- One end of a pipe. A child has its own copy of each end: who only reads must
--- close the other end to see the end of the messages. To be closed by close,
--- by a `<close>` variable or by the collector.
---@class multiprocessing.Connection
---@field closed boolean
---@field readable boolean
---@field writable boolean
local Connection = {}

--- Sends one message. Gives up the GIL while the other side is slow. Raises
--- OSError: EBADF if the connection is closed or read-only, EPIPE if nobody can
--- receive. A sender that is interrupted inside a message ends the stream.
---@async
---@param bytes string
function Connection:send_bytes(bytes) end

--- Receives one message. Gives up the GIL. Raises EOFError when the other side
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

--- Its descriptor. Raises OSError if it is closed. Keeps the GIL.
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

return multiprocessing

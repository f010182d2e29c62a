---@meta tidelock.multiprocessing.connection

--- Connections, also between processes that are no relatives, and waiting for
--- several things at once.
---@class tidelock.multiprocessing.connection
local connection = {}

---@class tidelock.multiprocessing
local multiprocessing = {}

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

--- The same as multiprocessing.Pipe.
connection.Pipe = multiprocessing.Pipe

--- Waits for connections and other things: the same as threading.wait_any. Process
--- objects, sentinels and other descriptors take part, too.
---@async
---@param objects any[]
---@param timeout? number seconds; nil waits for ever, 0 does not wait
---@return any[] ready those that are, in their order; empty if the time passed
connection.wait = function(objects, timeout) end

--- A place: the path of a Unix socket (one that begins with a zero byte is no
--- file), or {host, port} for TCP.
---@alias multiprocessing.connection.Address string|{[1]: string, [2]: integer}

---@class multiprocessing.connection.Listener.Options
---@field address? multiprocessing.connection.Address
--- Usually what the address says; an address {host, port} may be of either kind.
---@field family? "AF_UNIX"|"AF_INET"|"AF_INET6"
---@field backlog? integer how many may queue for accept; usually 1
--- A key that both sides must have; "" is one. Functions and handles travel only
--- over a connection with a key. Needs the module _hmac.
---@field authkey? string
---@field handshake_timeout? number seconds for the other side's proof; usually 10

--- Waits for others who want to connect. To be closed by close, by a `<close>`
--- variable or by the collector. The file of a Unix socket goes with it, at the
--- latest when the process ends; that of a listener that was sent to other processes
--- stays until the last of them has closed it. A process that is killed leaves it.
---@class multiprocessing.connection.Listener
---@field address multiprocessing.connection.Address that it is bound to
---@field last_accepted? multiprocessing.connection.Address the other side's; "" of a Unix socket
---@field closed boolean
local Listener = {}

--- Listens at the address; without one at a path in a new folder that only this
--- user can enter, or, in another family, at a free port of this machine. For port
--- 0 a free one is taken, for host "" all of this machine. Raises OSError:
--- EADDRINUSE if the place is taken. Gives up the GIL while it looks for a name.
---@async
---@param address? multiprocessing.connection.Address|multiprocessing.connection.Listener.Options
---@param options? multiprocessing.connection.Listener.Options
---@return multiprocessing.connection.Listener
---@nodiscard
function connection.Listener(address, options) end

--- Waits for the next one, and with an authkey for its proof. Gives up the GIL.
--- Raises AuthenticationError if the other side has another key or none, sends what
--- is no handshake, or lets its time pass; its connection is closed then, and the
--- listener goes on. OSError (EBADF) if it is closed.
---@async
---@return multiprocessing.Connection
---@nodiscard
function Listener:accept() end

--- Its descriptor, readable when somebody wants to connect. Keeps the GIL.
---@return integer
function Listener:fileno() end

--- Closes it; twice is fine. The process that made it removes its file. Raises
--- OSError (EBUSY) while another thread accepts. Keeps the GIL.
function Listener:close() end

---@class multiprocessing.connection.Client.Options
---@field address? multiprocessing.connection.Address
---@field family? "AF_UNIX"|"AF_INET"|"AF_INET6"
---@field authkey? string the listener's
---@field handshake_timeout? number seconds; usually 10

--- Connects to a listener. Gives up the GIL. Raises OSError, as ECONNREFUSED or
--- ENOENT, and AuthenticationError as accept does: also when the listener has no
--- authkey, once the time has passed. With a listener that has one but without a
--- key here the first message is its challenge, and then comes the end.
---@async
---@param address multiprocessing.connection.Address|multiprocessing.connection.Client.Options
---@param options? multiprocessing.connection.Client.Options
---@return multiprocessing.Connection
---@nodiscard
function connection.Client(address, options) end

return connection

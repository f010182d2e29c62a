---@meta tidelock.errors

--- Error values: tables with an identity, a class, a name and a message. All
--- calls keep the GIL, but for what `pcall` calls.
---@class tidelock.errors
local errors = {}

--- An error. A class is an error, too: `queue.Empty` is what get returns.
---@class errors.Error
---@field name string for example "queue.Empty"
---@field message string
---@field traceback? string where it was raised
---@field cause? any the error that led to it

--- Classes; each is an `Error`, other parents are named here.
errors.Error = {}
errors.TimeoutError = {}
errors.Cancelled = {}
errors.Killed = {} -- a Cancelled
errors.KeyboardInterrupt = {}
errors.InvalidStateError = {}
errors.BrokenBarrierError = {}
errors.Deadlock = {}
errors.OwnerDied = {}
errors.EOFError = {}
errors.OSError = {} -- fields errno (integer) and code (as "ENOENT")
errors.ShutDown = {}
errors.Empty = {}
errors.Full = {}
errors.BrokenExecutor = {}
errors.BrokenThreadPool = {} -- a BrokenExecutor
errors.BrokenProcessPool = {} -- a BrokenExecutor
errors.BrokenInterpreterPool = {} -- a BrokenExecutor
errors.WorkerLost = {}
errors.CalledProcessError = {} -- fields returncode, cmd, stdout, stderr
errors.TimeoutExpired = {} -- a TimeoutError; fields cmd, timeout, stdout, stderr
errors.AuthenticationError = {}
errors.BufferTooShort = {}
errors.PicklingError = {}
errors.UnpicklingError = {}
errors.ExecutionFailed = {}
errors.ExceptionGroup = {} -- field errors (array)
errors.RequestException = {}
errors.ConnectionError = {} -- a RequestException
errors.Timeout = {} -- a RequestException
errors.HTTPError = {} -- a RequestException
errors.TooManyRedirects = {} -- a RequestException
errors.InvalidURL = {} -- a RequestException
errors.SSLError = {} -- a RequestException

--- A new error of a class, to be raised or returned. Raises if `class` is no
--- class, `message` no string or `fields` no table.
---@param class errors.Error
---@param message? string nil: the class's own
---@param fields? table further fields, copied
---@return errors.Error
---@nodiscard
function errors.new(class, message, fields) end

--- A new class. A copy of it that comes from another process is the class itself if
--- a module has it: see `pickle`.
---@param name string
---@param parent? errors.Error a class; usually `errors.Error`
---@return errors.Error
---@nodiscard
function errors.class(name, parent) end

--- Whether a value is an error of a class, or of a class under it. Raises if
--- `class` is no class.
---@param value any
---@param class errors.Error
---@return boolean
---@nodiscard
function errors.is(value, class) end

--- `pcall` that lets `Cancelled` and `KeyboardInterrupt` through: for loops that
--- try again. A coroutine may yield in `f`.
---@param f function
---@param ... any
---@return boolean ok
---@return any ... results, or the error
function errors.pcall(f, ...) end

--- A text that tells all that is known of an error: the value, its traceback,
--- and those of its causes.
---@param value any
---@return string
---@nodiscard
function errors.traceback(value) end

return errors

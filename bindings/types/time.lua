---@meta tidelock.time

--- Clocks and sleep. All but `sleep` keep the GIL.
---@class tidelock.time
local time = {}

--- Waits with the GIL given up. `sleep(0)` gives way once if another thread
--- waits for the GIL. Ends early when the thread is cancelled (raises
--- `threading.Cancelled`) or by Ctrl-C in the main thread (raises
--- `KeyboardInterrupt`). Raises for a negative duration and NaN.
---@async
---@param seconds number math.huge sleeps for ever
function time.sleep(seconds) end

--- The time of day, in seconds since 1970 began in UTC.
---@return number
---@nodiscard
function time.time() end

--- The same in nanoseconds.
---@return integer
---@nodiscard
function time.time_ns() end

--- A clock that never goes back, in seconds since some moment.
---@return number
---@nodiscard
function time.monotonic() end

--- The same in nanoseconds.
---@return integer
---@nodiscard
function time.monotonic_ns() end

--- The clock for measuring short times, in seconds since some moment; never
--- goes back.
---@return number
---@nodiscard
function time.perf_counter() end

--- The same in nanoseconds.
---@return integer
---@nodiscard
function time.perf_counter_ns() end

--- Processor time that this thread has used, in seconds.
---@return number
---@nodiscard
function time.thread_time() end

--- The same in nanoseconds.
---@return integer
---@nodiscard
function time.thread_time_ns() end

--- Processor time that all threads of this process have used, in seconds.
---@return number
---@nodiscard
function time.process_time() end

--- The same in nanoseconds.
---@return integer
---@nodiscard
function time.process_time_ns() end

return time

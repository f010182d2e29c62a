---@meta tidelock.subprocess

--- Programs that run beside this one. The functions take either the command and
--- a table of options, or one table with the command in its field `args`.
---
--- A command is an array of strings, the program first, which is looked for in
--- the child's PATH; or a string: the program's name, with `shell` a line for
--- the shell. Nothing is ever split at spaces.
---
--- Data are bytes. The child gets the signal mask that this process was started
--- with, and no descriptor but its streams and those of `pass_fds`.
---@class tidelock.subprocess
local subprocess = {}

subprocess.PIPE = -1 -- a pipe, whose other end is the object's field
subprocess.STDOUT = -2 -- for stderr: where stdout goes
subprocess.DEVNULL = -3 -- /dev/null

--- What `require "tidelock.errors"` has under the same names. The first has the
--- fields returncode, cmd, stdout, stderr; the second, a TimeoutError, has cmd,
--- timeout, and stdout and stderr so far.
subprocess.CalledProcessError = {}
subprocess.TimeoutExpired = {}

---@alias subprocess.Stream
---| integer a descriptor, or PIPE, STDOUT, DEVNULL
---| file* is flushed first; the child writes where it has got to

---@class subprocess.Popen.Options
---@field args? string|string[] where they are no argument of their own
---@field stdin? subprocess.Stream nil: that of this process
---@field stdout? subprocess.Stream
---@field stderr? subprocess.Stream
---@field shell? boolean args is given to `/bin/sh -c`
---@field cwd? string the child's folder, against which the program is taken too
---@field env? table<string, string> its whole environment; nil: this process's
---@field close_fds? boolean usually true: descriptors that C libraries left open do not leak
---@field pass_fds? integer[] it has these as well, under their numbers
---@field start_new_session? boolean it calls setsid
---@field process_group? integer it joins this process group; 0: one of its own

---@class subprocess.call.Options: subprocess.Popen.Options
---@field timeout? number seconds

---@class subprocess.check_output.Options: subprocess.call.Options
---@field input? string

---@class subprocess.run.Options: subprocess.call.Options
---@field input? string is written to its stdin, a pipe then
---@field capture_output? boolean stdout and stderr are PIPE
---@field check? boolean raises CalledProcessError unless it returns 0

---@class subprocess.CompletedProcess
---@field args string|string[] as given
---@field returncode integer -N if signal N ended it
---@field stdout? string if it was a pipe
---@field stderr? string if it was a pipe
local CompletedProcess = {}

--- Raises CalledProcessError unless the code is 0.
function CompletedProcess:check_returncode() end

--- Runs a program to its end. Whatever ends the call early - timeout, cancel,
--- kill, Ctrl-C - kills the child and waits for it; Ctrl-C, which the child has
--- got as well, gives it a quarter of a second first. Processes that the child
--- has started live on: to end those as well make it a session's leader, and
--- signal its group. Output is complete when nobody has the pipe open any more,
--- such processes included; a timeout does not wait for that. Gives up the GIL.
--- Raises OSError if the program cannot be started, TimeoutExpired,
--- CalledProcessError with check.
---@async
---@param args string|string[]|subprocess.run.Options
---@param options? subprocess.run.Options
---@return subprocess.CompletedProcess
function subprocess.run(args, options) end

--- run without pipes of its own: the exit code. Gives up the GIL.
---@async
---@param args string|string[]|subprocess.call.Options
---@param options? subprocess.call.Options
---@return integer returncode
function subprocess.call(args, options) end

--- call that raises CalledProcessError unless the code is 0. Gives up the GIL.
---@async
---@param args string|string[]|subprocess.call.Options
---@param options? subprocess.call.Options
---@return integer returncode 0
function subprocess.check_call(args, options) end

--- run with check; what the program wrote to its stdout. Gives up the GIL.
---@async
---@param args string|string[]|subprocess.check_output.Options
---@param options? subprocess.check_output.Options
---@return string stdout
---@nodiscard
function subprocess.check_output(args, options) end

--- Runs a line of the shell; without the last end of line. Gives up the GIL.
---@async
---@param command string
---@return string output of stdout and stderr
---@nodiscard
function subprocess.getoutput(command) end

--- The same with the exit code. Gives up the GIL.
---@async
---@param command string
---@return integer returncode
---@return string output of stdout and stderr
function subprocess.getstatusoutput(command) end

--- A program that has been started. As a `<close>` variable it closes its pipes
--- and waits for the end. One that is collected while it runs goes on, and is
--- reaped later. Takes part in threading.wait_any.
---@class subprocess.Popen
---@field args string|string[] as given
---@field stdin? file* to write to the child, if it was PIPE; buffered: flush it
---@field stdout? file* to read from it
---@field stderr? file*
---@field pid integer
---@field returncode integer? nil while it runs; -N if signal N ended it
local Popen = {}
subprocess.Popen = Popen

--- Starts a program and returns when it has been executed. Keeps the GIL: a process
--- that another thread forks meanwhile would have the other ends of the pipes.
--- Raises OSError if it cannot be: no process is left then.
---@param args string|string[]|subprocess.Popen.Options
---@param options? subprocess.Popen.Options
---@return subprocess.Popen
---@nodiscard
function subprocess.Popen(args, options) end

--- Writes the input and closes stdin, reads stdout and stderr to their ends and
--- waits for the child's, all at once. `communicate(input, timeout)` or
--- `communicate{input = s, timeout = n}`. What the child does not read of the
--- input is no error. Gives up the GIL. Raises TimeoutExpired; it may be called
--- again then, without input, and nothing is lost; likewise after a cancel or
--- Ctrl-C. When all has been read it returns the same again.
---@async
---@param input? string|{input: string?, timeout: number?}
---@param timeout? number seconds
---@return string? stdout nil if it is no open pipe
---@return string? stderr
function Popen:communicate(input, timeout) end

--- Waits for the end. Gives up the GIL. A child that writes more than a pipe
--- holds waits for its reader: use communicate.
---@async
---@param timeout? number seconds; nil waits for ever
---@return integer|false returncode false if the time passed first
function Popen:wait(timeout) end

--- The exit code, or nil while it runs. Keeps the GIL.
---@return integer? returncode
function Popen:poll() end

--- Sends a signal, by number or by name as "INT" or "SIGINT"; nothing if it has
--- ended. Keeps the GIL.
---@param signal integer|string
function Popen:send_signal(signal) end

--- Sends SIGTERM. Keeps the GIL.
function Popen:terminate() end

--- Sends SIGKILL. Keeps the GIL.
function Popen:kill() end

return subprocess

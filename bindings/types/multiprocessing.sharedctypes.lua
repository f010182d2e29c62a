---@meta _

-- Of multiprocessing: values and arrays in shared memory.
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
-- to 4096 bytes share files of 64 KiB to 1 MiB, at 64 bytes or a multiple each; a
-- larger one takes a descriptor of its own (OSError EMFILE if there is none).
-- They travel to other processes, where they are the same memory, as soon as
-- their locks do.

---@class tidelock.multiprocessing
local multiprocessing = {}

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

--- What has a lock has the lock's methods, too.
---@class multiprocessing.Synchronized: threading.Lockable
local Synchronized = {}

--- The lock. Keeps the GIL.
---@return any
function Synchronized:get_lock() end

--- One element with a lock, which each access takes, so that it waits for whoever
--- holds it: what is set meanwhile is not lost. Two accesses are two: for
--- `v.value = v.value + 1` hold the lock around both, by `v:with(f)` or
--- `local held <close> = v:guard()`. The lock is an RLock between processes, or
--- the one that was given. If its owner has died, an access raises OwnerDied,
--- once, and does nothing.
---@class multiprocessing.Value: multiprocessing.RawValue, multiprocessing.Synchronized
local Value = {}

--- Elements with a lock, which each access and each method takes.
---@class multiprocessing.Array: multiprocessing.RawArray, multiprocessing.Synchronized
local Array = {}

--- The same memory without the lock.
---@return multiprocessing.RawValue
function Value:get_obj() end

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

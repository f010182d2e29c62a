---@meta tidelock.multiprocessing.shared_memory

--- Shared memory with a name, which any process of the user may open, also one
--- that is written in another language: the names are those of shm_open. None of
--- the functions waits; making a block takes time in proportion to its size, for
--- which the GIL is given up.
---@class tidelock.multiprocessing.shared_memory
local shared_memory = {}

--- A block of shared memory. Forked children have it as well.
---
--- The name stays until somebody calls unlink. That of a block which was made
--- with `track` goes also when the process that made it, those that it forked,
--- and those that forked it after it had loaded this module, have all ended, by
--- whatever end; a process that has merely opened a block has no part in that.
--- Who has a block open keeps its memory, whatever becomes of the name. (A small
--- process of its own, a shell, sees to the names; who kills that one, too, has
--- to remove them himself.)
---
--- It travels to other processes by name, as long as it has that.
---
--- All of the memory is there from the start: an access cannot fail, unless a
--- process that does not use this module makes the file in /dev/shm shorter.
---@class multiprocessing.shared_memory.SharedMemory
---@field name string
---@field size integer bytes: as many as were asked for; of a block that another
--- program has made perhaps more
---@field buf multiprocessing.shared_memory.Buffer
local SharedMemory = {}

---@class multiprocessing.shared_memory.Options
---@field name? string
---@field create? boolean
---@field size? integer
---@field track? boolean

--- Makes a block, which is zeroed, or opens one:
--- `SharedMemory{create = true, size = n}`, `SharedMemory(name)`. Raises OSError:
--- EEXIST if there is one of the name, ENOENT if there is none, EINVAL if it is
--- empty, ENOSPC or ENOMEM if it is too large. It is one of the values that
--- `local shm <close> =` closes.
---@param name? string|multiprocessing.shared_memory.Options 1 to 255 bytes, no '/'
--- and no control characters; nil: a random one, as "psm_1b2e3d4c"
---@param create? boolean default false
---@param size? integer bytes, at least 1; ignored when opening
---@param track? boolean default true; ignored when opening
---@return multiprocessing.shared_memory.SharedMemory
---@nodiscard
function shared_memory.SharedMemory(name, create, size, track) end

--- Lets go of the memory here; the block lives on. Further access, by views too,
--- raises OSError EBADF. A second time does nothing.
function SharedMemory:close() end

--- Removes the name, also after close. OSError ENOENT: it has been removed, or
--- belongs to another block meanwhile.
function SharedMemory:unlink() end

--- The memory of a block: `#buf` bytes. An offset counts bytes, from 0 for the
--- first one, as in C and Python (indexes of elements count from 1).
---@class multiprocessing.shared_memory.Buffer
local Buffer = {}

--- n bytes from an offset on, by default all that follow.
---@param offset? integer default 0
---@param n? integer
---@return string
function Buffer:read(offset, n) end

--- Writes a string; nothing of it if it does not fit.
---@param offset integer
---@param s string
function Buffer:write(offset, s) end

--- Writes what string.pack(format, ...) makes. Alignment ("!") counts from the
--- offset.
---@param offset integer
---@param format string
---@param ... any
---@return integer next the offset behind it
function Buffer:pack(offset, format, ...) end

--- Reads as string.unpack.
---@param offset integer
---@param format string
---@return any ... the values, and the offset behind them
function Buffer:unpack(offset, format) end

--- What lies there as an array without a lock, whose elements are the block's.
---@param type multiprocessing.Type
---@param offset? integer a multiple of an element's size, default 0
---@param count? integer elements, default as many as there is room for
---@return multiprocessing.RawArray
---@nodiscard
function Buffer:view(type, offset, count) end

--- A list in a block of shared memory: as many slots as it was made with, each of
--- which holds nil, a boolean, an integer, a float or a string. `l[i]` counts from
--- 1, or from the end if i is negative; another index is an error, and so is what
--- does not fit. A slot made for a string of n bytes holds up to
--- 8 * (n // 8 + 1); any other up to 8. `#l` slots; `pairs(l)` goes over all.
---
--- There is no lock. Without one a process may find an old or a new number, boolean
--- or nil, as long as only such of one type are written to the slot; of a string,
--- or when the type changes, it may find a part of each.
---@class multiprocessing.shared_memory.ShareableList
---@field shm multiprocessing.shared_memory.SharedMemory to be closed and unlinked
---@field format string what the slots hold, as CPython's struct writes it
---@field [integer] any
local ShareableList = {}

--- Makes a list, or, without a table, opens the one of that name. Raises as
--- SharedMemory, and if there is no list in the block.
---@param list? table its field n, or else its length, says how many slots
---@param name? string
---@return multiprocessing.shared_memory.ShareableList
---@nodiscard
function shared_memory.ShareableList(list, name) end

--- How many slots hold a value that is equal.
---@param value any
---@return integer
function ShareableList:count(value) end

--- The first slot that does; nil: none.
---@param value any
---@return integer?
function ShareableList:index(value) end

return shared_memory

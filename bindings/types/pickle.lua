---@meta tidelock.pickle

--- Values as strings of bytes and back. The bytes are for the same version of
--- tidelock on the same kind of machine. All calls keep the GIL, but for what
--- reduce and restore functions do.
---
--- What travels: nil, booleans, integers and floats (bit by bit), strings, tables
--- (references to one table from several places stay so, cycles too), error
--- values and error classes, `cjson.null`; objects of registered classes; Lua
--- functions with their upvalues (those that two functions share stay shared).
--- By name: modules, the C functions in them, and, if `require` finds the module,
--- its Lua functions and its classes (tables with a metatable or `__index`); the
--- standard streams. The table of globals becomes the receiver's. Handles, as
--- locks and connections, travel to a child process or through a connection
--- only. Anything else raises `PicklingError` that names the path to it:
--- `cannot pickle a userdata (FILE*) at value[2].log`.
---
--- An error class that is in a module arrives as what the module has there, if
--- `require` finds the module on both sides and the bytes are loaded with what
--- travels by name. Any other is known by its name, and by how many classes of
--- that name there were before; one that is not known is made.
---@class tidelock.pickle
local pickle = {}

pickle.PicklingError = {} -- as errors.PicklingError
pickle.UnpicklingError = {} -- as errors.UnpicklingError

--- The bytes of a value. No other thread runs meanwhile, unless a reduce function
--- lets it; a table that is changed then may raise `PicklingError`.
---@param value any
---@return string
---@nodiscard
function pickle.dumps(value) end

--- The value that the bytes stand for. Raises `UnpicklingError` for anything that
--- dumps has not made; damaged or hostile bytes take time and memory only in
--- proportion to their number, but for integer keys of a table that were chosen to
--- collide, for which Lua itself takes long: about 1 s for 300 KB. Without
--- `functions` the bytes may come from anybody: they cannot contain functions,
--- modules, or anything else by name, and no code runs but the restore functions of
--- registered classes. With it they must come from somebody whom one trusts with
--- everything.
---@param bytes string
---@param options? {functions: boolean} functions: load functions, and what travels by name
---@return any
---@nodiscard
function pickle.loads(bytes, options) end

--- Makes the objects with a metatable travel, under a name that stands for it on
--- the other side, where it must have been registered, too. A table without
--- `reduce` travels with its fields, its metatable is set when they are there.
--- Else `reduce(object)` returns any values, and `restore(...)` makes an object of
--- them on the other side; they may not contain the object itself. What restore
--- raises, loads raises; when it returns nil, UnpicklingError. Registering a name
--- again replaces its metatable. Raises if the metatable has another name.
---@param name string
---@param metatable table
---@param functions? {reduce: function, restore: function} both or none
function pickle.register(name, metatable, functions) end

return pickle

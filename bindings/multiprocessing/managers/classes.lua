--- The metatables of proxies. A process that may receive one must know them
--- before; what they do, proxies.lua tells, which is loaded when there is one.
local pickle = require("tidelock.pickle")

local classes = {}

local NAMES = { "Array", "Barrier", "Condition", "Dict", "Event", "Iterator", "List", "Lock",
  "Namespace", "Object", "Queue", "Semaphore", "Value" }

local function proxies() return require("tidelock.multiprocessing.managers.proxies") end

local function restore(...) return proxies().restore(...) end

for _, name in ipairs(NAMES) do
  local meta = { __name = "multiprocessing.managers." .. name .. "Proxy" }
  classes[name] = meta
  pickle.register(meta.__name, meta, {
    reduce = function(proxy) return proxies().reduce(proxy) end,
    restore = restore,
  })
end

--- What a server answers with in place of a new proxy: the arguments of restore.
classes.Given = { __name = "multiprocessing.managers.Given" }
pickle.register(classes.Given.__name, classes.Given, {
  reduce = function(given) return table.unpack(given, 1, given.n) end,
  restore = restore,
})

return classes

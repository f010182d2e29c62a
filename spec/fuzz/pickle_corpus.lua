--- Writes the inputs that pickle_fuzz begins with into pickle_fuzz_corpus:
-- tidelock spec/fuzz/pickle_corpus.lua
local errors = require("errors")
local pickle = require("pickle")
local sessions = require("tidelock.multiprocessing.managers.sessions")

local folder = arg[0]:match("^(.*)corpus%.lua$") .. "fuzz_corpus/"

local Plain, Reduced = {}, {}
pickle.register("Plain", Plain)
pickle.register("Reduced", Reduced, {
  reduce = function(r) return table.unpack(r) end,
  restore = function(...) return { ... } end,
})

local many = {}
for i = 1, 300 do many["k" .. i] = i end
local cycle = { 1, 2 }
cycle.self, cycle[cycle] = cycle, cycle
local Known = errors.class("corpus.Known")
local objects = {}
for i = 1, 300 do objects[i] = { i } end
for i = 1, 300 do objects[300 + i] = objects[i] end

local function upvalues()
  local a, b = 1, 2
  return { function() a = a + b end, function() return a end }
end

local values = {
  scalars = { true, false, 0, 127, -1, 200, 70000, -70000, 1 << 40, 0.5, 1 / 3, -0.0, "", "short",
    ("long"):rep(20), ("longer"):rep(200), [1.5] = 1, [true] = 2 },
  pairs = many,
  holes = { 1, nil, 3, nil, n = 5 },
  gaps = { [1] = 1, [2] = 2, [4] = 4, [8] = 8, [16] = 16, [32] = 32, [64] = 64, [128] = 128,
    [256] = 256 },
  cycle = cycle,
  keys = { [{}] = {}, [{ 1 }] = 1 },
  plain = { setmetatable({ 1, x = {} }, Plain), setmetatable({}, Plain) },
  reduced = { setmetatable({ 1, setmetatable({ "in" }, Reduced) }, Reduced) },
  errors = { errors.Empty, errors.new(errors.TimeoutError, "late"), errors.new(Known, "x"),
    errors.new(sessions.RemoteError, "far") },
  objects = objects,
  functions = upvalues(),
  named = { string, string.format, print, _G, io.stdout },
}
for name, value in pairs(values) do
  local file <close> = assert(io.open(folder .. name, "wb"))
  file:write(pickle.dumps(value))
end

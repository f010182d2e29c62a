-- Program start: the host with an empty chunk, alternating with stock Lua.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")

local emit = _bench.emitter("start")

-- The host's own command line, up to this script: arg[-n] .. arg[-1].
local first = 0
while arg[first - 1] do first = first - 1 end

local runs = _bench.scaled(300, 10)
local report = _bench.output_of(string.format("%s --runs %d -- '%s' -e '' -- lua5.4 -e ''",
                                              _bench.c_tool("alternate"), runs, arg[first]))
emit("start", _bench.field(report, "first_ms"), "ms", "lower")
emit("start_vs_lua", _bench.field(report, "ratio"), "x of lua5.4", "lower")

"""Program start: the interpreter with an empty program, alternating with stock Lua."""
import json
import subprocess
import sys

from _bench import c_tool, emitter, scaled

emit = emitter("start")

out = subprocess.run([c_tool("alternate"), "--runs", str(scaled(60, 10)),
                      "--", sys.executable, "-c", "",
                      "--", "lua5.4", "-e", ""],
                     stdout=subprocess.PIPE, check=True).stdout
report = json.loads(out)
emit("start", report["first_ms"], "ms", "lower")
emit("start_vs_lua", report["ratio"], "x of lua5.4", "lower")

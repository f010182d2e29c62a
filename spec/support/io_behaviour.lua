--- What the io and os libraries do, printed: the same in the host and in lua5.4.
-- Standard output is a pipe or a file; nothing waits.
local function show(tag, ...)
  local t = table.pack(...)
  for i = 1, t.n do t[i] = (tostring(t[i]):gsub("0x%x+", "PTR"):gsub("/tmp/lua_%w+","TMP")) end
  io.stdout:write(tostring(tag), ": ", table.concat(t, " | "), "\n")
end
local function try(tag, f, ...) show(tag, pcall(f, ...)) end
local name = os.tmpname()
local f = assert(io.open(name, "w"))
show("write", io.type(f), f:write("alpha\n", 12, " ", 1.5, " ", 1.0, " 0x1p4 -7e-2 +.5 nan\n\nlast") == f)
show("seek", f:seek(), f:seek("set", 2), f:seek("cur", 3), f:seek("end"))
show("close", f:close()); try("closed", f.write, f, "x"); show("type", io.type(f), tostring(f))
try("closed2", f.close, f)
for _, fmt in ipairs { {"l"}, {"L"}, {"a"}, {"n"}, {3}, {0}, {"l","n","n","n","n","n","n","l","L","l","l"}, {"a","a","l"}, {"*l","*L"}, {"a",0}, {100000}, {"l","x"}, {{}}, {2.5}, {"n","n"}, {"xx"}, {1,2,3,4,5,6,7,8,9,10,11} } do
  local f = io.open(name)
  try("read "..table.concat({type(fmt[1])=="table" and "tab" or table.unpack(fmt)}, ","), f.read, f, table.unpack(fmt))
  show(" at", f:seek()); f:close()
end
try("noread", function() local f = io.open(name, "a") local r = table.pack(f:read()) f:close() return table.unpack(r, 1, r.n) end)
try("nowrite", function() local f = io.open(name) local r = table.pack(f:write("x")) f:close() return table.unpack(r, 1, r.n) end)
try("open", io.open, "/nonexistent/x"); try("mode", io.open, name, "rw"); try("mode2", io.open, name, "r+bx"); try("badarg", io.open)
try("lines", io.lines, "/nonexistent/x"); try("input", io.input, "/nonexistent/x")
for l in io.lines(name) do show("line", l) end
for a, b in io.lines(name, 1, "l") do show("line", a, b) end
for l in io.lines(name, "L") do show("line", l) end
try("linefmt", function() for l in io.lines(name, "x") do end end)
try("toomany", io.lines, name, table.unpack({}, 1, 251))
do local it, s, c, file = io.lines(name); show("four", type(it), s, c, io.type(file)); while it() do end show(io.type(file)); try("again", it) end
show("in", io.input(name) == io.input(), io.read("l"), io.read(2, "n"))
show(io.close(io.input())); try("defclosed", io.read)
io.input(io.stdin)
io.output(name); show(io.write("a", 1, "b") == io.output(), io.close()); try("defout", io.write, "x"); try("defout", io.flush)
io.output(io.stdout)
try("writebad", io.write, "ok ", {}, "no")
try("writebad2", io.stdout.write, io.stdout, "ok ", nil)
try("selfbad", io.stdout.write, 3); try("selfbad", io.stdout.write); try("selfbad", io.stdout.read)
try("type", io.type); show("type", io.type(1), io.type(io.stdin), tostring(io.stdout))
try("closestd", io.stdout.close, io.stdout); show(io.stdout:close())
show("setvbuf", io.stdout:setvbuf("full", 2000)); try("setvbuf", io.stdout.setvbuf, io.stdout); try("setvbuf", io.stdout.setvbuf, io.stdout, "x")
show("setvbuf", io.stdout:setvbuf("line")); io.stdout:setvbuf("full")
try("seekbad", io.stdout.seek, io.stdout, "x"); try("seekbad", io.stdout.seek, io.stdout, "set", 1.5)
local t = io.tmpfile(); t:write("one\ntwo\n"); t:seek("set"); show("tmp", t:read("a", "a", "l")); show(t:seek("set", -1)); t:close()
show("exec", os.execute("exit 3")); show("exec", os.execute("kill -9 $$")); show("exec", os.execute("true")); show("exec", os.execute())
try("exec", os.execute, {})
local p = io.popen("echo hello; cat; exit 5 </dev/null", "r"); show("popen", p:read("l")); p:close()
local p = io.popen("printf 'a b\\n12 0x10 zz\\nend'; exit 5"); show("popen", io.type(p), p:read("l", "n", "n", "l", "a")); show("popen", p:read("a"), p:read("l")); show("popen", p:close())
local p = io.popen("kill -15 $$"); show("popen", p:read("a")); show("popen", p:close())
try("popen", io.popen, "true", "rw"); try("popen", io.popen); 
local p = io.popen("cat >"..name, "w"); show("popenw", p:write("x", 1, "\n") == p, p:flush()); show(p:seek()); try("readw", p.read, p); show(p:close()); 
for l in io.lines(name) do show("got", l) end
for l in io.popen("seq 1 5"):lines("n") do show("n", l) end
local p = io.popen("seq 1 100000"); local n = 0; for l in p:lines() do n = n + #l end show("sum", n, p:close())
local p = io.popen("head -c 300000 /dev/zero"); show("big", #p:read(200000), #p:read("a"), p:read("a"), p:read("l"), p:read(0)); show(p:close())
local f = io.open("/dev/full", "w"); show("full", f:write("x"), f:flush()); show(f:close())
local f = io.open("/dev/full", "w"); f:setvbuf("no"); show("full", f:write("x")); show(f:close())
local f = io.open("/dev/null", "r+"); show("null", f:read("a", "l"), f:write("z") == f, f:seek("cur")); f:close()
local f = io.open("/"); show("dir", f and f:read("a")); show("dir", f and f:read("l")); try("dirlines", function() for l in io.lines("/") do end end)
local f = io.open(name, "w+"); f:write("abc\ndef"); f:seek("set", 1); show(f:read("l")); f:seek("cur", 0); f:write("XY"); f:seek("set"); show(f:read("a")); f:close()
local f = io.open(name, "w"); f:write(("x"):rep(100000), "\n", ("9"):rep(300), " 12\n"); f:close()
local f = io.open(name); show(#f:read("l"), f:read("n"), f:read("n"), f:read("l")); f:close()
local f = io.open(name); show(#f:read(70000), #f:read("a"), f:read("a"), f:read(1)); f:close()
do local f <close> = io.open(name) ; _G.ff = f end show(io.type(ff))
do local ok, e = pcall(function() for l in io.lines(name) do error("in loop", 0) end end) show("loop", ok, e) end
print(1, 2.0, nil, true, "x", print == print); print(); print(setmetatable({}, {__tostring = function() return "T" end}), setmetatable({}, {__name = "My"}) ~= nil)
try("print", print, setmetatable({}, {__tostring = function() return 1 end}))
show("os", os.remove(name), os.remove(name)); show(os.rename("/nonexistent/a", "/nonexistent/b"))
show(getmetatable(io.stdin).__name, getmetatable(io.stdin).__index.read ~= nil)
print(pcall(print, setmetatable({}, {__tostring = function() error("e",0) end})))
print(("y"):rep(2000))
io.write("tail without newline")

--- What the io and os libraries do, printed: the same in the host and in lua5.4.
-- Standard output is a pipe or a file; nothing waits.

local function show(tag, ...)
  local values = table.pack(...)
  for i = 1, values.n do
    local text = tostring(values[i]):gsub("0x%x+", "PTR")
    values[i] = text:gsub("/tmp/lua_%w+", "TMP")
  end
  io.stdout:write(tostring(tag), ": ", table.concat(values, " | "), "\n")
end

local function try(tag, f, ...)
  show(tag, pcall(f, ...))
end

local name = os.tmpname()

-- A file is written, closed, and used all the same.
do
  local file = assert(io.open(name, "w"))
  local rest = " 0x1p4 -7e-2 +.5 nan\n\nlast"
  show("write", io.type(file), file:write("alpha\n", 12, " ", 1.5, " ", 1.0, rest) == file)
  show("seek", file:seek(), file:seek("set", 2), file:seek("cur", 3), file:seek("end"))
  show("close", file:close())
  try("closed", file.write, file, "x")
  show("type", io.type(file), tostring(file))
  try("closed2", file.close, file)
end

-- The formats of read, and where each leaves the file.
local formats = {
  { "l" },
  { "L" },
  { "a" },
  { "n" },
  { 3 },
  { 0 },
  { "l", "n", "n", "n", "n", "n", "n", "l", "L", "l", "l" },
  { "a", "a", "l" },
  { "*l", "*L" },
  { "a", 0 },
  { 100000 },
  { "l", "x" },
  { {} },
  { 2.5 },
  { "n", "n" },
  { "xx" },
  { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 },
}

for _, format in ipairs(formats) do
  local file = io.open(name)
  local first = type(format[1]) == "table" and "tab" or format[1]
  try("read " .. first, file.read, file, table.unpack(format))
  show(" at", file:seek())
  file:close()
end

-- Files that are open for the other direction only.
try("noread", function()
  local file = io.open(name, "a")
  local results = table.pack(file:read())
  file:close()
  return table.unpack(results, 1, results.n)
end)
try("nowrite", function()
  local file = io.open(name)
  local results = table.pack(file:write("x"))
  file:close()
  return table.unpack(results, 1, results.n)
end)

-- What cannot be opened.
try("open", io.open, "/nonexistent/x")
try("mode", io.open, name, "rw")
try("mode2", io.open, name, "r+bx")
try("badarg", io.open)
try("lines", io.lines, "/nonexistent/x")
try("input", io.input, "/nonexistent/x")

-- io.lines
for line in io.lines(name) do
  show("line", line)
end
for first, rest in io.lines(name, 1, "l") do
  show("line", first, rest)
end
for line in io.lines(name, "L") do
  show("line", line)
end
try("linefmt", function()
  for _ in io.lines(name, "x") do end
end)
try("toomany", io.lines, name, table.unpack({}, 1, 251))
do
  local iterator, state, control, file = io.lines(name)
  show("four", type(iterator), state, control, io.type(file))
  while iterator() do end
  show(io.type(file))
  try("again", iterator)
end

-- The default files.
show("in", io.input(name) == io.input(), io.read("l"), io.read(2, "n"))
show(io.close(io.input()))
try("defclosed", io.read)
io.input(io.stdin)
io.output(name)
show(io.write("a", 1, "b") == io.output(), io.close())
try("defout", io.write, "x")
try("defout", io.flush)
io.output(io.stdout)
try("writebad", io.write, "ok ", {}, "no")
try("writebad2", io.stdout.write, io.stdout, "ok ", nil)

-- Wrong arguments of methods, and the standard files.
try("selfbad", io.stdout.write, 3)
try("selfbad", io.stdout.write)
try("selfbad", io.stdout.read)
try("type", io.type)
show("type", io.type(1), io.type(io.stdin), tostring(io.stdout))
try("closestd", io.stdout.close, io.stdout)
show(io.stdout:close())
show("setvbuf", io.stdout:setvbuf("full", 2000))
try("setvbuf", io.stdout.setvbuf, io.stdout)
try("setvbuf", io.stdout.setvbuf, io.stdout, "x")
show("setvbuf", io.stdout:setvbuf("line"))
io.stdout:setvbuf("full")
try("seekbad", io.stdout.seek, io.stdout, "x")
try("seekbad", io.stdout.seek, io.stdout, "set", 1.5)
do
  local file = io.tmpfile()
  file:write("one\ntwo\n")
  file:seek("set")
  show("tmp", file:read("a", "a", "l"))
  show(file:seek("set", -1))
  file:close()
end

-- os.execute
show("exec", os.execute("exit 3"))
show("exec", os.execute("kill -9 $$"))
show("exec", os.execute("true"))
show("exec", os.execute())
try("exec", os.execute, {})

-- io.popen
do
  local pipe = io.popen("echo hello; cat; exit 5 </dev/null", "r")
  show("popen", pipe:read("l"))
  pipe:close()
end
do
  local pipe = io.popen("printf 'a b\\n12 0x10 zz\\nend'; exit 5")
  show("popen", io.type(pipe), pipe:read("l", "n", "n", "l", "a"))
  show("popen", pipe:read("a"), pipe:read("l"))
  show("popen", pipe:close())
end
do
  local pipe = io.popen("kill -15 $$")
  show("popen", pipe:read("a"))
  show("popen", pipe:close())
end
try("popen", io.popen, "true", "rw")
try("popen", io.popen)
do
  local pipe = io.popen("cat >" .. name, "w")
  show("popenw", pipe:write("x", 1, "\n") == pipe, pipe:flush())
  show(pipe:seek())
  try("readw", pipe.read, pipe)
  show(pipe:close())
end
for line in io.lines(name) do
  show("got", line)
end
for number in io.popen("seq 1 5"):lines("n") do
  show("n", number)
end
do
  local pipe = io.popen("seq 1 100000")
  local sum = 0
  for line in pipe:lines() do
    sum = sum + #line
  end
  show("sum", sum, pipe:close())
end
do
  local pipe = io.popen("head -c 300000 /dev/zero")
  show("big", #pipe:read(200000), #pipe:read("a"), pipe:read("a"), pipe:read("l"), pipe:read(0))
  show(pipe:close())
end

-- Devices and folders.
do
  local file = io.open("/dev/full", "w")
  show("full", file:write("x"), file:flush())
  show(file:close())
end
do
  local file = io.open("/dev/full", "w")
  file:setvbuf("no")
  show("full", file:write("x"))
  show(file:close())
end
do
  local file = io.open("/dev/null", "r+")
  show("null", file:read("a", "l"), file:write("z") == file, file:seek("cur"))
  file:close()
end
do
  local folder = io.open("/")
  show("dir", folder and folder:read("a"))
  show("dir", folder and folder:read("l"))
  try("dirlines", function()
    for _ in io.lines("/") do end
  end)
end

-- Reads and writes in turn, and reads longer than any buffer.
do
  local file = io.open(name, "w+")
  file:write("abc\ndef")
  file:seek("set", 1)
  show(file:read("l"))
  file:seek("cur", 0)
  file:write("XY")
  file:seek("set")
  show(file:read("a"))
  file:close()
end
do
  local file = io.open(name, "w")
  file:write(("x"):rep(100000), "\n", ("9"):rep(300), " 12\n")
  file:close()
end
do
  local file = io.open(name)
  show(#file:read("l"), file:read("n"), file:read("n"), file:read("l"))
  file:close()
end
do
  local file = io.open(name)
  show(#file:read(70000), #file:read("a"), file:read("a"), file:read(1))
  file:close()
end

-- A file is closed at the end of its scope; a loop passes an error on.
do
  local file
  do
    local held <close> = io.open(name)
    file = held
  end
  show(io.type(file))
end
do
  local ok, message = pcall(function()
    for _ in io.lines(name) do
      error("in loop", 0)
    end
  end)
  show("loop", ok, message)
end

-- print
local function shown_by(tostring_of)
  return setmetatable({}, { __tostring = tostring_of })
end

print(1, 2.0, nil, true, "x", print == print)
print()
print(shown_by(function() return "T" end), setmetatable({}, { __name = "My" }) ~= nil)
try("print", print, shown_by(function() return 1 end))

show("os", os.remove(name), os.remove(name))
show(os.rename("/nonexistent/a", "/nonexistent/b"))
show(getmetatable(io.stdin).__name, getmetatable(io.stdin).__index.read ~= nil)
print(pcall(print, shown_by(function() error("e", 0) end)))
print(("y"):rep(2000))
io.write("tail without newline")

-- The standard libraries are lua5.4's: the same scripts are given to both.
local differential = require("support.differential")

local TestLibraries = {}

differential.add(TestLibraries, {
  PrintUsesTostring = { script = [[
    print() print(nil, true, 1, 1.0, 'x') print('a\0b')
    print(setmetatable({}, {__tostring = function() return 'T' end}))
    print(pcall(print, setmetatable({}, {__tostring = function() return {} end})))
    print(pcall(print, setmetatable({}, {__tostring = function() error('t') end})))
    print(setmetatable({}, {__name = 'Name'}))
    tostring = nil print(1)
    print(select('#', print()))]], shows = "Name" },
  Files = { script = [[
    local name = os.tmpname()
    local f = assert(io.open(name, 'w'))
    print(io.type(f), io.type(io.stdout), io.type(1), tostring(f):match('^file %('))
    print(f:write('one\n', 2, '\n', 3.5, '\nlast') == f, f:seek(), f:seek('set', 1))
    print(f:seek('end'), f:setvbuf('full', 1024), f:flush() == f, f:close())
    print(io.type(f), tostring(f), pcall(f.write, f, 'x')) print(pcall(f.close, f))
    print(pcall(io.close)) f = io.open(name)
    print(f:read()) print(f:read('n', 'n')) print(f:read('l', 'L', 'a', 'a', 'l'))
    print(f:seek('set'), f:read(0), f:read(3), f:read(100), f:read(0), f:read(1))
    f:seek('set') for l in f:lines() do io.write('[', l, ']') end print(f:read())
    f:seek('set') for a, b in f:lines(1, 'l') do io.write(a, '|', tostring(b), ' ') end
    print() print(f:write('x')) f:close()
    for l in io.lines(name, 'L') do io.write(l) end print()
    for n in io.lines(name, 2) do io.write(n, '.') end print()
    print(pcall(io.lines, name, 'x')) print(pcall(function()
      for l in io.lines(name) do error('out', 0) end end))
    print(io.open('/none/x')) print(io.open('/none/x', 'w')) print(pcall(io.open, name, 'rz'))
    print(pcall(io.open)) print(io.open('/')) print(io.open('/'):read(1))
    print(pcall(io.lines, '/none/x')) print(pcall(io.input, '/none/x'))
    io.output(name) io.write('default') print(io.output() ~= io.stdout) io.close()
    print(pcall(io.write, 'x')) io.output(io.stdout)
    io.input(name) print(io.read('a'), io.read('a'), io.read()) print(io.close(io.input()))
    print(pcall(io.read)) io.input(io.stdin) print(io.input() == io.stdin)
    f = io.open(name, 'a+') f:write('!') f:seek('set') print(f:read('a')) f:close()
    f = io.open(name, 'r+') f:write('D') f:seek('set') print(f:read('a')) f:close()
    f = io.open(name, 'w') f:write('1 -0x1F 1e2 nan .5 0x.8p1 99999999999999999999 x') f:close()
    f = io.open(name) print(f:read('n', 'n', 'n', 'n')) print(f:read('l')) f:close()
    do local g <close> = io.open(name) f = g end print(io.type(f))
    print(pcall(f.read, f)) print(pcall(io.type)) print(pcall(f.seek, io.stdin, 'x'))
    print(pcall(io.stdout.setvbuf, io.stdout, 'x')) print(pcall(io.read, 'x'))
    print(pcall(io.stdout.read, {})) print(getmetatable(io.stdout).__name)
    local t = io.tmpfile() t:write('tmp') t:seek('set') print(t:read('a')) t:close()
    print(os.remove(name)) print(os.remove(name)) print(os.rename('/none/a', '/none/b'))]] },
  Pipes = { script = [[
    local p = io.popen('printf "a\\nb"') print(io.type(p), p:read('a'), p:close())
    p = io.popen('exit 3') print(p:close()) p = io.popen('kill -9 $$') print(p:close())
    p = io.popen('cat', 'w') p:write('through cat\n') print(p:close())
    p = io.popen('cat', 'w') p:setvbuf('no') p:write('at once\n') p:close()
    print(pcall(io.popen, 'x', 'rw')) print(pcall(io.popen)) print(pcall(p.read, p))
    for l in io.popen('printf "1\\n2\\n"'):lines() do print(l) end
    print(tostring(p), io.popen('true'):read())
    print(io.popen('cat <&0 | wc -c'):read('n'))]], stdin = "12345" },
  System = { script = [[
    print(os.execute()) print(os.execute('exit 0')) print(os.execute('exit 7'))
    print(os.execute('kill -15 $$')) print(os.execute('echo out; echo err >&2'))
    print(os.execute('no-such-command-here 2>/dev/null'))
    print(os.getenv('HOME') ~= nil, os.getenv('NO_SUCH_VARIABLE'))
    print(os.time({year = 2024, month = 2, day = 30, hour = 12}))
    print(os.date('!%Y-%m-%d %H:%M:%S', 86400)) print(os.date('!*t', 0).year)
    print(pcall(os.date, '%Ez')) print(pcall(os.date, '%Q')) print(pcall(os.time, {}))
    print(os.difftime(5, 3), math.type(os.clock()), math.type(os.time()))
    print(os.setlocale()) print(os.setlocale('no-such-locale'))
    print(pcall(os.setlocale, 'C', 'x')) print(os.remove(os.tmpname()))
    print(pcall(os.remove)) print(pcall(os.rename, 'x')) print(pcall(os.exit, 'x'))
    print(pcall(os.execute, {})) print(pcall(os.getenv))]] },
  Packages = { env = { LUA_PATH = "DIR/?.lua;DIR/?/init.lua" }, files = {
    ["a.lua"] = "print(...) return {name = ...}",
    ["nothing.lua"] = "print('loaded')",
    ["no.lua"] = "return false",
    ["bad.lua"] = "x =",
    ["loop.lua"] = "return require 'loop2'",
    ["loop2.lua"] = "local l = package.loaded.loop return l or 'second'",
  }, args = { "DIR/s.lua" }, script = [[
    print(require('a').name, select('#', require('a')), select(2, require('a')))
    print(require('nothing')) print(require('nothing')) print(require('no'))
    print(pcall(require, 'bad')) print(pcall(require, 'none')) print(pcall(require))
    print(require('loop')) print(pcall(require, {}))
    package.preload.made = function(...) print(...) return 'preloaded' end
    print(require('made')) print(package.searchpath('a', package.path))
    print(package.searchpath('x.y', './?.lua;?/x', '.', '/'))
    print(package.searchpath('a-b', '?;!', '-', '_'))
    print(package.loadlib('/none.so', '*')) print(package.loadlib('/none.so', 'f'))
    package.path = nil print(pcall(require, 'b')) package.path = 'x'
    package.searchers = nil print(pcall(require, 'b'))]],
    shows = "preloaded" },
  SearchersInOrder = { script = [[
    package.path, package.cpath = '?.none', '?.nothing'
    table.insert(package.searchers, 2, function(name)
      if name == 'special' then return function(...) print(...) return 1 end, 'extra' end
      return '\n\tnot special' end)
    print(require('special')) print(pcall(require, 'other'))
    package.searchers[2] = function() end print(pcall(require, 'other'))
    package.searchers[2] = function() error('searcher') end
    print(pcall(require, 'other'))]], shows = "not special" },
  Sorting = { script = [[
    local t = {5, 2, 8, 1} table.sort(t) print(table.concat(t, ' '))
    table.sort(t, function(a, b) return a > b end) print(table.concat(t, ' '))
    print(pcall(table.sort, {1, 'x'})) print(pcall(table.sort, {3, 2, 1, 4, 5, 6},
      function() return true end))
    print(pcall(table.insert, {1}, 5, 1)) print(table.move({1, 2, 3}, 1, 3, 2)[3])]] },
  Randomness = { script = [[
    math.randomseed(42) local a = math.random(1000) math.randomseed(42)
    print(a == math.random(1000), a, math.random(0) ~= nil)]] },
})

return { TestLibraries = TestLibraries }

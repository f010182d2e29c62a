-- The language is lua5.4's: the same scripts are given to both.
local differential = require("support.differential")

local TestLanguage = {}

differential.add(TestLanguage, {
  Tracebacks = { script = [[
    print(debug.traceback())
    print(debug.traceback('message'))
    print(debug.traceback('message', 0))
    print(debug.traceback(nil, 1), debug.traceback({}) ~= nil)
    print(debug.traceback(12))
    local function inner() print(debug.traceback('in', 1)) end
    local function outer() inner() end
    outer()
    table.sort({1, 2}, function(a, b) outer() return a < b end)
    string.gsub('x', 'x', function() outer() end)
    pcall(outer)
    xpcall(outer, print)
    setmetatable({}, {__index = function() outer() end}).x = nil
    local t = setmetatable({}, {__add = function() outer() return 1 end})
    print(t + 1)
    for _ in function() outer() end do end
    do local c <close> = setmetatable({}, {__close = outer}) end
    load("return debug.traceback()", "=loaded")()]], shows = "in upvalue 'inner'"
  },
  TracebacksOfCoroutines = { script = [[
    local co = coroutine.create(function(a)
      local function deep(n)
        if n == 0 then coroutine.yield(debug.traceback()) error('died') end
        deep(n - 1)
      end
      deep(3)
    end)
    print(debug.traceback(co))
    print(coroutine.resume(co))
    print(debug.traceback(co)) print(debug.traceback(co, 'm'))
    print(debug.traceback(co, 'm', 1)) print(debug.traceback(co, nil, 2))
    print(coroutine.resume(co)) print(debug.traceback(co, 'dead'))
    print(coroutine.resume(co))
    coroutine.wrap(function() print(debug.traceback('wrapped')) end)()
    coroutine.wrap(function()
      pcall(function() coroutine.wrap(function() error('twice') end)() end)
      print(xpcall(coroutine.wrap(function() error('thrice') end),
        debug.traceback))
    end)()]] },
  Coroutines = { script = [[
    print(coroutine.running()) print(coroutine.isyieldable())
    local co = coroutine.create(function(...)
      print('start', ...)
      print(select(2, coroutine.running()), coroutine.isyieldable())
      print('again', coroutine.yield(1, nil, 3))
      print(pcall(coroutine.yield, 'from pcall'))
      print(xpcall(function() error(coroutine.yield('from xpcall')) end,
        function(m) return 'handled ' .. m end))
      return 'end', nil
    end)
    print(coroutine.status(co), coroutine.isyieldable(co))
    print(coroutine.resume(co, 'a', nil))
    print(coroutine.status(co), coroutine.isyieldable(co))
    print(coroutine.resume(co, 'b')) print(coroutine.resume(co, 'c'))
    print(coroutine.resume(co, 'd')) print(coroutine.status(co))
    print(coroutine.resume(co)) print(coroutine.close(co))
    print(pcall(coroutine.resume)) print(pcall(coroutine.resume, 1))
    print(pcall(coroutine.create)) print(pcall(coroutine.create, 1))
    print(pcall(coroutine.wrap, {})) print(pcall(coroutine.status))
    print(pcall(coroutine.isyieldable, 1)) print(pcall(coroutine.close, 1))
    print(pcall(coroutine.yield, 1)) print(coroutine.resume(coroutine.running()))
    print(pcall(coroutine.close, coroutine.running()))]],
    shows = "cannot resume non-suspended coroutine" },
  CoroutinesInsideCoroutines = { script = [[
    local outer
    outer = coroutine.create(function()
      local inner = coroutine.create(function()
        print(coroutine.status(outer), coroutine.resume(outer))
        print(pcall(coroutine.close, outer))
        coroutine.yield('inner')
      end)
      print(coroutine.resume(inner))
      print(coroutine.status(inner))
      coroutine.yield('outer')
      print(coroutine.resume(inner))
    end)
    print(coroutine.resume(outer)) print(coroutine.resume(outer))
    print(coroutine.status(outer))
    local function generate(n)
      return coroutine.wrap(function()
        for i = 1, n do
          coroutine.yield(i)
          for j in n > 1 and generate(n - 1) or function() end do
            coroutine.yield(i * 10 + j)
          end
        end
      end)
    end
    for i in generate(3) do io.write(i, ' ') end print()]] },
  CoroutinesWrapped = { script = [[
    local f = coroutine.wrap(function(a) local b = coroutine.yield(a + 1)
      error('oops ' .. b) end)
    print(f(1)) print(pcall(f, 'x')) print(pcall(f))
    print(pcall(coroutine.wrap(function() error({}) end)) == false)
    print(pcall(coroutine.wrap(function() error(nil) end)))
    print(pcall(coroutine.wrap(function() local x <close> =
      setmetatable({}, {__close = function(_, e) print('close', e) end})
      error('e', 0) end)))
    print(select('#', coroutine.wrap(function() return nil, nil end)()))
    local rec rec = coroutine.wrap(function() return pcall(rec) end)
    print(rec())]] },
  CoroutinesClosed = { script = [[
    local function with(close, body)
      return coroutine.create(function()
        local a <close> = setmetatable({}, {__close = function(_, e)
          print('a', e) end})
        local b <close> = setmetatable({}, {__close = close})
        body() end)
    end
    local co = with(function(_, e) print('b', e) end, coroutine.yield)
    print(coroutine.resume(co)) print(coroutine.close(co))
    print(coroutine.status(co)) print(coroutine.close(co))
    co = with(function() error('in close', 0) end, coroutine.yield)
    print(coroutine.resume(co)) print(coroutine.close(co))
    print(coroutine.close(co))
    co = with(function(_, e) coroutine.yield('closing') print('b', e) end,
      function() error('body', 0) end)
    print(coroutine.resume(co)) print(coroutine.resume(co))
    print(coroutine.status(co)) print(coroutine.close(co))
    print(coroutine.close(coroutine.create(print)))
    co = with(print, function() coroutine.yield() end)
    coroutine.resume(co)
    coroutine.wrap(function() print(coroutine.close(co)) end)()]] },
  CoroutinesAcrossC = { script = [[
    local function try(f) print(coroutine.resume(coroutine.create(f))) end
    try(function() table.sort({3, 2, 1}, coroutine.yield) end)
    try(function() ('x'):gsub('x', coroutine.yield) end)
    try(function() load(coroutine.yield) end)
    try(function() tostring(setmetatable({}, {__tostring = coroutine.yield})) end)
    try(function() return setmetatable({}, {__index = function(_, k)
      return coroutine.yield(k) end}).key end)
    try(function() for i in coroutine.yield, 'iterator' do end end)
    try(function() require('nothing.to.be.found') end)
    try(function() dofile('/dev/null') coroutine.yield('dofile') end)
    try(function() return select(2, pcall(pcall, pcall, coroutine.yield, 1)) end)
    local co = coroutine.wrap(function() return pcall(pcall, error, 'e') end)
    print(co())
    local function deep(n) return coroutine.wrap(function()
      if n == 0 then return 0 end return 1 + deep(n - 1)() end) end
    print(deep(100)())
    print(pcall(deep(250)))
    local function pc(n) if n == 0 then return 'bottom' end
      return select(2, pcall(pc, n - 1)) end
    print(pc(150))]], shows = "C stack overflow" },
  StackOverflows = { script = [[
    local function first(m) return (tostring(m):match('^[^\n]*')) end
    local function f() return 1 + f() end
    print(first(select(2, pcall(f))))
    local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k)
      return t[k] end
    print(first(select(2, pcall(function() return t.x end))))
    local function s() return ('x'):gsub('x', s) end
    print(first(select(2, pcall(s))))
    local function p() return pcall(p) end
    print(p())
    print(first(select(2, xpcall(f, function(m) return f() end))))
    print(first(select(2, load(('('):rep(300) .. '1' .. (')'):rep(300)))))
    local c c = function() return coroutine.wrap(c)() end
    print(first(select(2, pcall(c))))
    print(first(select(2, pcall(string.rep, 'x', -1))))
    print(pcall(table.unpack, {}, 1, 1e7))]], shows = "stack overflow" },
  UncaughtStackOverflow = { script = "local function f() return 1 + f() end f()",
    shows = "stack overflow" },
  ProtectedCalls = { script = [[
    print(pcall()) print(pcall(nil)) print(pcall(1)) print(pcall(error))
    print(pcall(error, nil)) print(pcall(error, 'm', 0)) print(pcall(error, 'm'))
    print(pcall(function(...) return select('#', ...), ... end, nil, nil))
    print(pcall(setmetatable({}, {__call = function(_, a) return a end}), 5))
    print(pcall(xpcall)) print(pcall(xpcall, print)) print(pcall(xpcall, 1, 2))
    print(xpcall(print, print, 'argument'))
    print(xpcall(error, function(m) return m, 'lost' end, 'm'))
    print(xpcall(error, function(m) error('again') end, 'm'))
    print(xpcall(error, 1, 'm')) print(xpcall(error, debug.traceback, 'm', 0))
    print(xpcall(function() local x = 1 + nil end, function(m)
      return debug.traceback(m, 2) end))
    print(xpcall(error, setmetatable({}, {__call = function(_, m)
      return 'called ' .. m end}), 'm'))
    print(select('#', pcall(error)))
    print(pcall(pcall)) print(pcall(pcall, error)) print(assert(1, 2, 3))
    print(pcall(assert, nil)) print(pcall(assert, false, {1} ~= nil))
    print(pcall(assert)) print(pcall(assert, nil, 'because'))
    print(pcall(string.rep)) print(pcall(('x').bad)) print(pcall(('x').rep, 'x', {}))
    print(pcall(setmetatable, 1)) print(pcall(ipairs)) print(pcall(next, {}, 1))
    print(pcall(rawset, {}, nil, 1)) print(pcall(io.lines, '/none'))]] },
  LineHooks = { script = [[
    local trace = {}
    debug.sethook(function(e, l) trace[#trace + 1] = e .. ' ' .. l end, 'l')
    local x = 1
    for i = 1, 3 do
      x = x + i
    end
    local function f(a)
      return a
    end
    f(x) f(x)
    coroutine.wrap(function()
      x = 2
    end)()
    debug.sethook()
    print(table.concat(trace, '\n'))]], shows = "line 5" },
  CallHooks = { script = [[
    local trace = {}
    local function hook(e, l)
      local i = debug.getinfo(2, 'nSlt')
      trace[#trace + 1] = table.concat({e, tostring(i.name), i.what,
        i.currentline, tostring(i.istailcall)}, ' ')
    end
    local function g(n) if n == 0 then return 0 end return g(n - 1) end
    local co = coroutine.wrap(function() debug.sethook(hook, 'cr')
      g(1) coroutine.yield(1) g(0) debug.sethook() end)
    debug.sethook(hook, 'cr')
    g(2)
    math.max(1, 2)
    pcall(error)
    string.gsub('ab', '.', function(c) return c end)
    co() co()
    for k in pairs({1}) do end
    debug.sethook()
    print(table.concat(trace, '\n'))]], shows = "tail call" },
  CountHooks = { script = [[
    local function count(n, f)
      local hits = 0
      debug.sethook(function(e) assert(e == 'count') hits = hits + 1 end, '', n)
      f()
      debug.sethook()
      return hits
    end
    local function loop() for i = 1, 1000 do local x = i * 2 end end
    for _, n in ipairs{1, 2, 3, 7, 100, 1000, 5000} do print(n, count(n, loop)) end
    local lines, counts = 0, 0
    debug.sethook(function(e) if e == 'count' then counts = counts + 1
      else lines = lines + 1 end end, 'l', 10)
    loop()
    for i = 1, 10 do
      local x = i
    end
    debug.sethook()
    print(lines, counts)
    print(pcall(function()
      debug.sethook(function() error('limit') end, '', 100000)
      while true do end end))
    print(debug.gethook() ~= nil)
    debug.sethook()
    print(debug.gethook())]], shows = "limit" },
  HookSettings = { script = [[
    local function h() end
    print(debug.gethook()) debug.sethook(h, 'crl', 5)
    local f, m, c = debug.gethook() print(f == h, m, c)
    local co = coroutine.create(function() coroutine.yield() end)
    f, m, c = debug.gethook(co) print(f == h, m, c)
    debug.sethook(co, h, 'l') f, m, c = debug.gethook(co) print(f == h, m, c)
    debug.sethook(co) print(debug.gethook(co))
    f, m, c = debug.gethook() print(f == h, m, c)
    debug.sethook(h, '') print(debug.gethook())
    debug.sethook(nil, 'l') print(debug.gethook())
    print(pcall(debug.sethook, 1, 'l')) print(pcall(debug.sethook, h))
    print(pcall(debug.gethook, 1)) debug.sethook(h, 'x') print(debug.gethook())
    debug.sethook(print, 'l')
    local y = 1
    debug.sethook(h, '', -1) print(debug.gethook())]] },
  HooksOfCoroutines = { script = [[
    local log = {}
    local function hook(tag) return function(e, l) log[#log + 1] = tag .. l end end
    local co = coroutine.create(function()
      local x = 1
      coroutine.yield()
      x = 2
    end)
    debug.sethook(co, hook('co '), 'l')
    coroutine.resume(co)
    print(table.concat(log, ','))
    local late = coroutine.create(function() local x = 1 end)
    debug.sethook(hook('main '), 'l')
    coroutine.resume(co) coroutine.resume(late)
    local inherits = coroutine.create(function()
      local x = 1
    end)
    coroutine.resume(inherits)
    debug.sethook()
    print(table.concat(log, ','))]], shows = "co " },
  Info = { script = [[
    local function show(i) local keys = {}
      for k, v in pairs(i) do
        if k ~= 'func' and k ~= 'activelines' and k ~= 'nups' then
          keys[#keys + 1] = k .. '=' .. tostring(v) end end
      table.sort(keys) print(table.concat(keys, ' ')) end
    for _, f in ipairs{print, pcall, error, coroutine.resume, coroutine.wrap,
        io.read, os.exit, debug.sethook, require, string.gsub} do
      show(debug.getinfo(f)) end
    local function here() show(debug.getinfo(1)) show(debug.getinfo(2)) end
    here() pcall(here)
    print(debug.getinfo(50), pcall(debug.getinfo, 1, '>'))
    print(debug.getlocal(1, 1)) print(pcall(debug.getlocal, 60, 1))
    print(debug.getregistry() ~= nil, debug.getupvalue(here, 1))]] },
  Closing = { script = [[
    local function c(name) return setmetatable({}, {__close = function(_, e)
      print(name, e) end}) end
    do local a <close> = c('a') local b <close> = c('b') print('body') end
    print(pcall(function() local a <close> = c('a') error('e', 0) end))
    print(pcall(function() local a <close> = 1 end))
    local x <const> = 1
    for i in function(_, i) i = (i or 0) + 1 if i < 3 then return i end end,
      nil, nil, c('for') do print(i) if i == 1 then goto out end end
    ::out::
    local function tail() local a <close> = c('t') return (function() return 1
      end)() end
    print(tail())
    coroutine.wrap(function() local a <close> = c('co') coroutine.yield() end)()
    print(load('local x <close>, y <close> = 1, 2'))
    print(load('local x <const> = 1; x = 2'))]] },
  RuntimeErrors = { script = [[
    local t, s, u = {}, 'x', nil
    for _, code in ipairs{'return u.x', 'return t.a.b', 'u.x = 1', 'return u()',
      't.m()', 't:m()', 's:m()', 'return t + 1', 'return s + 1', 'return 1 .. t',
      'return t < t', 'return 1 < s', 'return #1', 'return -t', 'return 1 // 0',
      'return 1 % 0', 'return 2^53 | 1.5', 'return 1 << s', 'return ~1.5',
      'for i = 1, 10, 0 do end', 'for i = "a", 2 do end', 't[nil] = 1',
      't[0/0] = 1', 'return math.tointeger("8")', 'goto x', 'break',
      'return 0x', 'return "\\q"', 'return "abc', 'return 1 = 2', 'x y',
      'return ...', 'local function f() return f end return f()()()()',
      'return string.rep("x", 1e18, "y")', 'return ("x"):rep(1e18, "yz")',
      'error(setmetatable({}, {__tostring = function() return "T" end}))',
      'return math.random(2, 1)', 'return utf8.char(-1)', 'return table.concat{{}}',
      'return select(0)', 'return tonumber("z", 37)', 'return setmetatable({}, 1)',
      'return #setmetatable({}, {__len = error})', 'string.format("%d", 1.5)',
      'return getmetatable("").__index == string, getmetatable("").__name'} do
      local f, m = load(code, '=c', 't', setmetatable({t = t, s = s}, {__index = _G}))
      if f then print(code, pcall(f)) else print(code, m) end
    end]], shows = "attempt to index a nil value" },
  CollectorModes = { script = [[
    print(collectgarbage('incremental', 100, 200, 10))
    print(collectgarbage('generational')) print(collectgarbage('isrunning'))
    print(collectgarbage('stop'), collectgarbage('isrunning'))
    print(collectgarbage('restart'), collectgarbage('step') ~= nil)
    print(collectgarbage('setpause', 150), collectgarbage('setstepmul', 300))
    print(collectgarbage('incremental')) print(pcall(collectgarbage, 'x'))
    local weak = setmetatable({{}}, {__mode = 'v'})
    collectgarbage() print(#weak, math.type(collectgarbage('count')))
    local order = {}
    for i = 1, 5 do setmetatable({}, {__gc = function() order[#order + 1] = i end}) end
    collectgarbage() print(table.concat(order, ' '))]],
    shows = "generational" },
  Globals = { script = [[
    local function names(t) local n = {} for k, v in pairs(t) do
      n[#n + 1] = tostring(k) .. ':' .. type(v) end
      table.sort(n) return table.concat(n, ' ') end
    print(names(_G))
    for _, lib in ipairs{'string', 'table', 'math', 'io', 'os', 'coroutine',
      'utf8', 'debug', 'package'} do print(lib, names(_G[lib])) end
    print(_VERSION, _G._G == _G, package.config)
    local loaded = {} for k in pairs(package.loaded) do loaded[#loaded + 1] = k end
    table.sort(loaded) print(table.concat(loaded, ' '))
    for _, n in ipairs{'io', 'os', 'coroutine', 'debug'} do
      print(package.loaded[n] == _G[n]) end]] },
  ManualExamples = { script = [[
    -- 3.3.4, 3.3.8, 3.4.11, 3.5 and 6.4.1 of the reference manual
    local function new_thing(n) return setmetatable({}, {__close = function()
      io.write('closed ', n, '\n') end}) end
    do local a <close> = new_thing(1) local b <close> = new_thing(2) end
    local function f(...) return ... end
    local function g(a, b, ...) return a, b, ... end
    local function r() return 1, 2, 3 end
    print(g(3)) print(g(3, 4)) print(g(3, 4, 5, 8)) print(g(5, r()))
    print((f(r())), f(r()), r())
    local a = {}
    local x = 20
    for i = 1, 10 do local y = 0 a[i] = function() y = y + 1 return x + y end end
    print(a[1](), a[1](), a[2]())
    x = string.gsub('hello world', '(%w+)', '%1 %1') print(x)
    x = string.gsub('hello world', '%w+', '%0 %0', 1) print(x)
    x = string.gsub('hello world from Lua', '(%w+)%s*(%w+)', '%2 %1') print(x)
    x = string.gsub('home = $HOME, user = $USER', '%$(%w+)',
      function(v) return '<' .. v .. '>' end) print(x)
    x = string.gsub('4+5 = $return 4+5$', '%$(.-)%$', function(s)
      return load(s)() end) print(x)
    local t = {name = 'lua', version = '5.4'}
    x = string.gsub('$name-$version.tar.gz', '%$(%w+)', t) print(x)
    for k, v in string.gmatch('from=world, to=Lua', '(%w+)=(%w+)') do
      print(k, v) end
    for w in string.gmatch('one two', '%a+') do io.write(w, ';') end print()
    print(string.format('%q', 'a string with "quotes" and \n new line'))
    print(string.format('%5.2f|%-5d|%05d|%x|%s|%i', 3.14159, 42, 42, 255, {} ~= nil, 3))
    print(string.pack('<i4', 100):byte(1, -1)) print(('x'):rep(3, ','))
    print(table.concat({1, 2, 3}, ', ', 2), table.unpack({1, 2, 3}, 2))
    print(select('#', table.unpack(table.pack(nil, nil))))
    print(math.maxinteger + 1 == math.mininteger, 7 // 2, -7 // 2, 7 % -3, 2^0.5)
    print(10 / 2, 3 | 4, '10' + 5, '0x10' * 1, 1e15, 2^63, -0.0, 1/0, 0/0 ~= 0/0)
    goto done
    do print('skipped') end
    ::done:: print(load('return 1, 2')())
    print(utf8.char(72, 228, 8364, 128512), utf8.len('häß'), #utf8.charpattern)
    for p, c in utf8.codes('hä') do io.write(p, ':', c, ' ') end print()
    print(next({}), type(next), rawlen({1, 2}), rawequal('a', 'a'))
    print(tostring(1e100), 1e308 * 10, math.type(1), math.type(1.0), math.ult(1, -1))]]
  },
  Bytecode = { script = [[
    local f = load(string.dump(function(a) return a * 2 end))
    print(f(21), load(string.dump(print ~= nil and function() end), 'x', 't'))
    print(load('return 1', 'x', 'b')) print(load(function() return nil end))
    print(pcall(load, 1)) print(load(function() return {} end))
    local parts, i = {'return ', '1', ' + 1'}, 0
    print(load(function() i = i + 1 return parts[i] end)())
    print(load(function() error('reader') end))
    print(pcall(string.dump, print)) print(loadfile('/none')) print(pcall(dofile, '/none'))
    print(load('x = 1', '@file.lua', 't', {})) print(load('x =', '@file.lua'))
    print(load('x =', '=name')) print(load('x =\n\n=', 'a long text\nof lines'))]] },
})

return { TestLanguage = TestLanguage }

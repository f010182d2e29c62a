-- The program behaves as lua5.4: the same command lines, scripts, input and
-- environment are given to both, and everything that comes out is compared.
local lu = require("luaunit")
local differential = require("support.differential")

local TestProgram, TestLanguage, TestLibraries = {}, {}, {}

--- Makes a test of each case: class.test<Name>.
local function add(class, cases)
  for name, case in pairs(cases) do
    class["test" .. name] = function()
      local difference, stock = differential.compare(case)
      lu.assertNil(difference, "\n" .. (difference or ""))
      if case.shows then lu.assertStrContains(stock, case.shows) end
    end
  end
end

local BINARY = string.dump(load("print('binary', ...)", "=b"))

add(TestProgram, {
  StdinIsTheScriptWithoutArguments = {
    stdin = "print('hello', ..., #arg, arg[0] ~= nil)", shows = "hello" },
  StdinScriptFails = { stdin = "\n\nlocal x = nil + 1\n" },
  StdinScriptHasSyntaxError = { stdin = "x = = 1\n" },
  StdinWithShebang = { stdin = "#!/usr/bin/lua\nerror('line 2')" },
  StdinWithByteOrderMark = { stdin = "\xEF\xBB\xBF#!x\nprint(1)" },
  StdinWithOnlyAComment = { stdin = "# nothing" },
  StdinIsBinary = { stdin = BINARY, shows = "binary" },
  StdinIsBinaryAfterAComment = { stdin = "# x\n" .. BINARY },
  StdinIsEmpty = {},
  StdinScriptReadsNothingMore = {
    args = { "-" }, stdin = "print(io.read('a') == '', io.read())\n" },
  Dash = { args = { "-", "a", "b" }, stdin = "print(..., arg[0], #arg)",
    shows = "a\t-\t2" },
  DashAfterDashDashIsAFile = { args = { "--", "-" }, stdin = "print(1)" },
  DashDashThenScript = { args = { "--", "DIR/s.lua", "-e" },
    script = "print(arg[-1], arg[0], ...)", shows = "-e" },
  DashDashThenOptionIsAFile = { args = { "--", "-v" } },
  Version = { args = { "-v" }, stdin = "print(1)", shows = "Lua 5.4" },
  VersionThenStatement = { args = { "-v", "-e", "print(1)" } },
  VersionTwice = { args = { "-v", "-v" } },
  VersionThenScript = { args = { "-v", "DIR/s.lua" }, script = "print(1)" },
  Statement = { args = { "-e", "print(1)" }, shows = "1" },
  StatementInTheSameWord = { args = { "-eprint(2)" } },
  StatementsShareGlobals = { args = { "-e", "x = 3", "-e", "print(x)" } },
  StatementsSeeArg = {
    args = { "-e", "for i = -3, 3 do print(i, arg[i] ~= nil) end" } },
  StatementThenScript = {
    args = { "-e", "x = 4", "DIR/s.lua", "y" }, script = "print(x, ...)" },
  StatementMissing = { args = { "-e" }, shows = "needs argument" },
  StatementIsAnOption = { args = { "-e", "-v" } },
  StatementEmpty = { args = { "-e", "" } },
  StatementFailsAndEndsTheRun = {
    args = { "-e", "error('x')", "-e", "print('no')" } },
  StatementHasSyntaxError = { args = { "-e", "x =" } },
  StatementDoesNotTakeAnExpression = { args = { "-e", "1 + 1" } },
  LibraryMissingName = { args = { "-l" } },
  LibraryIsAnOption = { args = { "-l", "-v" } },
  Library = { args = { "-l", "cjson", "-e", "print(cjson.encode({1}))" },
    shows = "[1]" },
  LibraryUnderAnotherName = {
    args = { "-lj=cjson", "-e", "print(j.encode({1}), cjson)" },
    shows = "[1]\tnil" },
  LibraryNotFound = { args = { "-l", "no.such.module" }, shows = "not found" },
  LibraryFails = { args = { "-l", "m" }, env = { LUA_PATH = "DIR/?.lua" },
    files = { ["m.lua"] = "error('broken')" }, shows = "broken" },
  LibraryHasSyntaxError = { args = { "-l", "m" },
    env = { LUA_PATH = "DIR/?.lua" }, files = { ["m.lua"] = "x =" } },
  LibraryThatReturnsNothing = { args = { "-l", "m", "-e", "print(m)" },
    env = { LUA_PATH = "DIR/?.lua" }, files = { ["m.lua"] = "print(...)" } },
  WarningsAreOff = { args = { "-e", "warn('unseen')" } },
  WarningsOn = { args = { "-W", "-e", "warn('seen ', 'by all')" },
    shows = "seen by all" },
  WarningsSwitched = { args = { "-e",
    "warn('@on') warn('1') warn('@off') warn('2') warn('@on') warn('@x')" } },
  WarningsOnForFinalizers = { args = { "-W", "-e",
    "setmetatable({}, {__gc = function() error('in gc') end}) collectgarbage()"
  }, shows = "in gc" },
  OptionUnknown = { args = { "-x" }, shows = "unrecognized option" },
  OptionLongUnknown = { args = { "--help" } },
  OptionVersionWithMore = { args = { "-vi" } },
  OptionInteractiveWithMore = { args = { "-iv" } },
  OptionEnvironmentWithMore = { args = { "-Ex" } },
  OptionWarningsWithMore = { args = { "-W1" } },
  OptionUnknownAfterGoodOnes = { args = { "-e", "print(1)", "-z" } },
  OptionAfterTheScriptIsItsOwn = { args = { "DIR/s.lua", "-x" },
    script = "print(...)" },
  IgnoresEnvironment = { args = { "-E", "-e", "print(x, package.path)" },
    env = { LUA_INIT = "x = 1", LUA_PATH = "nowhere" } },
  InitStatement = { args = { "-e", "print(x)" }, env = { LUA_INIT = "x = 1" } },
  InitOfTheVersionFirst = { args = { "-e", "print(x)" },
    env = { LUA_INIT = "x = 1", LUA_INIT_5_4 = "x = 2" }, shows = "2" },
  InitFile = { args = { "-e", "print(x)" }, env = { LUA_INIT = "@DIR/i.lua" },
    files = { ["i.lua"] = "x = 'from a file'" }, shows = "from a file" },
  InitFileMissing = { args = { "-e", "print(1)" },
    env = { LUA_INIT = "@DIR/none" }, shows = "cannot open" },
  InitFails = { args = { "-e", "print(1)" },
    env = { LUA_INIT_5_4 = "error('init')" }, shows = "LUA_INIT_5_4" },
  InitHasSyntaxError = { args = { "-e", "print(1)" },
    env = { LUA_INIT = "=" } },
  InitSeesArg = { args = { "DIR/s.lua", "a" }, script = "",
    env = { LUA_INIT = "print(arg[0], arg[1])" } },
  InitTakesArgAway = { args = { "DIR/s.lua" }, script = "",
    env = { LUA_INIT = "arg = nil" }, shows = "'arg' is not a table" },
  InitChangesArg = { args = { "DIR/s.lua", "a" }, script = "print(...)",
    env = { LUA_INIT = "arg = {'b', 'c'}" } },
  PathOfTheVersionFirst = { args = { "-e", "print(package.path)" },
    env = { LUA_PATH = "a", LUA_PATH_5_4 = "b" }, shows = "\nb\n" },
  PathWithDefault = { args = { "-e", "print(package.path)" },
    env = { LUA_PATH = "a;;b" } },
  CPathWithDefault = { args = { "-e", "print(package.cpath)" },
    env = { LUA_CPATH = ";;c" } },
  CPathOfTheVersionFirst = { args = { "-e", "print(package.cpath)" },
    env = { LUA_CPATH = "a", LUA_CPATH_5_4 = "b" } },
  Arg = { args = { "-W", "-e", "", "DIR/s.lua", "a", "b" }, script = [[
    local n = 0
    while arg[n - 1] do n = n - 1 end
    for i = n + 1, #arg do print(i, arg[i]) end
    print(select('#', ...), ...)]], shows = "-3\t-W" },
  ArgsInALargeNumber = { args = (function()
    local args = { "DIR/s.lua" }
    for i = 1, 300 do args[i + 1] = tostring(i) end
    return args
  end)(), script = "print(select('#', ...), #arg)", shows = "300" },
  ScriptWithShebang = { script = "#!/usr/bin/env lua\nerror('line 2')",
    shows = ":2: line 2" },
  ScriptWithByteOrderMark = { script = "\xEF\xBB\xBFprint(1)" },
  ScriptIsBinary = { script = BINARY, shows = "binary" },
  ScriptIsBinaryAfterAComment = { script = "#!x\n" .. BINARY },
  ScriptIsTruncatedBinary = { script = BINARY:sub(1, 20) },
  ScriptMissing = { args = { "DIR/none.lua" }, shows = "cannot open" },
  ScriptIsADirectory = { args = { "DIR" }, shows = "cannot read" },
  ScriptHasSyntaxError = { script = "print(1)\nx = = 2" },
  ScriptReadsStdin = { stdin = "12 0x1p4 rest\nline\nlast",
    script = "print(io.read('n', 'n', 'l', 'L', 'a', 'a', 'l'))" },
  ScriptLoopsOverStdin = { stdin = "a\n\nb", args = { "DIR/s.lua" },
    script = "for l in io.lines() do print('[' .. l .. ']') end" },
  ScriptIsALink = { args = { "DIR/./s.lua" }, script = "print(arg[0])" },

  ExitWithoutCode = { script = "os.exit()" },
  ExitWithCode = { script = "io.write('buffered') os.exit(3)" },
  ExitTrue = { script = "os.exit(true)" },
  ExitFalse = { script = "os.exit(false)" },
  ExitWithLargeCode = { script = "os.exit(256 + 7)" },
  ExitWithWrongCode = { script = "os.exit({})" },
  ExitFromACoroutine = { script =
    "coroutine.wrap(function() print(1) os.exit(4) end)() print(2)" },
  ExitDoesNotClose = { script = [[
    setmetatable({}, {__gc = function() print('gc') end})
    local x <close> = setmetatable({}, {__close = function() print('no') end})
    os.exit(0)]] },
  ExitClosing = { script = [[
    X = setmetatable({}, {__gc = function() print('gc') end})
    local x <close> = setmetatable({}, {__close = function() print('yes') end})
    os.exit(5, true)]], shows = "yes" },
  ExitInProtectedCall = { script = "pcall(os.exit, 6)" },
  EndRunsFinalizersInOrder = { script = [[
    for i = 1, 3 do
      _G[i] = setmetatable({}, {__gc = function() print('gc', i) end})
    end]], shows = "gc\t3\ngc\t2\ngc\t1" },
  EndAfterAnErrorRunsFinalizers = { script = [[
    X = setmetatable({}, {__gc = function() print('gc') end})
    error('end')]] },
  EndClosesFiles = { script = [[
    local f = io.open("DIR/out" , "w") print(f) io.write("x")]] },

  ErrorString = { script = "error('x')" },
  ErrorWithoutPosition = { script = "error('x', 0)" },
  ErrorAtTheCaller = { script =
    "local function f() error('x', 2) end\nf()" },
  ErrorEmptyString = { script = "error('')" },
  ErrorNil = { script = "error()" , shows = "nil" },
  ErrorNumber = { script = "error(42)" },
  ErrorFloat = { script = "error(1.5)" },
  ErrorBoolean = { script = "error(false)" },
  ErrorTable = { script = "error({})", shows = "(error object is a table value)"
  },
  ErrorFunction = { script = "error(print)" },
  ErrorTableWithFields = { script =
    "error({code = 1, traceback = 'mine', message = 'm', name = 'n'})" },
  ErrorWithTostring = { script = [[error(setmetatable({traceback = nil},
    {__tostring = function() return 'described' end}))]], shows = "described" },
  ErrorWithBadTostring = { script =
    "error(setmetatable({}, {__tostring = function() return 1 end}))" },
  ErrorWithName = { script = "error(setmetatable({}, {__name = 'Mine'}))" },
  ErrorInTostring = { script = [[error(setmetatable({},
    {__tostring = function() error('inner') end}))]] },
  ErrorWithZeros = { script = "error('a\\0b')" },
  ErrorInACoroutine = { script =
    "coroutine.wrap(function() local x = nil; x() end)()" },
  ErrorInAHook = { script =
    "debug.sethook(function() error('hook') end, 'l')\nlocal x = 1\nx = 2" },
  ErrorInClose = { script = [[local x <close> = setmetatable({},
    {__close = function(_, e) error('closing: ' .. tostring(e), 0) end})
    error('first', 0)]] },
  ErrorDeepInTailCalls = { script = [[
    local function f(n) if n == 0 then error('deep') end return f(n - 1) end
    local function g(n) if n == 0 then f(3) end g(n - 1) end
    g(40)]], shows = "..." },
  ErrorInAMethod = { script = "local t = {} function t:m() self.x.y = 1 end " ..
    "function F() t:m() end F()" },
  ErrorOfMemory = { script = "local s = ('x'):rep(1 << 46)" },
})

--- A session of the read-eval-print loop.
local function session(text, args, env)
  return { args = args or { "-i" }, stdin = text, env = env,
    interactive = true }
end

add(TestProgram, {
  LoopPrintsExpressions = session("1 + 1\n1, nil, 'x'\nnil\n\n{} == {}\n"),
  LoopTakesEquals = session("=1 + 1\n= 'a', 'b'\n=\n"),
  LoopGoesOnInTheNextLine = session("for i = 1, 2 do\nprint(i)\nend\nx = [[\n" ..
    "a\nb]]\nx\n1 +\n2\nf = function()\n\nreturn 7 end f()\n"),
  LoopReportsSyntaxErrors = session("x = = 1\nlocal 1\n)\n'ok'\n"),
  LoopReportsErrors = session("error('a')\nerror({})\nerror(nil)\nnil()\n" ..
    "local function f() error('in f') end f()\n'ok'\n"),
  LoopForgetsLocals = session("local x = 1\nx\nx = 2\nx\n"),
  LoopAtLastLineWithoutNewline = session("1\n2"),
  LoopWithoutInput = session(""),
  LoopWithPrompts = session(
    "_PROMPT = 'ask> '\n1\n_PROMPT2 = 'more> '\nx =\n1\n_PROMPT = '7> '\n2\n"),
  LoopWithAComputedPrompt = session(
    "n = 0; _PROMPT = setmetatable({}, {__tostring = function() n = n + 1 " ..
    "return n .. '> ' end})\n1\n2\n"),
  LoopEndsByAPromptThatFails = session(
    "_PROMPT = setmetatable({}, {__tostring = function() error('p') end})\n1\n"),
  LoopReportsAFailingPrint = session(
    "print = function() error('no') end\n1\nprint = 1\n2\n" ..
    "print = function() error({}) end\n3\n"),
  LoopPrintsManyResults = session("table.unpack({}, 1, 250)\n"),
  LoopAfterAScript = session("x\n...\n", { "-i", "-e", "x = 1" }),
  LoopDoesNotStartAfterAnError = session("1\n", { "-i", "-e", "error('x')" }),
  LoopSharesStdin = session("io.read()\ntaken\nio.read('n')\n"),
  LoopExits = session("os.exit(9)\n1\n"),
  LoopWithoutEnvironment = session("x\n", { "-E", "-i" }, { LUA_INIT = "x = 1" }),
  LoopWithWarnings = session("warn('w')\n", { "-W", "-i" }),
})

add(TestLanguage, {
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

add(TestLibraries, {
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
    print(pcall(os.setlocale, 'C', 'x')) print(type(os.tmpname()))
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

return {
  TestProgram = TestProgram,
  TestLanguage = TestLanguage,
  TestLibraries = TestLibraries,
}

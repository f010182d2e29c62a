-- The program behaves as lua5.4: the same command lines, scripts, input and
-- environment are given to both, and everything that comes out is compared.
local differential = require("support.differential")

local TestProgram = {}

local BINARY = string.dump(load("print('binary', ...)", "=b"))

differential.add(TestProgram, {
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

differential.add(TestProgram, {
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

return { TestProgram = TestProgram }

--- Every error that ends a thread is reported on standard error, whatever the
-- error is and whatever fails while it is reported.
local lu = require("luaunit")
local program = require("support.program")

local LONG = 60 -- seconds

--- Runs the chunk in a thread named "poor"; returns standard error.
local function report(chunk, before)
  local out, err, code = program.eval(([[
    local threading = require("threading")
    %s
    threading.Thread { name = "poor", target = load(%q) }:start():join()
    print("main goes on")
  ]]):format(before or "", chunk), { timeout = LONG })
  lu.assertEquals(out, "main goes on\n")
  lu.assertEquals(code, 0)
  return err
end

local TestNothingSilent = {}

--- What the report of each must contain, besides the thread's name.
local cases = {
  String = { [[error("the message")]], "the message" },
  EmptyString = { [[error("", 0)]], "stack traceback" },
  Number = { [[error(42)]], "42" },
  Nil = { [[error(nil)]], "nil" },
  Nothing = { [[error()]], "nil" },
  False = { [[error(false)]], "false" },
  Table = { [[error({})]], "table: 0x" },
  Function = { [[error(print)]], "function" },
  TableWithTostring = {
    [[error(setmetatable({}, { __tostring = function() return "a told error" end }))]],
    "a told error",
  },
  ErrorInTostring = {
    [[error(setmetatable({}, { __tostring = function() error("tostring broke") end }))]],
    "tostring broke",
  },
  TostringOfAWrongType = {
    [[error(setmetatable({}, { __tostring = function() return 1 end }))]], "__tostring",
  },
  TostringThatRaisesATable = {
    [[error(setmetatable({}, { __tostring = function() error({}) end }))]], "table",
  },
  ErrorValue = {
    [[local errors = require("errors") error(errors.new(errors.TimeoutError, "no time"))]],
    "TimeoutError: no time",
  },
  Runtime = { [[local t = nil; return t.x]], "attempt to index" },
  StackOverflow = { [[local function f() return 1 + f() end f()]], "stack overflow" },
  TooLarge = { [[local s = ("x"):rep(math.maxinteger)]], "too large" },
  InAClose = {
    [[local _ <close> = setmetatable({}, { __close = function() error("close broke") end })]],
    "close broke",
  },
  InACoroutine = { [[coroutine.wrap(function() error("inner") end)()]], "inner" },
}

for name, case in pairs(cases) do
  TestNothingSilent["test" .. name] = function()
    local err = report(case[1])
    lu.assertStrContains(err, "poor")
    lu.assertStrContains(err, case[2])
  end
end

function TestNothingSilent.testAFailingHook()
  local err = report([[error("the thread broke")]],
    [[threading.excepthook = function() error("the hook broke") end]])
  lu.assertStrContains(err, "the hook broke")
  lu.assertStrContains(err, "the thread broke")
end

function TestNothingSilent.testAHookThatRaisesWhatCannotBeTold()
  local err = report([[error("the thread broke")]], [[
    threading.excepthook = function()
      error(setmetatable({}, { __tostring = function() error("told nothing") end }))
    end]])
  lu.assertStrContains(err, "the thread broke")
end

function TestNothingSilent.testAHookThatIsNoFunction()
  for _, hook in ipairs { "nil", "1", "{}" } do
    local err = report([[error("the thread broke")]], "threading.excepthook = " .. hook)
    lu.assertStrContains(err, "the thread broke")
  end
end

-- Both the hook and what it is about cannot be told.
function TestNothingSilent.testNothingCanBeTold()
  local err = report(
    [[error(setmetatable({}, { __tostring = function() error("told nothing") end }))]],
    [[threading.excepthook = function(args) error(args.value) end]])
  lu.assertNotEquals(err, "")
end

function TestNothingSilent.testOfASubclassAndATimer()
  local _, err, code = program.eval([[
    local threading = require("threading")
    threading.Thread:subclass({ run = function() error("in run") end })():start():join()
    threading.Timer(0, function() error("in timer") end):start():join()
    threading.Thread { daemon = true, target = function() error("in daemon") end }:start():join()
  ]], { timeout = LONG })
  lu.assertEquals(code, 0)
  for _, text in ipairs { "in run", "in timer", "in daemon" } do
    lu.assertStrContains(err, text)
  end
end

function TestNothingSilent.testLackOfMemory()
  if (os.getenv("TIDELOCK_SANITIZER") or "") ~= "" then return end -- they need it all
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write([[
    local threading = require("threading")
    local function body() local s = ("x"):rep(1 << 30) end
    threading.Thread { name = "poor", target = body }:start():join()
    print("main goes on")
  ]])
  file:close()
  local out, err, code = program.run(
    { "-c", ("ulimit -v 500000; exec '%s' '%s'"):format(program.path, name) },
    { program = "/bin/sh", timeout = LONG })
  os.remove(name)
  lu.assertStrContains(err, "Exception in thread poor:\nnot enough memory")
  lu.assertEquals({ out, code }, { "main goes on\n", 0 })
end

-- A hook that is cancelled, or cancels itself, still leaves a trace.
function TestNothingSilent.testAHookThatIsCancelled()
  local err = report([[error("the thread broke")]], [[
    threading.excepthook = function(args)
      args.thread:cancel()
      while true do end
    end]])
  lu.assertStrContains(err, "the thread broke")
end

return { TestNothingSilent = TestNothingSilent }

--- How require finds the modules of this library.
local lu = require("luaunit")
local threading = require("threading")
local program = require("support.program")

local NAMES = { "bigint", "errors", "gil", "multiprocessing", "queue", "threading", "time" }

local function run(code, ...)
  local args = { "-e", code, ... }
  return program.run(args)
end

local TestModules = {}

function TestModules.testBothNamesGiveOneTable()
  for _, name in ipairs(NAMES) do
    local out, err = run(([[
      local a, where = require("%s")
      print(type(a), a == require("tidelock.%s"), where)]]):format(name, name))
    lu.assertEquals(err, "")
    lu.assertEquals(out, ("table\ttrue\ttidelock.%s\n"):format(name))
    out = run(([[
      local a = require("tidelock.%s")
      print(a == require("%s"), a == package.loaded["%s"])]]):format(name, name, name))
    lu.assertEquals(out, "true\ttrue\n")
  end
end

function TestModules.testNothingIsLoadedAtTheStart()
  local out = run([[
    local n = 0
    for name in pairs(package.loaded) do n = n + 1 end
    print(n)
    for name in pairs(package.loaded) do
      if name:find("^tidelock") then print(name) end
    end]])
  lu.assertEquals(out, "10\n") -- _G, package and eight libraries of Lua
end

--- Calls f with a directory that holds NAME.lua, which returns its own name.
local function with_script(name, f)
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute("mkdir -p " .. folder .. "/tidelock"))
  for _, path in ipairs({ folder, folder .. "/tidelock" }) do
    local file = assert(io.open(("%s/%s.lua"):format(path, name), "w"))
    file:write("return 'a script'\n")
    file:close()
  end
  local ok, err = pcall(f, folder)
  assert(os.execute("rm -r " .. folder))
  if not ok then error(err, 0) end
end

function TestModules.testAScriptsOwnFileWinsForTheShortNameOnly()
  with_script("queue", function(folder)
    local out, err = run(([[
      package.path = "%s/?.lua;" .. package.path
      print(require("queue"), type(require("tidelock.queue")))]]):format(folder))
    lu.assertEquals(err, "")
    lu.assertEquals(out, "a script\ttable\n")
  end)
end

function TestModules.testPreloadWins()
  local out = run([[
    package.preload.queue = function() return "mine" end
    print((require("queue")))]])
  lu.assertEquals(out, "mine\n")
end

function TestModules.testInternalModulesHaveNoShortName()
  for _, name in ipairs({ "_threading", "_multiprocessing", "_hmac" }) do
    lu.assertErrorMsgContains("not found", require, name)
    lu.assertIsTable((require("tidelock." .. name)))
  end
end

function TestModules.testUnknownModules()
  lu.assertErrorMsgContains("no module 'travel' in this build of tidelock", require,
    "tidelock.travel")
  local ok, message = pcall(require, "travel")
  lu.assertFalse(ok)
  lu.assertNotStrContains(message, "tidelock")
end

-- Several threads that load one module at once get one table.
function TestModules.testThreadsThatRequireAtOnce()
  local out, err = run([[
    local gil, threading = require("gil"), require("threading")
    gil.switch_interval(1e-5)
    for round = 1, 50 do
      for _, name in ipairs({ "multiprocessing", "queue" }) do
        package.loaded[name], package.loaded["tidelock." .. name] = nil, nil
      end
      local threads = {}
      for i = 1, 4 do
        threads[i] = threading.Thread(function()
          return require("multiprocessing"), require("tidelock.queue")
        end):start()
      end
      local mp, queue = threads[1]:result()
      for i = 2, 4 do
        local a, b = threads[i]:result()
        assert(rawequal(a, mp) and rawequal(b, queue))
      end
      assert(require("tidelock.multiprocessing") == mp and require("queue") == queue)
    end
    print("done")]])
  lu.assertEquals(err, "")
  lu.assertEquals(out, "done\n")
end

local TestSoModules = {}

-- Each with a function that it has, the library and Debian's package.
local SO_MODULES = {
  { "_hmac", "digest", "OpenSSL's libcrypto", "libssl-dev" },
  { "bigint", "new", "GMP", "libgmp-dev" },
}

--- A copy of the program in a folder of its own; f(copy, folder).
local function with_copy(f)
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute("mkdir " .. folder))
  assert(os.execute(("cp '%s' %s/copy"):format(program.path, folder)))
  local ok, err = pcall(f, folder .. "/copy", folder)
  assert(os.execute("rm -r " .. folder))
  if not ok then error(err, 0) end
end

--- What require of a module of the copy says, in another folder.
local function try(copy, name)
  return program.run({ "-e", ([[
    local ok, module = pcall(require, "%s")
    print(ok, module)]]):format(name) }, { program = copy })
end

-- A build without the library: require says what to install.
function TestSoModules.testWithoutTheirFiles()
  with_copy(function(copy, folder)
    local function check()
      for _, module in ipairs(SO_MODULES) do
        local name, _, library, package = table.unpack(module)
        local names = { "tidelock." .. name, name:find("^[^_]") and name }
        for _, called in ipairs(names) do
          local out, err, code = try(copy, called)
          lu.assertEquals({ code, err }, { 0, "" })
          lu.assertStrContains(out, ("false\tmodule '%s' not found"):format(called))
          lu.assertStrContains(out, ("module '%s' needs %s"):format(name, library))
          lu.assertStrContains(out, ("Debian's package %s"):format(package))
          lu.assertStrContains(out, ("%s/tidelock-modules/%s.so"):format(folder, name))
          lu.assertStrContains(out, ("%s/tidelock/%s.so"):format(folder, name))
        end
      end
    end
    check()
    assert(os.execute(("mkdir %s/tidelock-modules %s/tidelock"):format(folder, folder)))
    check()
  end)
end

-- They are found beside the program, wherever that stands, and beside the
-- library.
function TestSoModules.testTheTreeCanBeMoved()
  local built = program.path:gsub("[^/]*$", "") .. "tidelock-modules"
  for _, where in ipairs({ "tidelock-modules", "tidelock" }) do
    with_copy(function(copy, folder)
      assert(os.execute(("cp -r '%s' %s/%s"):format(built, folder, where)))
      for _, module in ipairs(SO_MODULES) do
        local name, member = table.unpack(module)
        local out, err = program.run({ "-e", ([[
          local module = require("tidelock.%s")
          print(type(module.%s))
          for line in io.lines("/proc/self/maps") do
            if line:find("/%s.so", 1, true) then print(line:match("/.*")) break end
          end]]):format(name, member, name) }, { program = copy })
        lu.assertEquals(err, "")
        lu.assertEquals(out, ("function\n%s/%s/%s.so\n"):format(folder, where, name))
      end
    end)
  end
end

-- What is there but cannot be loaded is told with the reason.
function TestSoModules.testADamagedFile()
  with_copy(function(copy, folder)
    assert(os.execute(("mkdir %s/tidelock-modules"):format(folder)))
    for _, module in ipairs(SO_MODULES) do
      local name = module[1]
      local file = ("%s/tidelock-modules/%s.so"):format(folder, name)
      assert(os.execute("yes nothing | head -c 1000 > " .. file))
      local out = try(copy, "tidelock." .. name)
      lu.assertStrContains(out, ("false\terror loading module 'tidelock.%s' from file '%s'")
        :format(name, file))
      lu.assertStrContains(out, "invalid ELF header")
    end
  end)
end

-- A script that may not load C modules of its own still has ours.
function TestSoModules.testWithoutLoadlib()
  local out, err = run([[
    package.loadlib, package.cpath = nil, ""
    print(type(require("tidelock._hmac").digest))]])
  lu.assertEquals(err, "")
  lu.assertEquals(out, "function\n")
end

local TestCModules = {}

-- The library carries no such modules: package.preload stands in for the file,
-- in a searcher of C modules.
local function with_module(name, loader, f)
  local searchers = package.searchers
  local real = searchers[4]
  local _, original = debug.getupvalue(real, 1)
  lu.assertIsFunction(original)
  debug.setupvalue(real, 1, function(wanted)
    if wanted == name then return loader, "/there/" .. name .. ".so" end
    return original(wanted)
  end)
  local ok, err = pcall(f)
  debug.setupvalue(real, 1, original)
  package.loaded[name] = nil
  if not ok then error(err, 0) end
end

function TestCModules.testSafeModulesLoadOnAnyThread()
  for _, name in ipairs({ "cjson", "lpeg", "lfs" }) do
    local thread = threading.Thread(function() return type(require(name)) end)
    lu.assertNotEquals(thread:start():result(60), "nil")
  end
end

function TestCModules.testMainThreadOnly()
  for _, name in ipairs({ "luv", "_cqueues", "_cqueues.socket" }) do
    with_module(name, function() return { "loaded" } end, function()
      local ok, message = threading.Thread(pcall, require, name):start():result(60)
      lu.assertFalse(ok)
      lu.assertStrContains(message, ("'%s' can be used by the main thread only"):format(name))
      lu.assertEquals(require(name)[1], "loaded")
    end)
  end
end

function TestCModules.testFunctionsThatAreRefused()
  local function loader(name, file)
    return { fork = print, signal = print, getpid = print, from = { name, file } }
  end
  with_module("posix.unistd", loader, function()
    local unistd = require("posix.unistd")
    lu.assertIs(unistd.getpid, print)
    lu.assertIs(unistd.signal, print)
    lu.assertEquals(unistd.from, { "posix.unistd", "/there/posix.unistd.so" })
    lu.assertErrorMsgContains("'posix.unistd.fork' is refused here", unistd.fork)
  end)
  with_module("posix.signal", loader, function()
    lu.assertErrorMsgContains("is refused here", require("posix.signal").signal, 2)
  end)
end

-- On stock lua5.4 the parts in Lua say what they need.
function TestModules.testOnStockLuaTheySayWhatTheyNeed()
  for _, module in ipairs({ "threading", "multiprocessing" }) do
    local out = program.run({ "-e", ([[package.path = "bindings/?.lua"
      print(pcall(require, %q))]]):format(module) }, { program = "lua5.4" })
    lu.assertStrContains(out, module .. " needs the program tidelock")
  end
end

return {
  TestModules = TestModules, TestSoModules = TestSoModules, TestCModules = TestCModules,
}

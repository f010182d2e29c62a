-- What a process that is started anew gets of the script, by spawn and by the
-- fork server. Numbers are those of CPython's behaviours that each test holds
-- tidelock to.
local lfs = require("lfs")
local lu = require("luaunit")
local mp = require("multiprocessing")
local forkserver = require("tidelock.multiprocessing.forkserver")
local children = require("support.children")
local descriptors = require("support.descriptors")
local lasting = require("support.lasting")
local program = require("support.program")

local function suite(method)
  local ctx = mp.get_context(method)
  local Test = {}

  -- The fork server would be left over.
  if method == "forkserver" then Test.tearDown = forkserver.stop end

  --- Runs a script; 'run(f, ...)' starts f in a child and waits for it.
  local function host(chunk)
    return children.host(([[
      io.stdout:setvbuf("no")
      local ctx = mp.get_context(%q)
      local pickle = require("pickle")
      local function run(...)
        local p = ctx.Process(...)
        p:start() p:join()
        if p.exitcode ~= 0 then print("exitcode", p.exitcode) end
      end
    ]]):format(method) .. chunk)
  end

  local function check(chunk, expected)
    local out, err = host(chunk)
    lu.assertEquals({ out, err }, { expected, "" })
  end

  function Test:testGlobalsOfTheScript()
    check([[
      count, name, list = 1, "n", {1, 2}
      function show() print(count, name, #list, tostring(print):match("builtin") or "print") end
      function change() count = count + 1 show() end
      run(function() change() other = list print(other == list, _G.count) end)
      show()]], "2\tn\t2\tprint\ntrue\t2\n1\tn\t2\tprint\n")
  end

  function Test:testGlobalsThatWereReplacedOrTakenAway()
    check([[
      local write = io.write
      print = function(...) write("mine ", ..., "\n") end
      utf8 = nil
      run(function() print(tostring(utf8)) end)]], "mine nil\n")
  end

  --- Target, arguments and globals are one value.
  function Test:testWhatIsSharedStaysShared()
    check([[
      local n = 0
      local shared = {}
      function more() n = n + 1 return n end
      object = shared
      run(function(f, t) more() f() print(more(), n, t == shared, object == t) end,
        function() n = n + 10 end, shared)
      print(n)]], "12\t12\ttrue\ttrue\n0\n")
  end

  function Test:testAGlobalThatCannotTravelIsNamedWhenItIsUsed()
    check([[
      log = io.tmpfile()
      config = {deep = {log}}
      _G["not a name"] = coroutine.create(print)
      _G[log] = 1
      fine = "fine"
      run(function()
        print(fine, tostring(log))
        local function try(f)
          local ok, message = pcall(f)
          print(ok, (message:gsub("^[^:]*:%d+: ", "")))
        end
        try(function() return log:write("x") end)
        try(function() return config.deep end)
        try(function() config.x = 1 end)
        try(function() return _G["not a name"]() end)
        try(function() return #log end)
        try(function() return log .. "" end)
      end)]], table.concat({ "fine\t<missing log>",
      "false\tglobal 'log' is not in this process: cannot pickle a userdata (FILE*) at log",
      "false\tglobal 'config' is not in this process: cannot pickle a userdata (FILE*) at " ..
      "config.deep[1]",
      "false\tglobal 'config' is not in this process: cannot pickle a userdata (FILE*) at " ..
      "config.deep[1]",
      "false\tglobal 'not a name' is not in this process: cannot pickle a thread at not a name",
      "false\tglobal 'log' is not in this process: cannot pickle a userdata (FILE*) at log",
      "false\tglobal 'log' is not in this process: cannot pickle a userdata (FILE*) at log",
      "" }, "\n"))
  end

  -- 82
  function Test:testWhatCannotTravelIsNamedAndNothingIsLeft()
    ctx.Process(function() end):start():join()
    local file <close> = assert(io.open("/dev/null"))
    local before = descriptors()
    local function refused(message, options)
      local process = ctx.Process(options)
      lu.assertErrorMsgContains("PicklingError: cannot pickle " .. message, process.start, process)
      lu.assertNil(process.pid)
      lu.assertFalse(process:is_alive())
      lu.assertErrorMsgContains("PicklingError", process.start, process)
    end
    refused("a userdata (FILE*) at args[2].log", { target = print, args = { 1, { log = file } } })
    refused("a userdata (FILE*) at target upvalue 'file'",
      { target = function() return file end })
    refused("a thread at args[1]", { target = print, args = { coroutine.create(print) } })
    local queue = mp.Queue()
    queue:close()
    refused("a userdata (multiprocessing.Queue) at args[1].q: the queue is closed",
      { target = print, args = { { q = queue } } })
    lu.assertEquals(mp.active_children(), {})
    lu.assertEquals(descriptors(), before)
  end

  --- The methods know their class, objects of it are in it, another class has it.
  function Test:testClassesOfTheScript()
    check([[
      local Point = {}
      Point.__index = Point
      function Point.new(x) return setmetatable({x = x}, Point) end
      function Point.__add(a, b) return Point.new(a.x + b.x) end
      Point.ORIGIN = Point.new(0)
      pickle.register("Point", Point)
      local Pair = setmetatable({}, {__index = Point})
      Pair.__index = Pair
      Pair.__len = function() return 2 end
      pickle.register("Pair", Pair)
      Kept, Class = setmetatable({x = 5, origin = Point.ORIGIN}, Pair), Point
      run(function(p)
        print((p + Kept).x, #Kept, getmetatable(p) == Class, getmetatable(Kept) == Pair,
          rawget(Class, "new") == Point.new, Kept.new == Point.new, Kept.origin == Class.ORIGIN,
          getmetatable(Kept.origin) == Point)
        run(function(q) print(getmetatable(q) == Point, Point.ORIGIN.x) end, p + p)
      end, Point.new(2))]],
      "7\t2\ttrue\ttrue\ttrue\ttrue\ttrue\ttrue\ntrue\t0\n")
  end

  function Test:testClassesWithReduceAndRestore()
    check([[
      local Big = {}
      Big.__index = Big
      local made = 0
      local function big(s) made = made + 1 return setmetatable({digits = s}, Big) end
      pickle.register("Big", Big, {reduce = function(b) return b.digits end, restore = big})
      Big.ZERO = big("0")
      Big.__eq = function(a, b) return a.digits == b.digits end
      Other = {Big.ZERO, big("1")}
      run(function(b) print(b.digits, Other[2].digits, b == big("12"), Big.ZERO == Other[1], made)
      end, big("12"))]], "12\t1\ttrue\ttrue\t7\n")
  end

  --- What a class has that cannot travel is left out, not the class.
  function Test:testAClassOfWhichAPartCannotTravel()
    check([[
      local Point = {log = io.stderr, file = io.tmpfile()}
      Point.__index = Point
      function Point:double() return self.x * 2 end
      pickle.register("Point", Point)
      run(function(p) print(p:double(), p.log == io.stderr, p.file) end,
        setmetatable({x = 2}, Point))]], "4\ttrue\tnil\n")
  end

  --- It is no module of ours.
  function Test:testAScriptInAFolderThatIsNamedAsWe()
    local folder = os.tmpname()
    os.remove(folder)
    lfs.mkdir(folder)
    lfs.mkdir(folder .. "/tidelock")
    local name = folder .. "/tidelock/x.lua"
    local file = assert(io.open(name, "w"))
    file:write(([[
      local mp, pickle = require("multiprocessing"), require("pickle")
      io.stdout:setvbuf("no")
      print("script")
      local Point = {}
      Point.__index = Point
      function Point:double() return self.x * 2 end
      pickle.register("Point", Point)
      if not mp.is_main() then return end
      local p = mp.get_context(%q).Process(function(point) print(point:double()) end,
        setmetatable({x = 2}, Point))
      p:start() p:join()]]):format(method))
    file:close()
    local command = { "-c", 'cd "$0" && exec "$1" tidelock/x.lua', folder, program.path }
    local out, err = program.run(command, { program = "sh" })
    os.remove(name)
    lfs.rmdir(folder .. "/tidelock")
    lfs.rmdir(folder)
    lu.assertEquals({ out, err }, { "script\n4\n", "" })
  end

  --- Modules travel by name, and register their classes there.
  function Test:testModulesOfTheScript()
    local folder = os.tmpname()
    os.remove(folder)
    lfs.mkdir(folder)
    local file <close> = io.open(folder .. "/shape.lua", "w")
    file:write([[
      local pickle = require("pickle")
      local Shape = {}
      Shape.__index = Shape
      function Shape:area() return self.a * self.b end
      pickle.register("Shape", Shape)
      Loaded = (Loaded or 0) + 1
      return {new = function(a, b) return setmetatable({a = a, b = b}, Shape) end,
        is = function(s) return getmetatable(s) == Shape end, state = {}}]])
    file:flush()
    local out, err = host(([[
      package.path = %q .. "/?.lua;" .. package.path
      local shape = require("shape")
      local own = shape.new(1, 2)
      shape.state.x = 1
      Loaded = nil
      run(function(s, new) print(s:area(), own:area(), shape.is(s), shape.is(own), new == shape.new,
        shape == require("shape"), shape.state.x, Loaded) end, shape.new(3, 4), shape.new)]])
      :format(folder))
    os.remove(folder .. "/shape.lua")
    lfs.rmdir(folder)
    lu.assertEquals({ out, err }, { "12\t2\ttrue\ttrue\ttrue\ttrue\tnil\t1\n", "" })
  end

  function Test:testLargeArguments()
    local receiver <close>, sender = mp.Pipe(false)
    local process = ctx.Process(function(out, text, list)
      out:send(#text + #list)
    end, sender, ("x"):rep(40 << 20), table.pack(("y"):rep(100000):byte(1, 100000)))
    process:start()
    sender:close()
    lu.assertEquals(receiver:recv(), (40 << 20) + 100000)
    process:join()
  end

  -- 84
  function Test:testNoDescriptorOfTheParentIsInAChild()
    local file <close> = assert(io.open("/dev/null"))
    local command, finish = lasting()
    local open = io.popen(command, "r") -- one without close-on-exec may be in it
    local receiver <close>, sender = mp.Pipe(false)
    local _ <close> = sender
    local process = ctx.Process(function(out)
      local found = {}
      for fd in require("lfs").dir("/proc/self/fd") do
        local target = tonumber(fd) and tonumber(fd) > 2 and
          require("lfs").symlinkattributes("/proc/self/fd/" .. fd, "target")
        if target and not target:find("^/proc/") then found[#found + 1] = target:gsub("%d", "") end
      end
      table.sort(found)
      out:send(found)
    end, sender):start()
    local found = receiver:recv()
    process:join()
    finish()
    open:close()
    lu.assertNotNil(file)
    local expected = { "anon_inode:[pidfd]", "socket:[]" } -- of its parent, the sender
    for _, target in ipairs(found) do
      if target == "anon_inode:[eventfd]" then expected = { target, table.unpack(expected) } end
    end
    table.sort(expected)
    lu.assertEquals(found, expected)
  end

  --- A program that starts with its standard streams closed.
  function Test:testStartsWithoutStandardInput()
    local name = os.tmpname()
    local file <close> = io.open(name, "w")
    file:write(([[
      local ctx = require("multiprocessing").get_context(%q)
      local p = ctx.Process(function() os.exit(7) end)
      p:start() p:join() os.exit(p.exitcode)]]):format(method))
    file:flush()
    local _, _, code = os.execute(("exec %s %s <&- "):format(program.path, name))
    os.remove(name)
    lu.assertEquals(code, 7)
  end

  function Test:testArguments()
    lu.assertErrorMsgContains("bad argument #1 to 'set_executable'", mp.set_executable, nil)
    lu.assertErrorMsgContains("bad argument #1 to 'set_executable'", mp.set_executable, "")
    local out, err = host([[
      mp.set_executable("/nowhere/tidelock")
      local p = ctx.Process(print)
      print(pcall(p.start, p))
      print(p.pid, #mp.active_children())
      mp.set_executable("/proc/self/exe")
      p:start() p:join() print(p.exitcode)]])
    lu.assertEquals({ out, err }, {
      "false\tOSError: /nowhere/tidelock: No such file or directory\nnil\t0\n\n0\n", ""
    })
  end

  function Test:testAChildThatCannotReadWhatItGets()
    local out, err = host([[
      local C = {}
      pickle.register("C", C, {
        reduce = function() return 1 end, restore = function() error("no") end,
      })
      local p = ctx.Process{target = print, args = {setmetatable({}, C)}, name = "reader"}
      p:start() print(p:join(60), p.exitcode)]])
    lu.assertEquals(out, "true\t1\n")
    lu.assertStrMatches(err, "Process reader:\n[^\n]*: no\nstack traceback:.*")
  end

  -- A process object may be anywhere; the keys of others than the child go nowhere.
  function Test:testKeys()
    check([[
      local main, idle = mp.current_process(), mp.Process(print)
      local W = ctx.Process:subclass{
        init = function(self) self.authkey = "own" end,
        run = function(self)
          print(self.authkey, rawequal(self, mp.current_process()), mp.Process(print).authkey)
          print(main.name, main.authkey, idle.authkey)
        end }
      idle.authkey = "another"
      W():start():join()
      run(function(key) print(mp.current_process().authkey == key, main.authkey == key) end,
        main.authkey)]],
      "own\ttrue\town\nMainProcess\town\town\ntrue\ttrue\n")
  end

  -- 88
  function Test:testArgAndPathsOfTheScript()
    check([[
      arg = {[-1] = "before", [0] = "script", "one", "two", n = 2}
      package.cpath = package.cpath .. ";/nowhere/?.so"
      local cpath = package.cpath
      run(function()
        print(arg[-1], arg[0], arg[1], arg[2], arg[3], arg.n, package.cpath == cpath)
      end)]], "before\tscript\tone\ttwo\tnil\t2\ttrue\n")
  end

  function Test:testGlobalsWhileAnotherThreadMakesMore()
    check([[
      require("gil").switch_interval(1e-4)
      for i = 1, 200 do _G["base" .. i] = i end
      local stop, i = false, 0
      local writer = threading.Thread(function()
        while not stop do
          i = i + 1
          _G["k" .. i], _G["k" .. (i - 300)] = i, nil
        end
      end):start()
      for _ = 1, 20 do
        run(function() for i = 1, 200 do assert(_G["base" .. i] == i) end end)
      end
      stop = true
      writer:result()]], "")
  end

  function Test:testFolderThatIsGone()
    local folder = os.tmpname()
    os.remove(folder)
    check(([[
      local lfs = require("lfs")
      run(function() end)
      lfs.mkdir(%q) lfs.chdir(%q) lfs.rmdir(%q)
      run(function() print("here") end)]]):format(folder, folder, folder), "here\n")
  end

  return Test
end

return { TestSpawn = suite("spawn"), TestForkserver = suite("forkserver") }

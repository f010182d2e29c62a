-- What processes tell of themselves.
local lu = require("luaunit")
local mp = require("multiprocessing")
local children = require("support.children")

local function suite(method)
  local Test = {}

  local function host(chunk)
    return children.host(("local ctx = mp.get_context(%q)\n"):format(method) .. chunk)
  end

  function Test:testTheLifeOfAProcess()
    local out, err, code = host([[
      mp.log_to_stderr("info")
      local p = ctx.Process{name = "child", target = function()
        mp.get_logger():debug("nobody asked")
        mp.get_logger():warning("%d of %s", 1, "them")
        print("target")
      end}
      p:start() p:join()]])
    lu.assertEquals({ out, code }, { "target\n", 0 })
    lu.assertEquals(err, "[INFO/child] child process calling self.run()\n" ..
      "[WARNING/child] 1 of them\n" ..
      "[INFO/child] process shutting down\n" ..
      "[INFO/child] process exiting with exitcode 0\n" ..
      "[INFO/MainProcess] process shutting down\n")
  end

  function Test:testItsEndByAnErrorAndByExit()
    local _, err = host([[
      mp.log_to_stderr(mp.get_logger().INFO)
      for _, f in ipairs{function() error("no", 0) end, function() os.exit(5) end,
          function() os.exit(6, true) end} do
        local p = ctx.Process(f)
        p:start() p:join()
      end]])
    err = err:gsub("stack traceback:\n", ""):gsub("\t[^\n]*\n", "")
    lu.assertEquals(err, "[INFO/Process-1] child process calling self.run()\n" ..
      "Process Process-1:\nno\n" ..
      "[INFO/Process-1] process shutting down\n" ..
      "[INFO/Process-1] process exiting with exitcode 1\n" ..
      "[INFO/Process-2] child process calling self.run()\n" ..
      "[INFO/Process-2] process exiting with exitcode 5\n" ..
      "[INFO/Process-3] child process calling self.run()\n" ..
      "[INFO/Process-3] process shutting down\n" ..
      "[INFO/Process-3] process exiting with exitcode 6\n" ..
      "[INFO/MainProcess] process shutting down\n")
  end

  function Test:testChildrenAtTheEnd()
    local _, err = host([[
      mp.log_to_stderr("INFO")
      local r, s = mp.Pipe(false)
      ctx.Process{name = "d", daemon = true, args = {s}, target = function(out)
        mp.get_logger():setLevel("ERROR") out:send(1) time.sleep(60) end}:start()
      r:recv()]])
    lu.assertEquals(err, "[INFO/d] child process calling self.run()\n" ..
      "[INFO/MainProcess] process shutting down\n" ..
      "[INFO/MainProcess] calling terminate() for daemon d\n" ..
      "[INFO/MainProcess] calling join() for process d\n")
  end

  function Test:testSilentUnlessAskedFor()
    local _, err = host([[
      mp.get_logger():setLevel(1)
      mp.get_logger():critical("nobody hears")
      local p = ctx.Process(function() mp.get_logger():critical("that") end)
      p:start() p:join()]])
    lu.assertEquals(err, "")
  end

  return Test
end

local TestLogger = {}

function TestLogger:testLevels()
  local logger = mp.get_logger()
  local before = logger.level
  lu.assertTrue(rawequal(logger, mp.get_logger()))
  logger:setLevel("warning")
  lu.assertEquals(logger.level, 30)
  lu.assertEquals(tostring(logger), "<Logger multiprocessing (WARNING)>")
  logger:setLevel(35)
  lu.assertEquals(tostring(logger), "<Logger multiprocessing (35)>")
  logger:setLevel(before)
  for _, level in ipairs { "loud", -1, 1.5, {} } do
    lu.assertErrorMsgContains("bad argument #1 to 'setLevel'", logger.setLevel, logger, level)
    lu.assertErrorMsgContains("bad argument #1 to 'log_to_stderr'", mp.log_to_stderr, level)
    lu.assertErrorMsgContains("bad argument #1 to 'log'", logger.log, logger, level, "x")
    lu.assertErrorMsgContains("bad argument #1 to 'isEnabledFor'", logger.isEnabledFor, logger,
      level)
  end
end

function TestLogger:testMessages()
  local out, err = children.host([[
    local logger = mp.log_to_stderr()
    print(logger:isEnabledFor("DEBUG"))
    logger:log(5, "a %s") logger:log("error", "b %s", "c") logger:info({} and "d")
    logger:setLevel("ERROR")
    print(logger:isEnabledFor("WARNING"), logger:isEnabledFor(40))
    logger:warning("x")]])
  lu.assertEquals({ out, err }, { "true\nfalse\ttrue\n",
    "[SUBDEBUG/MainProcess] a %s\n[ERROR/MainProcess] b c\n[INFO/MainProcess] d\n" })
end

--- An error at the end is told once, and the program ends.
function TestLogger:testNothingToWriteTo()
  local _, err, code = children.host([[
    mp.log_to_stderr()
    mp.Process(function() end):start():join()
    getmetatable(io.stderr).__index.write = function() error("no") end]])
  lu.assertEquals(code, 0)
  local _, n = err:gsub("error in an exit function", "")
  lu.assertEquals(n, 1)
end

return { TestFork = suite("fork"), TestSpawn = suite("spawn"), TestForkserver = suite("forkserver"),
  TestLogger = TestLogger }

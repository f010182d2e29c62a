--- C modules that think the debug hook is theirs alone, and remove it: what is
--- asked of a thread reaches it all the same.
local gil = require("gil")
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local cmodules = require("support.cmodules")
local eventually = require("support.eventually")
local going = require("support.going")
local twin = require("support.twin")

local hooks = cmodules.require("hooks")

local SANITIZER = os.getenv("TIDELOCK_SANITIZER") or ""
local WORK = 3000000 -- some milliseconds inside C
local LIMIT = 20 -- seconds, after which a loop that nobody reaches ends

local TestForeignHooks = {}

-- Bodies of a loop, which ends by itself in the end: a thread that is never
-- reached fails the test and does not hang it.
local BODIES = {
  "hooks.remove()",
  "hooks.work(WORK) hooks.remove()",
  "hooks.work(WORK) hooks.work(WORK) hooks.remove()",
  "hooks.work(WORK)\nhooks.remove()",
  "coroutine.wrap(function() hooks.work(WORK) hooks.remove() end)() hooks.remove()",
}

local LOOP = [[
local hooks, now, over, WORK, limit = ...
repeat %s until over:is_set() or now() > limit
return over:is_set()]]

--- Calls f with each loop, with the names of lines and without.
local function each_loop(f)
  for _, body in ipairs(BODIES) do
    local loop = assert(load(LOOP:format(body)))
    f(loop, body)
    f(load(string.dump(loop, true)), body .. " (stripped)")
  end
end

local function start(loop, over)
  return threading.Thread(loop, hooks, time.monotonic, over, WORK,
    time.monotonic() + LIMIT):start()
end

local never = threading.Event()

function TestForeignHooks.testTheLoopGivesWay()
  if SANITIZER == "thread" then lu.skip("hooks count, and one that is removed is gone") end
  each_loop(function(loop, what)
    local over = threading.Event()
    local thread = start(loop, over)
    for _ = 1, 3 do time.sleep(0.001) end
    over:set()
    lu.assertTrue(thread:result(60), what)
  end)
end

-- The switch points are few here: on the main thread others go on as well.
function TestForeignHooks.testTheMainThreadGivesWay()
  if SANITIZER == "thread" then lu.skip("hooks count, and one that is removed is gone") end
  each_loop(function(loop, what)
    local over = threading.Event()
    local thread = threading.Thread(function()
      for _ = 1, 3 do time.sleep(0.001) end
      over:set()
    end):start()
    local reached = loop(hooks, time.monotonic, over, WORK, time.monotonic() + LIMIT)
    thread:join()
    lu.assertTrue(reached, what)
  end)
end

--- Interrupts the thread in its loop and asserts that it ends with the error.
local function assert_ended_by(how, thread, text, what)
  going(thread)
  lu.assertTrue(thread[how](thread))
  local ok, err = pcall(thread.result, thread, 60)
  lu.assertFalse(ok, what)
  lu.assertEquals(tostring(err), text, what)
end

function TestForeignHooks.testACancelReachesTheLoop()
  if SANITIZER == "thread" then lu.skip("hooks count, and one that is removed is gone") end
  each_loop(function(loop, what)
    assert_ended_by("cancel", start(loop, never), "threading.Cancelled: cancelled", what)
  end)
end

function TestForeignHooks.testAKillReachesTheLoop()
  if SANITIZER == "thread" then lu.skip("hooks count, and one that is removed is gone") end
  each_loop(function(loop, what)
    local thread = threading.Thread(function(...)
      local limit = select("#", ...)
      limit = select(limit, ...)
      while time.monotonic() < limit do pcall(loop, ...) end
    end, hooks, time.monotonic, never, WORK, time.monotonic() + LIMIT):start()
    assert_ended_by("kill", thread, "threading.Killed: killed", what)
  end)
end

-- The time that the __close functions of a killed thread have is kept to as
-- soon as others want to run.
function TestForeignHooks.testAKillEndsACloseThatRemovesHooks()
  if SANITIZER == "thread" then lu.skip("hooks count, and one that is removed is gone") end
  each_loop(function(loop, what)
    local began, ran, ended = false, 0, false
    local thread = threading.Thread(function()
      local _ <close> = setmetatable({}, { __close = function()
        ran = time.monotonic()
        loop(hooks, time.monotonic, never, WORK, ran + LIMIT)
        ended = true
      end })
      began = true
      while true do end
    end):start()
    eventually(function() return began end)
    thread:kill()
    eventually(function() return not thread:is_alive() end)
    lu.assertFalse(ended, what)
    lu.assertTrue(ran > 0, what)
  end)
end

-- A hook of the script's that such a module removes is gone, as in lua5.4.
function TestForeignHooks.testTheScriptsHookIsGone()
  if SANITIZER ~= "" then lu.skip("lua5.4 could not load the module") end
  twin(([[
    package.cpath = %q
    local hooks = require("hooks")
    for _, mask in ipairs({ "l", "c", "r", "crl" }) do
      local n = 0
      local function h() n = n + 1 end
      debug.sethook(h, mask)
      print(debug.gethook() == h, select(2, debug.gethook()))
      local x = 1
      hooks.remove()
      local seen = n
      print(seen > 0, debug.gethook())
      for _ = 1, 1000 do x = tostring(x) end
      hooks.work(3000000)
      for _ = 1, 1000 do x = tostring(x) end
      print(n == seen, debug.gethook())
      debug.sethook(h, mask)
      x = tostring(x)
      debug.sethook()
      print(n > seen)
    end
    local n = 0
    debug.sethook(function() n = n + 1 end, "", 10)
    for _ = 1, 1000 do end
    hooks.remove()
    local seen = n
    for _ = 1, 100000 do end
    print(n == seen, seen, debug.gethook())
  ]]):format(cmodules.path))
end

-- A module that found our hook and sets it again, when it has long been served,
-- does not take the script's away.
function TestForeignHooks.testTheScriptsHookSurvivesABorrower()
  local _ <close> = setmetatable({ gil.switch_interval() },
    { __close = function(was) gil.switch_interval(was[1]) end })
  gil.switch_interval(0.001)
  local stop, n = false, 0
  local busy = threading.Thread(function() while not stop do end end):start()
  local function h() n = n + 1 end
  debug.sethook(h, "l")
  for _ = 1, 20 do
    hooks.borrow(WORK, function()
      for _ = 1, 1000 do end
    end)
  end
  local hook, mask = debug.gethook()
  local seen = n
  local x = n
  x = x + 1
  debug.sethook()
  stop = true
  busy:join()
  lu.assertIs(hook, h)
  lu.assertEquals(mask, "l")
  lu.assertTrue(n > seen and x > 0)
end

return { TestForeignHooks = TestForeignHooks }

--- Who waits for an answer that comes at once waits busily first: cut short at
-- any moment of that it takes nothing along and leaves nobody waiting. The
-- moments are random, and the waits so short that most are in it.
local lu = require("luaunit")
local mp = require("multiprocessing")
local threading = require("threading")
local time = require("time")
local children = require("support.children")
local seed = require("support.seed")

local LIMIT = 60 -- seconds, for what should take a moment

--- Each of two sides as what puts and what gets. They are methods in C, in which
-- nothing is cut in two.
local function queues()
  local there, back = mp.Queue(), mp.Queue()
  return { put = there.put, to = there, get = back.get, from = back },
    { put = back.put, to = back, get = there.get, from = there }
end

local function pipe()
  local here, there = mp.Pipe()
  return { put = here.send, to = here, get = here.recv, from = here },
    { put = there.send, to = there, get = there.recv, from = there }
end

--- A process that sends back what it gets, up to "end".
local function echo(side)
  return mp.Process(function()
    repeat
      local value = side.get(side.from)
      side.put(side.to, value)
    until value == "end"
  end):start()
end

--- What comes until the echo has sent the mark back.
local function drain(side, mark)
  local values = {}
  side.put(side.to, mark)
  while true do
    local value = side.get(side.from)
    if value == mark then return values end
    table.insert(values, value)
  end
end

--- Asks again and again: a wait is as long as the answer takes. Notes in 'state'
-- the last question, and whether its answer was not taken.
local function ask(side, state)
  while true do
    state.asked = state.asked + 1
    side.put(side.to, state.asked)
    local ok, problem = pcall(side.get, side.from)
    if not ok then
      state.untaken = true
      error(problem, 0)
    end
  end
end

local function suite(sides)
  local T = {}

  function T.setUp() seed() end

  for _, how in ipairs({ "cancel", "kill" }) do
    T["testA" .. how:gsub("^%l", string.upper) .. "LosesNothing"] = function()
      local here, there = sides()
      local process, untaken = echo(there), 0
      for _ = 1, 300 do
        local state = { asked = 0 }
        local thread = threading.Thread(ask, here, state):start()
        time.sleep(math.random() * 1e-3)
        thread[how](thread)
        lu.assertTrue(thread:join(LIMIT))
        local left = drain(here, "mark")
        if state.untaken or #left > 0 then lu.assertEquals(left, { state.asked }) end
        if state.untaken then untaken = untaken + 1 end
      end
      lu.assertTrue(untaken > 0 or how == "kill") -- which is raised again at once
      drain(here, "end")
      lu.assertEquals(children.exitcode(process), 0)
    end
  end

  function T.testTheDeathOfAProcess()
    local here, there = sides()
    local process = echo(there)
    for _ = 1, 50 do
      local asker = mp.Process(ask, here, { asked = 0 }):start()
      time.sleep(math.random() * 4e-3)
      asker:kill()
      asker:join()
      lu.assertTrue(#drain(here, "mark") <= 1)
    end
    drain(here, "end")
    lu.assertEquals(children.exitcode(process), 0)
  end

  return T
end

local TestEnd = {}

-- Two threads that wait busily for each other in turn.
function TestEnd.testTheEndOfTheProgram()
  local out, err, code = children.host([[
    local one, other = mp.Queue(), mp.Queue()
    local function play(from, to) while true do to:put(from:get()) end end
    threading.Thread{target = play, args = {one, other}, daemon = true}:start()
    threading.Thread{target = play, args = {other, one}, daemon = true}:start()
    one:put("ball")
    time.sleep(0.02)
    print("end")]])
  lu.assertEquals({ out, err, code }, { "end\n", "", 0 })
end

return { TestQueueBusy = suite(queues), TestPipeBusy = suite(pipe), TestEndBusy = TestEnd }

-- The factorials of large numbers, each in a process of its own: they are
-- computed at once, each on a processor of its own if there are so many. The
-- digits are exact.
--
--   tidelock scripts/factorials.lua [--print] [--digits FILE] [N ...]
--
-- --print shows all digits, --digits writes them to FILE, a line for each N.
local bigint = require "bigint"
local mp = require "multiprocessing"
local time = require "time"

local function usage(problem)
  io.stderr:write(problem,
    "\nusage: factorials.lua [--print] [--digits FILE] [N ...]\n")
  os.exit(2)
end

local function read_options(words)
  local options = {numbers = {}}
  local i = 1
  while words[i] do
    local n = math.tointeger(tonumber(words[i]))
    if words[i] == "--print" then
      options.print = true
    elseif words[i] == "--digits" then
      i = i + 1
      options.file = words[i] or usage("--digits needs the name of a file")
    elseif n and n >= 0 then
      table.insert(options.numbers, n)
    else
      usage("what is '" .. words[i] .. "'?")
    end
    i = i + 1
  end
  if not options.numbers[1] then
    options.numbers = os.getenv("TIDELOCK_QUICK") and {1000, 1200, 1500}
      or {100000, 120000, 150000}
  end
  return options
end

-- What each process does: computes, and sends digits and seconds.
local function factorial(n, result)
  local begun = time.perf_counter()
  local product = bigint.factorial(n)
  local computed = time.perf_counter() - begun
  result:send_bytes(("%.6f"):format(computed))
  result:send_bytes(tostring(product))
  result:close()
end

local options = read_options(arg)
local file = options.file and assert(io.open(options.file, "w"))
local begun = time.perf_counter()

local running = {}
for i, n in ipairs(options.numbers) do
  local receiver, sender = mp.Pipe(false)
  local process = mp.Process{target = factorial, args = {n, sender}}
  process:start()
  sender:close() -- the process has its own
  running[i] = {n = n, process = process, receiver = receiver}
end

for _, one in ipairs(running) do
  local seconds = tonumber(one.receiver:recv_bytes())
  local digits = one.receiver:recv_bytes()
  one.receiver:close()
  one.process:join()
  local middle = #digits > 50
    and digits:sub(1, 20) .. "..." .. digits:sub(-20) or digits
  print(("%d! has %d digits: %s (%s, %.4f s)")
    :format(one.n, #digits, middle, one.process.name, seconds))
  if options.print then print(digits) end
  if file then assert(file:write(digits, "\n")) end
end
if file then assert(file:close()) end

print(("All in %.4f s, with the processes and their digits.")
  :format(time.perf_counter() - begun))

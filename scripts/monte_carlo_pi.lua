-- Pi by throwing darts at a square, and counting those within the circle: by one
-- process, then by a pool with one for each processor. Each child draws random
-- numbers of its own.
local mp = require "multiprocessing"
local time = require "time"

local darts = os.getenv("TIDELOCK_QUICK") and 400000 or 20000000
local workers = mp.cpu_count()

local function hits(n)
  local random, count = math.random, 0
  for _ = 1, n do
    local x, y = random(), random()
    if x * x + y * y <= 1 then count = count + 1 end
  end
  return count
end

local function report(title, count, seconds)
  local pi = 4 * count / darts
  print(("%-14s pi is about %.5f (off by %.5f) after %.2f s")
    :format(title, pi, math.abs(pi - math.pi), seconds))
end

local begun = time.monotonic()
report("one process:", hits(darts), time.monotonic() - begun)

local shares, left = {}, darts
for i = 1, workers * 4 do
  shares[i] = left // (workers * 4 - i + 1)
  left = left - shares[i]
end
local pool <close> = mp.Pool(workers)
begun = time.monotonic()
local count = 0
for share in pool:imap_unordered(hits, shares) do count = count + share end
report(("%d processes:"):format(workers), count, time.monotonic() - begun)

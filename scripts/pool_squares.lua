-- A pool of five processes maps a function over a list. The results come in the
-- order of the list, whichever worker was quicker.
local mp = require "multiprocessing"
local time = require "time"

local pause = os.getenv("TIDELOCK_QUICK") and 0.01 or 0.5

local function square(n)
  time.sleep(pause)
  return {n = n, squared = n * n, by = mp.current_process().name}
end

local numbers = {}
for i = 1, 10 do numbers[i] = i end

local pool <close> = mp.Pool(5)
local begun = time.monotonic()
local results = pool:map(square, numbers, 1)

local workers, count = {}, 0
for _, result in ipairs(results) do
  print(("%2d squared is %3d, says %s"):format(result.n, result.squared, result.by))
  if not workers[result.by] then count = count + 1 end
  workers[result.by] = true
end
print(("%d workers took %.2f s; one would have taken %.2f s")
  :format(count, time.monotonic() - begun, #numbers * pause))

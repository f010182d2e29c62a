-- The Mandelbrot set, its rows computed by a pool, written as a picture (PPM) that
-- any viewer opens.
--
--   tidelock scripts/mandelbrot.lua [FILE [WIDTH]]
local mp = require "multiprocessing"
local time = require "time"

local path = arg[1] or "mandelbrot.ppm"
local width = math.tointeger(tonumber(arg[2]))
  or (os.getenv("TIDELOCK_QUICK") and 96 or 900)
local height = width * 2 // 3
local deepest = 200

-- How many steps z = z^2 + c stays near, or 'deepest'.
local function depth(cx, cy)
  local x, y = 0.0, 0.0
  for n = 1, deepest do
    local xx, yy = x * x, y * y
    if xx + yy > 4 then return n end
    x, y = xx - yy + cx, 2 * x * y + cy
  end
  return deepest
end

local function color(n)
  if n == deepest then return 0, 0, 0 end
  local t = n / deepest
  return math.floor(9 * (1 - t) * t ^ 3 * 255),
    math.floor(15 * (1 - t) ^ 2 * t ^ 2 * 255),
    math.floor(8.5 * (1 - t) ^ 3 * t * 255)
end

-- The bytes of one row.
local function row(y)
  local bytes = {}
  for x = 0, width - 1 do
    bytes[x + 1] =
      string.char(color(depth(x / width * 3 - 2.1, y / height * 2 - 1)))
  end
  return table.concat(bytes)
end

-- A bar on standard error: not part of what a script says.
local function show_progress(done)
  local cells = 40 * done // height
  io.stderr:write(("\r[%s%s] %3d %%"):format(("#"):rep(cells),
    (" "):rep(40 - cells), 100 * done // height))
end

local rows = {}
for y = 0, height - 1 do rows[y + 1] = y end

local begun = time.monotonic()
local file <close> = assert(io.open(path, "wb"))
file:write(("P6 %d %d 255\n"):format(width, height))
local pool <close> = mp.Pool(mp.cpu_count())
local shows = not os.getenv("TIDELOCK_QUICK")
local done = 0
for bytes in pool:imap(row, rows, {chunksize = 4}) do
  file:write(bytes)
  done = done + 1
  if shows then show_progress(done) end
end
if shows then io.stderr:write("\n") end
print(("%s: %d x %d points by %d processes in %.2f s")
  :format(path, width, height, mp.cpu_count(), time.monotonic() - begun))

-- A picture (PPM) turned to greys and blurred, strip by strip in a pool.
--
--   tidelock scripts/picture.lua [IN [OUT]]
--
-- Without IN it draws one: rings of colour.
local mp = require "multiprocessing"
local time = require "time"

local input, output = arg[1], arg[2] or "picture.ppm"
local STRIP = 32 -- rows

-- Rows of bytes, three for each point.
local function draw(width, height)
  local rows = {}
  for y = 1, height do
    local points = {}
    for x = 1, width do
      local r = math.sqrt((x - width / 2) ^ 2 + (y - height / 2) ^ 2)
      points[x] = string.char(math.floor(127 + 127 * math.sin(r / 9)),
        x * 255 // width, y * 255 // height)
    end
    rows[y] = table.concat(points)
  end
  return {width = width, height = height, rows = rows}
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  local text = file:read("a")
  local width, height, at = text:match("^P6%s+(%d+)%s+(%d+)%s+255%s()")
  assert(width, path .. " is no PPM picture with 255 shades")
  width, height = tonumber(width), tonumber(height)
  local rows = {}
  for y = 1, height do
    local from = at + (y - 1) * width * 3
    rows[y] = text:sub(from, from + width * 3 - 1)
  end
  return {width = width, height = height, rows = rows}
end

-- One row as greys.
local function to_grey(row)
  local greys = {}
  for r, g, b in row:gmatch("(.)(.)(.)") do
    greys[#greys + 1] = (r:byte() * 299 + g:byte() * 587 + b:byte() * 114) // 1000
  end
  return greys
end

-- The mean of the points within one row and column of (x, y).
local function blurred(greys, x, y)
  local sum, n = 0, 0
  for j = y - 1, y + 1 do
    local row = greys[j]
    for i = x - 1, x + 1 do
      local grey = row and row[i]
      if grey then sum, n = sum + grey, n + 1 end
    end
  end
  return sum // n
end

-- A strip, which comes with the row above and the one below.
local function transform(strip)
  local greys = {}
  for y = strip.first - 1, strip.last + 1 do
    greys[y] = strip.rows[y] and to_grey(strip.rows[y])
  end
  local out = {}
  for y = strip.first, strip.last do
    local bytes = {}
    for x = 1, #greys[y] do
      bytes[x] = string.char(blurred(greys, x, y)):rep(3)
    end
    out[#out + 1] = table.concat(bytes)
  end
  return table.concat(out)
end

local quick = os.getenv("TIDELOCK_QUICK")
local picture = input and read(input) or draw(quick and 60 or 600, quick and 70 or 400)
local strips = {}
for first = 1, picture.height, STRIP do
  local last = math.min(first + STRIP - 1, picture.height)
  local rows = table.move(picture.rows, first - 1, last + 1, first - 1, {})
  strips[#strips + 1] = {first = first, last = last, rows = rows}
end

local begun = time.monotonic()
local file <close> = assert(io.open(output, "wb"))
file:write(("P6 %d %d 255\n"):format(picture.width, picture.height))
local pool <close> = mp.Pool(mp.cpu_count())
for bytes in pool:imap(transform, strips) do file:write(bytes) end
print(("%s: %d x %d points in %d strips by %d processes in %.2f s")
  :format(output, picture.width, picture.height, #strips, mp.cpu_count(),
    time.monotonic() - begun))

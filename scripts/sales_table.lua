-- A table of data analysed by a pool: rows of sales are shared out, each worker
-- groups its rows by region, and the groups are put together.
local mp = require "multiprocessing"
local time = require "time"

local rows = os.getenv("TIDELOCK_QUICK") and 20000 or 400000
local REGIONS = {"East", "North", "South", "West"}

-- The same data in each run, made where they are needed: only the numbers of the
-- first and the last row travel.
local function sale(i)
  local region = REGIONS[i * 7919 % #REGIONS + 1]
  return region, i * 104729 % 1000 + 1, (i * 31 % 97) / 10 + 0.5
end

local function new_group() return {n = 0, pieces = 0, turnover = 0, highest = 0} end

local function analyse(first, last)
  local groups = {}
  for i = first, last do
    local region, pieces, price = sale(i)
    local group = groups[region] or new_group()
    groups[region] = group
    group.n = group.n + 1
    group.pieces = group.pieces + pieces
    group.turnover = group.turnover + pieces * price
    group.highest = math.max(group.highest, pieces * price)
  end
  return groups
end

local function combine(parts)
  local all = {}
  for _, groups in ipairs(parts) do
    for region, part in pairs(groups) do
      local group = all[region] or new_group()
      all[region] = group
      group.n = group.n + part.n
      group.pieces = group.pieces + part.pieces
      group.turnover = group.turnover + part.turnover
      group.highest = math.max(group.highest, part.highest)
    end
  end
  return all
end

local begun = time.monotonic()
local alone = combine{analyse(1, rows)}
local one = time.monotonic() - begun

local ranges, size = {}, rows // 16
for i = 1, 16 do ranges[i] = {(i - 1) * size + 1, i == 16 and rows or i * size} end
local pool <close> = mp.Pool(mp.cpu_count())
begun = time.monotonic()
local together = combine(pool:starmap(analyse, ranges))
local many = time.monotonic() - begun

print("region      sales    pieces      turnover   largest   mean")
for _, region in ipairs(REGIONS) do
  local group = together[region]
  assert(group.n == alone[region].n and group.pieces == alone[region].pieces)
  print(("%-7s %9d %9d %13.2f %9.2f %6.1f"):format(region, group.n, group.pieces,
    group.turnover, group.highest, group.turnover / group.n))
end
print(("%d rows: %.2f s by one process, %.2f s by %d")
  :format(rows, one, many, mp.cpu_count()))

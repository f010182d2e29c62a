-- The most frequent words of a text, counted by a pool: each worker counts the words
-- of a piece, the main process adds the counts.
--
--   tidelock scripts/word_counts.lua [FILE ...]
--
-- Without a file it counts those of this project's README and licence.
local mp = require "multiprocessing"
local time = require "time"

local files = {table.unpack(arg)}
if #files == 0 then
  local project = (arg[0]:match("^.*/") or "./") .. "../"
  files = {project .. "README.md", project .. "LICENSE"}
end

local PIECE = 16384 -- bytes, to the next end of a line

-- The pieces of all files, one after the other.
local function each_piece()
  return coroutine.wrap(function()
    for _, path in ipairs(files) do
      local file <close> = assert(io.open(path))
      while true do
        local bytes, rest = file:read(PIECE, "L")
        if not bytes then break end
        coroutine.yield(bytes .. (rest or ""))
      end
    end
  end)
end

local function count_words(text)
  local counts = {}
  for word in text:lower():gmatch("%a+") do
    counts[word] = (counts[word] or 0) + 1
  end
  return counts
end

local begun = time.monotonic()
local totals, words = {}, 0
do
  local pool <close> = mp.Pool(mp.cpu_count())
  for counts in pool:imap_unordered(count_words, each_piece()) do
    for word, n in pairs(counts) do
      totals[word] = (totals[word] or 0) + n
      words = words + n
    end
  end
end

local sorted = {}
for word in pairs(totals) do table.insert(sorted, word) end
table.sort(sorted, function(a, b)
  if totals[a] ~= totals[b] then return totals[a] > totals[b] end
  return a < b
end)
print(("%d words, %d different, in %.3f s")
  :format(words, #sorted, time.monotonic() - begun))
for i = 1, math.min(10, #sorted) do
  print(("%6d %s"):format(totals[sorted[i]], sorted[i]))
end

--- Starts n threads on one function and joins them.
local threading = require("threading")

-- Seconds: less than the test may take, for then nothing is said.
local LIMIT = (os.getenv("TIDELOCK_SANITIZER") or "") == "" and 80 or 150

--- Calls f(i, ...) in threads i = 1..n and waits for all of them.
---@param n integer
---@param f function
---@return table results results[i] is the first value that f(i, ...) returned
---@return table errors errors[i] is what f(i, ...) raised; empty if none did
return function(n, f, ...)
  local results, errors, threads = {}, {}, {}
  local function body(i, ...)
    local ok, value = pcall(f, i, ...)
    if ok then results[i] = value else errors[i] = value end
  end
  for i = 1, n do
    threads[i] = threading.Thread {
      target = body,
      args = table.pack(i, ...),
      name = "bunch-" .. i,
    }
    threads[i]:start()
  end
  for i, thread in ipairs(threads) do
    if not thread:join(LIMIT) then
      threading.dump(io.stderr)
      error(("thread %d of %d has not ended after %d s"):format(i, n, LIMIT), 2)
    end
  end
  return results, errors
end

-- Three downloads, simulated with time.sleep, in a thread each. They wait
-- side by side, so the whole takes as long as the longest of them.
local threading = require "threading"
local time = require "time"

local second = os.getenv("TIDELOCK_QUICK") and 0.05 or 1

local function download(file, seconds)
  print(("%s: started"):format(file))
  time.sleep(seconds * second)
  print(("%s: done after %.1f s"):format(file, seconds * second))
end

local begun = time.monotonic()
local threads = {
  threading.Thread(download, "picture.png", 3),
  threading.Thread(download, "song.ogg", 2),
  threading.Thread(download, "page.html", 1),
}
for _, thread in ipairs(threads) do thread:start() end
for _, thread in ipairs(threads) do thread:join() end
print(("All downloads took %.1f s; one after another, %.1f s.")
  :format(time.monotonic() - begun, 6 * second))

--- Tells when a thread is at work, so that a test can interrupt its loop.
local gil = require("gil")
local eventually = require("support.eventually")

--- What the thread has done: for how many seconds it ran, and how often it
-- gave the GIL up.
local function work_of(t)
  for _, counters in ipairs(gil.stats().threads) do
    if counters.ident == t.ident then return counters.held_time, counters.voluntary_releases end
  end
end

--- Waits until the thread has run for 2 ms more, or has begun to wait.
return function(t)
  local before = work_of(t)
  eventually(function()
    local held, released = work_of(t)
    return held > before + 0.002 or released > 0
  end)
end

---@meta tidelock.gil

--- The lock of the interpreter: settings and statistics. All calls keep the
--- GIL.
---@class tidelock.gil
local gil = {}

--- How long a thread that wants the GIL waits before it asks the holder to
--- give way. Raises for what is not a number above 0. Values below 1 us mean
--- 1 us, and those above 18 years 18 years.
---@param seconds? number the new interval; nothing: leave it
---@return number seconds the one before; at first 0.005
function gil.switch_interval(seconds) end

---@alias gil.Policy
---| "fair" # a thread that gave up the GIL to wait goes ahead of threads that use up their slices
---| "cpython" # the algorithm of CPython, convoy effect included

--- Who gets the GIL next. Raises for another name.
---@param name? gil.Policy the new policy; nothing: leave it
---@return gil.Policy name the one before; at first "fair"
function gil.policy(name) end

---@class gil.Counters
---@field switches integer how often the GIL was taken by another thread than before
---@field forced_switches integer how often it was given up because a waiter had asked
---@field voluntary_releases integer how often it was given up in order to wait
---@field acquires integer how often it was taken
---@field contended_acquires integer those that found it held
---@field boosts integer those back from an outside wait, which asked at once
---@field wait_time number seconds spent waiting for it
---@field held_time number seconds it was held

---@class gil.ThreadCounters: gil.Counters
---@field name string
---@field ident integer

---@class gil.Stats: gil.Counters
---@field threads gil.ThreadCounters[] one for each thread that is alive

--- The counters of all threads together, ended ones included, and of each
--- thread that is alive.
---@return gil.Stats
---@nodiscard
function gil.stats() end

--- Whether there is a GIL.
---@return true
---@nodiscard
function gil.enabled() end

return gil

--- Stops a process, as a debugger does, and returns when each of its threads has
--- stopped: the signal is on its way after kill has returned, and until the thread that
--- is to take it runs, others go on.
local lfs = require("lfs")
local eventually = require("support.eventually")

local function is_stopped(folder)
  local file <close> = io.open(folder .. "/stat")
  local stat = file and file:read("a")
  return not stat or stat:find("%) [TZX] ") ~= nil
end

return function(pid)
  assert(os.execute("kill -STOP " .. pid))
  eventually(function()
    local tasks = ("/proc/%d/task"):format(pid)
    for name in lfs.dir(tasks) do
      if name:find("^%d") and not is_stopped(tasks .. "/" .. name) then return false end
    end
    return true
  end)
end

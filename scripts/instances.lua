-- Several instances of a program at once: each is this script again, started as a
-- program of its own, and knows nothing of the others.
local subprocess = require "subprocess"
local time = require "time"

if arg[1] == "instance" then
  time.sleep(tonumber(arg[3]))
  print(("instance %s worked for %s s"):format(arg[2], arg[3]))
  os.exit(tonumber(arg[2]))
end

local pause = os.getenv("TIDELOCK_QUICK") and 0.02 or 0.5
local INSTANCES = 4

local begun = time.monotonic()
local running = {}
for i = 1, INSTANCES do
  running[i] = subprocess.Popen{
    args = {arg[-1], arg[0], "instance", tostring(i), tostring(pause)},
    stdout = subprocess.PIPE,
  }
end
for _, instance in ipairs(running) do
  local output = instance:communicate()
  io.write(("[%d] exit code %d: %s")
    :format(instance.pid, instance.returncode, output))
end
print(("%d instances took %.2f s together, one after the other %.2f s")
  :format(INSTANCES, time.monotonic() - begun, INSTANCES * pause))

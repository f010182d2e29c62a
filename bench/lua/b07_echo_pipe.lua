-- An echo thread sends bytes back to a client process over a pair of pipes while
-- CPU-bound threads spin. The client is c/echo_client: closed loop, one byte.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local threading = require("threading")
local time = require("time")

local now, seconds, field = _bench.now, _bench.seconds, _bench.field
local emit = _bench.emitter("echo_pipe")
local client = _bench.c_tool("echo_client")

--- CPU-bound threads, counting the chunks of work they have done.
local Hogs = {}
Hogs.__index = Hogs

function Hogs.new(n)
  local self = setmetatable({ counts = {}, threads = {}, stop = false }, Hogs)
  for i = 1, n do self.counts[i] = 0 end
  for i = 1, n do self.threads[i] = threading.Thread(Hogs.spin, self, i):start() end
  return self
end

function Hogs:spin(me)
  local counts = self.counts
  while not self.stop do
    local n = 1000
    while n > 0 do n = n - 1 end
    counts[me] = counts[me] + 1
  end
end

function Hogs:done()
  local sum = 0
  for _, n in ipairs(self.counts) do sum = sum + n end
  return sum
end

function Hogs:join()
  self.stop = true
  for _, t in ipairs(self.threads) do t:join() end
end

local function echo(from, to)
  while true do
    local byte = from:read(1)
    if not byte then return end
    to:write(byte)
  end
end

local function open_unbuffered(path, mode)
  local file = assert(io.open(path, mode))
  file:setvbuf("no")
  return file
end

--- Starts a client at 'pace' (its options); returns what it prints, and the pipes.
local function connect(window, pace)
  local folder = _bench.output_of("d=$(mktemp -d) && mkfifo $d/in $d/out && echo $d"):match("%S+")
  local command = string.format("exec '%s' --out %s/in --in %s/out --ms %.0f --warmup-ms 50 %s",
                                client, folder, folder, window * 1000, pace)
  local report = assert(io.popen(command))
  local from = open_unbuffered(folder .. "/in", "r") -- waits for the client
  local to = open_unbuffered(folder .. "/out", "w")
  _bench.output_of("rm -r " .. folder)
  return report, from, to
end

local function run(nhogs, window, pace)
  local report, from, to = connect(window, pace)
  local server = threading.Thread(echo, from, to):start()
  local hogs = Hogs.new(nhogs)
  local t0, done0 = now(), hogs:done()
  local result = report:read("a")
  local done = (hogs:done() - done0) / (now() - t0)
  hogs:join()
  server:join()
  from:close()
  to:close()
  assert(report:close(), "the client failed")
  return result, done
end

local function hog_alone(window)
  local hogs = Hogs.new(1)
  time.sleep(0.02)
  local t0, done0 = now(), hogs:done()
  time.sleep(window)
  local rate = (hogs:done() - done0) / (now() - t0)
  hogs:join()
  return rate
end

local function measure(name, nhogs, pace)
  local window, short = seconds(0.6, 0.1), seconds(0.15)
  local before = nhogs > 0 and hog_alone(short)
  local result, done = run(nhogs, window, pace)
  emit(name .. "p50", field(result, "p50_us"), "us", "lower")
  emit(name .. "p99", field(result, "p99_us"), "us", "lower")
  emit(name .. "max", field(result, "max_us"), "us", "lower")
  emit(name .. "rate", field(result, "rate"), "roundtrips/s", "higher")
  if before then -- and after: the machine's speed drifts
    local alone = (before + hog_alone(short)) / 2
    emit(name .. "retained", done / alone, "x of one hog alone", "higher")
  end
end

for nhogs = 0, 2 do
  measure(string.format("pipe_%dhogs_", nhogs), nhogs, "")
end
for nhogs = 1, 2 do
  measure(string.format("pipe_%dhogs_2000_", nhogs), nhogs, "--rate 2000")
end

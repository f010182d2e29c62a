--- Messages between processes: the rows of b12 that are about pipes and queues.
package.path = (arg[0]:match("^.*/") or "./") .. "?.lua;" .. package.path
local _bench = require("_bench")
local mp = require("multiprocessing")

local now = _bench.now
local emit = _bench.emitter("ipc")
local MIB = 1 << 20

local function echo_bytes(conn)
  while true do
    local data = conn:recv_bytes()
    if data == "" then return end
    conn:send_bytes(data)
  end
end

--- Receives messages until an empty one, then says how many bytes came.
local function sink_bytes(conn)
  local total = 0
  while true do
    local data = conn:recv_bytes()
    if data == "" then break end
    total = total + #data
  end
  conn:send(total)
end

local function with_child(target, body)
  local ours, theirs = mp.Pipe()
  local child = mp.Process(target, theirs)
  child:start()
  local figure = body(ours)
  child:join()
  return figure
end

local function roundtrip_bytes(n)
  return with_child(echo_bytes, function(conn)
    for _ = 1, 100 do
      conn:send_bytes("12345678")
      conn:recv_bytes()
    end
    local t0 = now()
    for _ = 1, n do
      conn:send_bytes("12345678")
      conn:recv_bytes()
    end
    local elapsed = now() - t0
    conn:send_bytes("")
    return elapsed / n
  end)
end

local function echo_objects(conn)
  while true do
    local object = conn:recv()
    if object == nil then return end
    conn:send(object)
  end
end

local function roundtrip_objects(n)
  return with_child(echo_objects, function(conn)
    for i = 1, 100 do
      conn:send(i)
      conn:recv()
    end
    local t0 = now()
    for i = 1, n do
      conn:send(i)
      conn:recv()
    end
    local elapsed = now() - t0
    conn:send(nil)
    return elapsed / n
  end)
end

local function megabytes(n)
  return with_child(sink_bytes, function(conn)
    local payload = ("x"):rep(MIB)
    conn:send_bytes(payload)
    local t0 = now()
    for _ = 1, n do conn:send_bytes(payload) end
    conn:send_bytes("")
    local total = conn:recv()
    local elapsed = now() - t0
    assert(total == (n + 1) * MIB)
    return n * MIB / elapsed / 1e6
  end)
end

--- Items a second, from the "go" to the last get.
local function queue_rate(q, n)
  local go, gone = mp.Pipe()
  local child = mp.Process(function()
    gone:recv()
    for i = 0, n - 1 do q:put(i) end
  end)
  child:start()
  local t0 = now()
  go:send("go")
  local total = 0
  for _ = 1, n do total = total + q:get() end
  local elapsed = now() - t0
  child:join()
  assert(total == n * (n - 1) // 2)
  return n / elapsed
end

emit("pipe_bytes8_roundtrip", roundtrip_bytes(_bench.scaled(10000)) * 1e6, "us", "lower")
emit("pipe_int_roundtrip", roundtrip_objects(_bench.scaled(8000)) * 1e6, "us", "lower")
emit("pipe_1MiB_throughput", megabytes(_bench.scaled(500)), "MB/s", "higher")
emit("mp_queue", queue_rate(mp.Queue(), _bench.scaled(30000)), "items/s", "higher")
emit("mp_simplequeue", queue_rate(mp.SimpleQueue(), _bench.scaled(30000)), "items/s", "higher")

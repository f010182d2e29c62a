-- The tour: what is said of threads, processes and the GIL, measured on this
-- machine in about 20 seconds. Every figure below comes from this run.
local gil = require "gil"
local mp = require "multiprocessing"
local queue = require "queue"
local threading = require "threading"
local time = require "time"

local quick = os.getenv("TIDELOCK_QUICK")
local cpu_time = quick and 0.03 or 0.5 -- seconds of CPU-bound work
local cpu_limit = quick and 0.2 or 8 -- seconds after which it is not repeated
local wait_time = quick and 0.05 or 0.2 -- seconds of one wait
local echo_time = quick and 0.2 or 1.5 -- seconds of round trips
local start_time = quick and 0.1 or 0.5 -- seconds of starting and joining

-- Writing ------------------------------------------------------------------

local section_number = 0
local findings = {} -- lines of the summary
local compared = {} -- rows of the comparison: what, of threads, of processes

local function line(format, ...) print("  " .. format:format(...)) end

local function section(title)
  section_number = section_number + 1
  print(("\n%d. %s\n"):format(section_number, title))
end

-- A paragraph in lines of at most 78 columns.
local function say(format, ...)
  local text = " "
  print()
  for word in format:format(...):gmatch("%S+") do
    if #text + 1 + #word > 78 then
      print(text)
      text = " "
    end
    text = text .. " " .. word
  end
  print(text)
end

local function find(claim, holds, format, ...)
  findings[#findings + 1] = ("%-45s %-5s %s")
    :format(claim, holds and "yes" or "no", format:format(...))
end

local function compare(what, of_threads, of_processes)
  compared[#compared + 1] = {what, of_threads, of_processes}
end

-- Counting -----------------------------------------------------------------

-- The value below which the fraction p of a sorted list lies.
local function quantile(sorted, p)
  return sorted[math.max(1, math.ceil(p * #sorted))]
end

local function timed(fn, ...)
  local begun = time.perf_counter()
  fn(...)
  return time.perf_counter() - begun
end

-- Runs `fn` and returns what the GIL counted meanwhile, for each second.
local function counted(fn, ...)
  local before = gil.stats()
  local seconds = timed(fn, ...)
  local after = gil.stats()
  local rates = {}
  for _, name in ipairs{"switches", "forced_switches", "voluntary_releases"} do
    rates[name] = (after[name] - before[name]) / seconds
  end
  return rates
end

-- KiB of memory of a process, by the fields of the kernel's account.
local function memory(pid, field)
  local kib = 0
  for entry in io.lines(("/proc/%s/smaps_rollup"):format(pid)) do
    kib = kib + (entry:match("^" .. field .. ":%s+(%d+)") or 0)
  end
  return kib
end

-- Runs fn(...) in n workers and waits for them.
local function spread(Worker, n, fn, ...)
  local workers = {}
  for i = 1, n do
    workers[i] = Worker(fn, ...)
    workers[i]:start()
  end
  for i = 1, n do workers[i]:join() end
end

local Thread, Process = threading.Thread, mp.Process
local processors = mp.cpu_count()
local on_processors = ("on %d processor%s")
  :format(processors, processors == 1 and "" or "s")
local gil_rows = {} -- what the GIL did in the sections before its own, also by title

local function note_gil(title, rates)
  gil_rows[#gil_rows + 1] = {title, rates}
  gil_rows[title] = rates
end

-- CPU-bound work -----------------------------------------------------------

local function count_down(n)
  while n > 0 do n = n - 1 end
end

local function measure_cpu_bound()
  local sample, fastest = 500000, math.huge
  for _ = 1, 10 do fastest = math.min(fastest, timed(count_down, sample)) end
  local steps = math.floor(sample * cpu_time / fastest)
  section(("CPU-bound work: %.0f million loop steps, shared out")
    :format(steps / 1e6))

  local counts = {2, 4} -- and on, as far as there are processors
  while counts[#counts] < processors do
    counts[#counts + 1] = math.min(2 * counts[#counts], processors)
  end
  local ways = {{"1 thread", Thread, 1}}
  for _, kind in ipairs{{"threads", Thread}, {"processes", Process}} do
    for _, n in ipairs(counts) do
      ways[#ways + 1] = {("%d %s"):format(n, kind[1]), kind[2], n}
    end
  end
  for _, way in ipairs(ways) do way.time = math.huge end
  local begun = time.monotonic()
  repeat -- in turn, so that all meet the same conditions
    for _, way in ipairs(ways) do
      local _, Worker, n = table.unpack(way)
      way.rates = counted(function()
        way.time =
          math.min(way.time, timed(spread, Worker, n, count_down, steps // n))
      end)
    end
  until time.monotonic() - begun > cpu_limit

  line("%-12s %10s %10s", "workers", "best time", "speed-up")
  local best = {[Thread] = 0, [Process] = 0}
  for _, way in ipairs(ways) do
    local title, Worker, n = table.unpack(way)
    local speedup = ways[1].time / way.time
    if n > 1 then best[Worker] = math.max(best[Worker], speedup) end
    line("%-12s %8.3f s %10.2f", title, way.time, speedup)
  end
  for i = 2, #counts + 1 do
    compare(("speed of %d workers, CPU-bound"):format(ways[i][3]),
      ("x %.2f"):format(ways[1].time / ways[i].time),
      ("x %.2f"):format(ways[1].time / ways[i + #counts].time))
  end
  note_gil("CPU-bound work, 2 threads", ways[2].rates)
  note_gil("CPU-bound work, 4 threads", ways[3].rates)

  local threads_help = best[Thread] >= 1.2
  local processes_help = best[Process] >= 1.2
  say("More threads were at best %.2f times as fast as one%s Processes were \z
    at best %.2f times as fast, %s%s", best[Thread],
    threads_help
      and ", which the GIL does not explain: something disturbed this run."
      or ": only the holder of the GIL runs Lua.",
    best[Process], on_processors,
    processes_help and ": each has a GIL of its own."
      or ": there was no processor to spare.")
  find("Threads speed up CPU-bound work", threads_help,
    "x %.2f at best", best[Thread])
  find("Processes speed up CPU-bound work", processes_help,
    "x %.2f at best", best[Process])
end

-- I/O-bound work -----------------------------------------------------------

local WAITS = 8

local function read_slowly(times)
  for _ = 1, times do
    local pipe <close> = assert(io.popen(("sleep %g; echo"):format(wait_time)))
    pipe:read("l")
  end
end

local function measure_io_bound()
  section(("I/O-bound work: %d reads that wait %g s each, shared out")
    :format(WAITS, wait_time))
  line("%-12s %10s %10s", "workers", "time", "speed-up")
  local alone, speedup
  for _, n in ipairs{1, 2, 4, 8} do
    local seconds
    local rates = counted(function()
      seconds = timed(spread, Thread, n, read_slowly, WAITS // n)
    end)
    alone = alone or seconds
    speedup = alone / seconds
    line("%-12s %8.3f s %10.2f", n == 1 and "1 thread" or n .. " threads",
      seconds, speedup)
    if n == WAITS then
      note_gil("I/O-bound work, 8 threads", rates)
    end
  end
  local help = speedup >= 1.2
  say("%d threads were %.1f times as fast as one%s", WAITS, speedup,
    help and ": a thread that waits does not hold the GIL, so all wait at once."
      or " in this run.")
  find("Threads speed up I/O-bound work", help, "x %.1f with %d",
    speedup, WAITS)
end

-- An echo beside a busy thread ---------------------------------------------

-- A process that sends back what it gets; returns a function that makes one
-- round trip with one byte, and one that ends the process.
local function start_echo()
  local server_in, client_out = mp.Pipe(false)
  local client_in, server_out = mp.Pipe(false)
  local server = Process(function()
    client_out:close() -- this copy, so that the pipe ends with the other one
    while true do
      local ok, message = pcall(server_in.recv_bytes, server_in)
      if not ok then break end
      server_out:send_bytes(message)
    end
  end)
  server:start()
  local function trip()
    client_out:send_bytes("x")
    client_in:recv_bytes()
  end
  return trip, function()
    client_out:close()
    server:join()
  end
end

-- Round trips for a while: their times in ns.
local function repeat_trips(trip)
  local clock, times = time.perf_counter_ns, {}
  local now = clock()
  local stop = now + echo_time * 1e9
  while now < stop do
    trip()
    local back = clock()
    times[#times + 1] = back - now
    now = back
  end
  return times
end

-- A thread that counts as fast as it can. Returns a function that stops it
-- and tells how often it counted each second.
local function start_busy()
  local stopped, chunks = false, 0
  local begun = time.perf_counter()
  local thread = Thread(function()
    while not stopped do
      count_down(1000)
      chunks = chunks + 1
    end
  end):start()
  return function()
    stopped = true
    thread:join()
    return chunks / (time.perf_counter() - begun)
  end
end

local function microseconds(ns) return ("%.0f us"):format(ns / 1000) end

local function measure_echo()
  section("An echo by another process: a message of one byte and back")
  local trip, end_echo = start_echo()
  local stop_busy = start_busy()
  time.sleep(echo_time / 5)
  local alone = stop_busy()

  line("%-15s %-8s %12s %10s %10s %11s", "beside", "policy", "round trips",
    "p50", "p99", "busy keeps")
  local function row(beside, policy)
    gil.policy(policy)
    local times, kept
    local rates = counted(function()
      local stop = beside == "a busy thread" and start_busy()
      times = repeat_trips(trip)
      kept = stop and ("%.0f %%"):format(100 * stop() / alone) or "-"
    end)
    gil.policy("fair")
    table.sort(times)
    local p50, p99 = quantile(times, 0.5), quantile(times, 0.99)
    line("%-15s %-8s %10.0f/s %10s %10s %11s", beside, policy,
      #times / echo_time, microseconds(p50), microseconds(p99), kept)
    note_gil(("Echo, %s, %s"):format(beside, policy), rates)
    return #times,
      ("p50 %s, p99 %s"):format(microseconds(p50), microseconds(p99))
  end
  local quiet = row("nothing", "fair")
  local cpython, cpython_times = row("a busy thread", "cpython")
  local fair, fair_times = row("a busy thread", "fair")
  end_echo()

  say("Beside a busy thread the echo made %.1f %% of its round trips under \z
    \"cpython\", where a thread back from I/O asks for the GIL after a switch \z
    interval (%g ms), and %.1f %% under \"fair\", where it asks at once.",
    100 * cpython / quiet, gil.switch_interval() * 1000, 100 * fair / quiet)
  find("A busy thread slows I/O fourfold, \"cpython\"", cpython * 4 <= quiet,
    "%s", cpython_times)
  find("A busy thread slows I/O fourfold, \"fair\"", fair * 4 <= quiet,
    "%s", fair_times)
end

-- The GIL ------------------------------------------------------------------

local function report_gil()
  section("How often the GIL changed hands in the runs above, each second")
  line("%-32s %12s %12s %12s", "", "changed", "a waiter", "holder went")
  line("%-32s %12s %12s %12s", "during", "hands", "asked", "to wait")
  for _, row in ipairs(gil_rows) do
    local title, rates = table.unpack(row)
    line("%-32s %12.0f %12.0f %12.0f", title, rates.switches,
      rates.forced_switches, rates.voluntary_releases)
  end
  local cpu = gil_rows["CPU-bound work, 2 threads"]
  local io_bound = gil_rows["I/O-bound work, 8 threads"]
  local cpython = gil_rows["Echo, a busy thread, cpython"]
  local fair = gil_rows["Echo, a busy thread, fair"]
  say("Two CPU-bound threads changed places %.0f times a second, %.0f times \z
    because the other had asked; with eight threads that wait for I/O it was \z
    %.0f and %.0f. The echo beside a busy thread asked %.0f times a second \z
    under \"cpython\" and %.0f times under \"fair\".",
    cpu.switches, cpu.forced_switches, io_bound.switches,
    io_bound.forced_switches, cpython.forced_switches, fair.forced_switches)
end

-- Threads and processes ----------------------------------------------------

local function thread_memory(n)
  local ready, go = threading.Semaphore(0), threading.Event()
  local threads = {}
  collectgarbage()
  local before = memory("self", "Rss")
  for i = 1, n do
    threads[i] = Thread(function()
      ready:release()
      go:wait()
    end):start()
  end
  for _ = 1, n do ready:acquire() end
  local kib = (memory("self", "Rss") - before) / n
  go:set()
  for _, thread in ipairs(threads) do thread:join() end
  return kib
end

local function process_memory(n)
  local ready, report = mp.Pipe(false)
  local processes = {}
  collectgarbage() -- a cycle after the fork would unshare the heap
  for i = 1, n do
    processes[i] = Process{daemon = true, target = function()
      report:send_bytes("ready")
      time.sleep(60)
    end}
    processes[i]:start()
  end
  for _ = 1, n do ready:recv_bytes() end
  local kib = 0
  for _, process in ipairs(processes) do
    kib = kib + memory(process.pid, "Private_%a+")
  end
  for _, process in ipairs(processes) do
    process:terminate()
    process:join()
  end
  return kib / n
end

-- ns to start and join one worker.
local function start_cost(Worker)
  local function nothing() end
  local clock, n = time.perf_counter_ns, 0
  local begun = clock()
  repeat
    spread(Worker, 1, nothing)
    n = n + 1
  until clock() - begun > start_time * 1e9
  return (clock() - begun) / n
end

local function measure_workers()
  section("What a thread and a process cost")
  local process_kib = process_memory(quick and 2 or 10)
  local thread_kib = thread_memory(quick and 50 or 500)
  local thread_ns = start_cost(Thread)
  local process_ns = start_cost(Process)
  line("%-12s %16s %16s", "", "start and join", "memory of one")
  line("%-12s %16s %12.0f KiB", "a thread", microseconds(thread_ns), thread_kib)
  line("%-12s %16s %12.0f KiB", "a process", microseconds(process_ns),
    process_kib)
  local cheaper = process_ns > thread_ns
  say("A process took %.1f times as long as a thread to start and join, and \z
    %.1f times the memory (a thread's is what the process grew by, a \z
    process's what it shares with none).", process_ns / thread_ns,
    process_kib / thread_kib)
  compare("start and join", microseconds(thread_ns), microseconds(process_ns))
  compare("memory of one", ("%.0f KiB"):format(thread_kib),
    ("%.0f KiB"):format(process_kib))
  find("A thread costs less than a process", cheaper,
    "%s and %s", microseconds(thread_ns), microseconds(process_ns))
end

-- Ways to start a process ---------------------------------------------------

local function measure_start_methods()
  section("The ways to start a process")
  local means = {
    fork = "a copy of this one",
    spawn = "this program, started anew",
    forkserver = "a copy of a clean one",
  }
  line("%-12s %-28s %16s", "method", "the child is", "start and join")
  for _, method in ipairs(mp.get_all_start_methods()) do
    local Worker = mp.get_context(method).Process
    spread(Worker, 1, function() end) -- the server is started once
    line("%-12s %-28s %16s", method, means[method],
      microseconds(start_cost(Worker)))
  end
  say("A forked child has all that its parent had. The others begin clean, and \z
    what they need is sent to them.")
end

-- Handing over ----------------------------------------------------------------

-- ns for each of n items that a worker puts into a queue and this thread gets.
local function handover(Worker, q, item, n)
  local worker = Worker(function()
    for _ = 1, n do q:put(item) end
  end)
  worker:start()
  q:get()
  local begun = time.perf_counter_ns()
  for _ = 2, n do q:get() end
  local ns = (time.perf_counter_ns() - begun) / (n - 1)
  worker:join()
  return ns
end

-- ns for each task of a pool, by apply and by map.
local function pool_cost(pool)
  local function nothing(x) return x end
  local n = quick and 100 or 3000
  pool:apply(nothing, {1})
  local begun = time.perf_counter_ns()
  for i = 1, n do pool:apply(nothing, {i}) end
  local single = (time.perf_counter_ns() - begun) / n
  local list = {}
  for i = 1, n * 10 do list[i] = i end
  begun = time.perf_counter_ns()
  pool:map(nothing, list)
  return single, (time.perf_counter_ns() - begun) / #list
end

local function measure_handover()
  section("Handing something over")
  local few, many = quick and 20 or 200, quick and 1000 or 50000
  local megabyte = ("x"):rep(1 << 20)
  local threads = {
    small = handover(Thread, queue.Queue(), 1, many),
    large = handover(Thread, queue.Queue(), megabyte, few),
  }
  local processes = {
    small = handover(Process, mp.Queue(), 1, many),
    large = handover(Process, mp.Queue(20), megabyte, few),
  }
  do
    local pool <close> = mp.ThreadPool(2)
    threads.task, threads.item = pool_cost(pool)
  end
  do
    local pool <close> = mp.Pool(2)
    processes.task, processes.item = pool_cost(pool)
  end
  line("%-32s %14s %14s", "", "between", "between")
  line("%-32s %14s %14s", "", "threads", "processes")
  local function fine(ns) return ("%.2f us"):format(ns / 1000) end
  local function row(what, name)
    line("%-32s %14s %14s", what, fine(threads[name]), fine(processes[name]))
    compare(what, fine(threads[name]), fine(processes[name]))
  end
  row("an integer, by a queue", "small")
  row("a string of 1 MiB, by a queue", "large")
  row("a pool's task, one by one", "task")
  row("an item of a pool's map", "item")
  say("Threads hand over a reference, processes a copy that is made twice, into \z
    shared memory and out of it.")
end

-- The comparison ----------------------------------------------------------------

local function compare_all()
  section("Threads and processes side by side")
  line("%-34s %16s %16s", "", "threads", "processes")
  line("%-34s %16s %16s", "run Lua at once", "1", processors)
  line("%-34s %16s %16s", "memory is", "shared", "separate")
  for _, row in ipairs(compared) do
    line("%-34s %16s %16s", row[1], row[2], row[3])
  end
end

local function tour()
  io.stdout:setvbuf("line")
  print(("tidelock: %s with threads, %s"):format(_VERSION, on_processors))
  print(("The GIL: policy \"%s\", switch interval %g ms")
    :format(gil.policy(), gil.switch_interval() * 1000))
  measure_cpu_bound()
  measure_io_bound()
  measure_echo()
  report_gil()
  measure_workers()
  measure_start_methods()
  measure_handover()
  compare_all()
  section("In short")
  line("%-45s %-5s %s", "claim", "here", "measured")
  for _, finding in ipairs(findings) do line("%s", finding) end
end

local seconds = timed(tour)
print(("\nMeasured in %.1f s."):format(seconds))

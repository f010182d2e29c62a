--- Ten thousand threads alive at once: each starts, runs, waits for all others,
--- returns its own value and is joined.
local lu = require("luaunit")
local threading = require("threading")

-- A sanitizer keeps much for each thread, and ThreadSanitizer has room for 8000.
local FEWER = { address = 1000, thread = 300 }
local N = FEWER[os.getenv("TIDELOCK_SANITIZER") or ""] or 10000
local LONG = 120 -- seconds

local TestTenThousandThreads = {}

function TestTenThousandThreads:setUp()
  self.uncaught = {}
  self.hook = threading.excepthook
  threading.excepthook = function(args) table.insert(self.uncaught, tostring(args.value)) end
end

function TestTenThousandThreads:tearDown()
  threading.excepthook = self.hook
  lu.assertEquals(threading.active_count(), 1)
end

function TestTenThousandThreads:testAllAreAliveAtOnceRunAndJoin()
  local gate, all_here = threading.Event(), threading.Event()
  local arrived, idents = 0, {}

  local function visit(i)
    arrived = arrived + 1
    idents[i] = threading.get_ident()
    if arrived == N then all_here:set() end
    return gate:wait(LONG) and i
  end

  local threads = {}
  for i = 1, N do threads[i] = threading.Thread(visit, i):start() end
  lu.assertTrue(all_here:wait(LONG))
  lu.assertEquals(threading.active_count(), N + 1)
  lu.assertEquals(#threading.enumerate(), N + 1)
  gate:set()

  local wrong, seen = 0, {}
  for i, t in ipairs(threads) do
    lu.assertTrue(t:join(LONG))
    if t:result() ~= i or t.ident ~= idents[i] or seen[t.ident] then wrong = wrong + 1 end
    seen[t.ident] = true
  end
  lu.assertEquals(wrong, 0)
  lu.assertEquals(arrived, N)
  lu.assertEquals(self.uncaught, {})
end

return { TestTenThousandThreads = TestTenThousandThreads }

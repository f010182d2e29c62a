--- Each of many threads that came back from outside at once looked and asked
-- for the GIL again and again, and kept the one that had got it from the
-- processors: 200 sleepers took many seconds and all of two processors, and at
-- the end of a program most of 38 daemons were not ended in time.
local lu = require("luaunit")
local threading = require("threading")
local time = require("time")
local bunch = require("support.bunch")

local N = 200
local SLOW = (os.getenv("TIDELOCK_SANITIZER") or "") ~= "" and 5 or 1

local TestManyBackAtOnce = {}

-- What other programs take of the processors does not count.
function TestManyBackAtOnce.testTheyDoNotKeepEachOtherOut()
  local all_there, due = threading.Barrier(N), nil
  local used
  local _, errors = bunch(N, function(i)
    all_there:wait()
    if i == 1 then
      used = time.process_time()
      due = time.monotonic() + 0.1
    end
    all_there:wait()
    time.sleep(math.max(0, due - time.monotonic()))
  end)
  lu.assertEquals(errors, {})
  used = time.process_time() - used
  lu.assertTrue(used < SLOW, used)
end

return { TestManyBackAtOnce = TestManyBackAtOnce }

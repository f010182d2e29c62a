-- Shared memory that travels: through connections, and to processes that are no forks.
local lu = require("luaunit")
local mp = require("multiprocessing")
local pickle = require("pickle")
local shared_memory = require("multiprocessing.shared_memory")
local threading = require("threading")
local children = require("support.children")

-- The process that takes names away is started with the first block, and stays.
do
  local first <close> = shared_memory.SharedMemory { create = true, size = 1 }
  first:unlink()
end

--- What comes out of a connection into which the values are put.
local function sent(...)
  local receiver <close>, sender = mp.Pipe(false)
  sender:send(table.pack(...))
  local got = receiver:recv()
  sender:close()
  return table.unpack(got, 1, got.n)
end

local TestTravel = {}

function TestTravel:testValuesAndArraysAreTheSameMemory()
  local v, small, large = mp.RawValue("double", 1.5), mp.RawArray("int16", { 1, 2, 3 }),
    mp.RawArray("int64", 10000)
  local text, empty = mp.RawArray("c", "text"), mp.RawArray("bool", 0)
  local w, tiny, huge, words, none, again = sent(v, small, large, text, empty, v)
  lu.assertEquals({ w.value, tiny:read(), #huge, words.value, #none },
    { 1.5, { 1, 2, 3 }, 10000, "text", 0 })
  lu.assertTrue(rawequal(w, again))
  w.value, tiny[2], huge[10000], words[1] = -0.0, 7, 9, "n"
  lu.assertEquals({ 1 / v.value, small[2], large[10000], text.value }, { -math.huge, 7, 9, "next" })
  lu.assertEquals(tostring(w), "<Value double -0.0>")
  lu.assertEquals(tostring(huge), "<Array int64[10000]>")
  lu.assertNil(w.get_lock)
end

-- Locked ones travel with their locks, and so does what has the memory alone.
function TestTravel:testWithTheirLocksAndWithout()
  local v, a = mp.Value("int32", 1), mp.Array("double", { 1, 2 })
  local raw, rest, w, b = sent(v:get_obj(), a:get_obj(), v, a)
  lu.assertNil(raw.get_lock or rest.get_lock)
  raw.value, rest[2] = 7, 8.5
  lu.assertEquals({ v.value, w.value, a[2], b[2], #rest }, { 7, 7, 8.5, 8.5, 2 })
  local held <close> = v:guard()
  lu.assertFalse(threading.Thread(w.acquire, w, false):start():result())
end

function TestTravel:testItOutlivesWhatWasSent()
  local got = { sent(mp.RawValue("int8", 5), mp.RawArray("int8", 5000)) }
  collectgarbage()
  collectgarbage()
  lu.assertEquals({ got[1].value, got[2][5000] }, { 5, 0 })
end

function TestTravel:testBlocksAndViewsAndListsTravelByName()
  local shm <close> = shared_memory.SharedMemory { create = true, size = 100 }
  local list = shared_memory.ShareableList({ 1, "text", n = 3 })
  local other, view, more = sent(shm, shm.buf:view("int32", 8, 5), list)
  lu.assertEquals({ other.name, other.size, #view, #more, more[2] },
    { shm.name, 100, 5, 3, "text" })
  view[1], more[3] = 77, 2.5
  lu.assertEquals({ shm.buf:unpack(8, "i4"), list[3] }, { 77, 2.5 })
  shm:unlink()
  list.shm:unlink()
  lu.assertErrorMsgContains("No such file", sent, shm)
  -- The name alone is not enough.
  local taken <close> = shared_memory.SharedMemory { name = shm.name, create = true, size = 1 }
  lu.assertErrorMsgContains("No such file", sent, shm)
  taken:unlink()
  other:close()
  more.shm:close()
  list.shm:close()
end

function TestTravel:testTheyAreNotForStrings()
  local shm <close> = shared_memory.SharedMemory { create = true, size = 100 }
  shm:unlink()
  for _, object in ipairs({ mp.RawValue("int8"), mp.RawArray("int8", 5), shm, shm.buf }) do
    lu.assertErrorMsgContains("cannot pickle", pickle.dumps, object)
  end
  local view = shm.buf:view("int8")
  shm:close()
  lu.assertErrorMsgContains("closed", sent, view)
end

function TestTravel:testManyValuesTakeOneDescriptorThere()
  local out, err = children.host([[
    local lfs = require("lfs")
    local function descriptors()
      local n = 0
      for _ in lfs.dir("/proc/self/fd") do n = n + 1 end
      return n
    end
    local values, got = {}, {}
    local a, b = mp.Pipe()
    for i = 1, 500 do values[i] = mp.RawValue("int32", i) end
    local before = descriptors()
    for i = 1, 500 do
      a:send(values[i])
      got[i] = b:recv()
      got[i].value = -got[i].value
    end
    collectgarbage() collectgarbage()
    print(descriptors() - before)
    for i = 1, 500 do assert(values[i].value == -i) end]])
  lu.assertEquals({ out, err }, { "0\n", "" })
end

function TestTravel:testASpawnedProcessHasThem()
  for _, method in ipairs({ "spawn", "forkserver" }) do
    local out, err = children.host(([[
      local shared_memory = require("multiprocessing.shared_memory")
      local context = mp.get_context(%q)
      local v, a = mp.RawValue("int64", 5), mp.RawArray("double", 10000)
      local shm = shared_memory.SharedMemory{create = true, size = 100}
      local list = shared_memory.ShareableList({1, "text"})
      local process = context.Process(function(v, a, view, list)
        v.value = v.value + 1
        a:fill(0.5)
        view[3] = 9
        list[2] = list[2] .. "ure"
      end, v, a, shm.buf:view("int16"), list):start()
      process:join()
      print(process.exitcode, v.value, a[10000], shm.buf:unpack(4, "i2"), list[2])]])
      :format(method))
    lu.assertEquals({ out, err }, { "0\t6\t0.5\t9\ttexture\n", "" })
  end
end

return { TestTravel = TestTravel }

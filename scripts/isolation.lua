-- Processes share nothing but what they are given: a child's write to a variable is
-- not seen by its parent, a thread's is; a child that crashes harms nobody else.
local mp = require "multiprocessing"
local threading = require "threading"

local list = {"one"}

local function add(item) table.insert(list, item) end

local process = mp.Process(add, "two"):start()
process:join()
print("after a process has added 'two':  " .. table.concat(list, ", "))

local thread = threading.Thread(add, "three"):start()
thread:join()
print("after a thread has added 'three': " .. table.concat(list, ", "))

local function crash() os.execute("kill -ABRT " .. mp.current_process().pid) end

local crashed = mp.Process(crash):start()
local sound = mp.Process(function() os.exit(0) end):start()
crashed:join()
sound:join()
print(("one child was ended by signal %d, the other one ended with code %d")
  :format(-crashed.exitcode, sound.exitcode))

local pool <close> = mp.Pool(2)
local result = pool:apply_async(crash)
local ok, problem = pcall(result.get, result)
print(("a crash in a pool's task: %s, %s"):format(ok, problem.name))
print("the pool goes on: " .. pool:apply(function() return "done" end))

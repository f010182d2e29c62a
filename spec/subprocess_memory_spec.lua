--- Failing allocations in Popen and communicate: see memory_spec.lua. No
--- process and no descriptor is left, and nothing is lost.
local errors = require("errors")
local lu = require("luaunit")
local subprocess = require("subprocess")
local exhaust = require("support.exhaust")

local PIPE = subprocess.PIPE
local LONG = 60 -- seconds
local TEXT = ("a line of text\n"):rep(20000) -- more than the pipes hold

local TestMemory = {}

local function add(name, case) exhaust.add(TestMemory, name, case) end

add("Popen", {
  act = function()
    local process <close> = subprocess.Popen({ "true", "a", "b" }, {
      stdin = PIPE, stdout = PIPE, stderr = PIPE, cwd = "/", pass_fds = { 1 },
      env = { PATH = "/usr/bin:/bin", A = "1" } })
    return process:wait(LONG)
  end,
  check = function(_, failed, code)
    if not failed then lu.assertEquals(code, 0) end
  end,
})

-- The error for one that cannot be started may itself not be made.
add("PopenOfNothing", {
  act = function()
    local ok, problem = pcall(subprocess.Popen, { args = { "nonesuch" }, stdin = PIPE })
    if not ok and type(problem) == "table" then return problem.code end
    error(problem, 0)
  end,
  check = function(_, failed, code)
    if not failed then lu.assertEquals(code, "ENOENT") end
  end,
})

-- What has failed is called again, and goes on.
add("Communicate", {
  make = function()
    return subprocess.Popen({ "cat" }, { stdin = PIPE, stdout = PIPE, stderr = PIPE })
  end,
  act = function(process) return process:communicate(TEXT, LONG) end,
  check = function(process, failed, out)
    if failed then
      local input = not process._exchange and TEXT or nil
      local err
      out, err = process:communicate(input, LONG)
      lu.assertEquals(err, "")
    end
    lu.assertTrue(out == TEXT)
    lu.assertEquals(process:wait(LONG), 0)
  end,
})

add("ATimeout", {
  make = function()
    return subprocess.Popen({ "cat" }, { stdin = PIPE, stdout = PIPE })
  end,
  -- A quick child may be done all the same.
  act = function(process)
    local ok, problem = pcall(process.communicate, process, TEXT, 0)
    if ok then return true, problem end
    if errors.is(problem, subprocess.TimeoutExpired) then return true end
    error(problem, 0)
  end,
  check = function(process, _, _, out)
    local input = not process._exchange and TEXT or nil
    lu.assertTrue((out or process:communicate(input, LONG)) == TEXT)
  end,
})

add("Run", {
  act = function()
    return subprocess.run({ "sh", "-c", "cat; exit 3" }, { input = TEXT, capture_output = true })
  end,
  check = function(_, failed, result)
    if failed then return end
    lu.assertTrue(result.stdout == TEXT)
    lu.assertEquals({ result.returncode, result.stderr }, { 3, "" })
  end,
})

add("CheckedRun", {
  act = function()
    local ok, problem = pcall(subprocess.check_output, { "false" })
    if not ok and errors.is(problem, subprocess.CalledProcessError) then
      return problem.returncode
    end
    error(problem, 0)
  end,
  check = function(_, failed, code)
    if not failed then lu.assertEquals(code, 1) end
  end,
})

return { TestMemory = TestMemory }

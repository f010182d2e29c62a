--- Runs the same command line in the host and in the stock lua5.4, and
-- compares what comes out of them.
local lfs = require("lfs")
local lu = require("luaunit")
local program = require("support.program")

local differential = {}

local function first_line(command)
  local pipe = assert(io.popen(command))
  local line = pipe:read()
  pipe:close()
  return line
end

--- The stock interpreter's path.
differential.stock = first_line("command -v lua5.4")

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

--- A new directory with the files in it; to be closed.
local function scratch(files)
  local name = os.tmpname()
  os.remove(name)
  assert(lfs.mkdir(name))
  for path, text in pairs(files) do write(name .. "/" .. path, text) end
  return setmetatable({ name = name }, {
    __close = function() os.execute("rm -rf '" .. name .. "'") end,
  })
end

--- What differs by nature: the program's name, addresses, the directory.
local function normal(text, path, dir)
  for _, pair in ipairs { { path, "PROGRAM" }, { dir, "DIR" } } do
    local pattern = pair[1]:gsub("%p", "%%%0")
    text = text:gsub(pattern, pair[2])
  end
  return (text:gsub("0x%x+", "ADDRESS"):gsub("lua_%w%w%w%w%w%w", "lua_TMP")
    :gsub("skipping %d+ levels", "skipping levels"))
end

--- Readline repeats on standard output each line that it reads from a pipe.
local function without_echo(out, input)
  if input == "" then return out end
  local at = 1
  for line in ((input:gsub("\n$", "")) .. "\n"):gmatch("([^\n]*)\n") do
    local from, to = out:find("> " .. line .. "\n", at, true)
    if from then
      out = out:sub(1, from + 1) .. out:sub(to + 1)
      at = from + 2
    end
  end
  return out
end

local function expand(value, dir)
  if type(value) == "string" then return (value:gsub("DIR", dir)) end
  if type(value) ~= "table" then return value end
  local copy = {}
  for k, v in pairs(value) do copy[k] = expand(v, dir) end
  return copy
end

local function outcome(path, case, dir)
  local out, err, code = program.run(expand(case.args or {}, dir), {
    program = path,
    stdin = expand(case.stdin, dir),
    env = expand(case.env, dir),
    timeout = 30,
  })
  if path == differential.stock and case.interactive then
    out = without_echo(out, case.stdin)
  end
  return ("stdout:\n%s\nstderr:\n%s\nexit code: %d\n"):format(
    normal(out, path, dir), normal(err, path, dir), code)
end

local function diff(stock, ours)
  local dir <close> = scratch { ["lua5.4"] = stock, tidelock = ours }
  local pipe = assert(io.popen(("cd '%s' && diff -a -u lua5.4 tidelock")
    :format(dir.name)))
  local text = pipe:read("a")
  pipe:close()
  return text
end

--- Compares the two on one command line.
---@param case {args: string[], stdin: string, env: table, script: string,
--- files: table<string, string>, interactive: boolean}
--- DIR in args, stdin and env is a directory with the files; the script is
--- the file s.lua there, and the last of args if there are none; interactive:
--- stdin is read by the read-eval-print loop
---@return string|nil difference nil when there is none
---@return string stock what lua5.4 did
function differential.compare(case)
  local files = {}
  for name, text in pairs(case.files or {}) do files[name] = text end
  files["s.lua"] = case.script
  if case.script and not case.args then case.args = { "DIR/s.lua" } end
  local dir <close> = scratch(files)
  local stock = outcome(differential.stock, case, dir.name)
  local ours = outcome(program.path, case, dir.name)
  if stock ~= ours then return diff(stock, ours), stock end
  return nil, stock
end

--- Makes a test of each case: class.test<Name>.
function differential.add(class, cases)
  for name, case in pairs(cases) do
    class["test" .. name] = function()
      local difference, stock = differential.compare(case)
      lu.assertNil(difference, "\n" .. (difference or ""))
      if case.shows then lu.assertStrContains(stock, case.shows) end
    end
  end
end

return differential

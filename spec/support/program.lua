--- Runs the host, or another program, as a child process.
local program = {}

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

local first = 0
while arg[first - 1] do first = first - 1 end

--- The path of the host that runs this.
program.path = os.getenv("TIDELOCK") or arg[first]

local function take(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read("a")
  file:close()
  os.remove(name)
  return text
end

--- Runs a program to its end.
---@param args string[] its arguments
---@param opts? {program: string, stdin: string, env: table<string, string|false>, timeout: number}
--- env: false removes a variable; timeout: seconds after which it is killed
---@return string stdout
---@return string stderr
---@return integer code exit code, or minus the number of the signal that ended it
function program.run(args, opts)
  opts = opts or {}
  local input, out, err = os.tmpname(), os.tmpname(), os.tmpname()
  local file = assert(io.open(input, "wb"))
  file:write(opts.stdin or "")
  file:close()

  local words = { "exec env" }
  for name, value in pairs(opts.env or {}) do
    if value then
      table.insert(words, name .. "=" .. quote(value))
    else
      table.insert(words, 2, "-u " .. name) -- options come first
    end
  end
  if opts.timeout then
    table.insert(words, "timeout -s KILL " .. opts.timeout)
  end
  table.insert(words, quote(opts.program or program.path))
  for _, word in ipairs(args) do table.insert(words, quote(word)) end
  table.insert(words, ("<%s >%s 2>%s"):format(input, out, err))

  local _, how, code = os.execute(table.concat(words, " "))
  os.remove(input)
  return take(out), take(err), how == "signal" and -code or code
end

--- Runs a piece of Lua in a host of its own; as run.
function program.eval(chunk, opts)
  local name = os.tmpname()
  local file = assert(io.open(name, "wb"))
  file:write(chunk)
  file:close()
  local out, err, code = program.run({ name }, opts)
  os.remove(name)
  return out, err, code
end

return program

--- Deep recursion on a worker ends in Lua's error ("C stack overflow" and the
-- like), not in a fault: Lua's own limits are reached before the C stack's end.
local lu = require("luaunit")
local threading = require("threading")
local program = require("support.program")

local LONG = 60 -- seconds

--- Each recurs without bound, or nearly so, and must raise an error of Lua's.
local recursions = {
  gsub = [[local function f() return (("x"):gsub("x", f)) end f()]],
  gsub_nested = [[
    local function f(s) return (s:gsub(".", function(c) return f(c) end)) end
    f("x")]],
  tostring = [[
    local t = setmetatable({}, { __tostring = function(self) return tostring(self) end })
    tostring(t)]],
  load = [[local function f() return load(function() f() end) end f()]],
  load_text = [[local s = "return " .. ("("):rep(1000) .. "1" .. (")"):rep(1000) assert(load(s))]],
  load_in_load = [[local src = "load(...)(...)" load(src)(src)]],
  pcall = [[local function f() local ok, e = pcall(f) if not ok then error(e, 0) end end f()]],
  xpcall = [[local function f() local ok, e = xpcall(f, function(m) return m end)
    if not ok then error(e, 0) end end f()]],
  handler = [[assert(xpcall(error, function(e) error(e) end))]],
  sort = [[local function f() table.sort({ 1, 2, 3 }, f) end f()]],
  coroutine_wrap = [[local function f() return coroutine.wrap(f)() end f()]],
  coroutine_resume = [[local function f() assert(coroutine.resume(coroutine.create(f))) end f()]],
  coroutine_close = [[
    local function f()
      local co = coroutine.create(function()
        local _ <close> = setmetatable({}, { __close = f })
        coroutine.yield()
      end)
      coroutine.resume(co)
      assert(coroutine.close(co))
    end
    f()]],
  close = [[
    local function f() local _ <close> = setmetatable({}, { __close = f }) end f()]],
  index = [[local t t = setmetatable({}, { __index = function(_, k) return t[k] end }) return t.x]],
  newindex = [[
    local t t = setmetatable({}, { __newindex = function(_, k, v) t[k] = v end })
    t.x = 1]],
  concat = [[
    local t t = setmetatable({}, { __concat = function() return t .. t end }) return t .. t]],
  eq = [[
    local mt = {} local a, b = setmetatable({}, mt), setmetatable({}, mt)
    mt.__eq = function() return a == b end return a == b]],
  lt = [[
    local mt = {} local a, b = setmetatable({}, mt), setmetatable({}, mt)
    mt.__lt = function() return a < b end return a < b]],
  call = [[local t = {} for _ = 1, 300 do t = setmetatable({}, { __call = t }) end t()]],
  plain = [[local function f() return 1 + f() end f()]],
  iterator = [[local function f() for _ in f do end end f()]],
  gmatch = [[local function f() for _ in ("x"):gmatch(".") do f() end end f()]],
  pattern = [[return ("x"):rep(300000):find((".-"):rep(300000) .. "y")]],
  pattern_groups = [[return ("("):rep(300000):find(("%("):rep(100) .. ("("):rep(50))]],
  require = [[
    package.searchers[#package.searchers + 1] = function(name) return require(name .. "x") end
    require("no_such_module")]],
  format = [[
    local t = setmetatable({}, { __tostring = function(self) return ("%s"):format(self) end })
    return ("%s"):format(t)]],
  with = [[
    local threading = require("threading")
    local function f() local l = threading.Lock() l:with(f) end f()]],
  unpack = [[
    local t
    t = setmetatable({}, { __index = function(_, i) return (table.unpack(t, i, i + 1)) end })
    return table.unpack(t, 1, 2)]],
  table_concat = [[
    local t t = setmetatable({}, { __index = function() return table.concat(t, "", 1, 2) end,
      __len = function() return 2 end })
    return table.concat(t)]],
  lpeg = [[
    local lpeg = require("lpeg")
    local function f() return lpeg.match(lpeg.C(1) / f, "x") end
    f()]],
  lpeg_cmt = [[
    local lpeg = require("lpeg")
    local p
    p = lpeg.Cmt(lpeg.P(1), function() return p:match("x") end)
    p:match("x")]],
}

local chunk = [[
  local threading = require("threading")
  local size, first = %d, load(%q)
  threading.excepthook = function() end
  local t = threading.Thread { target = first, stack_size = size > 0 and size or nil }
  t:start():join()
  local ok, err = pcall(t.result, t)
  -- The thread and the heap go on to work.
  local after = threading.Thread(function() return ("x"):rep(3) end):start():result()
  print(ok, after, (tostring(err):gsub("%%s+", " ")))
]]

local TestDeepRecursion = {}

-- Each nested match of lpeg takes 13 KiB of C stack, so that Lua's limit of 200
-- nested C calls needs more than the usual stack.
local deep = { lpeg = 4 << 20, lpeg_cmt = 4 << 20 }

local function sizes(name)
  if deep[name] then return { deep[name] } end
  if (os.getenv("TIDELOCK_SANITIZER") or "") ~= "" then return { 0 } end
  return { 0, 512 << 10 }
end

for name, text in pairs(recursions) do
  TestDeepRecursion["test_" .. name] = function()
    for _, size in ipairs(sizes(name)) do
      local out, err, code = program.eval(chunk:format(size, text), { timeout = LONG })
      lu.assertEquals(code, 0, ("%d bytes: %s"):format(size, err))
      lu.assertStrContains(out, "\txxx\t")
      if name ~= "load" then lu.assertStrContains(out, "false\t") end -- which returns it
    end
  end
end

-- What C modules take is not Lua's to count: the end of the stack is reported.
function TestDeepRecursion.testTheEndOfTheStackIsReported()
  if (os.getenv("TIDELOCK_SANITIZER") or "") ~= "" then return end -- which report it
  local _, err, code = program.eval([[
    local lpeg, threading = require("lpeg"), require("threading")
    local function nest()
      return lpeg.Cmt(lpeg.P("a"), function() return nest() end):match("a")
    end
    threading.Thread({ target = nest, name = "deep" }):start():join()
  ]], { timeout = LONG })
  lu.assertEquals(code, -11)
  lu.assertStrContains(err, "C stack overflow in thread deep")
end

-- The smallest stack is refused below what Lua's limits need.
function TestDeepRecursion.testASmallerStackIsRefused()
  lu.assertErrorMsgContains("stack size", threading.Thread,
    { target = print, stack_size = (512 << 10) - 1 })
end

return { TestDeepRecursion = TestDeepRecursion }

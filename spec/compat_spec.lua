-- luacheck: no max string line length
-- Other people's programs do on tidelock what they do on lua5.4: on the main
-- thread, and on a thread beside a busy one that takes the GIL ten thousand
-- times a second. What they print and their exit codes are compared.
local lu = require("luaunit")
local differential = require("support.differential")
local program = require("support.program")

local EXAMPLES = "/usr/share/doc/lua-unit/examples/"

-- Runs the file arg[1] on a thread while others run.
local ON_A_THREAD = [[
local threading = require("tidelock.threading")
require("tidelock.gil").switch_interval(1e-4)
local name = table.remove(arg, 1)
arg[0] = name
threading.Thread{daemon = true, name = "busy", target = function()
  local n = 0
  while true do n = n + #tostring(n) end
end}:start()
threading.Thread(function() dofile(name) end):start():result()
]]

local programs = {}

programs.PenlightLists = [==[
local List = require("pl.List")
local l = List{10, 20, 30, 5}
print(l, l:len(), l:slice(2, 3), l:contains(20), l:index(30), l:reverse())
print(l:sorted("<"), l:map("+", 1), l:filter(function(x) return x > 9 end))
print(l:reduce("+"), l:minmax()) print(List.range(1, 10, 3), l .. List{1})
print(List.split("a,b,c", ","), l:clone():extend{1, 2}:insert(1, 0))
print(pcall(function() return l:remove(100) end))
for a, b in List{1, 2}:iter() do print(a, b) end
print(List{1, 2, 3} == List{1, 2, 3}, List("abc"), l:partition(function(x) return x > 15 end))
]==]

programs.PenlightTables = [==[
local tablex, OrderedMap, Set, Map, MultiMap = require("pl.tablex"), require("pl.OrderedMap"),
  require("pl.Set"), require("pl.Map"), require("pl.MultiMap")
local pretty = require("pl.pretty")
local t = {3, 1, 2, x = 1, y = {z = 2}}
print(tablex.deepcompare(tablex.deepcopy(t), t), tablex.size(t), tablex.find({1, 5}, 5))
pretty.dump(tablex.map(function(x) return type(x) == "number" and x * 2 or x end, t))
pretty.dump(tablex.zip({1, 2}, {"a", "b"})) print(pretty.write({1, "two", {three = 3}}, ""))
for k, v in tablex.sort({b = 2, a = 1}) do print(k, v) end
local m = OrderedMap() m:set("z", 1):set("a", 2) m.q = 3 print(m, m:keys(), m:values())
for k, v in m:iter() do print(k, v) end
print(Set{1, 2} + Set{3}, Set{1, 2} * Set{2}, Set{1} < Set{1, 2}, Set.len(Set{1, 1}))
local mm = MultiMap() mm:set("a", 1) mm:set("a", 2) pretty.dump(mm.a)
print(Map{a = 1}:keys(), tablex.reduce("*", {1, 2, 3, 4}), tablex.range(1, 5)[5])
print(pretty.number(1234567, "N"), pretty.number(123456, "M"), pretty.read("{1, 2}")[2])
print(pretty.read("{os.exit()}"), pretty.load("x = 1").x)
pretty.dump(tablex.difference({a = 1, b = 2}, {b = 1})) pretty.dump(tablex.union({a = 1}, {b = 2}))
pretty.dump(tablex.permute and 1 or tablex.index_map{"x", "y"})
]==]

programs.PenlightStrings = [==[
local stringx, template, text = require("pl.stringx"), require("pl.template"), require("pl.text")
stringx.import()
print(("a b c"):split(), ("  x "):strip() .. "|", ("abc"):startswith("ab"), ("x"):rjust(4, "."))
print(("hello world"):title(), ("a\nb"):splitlines(), ("aXbX"):replace("X", "-"), ("k=v"):partition("="))
print(("abc"):center(9, "*"), ("banana"):count("an"), ("x"):isalpha(), ("one two"):rfind("o"))
print(stringx.shorten("a long line of text", 10), ("a\tb"):expandtabs(4), stringx.quote_string("a\nb]]"))
local t = [=[
# for i, v in ipairs(list) do
  $(i): $(v:upper())
# end
$(#list)]=]
print(template.substitute(t, {ipairs = ipairs, list = {"x", "y"}}))
print(template.substitute("# error('x')\n", {error = error}))
print(select(2, template.substitute("# if\n", {})))
local Template = text.Template
print(Template("${who} likes $what"):substitute{who = "Lua", what = "coroutines"})
print(text.indent("a\nb", 2), text.dedent("  a\n   b"), text.wrap("the quick brown fox jumps", 10))
print(text.fill("word " .. ("more "):rep(20), 30)) print(pcall(function() return Template("$x"):substitute{} end))
]==]

programs.PenlightSequences = [==[
local seq, func, data = require("pl.seq"), require("pl.func"), require("pl.data")
local permute, operator, comprehension = require("pl.permute"), require("pl.operator"),
  require("pl.comprehension").new()
local _1, _2 = func._1, func._2
print(seq.sum(seq.range(1, 10)), seq.copy(seq.filter(seq.list{1, 2, 3, 4}, operator.gt, 2)))
print(seq(seq.range(1, 5)):map(_1 * 2):filter(_1:gt(4) and function(x) return x > 4 end):copy())
print(seq.copy(seq.take(seq.unique{1, 2, 1, 3}, 2)), seq.reduce(math.max, {3, 9, 4}))
for p in permute.iter{1, 2, 3} do io.write(table.concat(p), " ") end print()
print(seq.copy(seq.zip({1, 2}, {3, 4})), func.repr(_1 + _2 * 2), func.I(_1 + _2)(1, 2))
print(comprehension "x^2 for x" {1, 2, 3}, comprehension "sum(x for x=1,4)" ())
local d = data.read(require("pl.stringio").open "a,b\n1,2\n3,4\n", {delim = ","})
print(d.fieldnames, d:column_by_name("b")) d:write_row(io.stdout, {5, 6})
for a, b in d:select("a,b where b > 2") do print(a, b) end
local array2d = require("pl.array2d") local a = array2d.new(2, 3, 0) a[1][2] = 7
print(array2d.size(a)) array2d.write(a, nil, "%d ") array2d.forall({{1, 2}, {3, 4}}, function(r, j)
  io.write(r[j], ";") end, function() print() end)
]==]

programs.PenlightClasses = [==[
local class, types, Date, utils = require("pl.class"), require("pl.types"), require("pl.Date"), require("pl.utils")
local Animal = class() function Animal:_init(name) self.name = name end
function Animal:__tostring() return self.name .. ": " .. self:speak() end
local Dog = class(Animal) function Dog:speak() return "bark" end
class.Cat(Animal) function Cat:_init(name, age) self:super(name) self.age = age end
function Cat:speak() return "meow" end
local d, c = Dog("Fido"), Cat("Felix", 3)
print(d, c, Dog:class_of(d), c:is_a(Animal), d:is_a() == Dog, Animal:class_of({}), c.age)
class.properties() local P = class(class.properties) function P:_init() self._x = 1 end
function P:get_x() return self._x end function P:set_x(v) self._x = v + 1 end
local p = P() p.x = 5 print(p.x, types.is_callable(print), types.type(d) == Dog, types.to_bool("yes"))
print(Date{year = 2024, month = 2, day = 28}:add{day = 2}, pcall(Date, "x"))
print(utils.split("a  b"), utils.choose(true, 1, 2), pcall(utils.assert_arg, 1, 2, "string"))
print(utils.string_lambda "|x| x + 1"(2), utils.bind1(math.max, 10)(3), utils.pack(1, nil, 3).n)
print(require("pl.lexer").lua("x = 'a' + 1")) for k, v in require("pl.lexer").lua("local x=1 -- c") do
  io.write(k, "=", v, " ") end print()
local strict = require("pl.strict") local M = strict.module("M", {a = 1}) print(pcall(function() return M.b end))
print(require("pl.sip").compile("$v{x}=$d{y}")("n=12", {}), require("pl.url").quote("a b&c"))
]==]

programs.PenlightCommandLines = [==[
local lapp, config, xml, path = require("pl.lapp"), require("pl.config"), require("pl.xml"), require("pl.path")
local args = lapp("Test\n  -v,--verbose  be loud\n  -n,--number (default 3)  a number\n  <name> (string)\n",
  {"-v", "--number", "7", "file"})
print(args.verbose, args.number, args.name)
lapp.show_usage_error = "throw"
print(pcall(lapp, "  <x> (number)\n", {"word"}))
require("pl.pretty").dump(config.read(require("pl.stringio").open "# c\n[part]\na=1\nb=x,y\n"))
local d = xml.parse("<a x='1'><b>text</b><b/>&lt;</a>") print(d, d:get_elements_with_name("b"), d.attr.x)
print(xml.tostring(d, "", "  ")) for e in d:childtags() do print(e.tag) end
print(path.splitext("a/b.c"), path.join("a", "b", "../c"), path.normpath("a/./b/../c"), path.isdir("/"))
local sio = require("pl.stringio").create() sio:writef("%d-%s", 1, "x") print(sio:value())
local dir = require("pl.dir") print(dir.fnmatch("a.lua", "*.lua"), #dir.getfiles("/usr/share/lua/5.4/pl", "L*.lua"))
print(require("pl.luabalanced").match_expression("a + b, c"), require("pl.app").parse_args({"-a", "b", "--c=d"}))
]==]

programs.Argparse = [==[
local argparse = require("argparse")
local parser = argparse("prog", "A program.", "The end.")
parser:argument("input", "Input file."):args("1-2")
parser:option("-o --output", "Output."):default("a.out")
parser:option("-l --level"):convert(tonumber):choices{"1", "2"} parser:flag("-q --quiet"):count("*")
parser:mutex(parser:flag("--yes"), parser:flag("--no"))
local add = parser:command("add", "Add.") add:argument("what"):args("*")
parser:require_command(false)
print(parser:get_help()) print(parser:get_usage()) print(add:get_help())
for _, words in ipairs{{"f", "-qq"}, {"f", "g", "-o", "x", "add", "1", "2"}, {}, {"f", "-l", "3"},
    {"f", "--yes", "--no"}, {"f", "--outptu"}, {"f", "g", "h"}, {"f", "-l"}} do
  local ok, result = parser:pparse(words)
  if ok then
    local keys = {}
    for k, v in pairs(result) do
      keys[#keys + 1] = k .. "=" .. (type(v) == "table" and table.concat(v, "+") or tostring(v)) end
    table.sort(keys) print(table.concat(keys, " "))
  else print("error", result) end
end
print(parser:get_bash_complete():len() > 100)
parser:parse({"--help"})
]==]

programs.Json = [==[
local dkjson, cjson = require("dkjson"), require("cjson")
local texts = {'{"a": [1, 2.5, -3e2, "x\\u00e9\\n"], "b": {"c": null, "d": true}}', '[]', '{}', '[1, 2',
  '{"a" 1}', '"\\ud83d\\ude00"', '1e400', 'nul', '[' .. ('['):rep(50) .. (']'):rep(50) .. ']', ''}
local function keys(v) if type(v) ~= "table" then return tostring(v) end
  local k = {} for i, x in pairs(v) do k[#k + 1] = tostring(i) .. ":" .. keys(x) end
  table.sort(k) return "{" .. table.concat(k, ",") .. "}" end
for _, text in ipairs(texts) do
  local value, at, message = dkjson.decode(text) print(keys(value), at, message)
  local ok, v = pcall(cjson.decode, text)
  print(ok, ok and keys(v):gsub("userdata: .*", "null") or v)
end
for _, v in ipairs{{1, 2, {3}}, {x = "a\"b\\\n\0"}, {}, 1.5, "\u{20ac}", setmetatable({}, {__jsontype = "object"}),
    setmetatable({}, {__tojson = function() return "custom" end}), {[3] = 1}} do
  print(dkjson.encode(v, {indent = true, keyorder = {"a"}})) print(pcall(cjson.encode, v)) end
print(pcall(dkjson.encode, {print})) print(pcall(cjson.encode, print))
local loop = {} loop[1] = loop print(pcall(dkjson.encode, loop)) print(pcall(cjson.encode, loop))
print(dkjson.use_lpeg().decode('{"k": [1]}').k[1], cjson.encode(cjson.null), cjson.new() ~= cjson)
]==]

programs.Patterns = [==[
local re, lpeg = require("re"), require("lpeg")
print(re.match("hello world", "{[a-z]+} ' ' {.*}")) print(re.find("the number 423", "[0-9]+"))
print(re.gsub("hello", "[aeiou]", ".")) print(re.match("aaab", "'a'^2 {}"))
local calc = re.compile([=[
  exp <- (term (sum term)*) -> fold
  term <- (factor (mul factor)*) -> fold
  factor <- number / '(' exp ')'
  number <- { [0-9]+ } -> tonumber
  sum <- { [-+] } mul <- { [*/] }
]=], {tonumber = tonumber, fold = function(a, ...)
  local rest = {...}
  for i = 1, #rest, 2 do local o, b = rest[i], rest[i + 1]
    a = o == "+" and a + b or o == "-" and a - b or o == "*" and a * b or a / b end
  return a end})
for _, e in ipairs{"1+2*3", "(1+2)*3", "10/4-1", "((((7))))", "2*", "1+(2*(3+4))"} do print(e, calc:match(e)) end
local P, R, S, C, Ct, Cs, V = lpeg.P, lpeg.R, lpeg.S, lpeg.C, lpeg.Ct, lpeg.Cs, lpeg.V
local csv = Ct(C((1 - S",\n")^0) * (P"," * C((1 - S",\n")^0))^0)
print(table.concat(csv:match("a,b,,d"), "|"))
print(Cs((P"x" / "y" + 1)^0):match("axbx"), (R"az"^1 * -1):match("abc1"), lpeg.type(csv), lpeg.version)
local balanced = P{"(" * ((1 - S"()") + V(1))^0 * ")"} print(balanced:match("(a(b)c)"), balanced:match("(a"))
print(lpeg.match(lpeg.Cmt("a", function(s, i) return i, "at", i end), "abc"))
print(pcall(lpeg.P, {V"x"})) print(pcall(re.compile, "a <-")) print(pcall(re.compile, "{ 'a"))
print(lpeg.match(C(P(function(s, i) return coroutine.isyieldable() and i or i end)), "x"))
print(pcall(lpeg.match, P(function() error("inside", 0) end), "x"))
local n = 0 for i = 1, 200 do n = n + #re.gsub(("word "):rep(i), "%w+", "<%0>") end print(n)
]==]

programs.FileSystem = [==[
local lfs = require("lfs")
local dir = os.tmpname() os.remove(dir) print(lfs.mkdir(dir), (select(2, lfs.mkdir(dir)):gsub("^.*: ", "")))
local f = assert(io.open(dir .. "/a", "w")) f:write("12345") f:close()
print(lfs.attributes(dir .. "/a", "size"), lfs.attributes(dir, "mode"), lfs.attributes("/none", "mode"))
local names = {} for name in lfs.dir(dir) do names[#names + 1] = name end table.sort(names)
print(table.concat(names, " ")) print(lfs.touch(dir .. "/a", 1e9, 1e9), lfs.attributes(dir .. "/a", "modification"))
print(lfs.symlinkattributes("/proc/self/exe", "mode"), lfs.link(dir .. "/a", dir .. "/b", true))
f = io.open(dir .. "/a", "r+") print(lfs.lock(f, "w"), lfs.unlock(f), lfs.setmode(f, "binary")) f:close()
print(pcall(lfs.lock, f, "w")) print(pcall(lfs.lock, io.stdout, "x"))
local here = lfs.currentdir() print(lfs.chdir(dir), lfs.currentdir() == dir, lfs.chdir(here))
print(os.remove(dir .. "/a"), os.remove(dir .. "/b"), lfs.rmdir(dir), lfs.rmdir(dir) == nil)
print(pcall(lfs.dir, "/none"))
]==]

programs.Xml = [==[
local lxp = require("lxp") local depth = 0
local p = lxp.new{StartElement = function(_, n, a) io.write((" "):rep(depth), n, "\n") depth = depth + 1 end,
  EndElement = function() depth = depth - 1 end, CharacterData = function(_, s) io.write("[", s, "]") end}
print(p:parse("<a><b>x</b>"), p:parse("</a>"), p:parse()) p:close()
local q = lxp.new{StartElement = function() error("in a callback", 0) end} print(pcall(q.parse, q, "<a/>"))
local r = lxp.new{} print(r:parse("<a></b>"))
]==]

--- A file that is given as it is.
local function file_of(path)
  return ("arg = {[0] = %q} dofile(%q)"):format(path, path)
end

for name, file in pairs {
  CalculatorCheck = "check_lua_calc_error",
  OldInterface = "compat_luaunit_v2x",
  Example = "example_with_luaunit",
  OldExample = "legacy_example_with_luaunit",
  Lists = "some_lists_comparisons",
  Outcomes = "test_with_err_fail_pass",
} do
  programs["LuaUnit" .. name] = file_of(EXAMPLES .. file .. ".lua")
end

programs.LuaUnitsOwnTests = ([[
package.path = "%s?.lua;" .. package.path
local lu = require("luaunit")
require("test_luaunit")
os.exit(lu.LuaUnit.run())]]):format(EXAMPLES)

-- What one run prints and another one does not: times, dates and tables' places.
local function normal(text)
  return (text:gsub("in %d+%.%d+ seconds", "in T seconds")
    :gsub("[Ss]tarted on [^\n]+", "Started"):gsub("0x%x+", "ADDRESS")
    :gsub("lua_%w%w%w%w%w%w", "TEMPORARY"))
end

-- Tracebacks go down to where the program was started, which differs.
local function without_tracebacks(text)
  return (text:gsub("stack traceback:\n[^\n]+", ""):gsub("\n\t[^\n]+", ""))
end

local expected = {}

local function write(text)
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write(text)
  return name
end

local function run(path, name, wrapper)
  local script = write(programs[name])
  local out, err, code = program.run({ wrapper or script, wrapper and script },
    { program = path, timeout = 50 })
  os.remove(script)
  return normal(out), normal(err), code
end

local function stock(name)
  if not expected[name] then
    expected[name] = table.pack(run(differential.stock, name))
    lu.assertNotEquals(expected[name][1], "", expected[name][2])
  end
  return table.unpack(expected[name], 1, 3)
end

local TestMainThread, TestOtherThread = {}, {}

for name in pairs(programs) do
  TestMainThread["test" .. name] = function()
    local out, err, code = stock(name)
    local our_out, our_err, our_code = run(program.path, name)
    lu.assertEquals(our_out, out)
    lu.assertEquals(our_err:gsub("^[^\n]-: ", ""), err:gsub("^[^\n]-: ", ""))
    lu.assertEquals(our_code, code)
  end
  TestOtherThread["test" .. name] = function()
    local out, err, code = stock(name)
    local wrapper = write(ON_A_THREAD)
    local our_out, our_err, our_code = run(program.path, name, wrapper)
    os.remove(wrapper)
    lu.assertEquals(without_tracebacks(our_out), without_tracebacks(out), our_err)
    if err == "" then lu.assertEquals(our_err, "") end
    lu.assertEquals(our_code, code)
  end
end

return { TestMainThread = TestMainThread, TestOtherThread = TestOtherThread }

--- ./dev before anything is built: what it says and does about packages. It
--- runs in a folder of its own with nothing on its PATH but what is put there.
local lfs = require("lfs")
local lu = require("luaunit")
local program = require("support.program")

local TOOLS = { "sh", "awk", "sort", "sed", "tr", "id", "dirname", "env", "find", "cat", "rm" }

local TestDev = {}

local function write(name, text, mode)
  local file = assert(io.open(name, "w"))
  file:write(text)
  file:close()
  if mode then assert(os.execute("chmod " .. mode .. " " .. name)) end
end

--- Runs ./dev with these words; fakes: name -> text of a shell script.
local function dev(fakes, ...)
  local root = os.tmpname()
  os.remove(root)
  assert(lfs.mkdir(root) and lfs.mkdir(root .. "/bin"))
  assert(os.execute(("cp dev packages CMakePresets.json %s"):format(root)))
  for _, tool in ipairs(TOOLS) do
    assert(os.execute(("ln -s $(command -v %s) %s/bin/%s"):format(tool, root, tool)))
  end
  for name, text in pairs(fakes) do
    os.remove(root .. "/bin/" .. name)
    write(root .. "/bin/" .. name, "#!/bin/sh\n" .. text .. "\n", "755")
  end
  local out, err, code = program.run({ root .. "/dev", ... }, {
    program = "/bin/sh", env = { PATH = root .. "/bin", DEBIAN_FRONTEND = false },
  })
  local log = io.open(root .. "/log")
  local calls = log and log:read("a") or ""
  if log then log:close() end
  assert(os.execute("rm -rf " .. root))
  return code, err, calls, out
end

--- Says that everything is installed but cmake.
local DPKG = [[
shift 3
for p; do [ "$p" = cmake ] || echo "$p installed"; done]]

local APT = 'echo "apt-get $DEBIAN_FRONTEND $*" >> "$(dirname "$0")/../log"'
local function user(id) return "echo " .. id end

function TestDev.testNamesWhatIsMissing()
  local code, err, calls = dev({ ["dpkg-query"] = DPKG, ["apt-get"] = APT }, "run", "--no-install")
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "missing packages: cmake")
  lu.assertNotStrContains(err, "gcc")
  lu.assertStrContains(err, "--no-install")
  lu.assertEquals(calls, "")
end

function TestDev.testInstallsWhatIsMissing()
  local code, err, calls = dev({
    ["dpkg-query"] = DPKG, ["apt-get"] = APT, id = user(0), cmake = "echo broken; exit 1",
  }, "run", "x.lua")
  lu.assertEquals(calls, "apt-get  -q update\n" ..
    "apt-get noninteractive -q install -y --no-install-recommends cmake\n")
  lu.assertStrContains(err, "configuring failed") -- it went on
  lu.assertEquals(code, 1)
end

function TestDev.testInstallsThroughSudo()
  local _, _, calls = dev({
    ["dpkg-query"] = DPKG, ["apt-get"] = APT, id = user(1000),
    sudo = 'echo "sudo $1" >> "$(dirname "$0")/../log"; "$@"', cmake = "exit 1",
  }, "run", "x.lua")
  lu.assertEquals(select(2, calls:gsub("sudo apt%-get", "")), 1)
  lu.assertEquals(select(2, calls:gsub("sudo env", "")), 1)
  lu.assertStrContains(calls, "install -y --no-install-recommends cmake")
end

function TestDev.testSaysWhyItCannotInstall()
  local code, err = dev({ ["dpkg-query"] = DPKG, ["apt-get"] = APT, id = user(1000) }, "run")
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "neither root nor sudo: as root, run: apt-get install cmake")
  code, err = dev({ ["dpkg-query"] = DPKG, ["apt-get"] = "exit 100", id = user(0) }, "run")
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "apt-get could not install: cmake")
  lu.assertStrContains(err, "online")
  code, err = dev({ ["dpkg-query"] = DPKG, id = user(0) }, "run")
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "there is no apt-get")
end

function TestDev.testElsewhereThanOnDebian()
  local code, err = dev({}, "run")
  lu.assertEquals(code, 1)
  lu.assertStrContains(err, "this is not Debian: install what these packages hold:")
  lu.assertStrContains(err, "liblua5.4-dev")
  lu.assertNotStrContains(err, "clang-tidy")
  local tools = { cmake = "exit 1", ninja = "exit 1", gcc = "exit 1" }
  for _, command in ipairs({ "run", "test" }) do
    code, err = dev(tools, command)
    lu.assertEquals(code, 1)
    lu.assertStrContains(err, "configuring failed") -- it is tried
  end
end

function TestDev.testTestsNeedMoreThanRunning()
  local nothing = { ["dpkg-query"] = "exit 1" }
  local _, run = dev(nothing, "run", "--no-install")
  local _, test = dev(nothing, "test", "--no-install")
  local _, lint = dev(nothing, "lint", "--no-install")
  lu.assertNotStrContains(run, "lua-unit")
  lu.assertStrContains(test, "lua-unit")
  lu.assertNotStrContains(test, "clang-tidy")
  lu.assertStrContains(lint, "clang-tidy")
  for _, text in ipairs({ run, test, lint }) do lu.assertStrContains(text, "liblua5.4-dev") end
end

function TestDev.testTellsItsUse()
  local code, err = dev({})
  lu.assertEquals(code, 2)
  lu.assertStrContains(err, "usage: ./dev COMMAND")
  code, err = dev({}, "fly")
  lu.assertEquals(code, 2)
  lu.assertStrContains(err, "usage: ./dev COMMAND")
  local help = table.pack(dev({}, "help"))
  lu.assertEquals({ help[1], help[2] }, { 0, "" })
  lu.assertStrContains(help[4], "usage: ./dev COMMAND")
end

return { TestDev = TestDev }

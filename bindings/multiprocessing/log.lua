--- What the processes of a program tell of themselves: get_logger and
--- log_to_stderr, as in CPython's multiprocessing.util.
local family = require("tidelock.multiprocessing.family")

local log = {}

local LEVELS = { DEBUG = 10, INFO = 20, WARNING = 30, ERROR = 40, CRITICAL = 50 }

local NAMES = { [5] = "SUBDEBUG", [25] = "SUBWARNING" }
for name, level in pairs(LEVELS) do NAMES[level] = name end

--- One for this process; a child begins with the level of its parent.
local Logger = { level = 0, _to_stderr = false }
Logger.__index = Logger
Logger.__name = "multiprocessing.Logger"

for name, level in pairs(LEVELS) do Logger[name] = level end

function Logger:__tostring()
  return ("<Logger multiprocessing (%s)>"):format(NAMES[self.level] or self.level)
end

local function to_level(value, name)
  local level = value
  if type(value) == "string" then level = LEVELS[value:upper()] end
  if math.type(level) ~= "integer" or level < 0 then
    error(("bad argument #1 to '%s' (level expected, got %s)"):format(name, tostring(value)), 3)
  end
  return level
end

--- A level is an integer or a name.
function Logger:setLevel(level) self.level = to_level(level, "setLevel") end

function Logger:isEnabledFor(level)
  level = to_level(level, "isEnabledFor")
  return self._to_stderr and level >= self.level
end

--- Writes a line, if that level is asked for; more arguments are those of
--- string.format.
function Logger:log(level, message, ...)
  level = to_level(level, "log")
  if not self:isEnabledFor(level) then return end
  if select("#", ...) > 0 then message = tostring(message):format(...) end
  io.stderr:write(("[%s/%s] %s\n"):format(NAMES[level] or "Level " .. level,
    family.current_process().name, tostring(message)))
end

for name, level in pairs(LEVELS) do
  Logger[name:lower()] = function(self, ...) self:log(level, ...) end
end

local logger = setmetatable({}, Logger)

family.set_tell(function(...) logger:log(LEVELS.INFO, ...) end)

family.on_become(function()
  if logger._to_stderr then family.expect_end() end
end)

function log.get_logger() return logger end

--- From now on what is logged goes to stderr.
function log.log_to_stderr(level)
  if level ~= nil then logger.level = to_level(level, "log_to_stderr") end
  logger._to_stderr = true
  family.expect_end()
  return logger
end

--- For a child that starts with nothing: what it is to have of its parent's.
function log.settings() return { level = logger.level, to_stderr = logger._to_stderr } end

function log.apply(settings)
  logger.level, logger._to_stderr = settings.level, settings.to_stderr
end

return log

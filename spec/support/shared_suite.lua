--- The classes of a spec of threading's objects, for multiprocessing's: one
-- contract, threads of one process, objects that processes share.
local mp = require("multiprocessing")

---@param name string of the spec's file, as "lock"
---@param left_out table<string, boolean> tests of what processes do not promise
---@return table classes each under its name with "Mp" in front
return function(name, left_out)
  local file = ("spec/%s_spec.lua"):format(name)
  local classes = {}
  for class_name, class in pairs(assert(loadfile(file))(file, mp, "mp ")) do
    local kept = {}
    for test, f in pairs(class) do
      if not left_out[test] then kept[test] = f end
    end
    classes["Mp" .. class_name] = kept
  end
  return classes
end

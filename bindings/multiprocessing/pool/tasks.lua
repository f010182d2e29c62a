--- What the workers of a pool do, be they threads or processes.
local tasks = {}

--- Calls the function with the arguments of a part: for "apply" once, else for
--- each item, which for "starmap" is a table of arguments. Returns the packed
--- results, or that of each item in the place of the item.
function tasks.call(mode, fn, args)
  if mode == "apply" then return table.pack(fn(table.unpack(args, 1, args.n))) end
  if mode == "map" then
    for i = 1, args.n do args[i] = (fn(args[i])) end
    return args
  end
  for i = 1, args.n do
    local item = args[i]
    args[i] = (fn(table.unpack(item, 1, item.n)))
  end
  return args
end

--- A message handler: what a raised error is told as, its value and where it
--- was raised.
function tasks.to_problem(value)
  local ok, text = pcall(tostring, value)
  return { value = value, traceback = debug.traceback(ok and text or type(value), 2) }
end

return tasks

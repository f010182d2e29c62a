--- Whether the process runs. One that has ended and whose starter is gone, too,
--- is a zombie for as long as the machine's first process likes.
return function(pid)
  local file <close> = io.open("/proc/" .. pid .. "/stat")
  local stat = file and file:read("a")
  return stat ~= nil and not stat:find("%) [ZX] ")
end

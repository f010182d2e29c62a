--- The fork server: a process that was started clean and forks the children,
--- so that a start costs a fork of something small.
---
--- A request is the connection that has what the child needs (spawn.lua), and
--- one end of a pair of descriptors, by which the server tells the child's exit
--- code. The answer is the child's pid and pidfd. The child waits, at the same
--- end, for the word that its handle is there (handle:watch), and ends without it:
--- whether the server is killed or the starter interrupted, what start says is
--- true, and nothing runs twice. The server ends when its starter has ended and
--- all children have.
local connection = require("tidelock._connection")
local core = require("tidelock._multiprocessing")
local descriptor = require("tidelock._descriptor")
local errors = require("tidelock.errors")
local family = require("tidelock.multiprocessing.family")
local spawn = require("tidelock.multiprocessing.spawn")
local threading = require("tidelock.threading")

local forkserver = {}

-- --- The server --------------------------------------------------------------

--- In the child: what belongs to the server is let go, and the handle of the
--- server, which is not what a child calls its parent.
local function leave_server(server, handle_of_server)
  handle_of_server:abandon()
  server.control:close()
  for handle, status in pairs(server.children) do
    handle:abandon()
    status:close()
  end
  core.ignore_interrupts(false)
end

--- The life of a child.
local function live(server, request, handle_of_server)
  leave_server(server, handle_of_server)
  local process = spawn.become(request.link)
  local wanted = request.status:await_go()
  request.status:close()
  if wanted then family.run(process) end
end

--- Makes a child and answers.
local function serve(server, request)
  local handle = core.Handle()
  local _ <close> = request.link
  local ok, problem = pcall(handle.fork, handle, function(me) live(server, request, me) end,
    family.get_name)
  if not ok then
    request.status:close()
    server.control:send({ problem = problem })
    return
  end
  server.children[handle] = request.status
  local pidfd <close> = descriptor.copy(handle:sentinel())
  server.control:send({ pid = handle:pid(), pidfd = pidfd })
end

--- Tells the exit codes of those that have ended.
local function tell_ends(server)
  for _, handle in ipairs(core.keys(server.children)) do
    local code = handle:poll()
    if code then
      local status = server.children[handle]
      server.children[handle] = nil
      status:tell(code)
      status:close()
      handle:close()
    end
  end
end

--- Answers one request. When no more will come the server is ended.
local function answer(server)
  local ok, request = pcall(server.control.recv, server.control)
  if ok then
    serve(server, request)
  elseif errors.is(request, errors.UnpicklingError) then
    server.control:send({ problem = request })
  else
    server.control:close()
    server.ended = true
  end
end

--- What cannot be answered, as the starter is gone or there is no descriptor left,
--- ends the connection: the starter learns it, and what was started for it ends.
local function loop(server)
  while not server.ended or next(server.children) do
    local objects = core.keys(server.children)
    if not server.ended then objects[#objects + 1] = server.control end
    for _, ready in ipairs(threading.wait_any(objects)) do
      if ready == server.control and not pcall(answer, server) then
        server.control:close()
        server.ended = true
      end
    end
    tell_ends(server)
  end
end

--- What the started program does.
function forkserver.main(fd)
  core.ignore_interrupts(true)
  local server = { control = connection.inherited(fd), children = {} }
  core.live(function()
    local first = server.control:recv()
    package.path, package.cpath = first.path, first.cpath
    require("tidelock.multiprocessing") -- what most targets need
    for _, name in ipairs(first.preload) do pcall(require, name) end
    collectgarbage() -- once, and not in each child
    loop(server)
  end, function() return "forkserver" end)
end

-- --- Its starter -------------------------------------------------------------

local STATEMENT = "require('tidelock.multiprocessing.forkserver').main(%d)"

-- How many servers may be gone before a start is given up.
local ATTEMPTS = 5

local preload = {}
local lock    -- who uses the server
local current -- the server: control, handle
local retired -- those that were used before, and may not have ended

--- What the next server requires before it forks.
function forkserver.set_forkserver_preload(names)
  if type(names) ~= "table" then
    error(("bad argument #1 to 'set_forkserver_preload' (table expected, got %s)")
      :format(type(names)), 2)
  end
  for _, name in ipairs(names) do
    if type(name) ~= "string" then
      error("bad argument #1 to 'set_forkserver_preload' (names of modules expected)", 2)
    end
  end
  preload = table.move(names, 1, #names, 1, {})
end

--- Ends the connection to the server, which may be in the middle of something.
local function retire(server)
  current = nil
  if server.handle:pid() then retired[server] = true end
  local closed = pcall(server.control.close, server.control)
  if not closed then server.handle:signal("TERM") end -- a daemon thread is asking it
end

-- At the end of this process, when its children have ended: servers end when
-- they see the end of the connection.
local ending = {}

function ending.at_end()
  if current then retire(current) end
  for _, server in ipairs(core.keys(retired)) do
    server.handle:wait()
    retired[server] = nil
  end
end

--- Ends the server, which waits for its children, and waits for that; the next
--- start makes a new one.
function forkserver.stop()
  local held <close> = lock:guard()
  ending.at_end()
end

--- This process begins: a server that the parent has is not its own.
local function begin()
  if current then retire(current) end
  for server in pairs(retired or {}) do server.handle:abandon() end
  lock, current, retired = threading.Lock(), nil, {}
end

begin()
family.on_become(begin)

local function forget_ended()
  for _, server in ipairs(core.keys(retired)) do
    if server.handle:poll() then retired[server] = nil end
  end
end

--- The server that runs, or a new one.
local function get_server()
  if current and current.handle:pid() and not current.handle:poll() then return current end
  if current then retire(current) end
  forget_ended()
  local theirs <close>, control = family.open(nil, connection.Pipe)
  local server = { control = control, handle = core.Handle() }
  control:send({ path = package.path, cpath = package.cpath, preload = preload })
  family.at_end(ending, true)
  family.expect_end()
  current = server -- before it is started: it is not lost
  spawn.start(server.handle, theirs, STATEMENT)
  return server
end

--- Whether an error says that the server is gone.
local function is_end(problem)
  return errors.is(problem, errors.EOFError) or
    errors.is(problem, errors.OSError) and (problem.code == "EPIPE" or problem.code == "ECONNRESET")
end

-- A question to the server. The server of one that has had no answer is used no
-- more, be the thread interrupted or killed: the answer is nobody's.
local Question = {}

Question.__close = core.shielded(function(self)
  if not self.answered then retire(self.server) end
end)

--- Has the server make a process; nil if it is gone.
local function ask(server, request)
  local question <close> = setmetatable({ server = server }, Question)
  local ok, reply = pcall(function()
    server.control:send(request)
    return server.control:recv()
  end)
  question.answered = ok
  if ok then return reply end
  if not is_end(reply) then error(reply, 0) end
end

--- One attempt to start it; false if the server is gone. What was sent to one
--- that is gone may have been read: all is made anew.
local function attempt(process, handle, method)
  local link <close> = spawn.pack(process, method)
  local mine <close>, other = family.open(nil, descriptor.pair)
  local status <close> = other
  local held <close> = lock:guard()
  local reply = ask(get_server(), { link = link, status = status })
  if not reply then return false end
  if reply.problem then error(reply.problem, 0) end
  handle:watch(reply.pid, reply.pidfd, mine)
  return true
end

--- Starts a process, by a new server if there is none or it has died.
function forkserver.launch(process, handle, method)
  for _ = 1, ATTEMPTS do
    if attempt(process, handle, method) then return end
  end
  error(errors.new(errors.OSError, "the fork server ends at once"), 0)
end

return forkserver

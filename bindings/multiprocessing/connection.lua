--- Connections between processes that are no relatives: Listener and Client,
--- over "tidelock._listener"; documented in types/multiprocessing.connection.lua.
---
--- With an authkey each side proves to the other that it has the same key, without
--- telling it: it sends a random challenge and gets back the HMAC (SHA-256) of the
--- other side's role and that challenge. The role keeps what one side answers from
--- being used as the answer of the other; the listener asks first, so that who
--- connects without the key learns nothing. The messages of this handshake are short,
--- and have to come in time.
local arguments = require("tidelock._arguments")
local core = require("tidelock._connection")
local errors = require("tidelock.errors")
local processes = require("tidelock.multiprocessing.family")
local pickle = require("tidelock.pickle")
local sockets = require("tidelock._listener")
local threading = require("tidelock.threading")
local time = require("tidelock.time")

local CHALLENGE, WELCOME, FAILURE = "#CHALLENGE#", "#WELCOME#", "#FAILURE#"
local NONCE = 32 -- bytes
local LONGEST = 256 -- bytes of a message of the handshake
local PATIENCE = 10 -- seconds for all of it

-- --- The handshake ----------------------------------------------------------

local function refuse(message)
  error(errors.new(errors.AuthenticationError, message), 0)
end

--- What the side with this role answers.
local function answer_to(shake, role, nonce)
  return shake.hmac.digest(shake.key, ("tidelock %s\0"):format(role) .. nonce)
end

local function receive(shake)
  return shake.connection:_receive(LONGEST, math.max(shake.deadline - time.monotonic(), 0))
end

--- Lets the other side prove that it has the key.
local function challenge(shake, role)
  local connection, hmac = shake.connection, shake.hmac
  shake.nonce = hmac.random(NONCE)
  connection:send_bytes(CHALLENGE .. shake.nonce)
  local right = hmac.equal(receive(shake), answer_to(shake, role, shake.nonce))
  if right then return connection:send_bytes(WELCOME) end
  errors.pcall(connection.send_bytes, connection, FAILURE)
  refuse("the other side has another authkey, or none")
end

--- Proves it to the other side.
local function respond(shake, role)
  local message = receive(shake)
  local nonce = message:sub(#CHALLENGE + 1)
  if message:sub(1, #CHALLENGE) ~= CHALLENGE or #nonce ~= NONCE then
    refuse("what came is no challenge")
  end
  if nonce == shake.nonce then refuse("the other side sent our own challenge") end
  shake.connection:send_bytes(answer_to(shake, role, nonce))
  if receive(shake) ~= WELCOME then refuse("the other side did not accept our authkey") end
end

--- What the failures mean that the other side may cause.
local function reason_of(problem, patience)
  if errors.is(problem, errors.TimeoutError) then
    return ("the other side did not prove itself within %g s: has it an authkey?"):format(patience)
  elseif errors.is(problem, errors.BufferTooShort) then
    return "what came is too long for a handshake"
  elseif errors.is(problem, errors.EOFError) or errors.is(problem, errors.OSError) then
    return "the other side ended the handshake: " .. problem.message
  end
end

--- Raises AuthenticationError, with the connection closed, unless both sides
--- have the key.
local function authenticate(connection, options, listens)
  local hmac = require("tidelock._hmac")
  local shake = {
    connection = connection,
    -- HMAC takes "k" and "k\0" for the same key.
    key = hmac.digest("tidelock authkey", options.authkey),
    hmac = hmac,
    deadline = time.monotonic() + options.handshake_timeout,
  }
  local ok, problem = pcall(function()
    if listens then challenge(shake, "client") end
    respond(shake, listens and "listener" or "client")
    if not listens then challenge(shake, "listener") end
  end)
  if ok then return connection:_trust() end
  connection:close()
  local reason = reason_of(problem, options.handshake_timeout)
  if not reason then error(problem, 0) end
  error(errors.new(errors.AuthenticationError, reason, { cause = problem }), 0)
end

-- --- Arguments --------------------------------------------------------------

--- Called by what the user's caller calls.
local function bad_argument(number, name, message, ...)
  error(("bad argument #%d to '%s' (%s)"):format(number, name, message:format(...)), 4)
end

local function bad_option(number, name, message, ...)
  error(("bad argument #%d to '%s' (%s)"):format(number, name, message:format(...)), 5)
end

local TYPES = {
  address = true,
  authkey = "string",
  backlog = "number",
  family = "string",
  handshake_timeout = "number",
}

--- A copy of the options, checked.
local function check_options(name, number, given, known)
  local options = {}
  for key, value in pairs(given) do
    if not known[key] then bad_option(number, name, "unknown option '%s'", tostring(key)) end
    local wanted = TYPES[key]
    if wanted ~= true and type(value) ~= wanted then
      bad_option(number, name, "%s: %s expected, got %s", key, wanted, type(value))
    end
    options[key] = value
  end
  local patience = options.handshake_timeout or PATIENCE
  if patience < 0 or patience ~= patience then
    bad_option(number, name, "handshake_timeout must be a number of seconds >= 0")
  end
  options.handshake_timeout = patience
  local backlog = options.backlog
  if backlog and not (math.tointeger(backlog) and backlog >= 0 and backlog <= 0x7fffffff) then
    bad_option(number, name, "backlog must be an integer >= 0")
  end
  if options.authkey then require("tidelock._hmac") end -- or raise now
  return options
end

local FAMILIES = { AF_UNIX = "string", AF_INET = "table", AF_INET6 = "table" }

--- The family, and what names the place in it.
local function check_address(name, options)
  local address, family = options.address, options.family
  if family and not FAMILIES[family] then
    bad_argument(1, name, "unknown family '%s'", family)
  end
  if address == nil and name == "Listener" then
    if family == "AF_INET" then return family, "127.0.0.1", 0 end
    if family == "AF_INET6" then return family, "::1", 0 end
    return "AF_UNIX", nil, 0
  end
  if type(address) == "string" then family = family or "AF_UNIX" end
  if type(address) == "table" then family = family or "AF_UNSPEC" end
  if type(address) ~= (FAMILIES[family] or "table") then
    bad_argument(1, name, "address: a path or {host, port} expected, got %s", type(address))
  end
  if family == "AF_UNIX" then
    if address == "" then bad_argument(1, name, "address: the path is empty") end
    if address:find("\0", 2, true) and address:byte() ~= 0 then
      bad_argument(1, name, "address: the path has a zero byte")
    end
    return family, address, 0
  end
  local host, port = address[1], math.tointeger(address[2])
  if type(host) ~= "string" or host:find("\0", 1, true) or not port or port < 0 or port > 65535 then
    bad_argument(1, name, "address: {host, port} expected, port from 0 to 65535")
  end
  return family, host ~= "" and host or nil, port
end

--- The options of f(address, options) or f(options): a table without a host.
local function read_options(name, known, address, given)
  if type(address) == "table" and address[1] == nil and given == nil
    and not arguments.is_callable(address) then
    local options = check_options(name, 1, address, known)
    return options
  end
  if given ~= nil and type(given) ~= "table" then
    bad_argument(2, name, "table expected, got %s", type(given))
  end
  local options = check_options(name, 2, given or {}, known)
  options.address = address
  return options
end

-- --- Listener ---------------------------------------------------------------

local Listener = {}

local listener_meta = { __name = "multiprocessing.connection.Listener" }

function listener_meta.__index(listener, key)
  if key == "closed" then return listener._socket.closed end
  return Listener[key]
end

function listener_meta.__tostring(listener)
  if listener.closed then return "<Listener closed>" end
  local address = listener.address
  if type(address) == "table" then address = ("%s port %d"):format(address[1], address[2]) end
  return ("<Listener %s>"):format((address:gsub("^\0", "@")))
end

function listener_meta.__waitable(listener) return listener._socket end

function Listener:accept()
  local connection, peer = self._socket:accept()
  self:_welcome(connection)
  self.last_accepted = peer
  return connection
end

--- What accept does with a new connection: may be called beside it, by a thread
--- that accepts from the socket and does not wait for the other side's proof.
function Listener:_welcome(connection)
  if self._options.authkey then authenticate(connection, self._options, true) end
end

function Listener:fileno() return self._socket:fileno() end

function Listener:close() self._socket:close() end

function listener_meta.__close(listener) listener:close() end

-- The sockets of this process, which os.exit would not close.
local open = setmetatable({}, { __mode = "k" })

processes.on_leave(function()
  for socket in next, open do socket:_leave() end
end)

local function new_listener(socket, options, address)
  open[socket] = true
  return setmetatable({ _socket = socket, _options = options, address = address }, listener_meta)
end

--- It travels with its key: only to the family, as sockets do.
pickle.register(listener_meta.__name, listener_meta, {
  reduce = function(listener) return listener._socket, listener._options end,
  restore = function(socket, options)
    local ok, address = pcall(function() return socket:address() end)
    if ok and type(options) == "table" then return new_listener(socket, options, address) end
  end,
})

-- --- The module -------------------------------------------------------------

local connection = { Pipe = core.Pipe, wait = threading.wait_any }

local LISTENER_OPTIONS = {
  address = true, authkey = true, backlog = true, family = true, handshake_timeout = true,
}

function connection.Listener(address, given)
  local options = read_options("Listener", LISTENER_OPTIONS, address, given)
  local family, place, port = check_address("Listener", options)
  local socket = sockets.listen(family, place, port, math.tointeger(options.backlog))
  return new_listener(socket, options, socket:address())
end

local CLIENT_OPTIONS = { address = true, authkey = true, family = true, handshake_timeout = true }

function connection.Client(address, given)
  local options = read_options("Client", CLIENT_OPTIONS, address, given)
  local client = sockets.connect(check_address("Client", options))
  if options.authkey then authenticate(client, options, false) end
  return client
end

return connection

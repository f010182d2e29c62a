--- Failing allocations in connections and pools: no message is lost or there
--- twice, and no descriptor is left.
local lu = require("luaunit")
local connection = require("multiprocessing.connection")
local errors = require("errors")
local mp = require("multiprocessing")
local exhaust = require("support.exhaust")

local LIMIT = 60 -- seconds, for what should take a moment

local TestMemory = {}

local function add(name, case) exhaust.add(TestMemory, name, case) end

--- A pipe and what is sent over it.
local function pipe(message)
  return function()
    local receiver, sender = mp.Pipe(false)
    return { receiver = receiver, sender = sender, message = message, [1] = 0 }
  end
end

local function close(object)
  object.receiver:close()
  object.sender:close()
end

for name, message in pairs { Short = "message", Long = ("x"):rep(70000) } do
  add("SendBytes" .. name, {
    make = pipe(message),
    act = function(object)
      object.sender:send_bytes(object.message)
      return true
    end,
    check = function(object, failed)
      lu.assertEquals(object.receiver:poll(), not failed)
      if not failed then lu.assertEquals(#object.receiver:recv_bytes(), #message) end
      close(object)
    end,
  })
  for _, method in ipairs { "recv_bytes", "recv" } do
    add(method .. name, {
      make = function()
        local object = pipe(message)()
        object.sender[method == "recv" and "send" or "send_bytes"](object.sender, message)
        return object
      end,
      act = function(object) return object.receiver[method](object.receiver) end,
      check = function(object, failed, got)
        if failed then
          lu.assertTrue(object.receiver:poll())
          got = object.receiver[method](object.receiver)
        end
        lu.assertTrue(got == message)
        lu.assertFalse(object.receiver:poll())
        close(object)
      end,
    })
  end
end

add("SendAHandle", {
  make = function()
    local object = pipe()()
    object.near, object.far = mp.Pipe()
    return object
  end,
  act = function(object)
    object.sender:send { object.near }
    return true
  end,
  check = function(object, failed)
    lu.assertEquals(object.receiver:poll(), not failed)
    object.near:close()
    if not failed then
      local got <close> = object.receiver:recv()[1]
      got:send_bytes("through")
      lu.assertEquals(object.far:recv_bytes(), "through")
    end
    collectgarbage() -- duplicates of what was not sent
    collectgarbage()
    lu.assertTrue(object.far:poll()) -- the last copy is gone
    object.far:close()
    close(object)
  end,
})

add("ReceiveAHandle", {
  make = function()
    local object = pipe()()
    object.near, object.far = mp.Pipe()
    object.sender:send(object.near)
    object.near:close()
    return object
  end,
  act = function(object) return object.receiver:recv() end,
  check = function(object, _, got)
    if object.receiver:poll() then got = object.receiver:recv() end
    if type(got) == "userdata" then got:close() end
    collectgarbage() -- it may have been made, but not returned
    collectgarbage()
    lu.assertTrue(object.far:poll())
    lu.assertFalse(object.receiver:poll())
    object.far:close()
    close(object)
  end,
})

for name, address in pairs { Unix = false, TCP = { "127.0.0.1", 0 } } do
  add("Listener" .. name, {
    make = function() return {} end,
    act = function() return connection.Listener(address or nil) end,
    check = function(_, failed, listener)
      if not failed then listener:close() end
      collectgarbage()
      collectgarbage()
    end,
  })
  add("Client" .. name, {
    make = function()
      return { listener = connection.Listener(address or nil, { backlog = 9 }) }
    end,
    act = function(object) return connection.Client(object.listener.address) end,
    check = function(object, failed, client)
      if not failed then
        client:send_bytes("hello")
        -- Others before it may have come as far as that.
        repeat
          local server <close> = object.listener:accept()
        until pcall(server.recv_bytes, server)
        client:close()
      end
      object.listener:close()
    end,
  })
  add("Accept" .. name, {
    make = function()
      local listener = connection.Listener(address or nil)
      return { listener = listener, client = connection.Client(listener.address) }
    end,
    act = function(object) return object.listener:accept() end,
    check = function(object, failed, server)
      if not failed then server:close() end
      collectgarbage()
      collectgarbage()
      -- It is still in the queue, or it has seen the end.
      lu.assertTrue(#connection.wait({ object.listener, object.client }, 60) > 0)
      object.client:close()
      object.listener:close()
    end,
  })
end

add("WaitForDescriptors", {
  make = function()
    local object = pipe()()
    object.sender:send_bytes("")
    return object
  end,
  act = function(object)
    return connection.wait { object.receiver, object.receiver:fileno() }
  end,
  check = function(object, failed, ready)
    if not failed then lu.assertEquals(#ready, 2) end
    close(object)
  end,
})

-- A result that is taken when there is no memory for it is there afterwards; one
-- that cannot be opened then has failed. Nobody waits for it for ever.
for name, size in pairs { Short = 10, Long = 70000 } do
  for _, method in ipairs { "apply_async", "imap", "imap_unordered" } do
    add(method .. name, {
      make = function()
        local pool = mp.Pool(1)
        local function text(n) return ("x"):rep(n) end
        local result = pool[method](pool, text, { size })
        return { pool = pool, next = result.next or result.get, result = result }
      end,
      act = function(object) return object.next(object.result) end,
      check = function(object, failed, got)
        local ok, again = true, got
        if failed then ok, again = pcall(object.next, object.result, LIMIT) end
        lu.assertFalse(errors.is(again, errors.TimeoutError))
        if ok and again then lu.assertEquals(#again, size) end
        object.pool:terminate()
        object.pool:join()
        collectgarbage() -- its channels
        collectgarbage()
      end,
    })
  end
end

return { TestMemory = TestMemory }

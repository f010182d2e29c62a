-- A process answers what the main one asks, over a pipe: any value travels, also
-- a function.
local mp = require "multiprocessing"

local ours, theirs = mp.Pipe()

local function answer_all(connection)
  ours:close() -- this copy, so that the pipe ends with the main process's
  while true do
    local ok, question = pcall(connection.recv, connection)
    if not ok then break end -- the other side has closed it
    if type(question) == "function" then
      connection:send(question())
    else
      connection:send({you_said = question, i_am = mp.current_process().name})
    end
  end
end

local process = mp.Process{target = answer_all, args = {theirs}, name = "Answerer"}
process:start()
theirs:close() -- this copy, so that the pipe ends with the child's

for _, question in ipairs{"Hello", 42, true} do
  ours:send(question)
  local answer = ours:recv()
  print(("%s heard: %s"):format(answer.i_am, answer.you_said))
end

local asked_by = mp.current_process().name
ours:send(function()
  return asked_by .. " asked, " .. mp.current_process().name .. " computed: " .. 6 * 7
end)
print(ours:recv())

ours:close()
process:join()
print("The conversation is over.")

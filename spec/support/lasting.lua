--- A shell command that lasts until the test ends it.
local LIMIT = 60 -- seconds

--- Returns the command and a function that ends it.
return function()
  local name = os.tmpname()
  local function finish()
    assert(os.execute(("until [ -s '%s' ]; do sleep 0.01; done; kill $(cat '%s')")
      :format(name, name)))
    os.remove(name)
  end
  return ("echo $$ >'%s'; exec sleep %d"):format(name, LIMIT), finish
end

--- A manager 'self.m' for each test of a class.
local mp = require("multiprocessing")

return function(class)
  function class:setUp() self.m = mp.Manager() end
  function class:tearDown()
    self.m:shutdown()
    self.m = nil
  end
  return class
end

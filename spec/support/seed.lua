--- Seeds math.random with TIDELOCK_SEED, or by the clock, and prints the seed,
-- so that a failure can be repeated. Returns it.
return function()
  local seed = math.tointeger(os.getenv("TIDELOCK_SEED"))
  seed = seed or os.time() * 1000 + math.floor(os.clock() * 1e6) % 1000
  print(("seed: TIDELOCK_SEED=%d"):format(seed))
  math.randomseed(seed)
  return seed
end

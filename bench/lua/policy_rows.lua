--- Preloaded (`-l policy_rows`) for a host entry under another GIL policy (see
--- TIDELOCK_POLICY in _bench.lua): leaves every script at once in which the policy
--- plays no part.
if not (arg[0] or ""):find("/b0[78]_") then os.exit(0) end

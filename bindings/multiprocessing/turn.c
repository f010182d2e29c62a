/* turn.c - one thread at a time works on something, the others queue. */
#include "turn.h"

#include <unistd.h>

bool turn_taken(const Turn *turn) {
  return turn->taken && turn->process == getpid();
}

/* Nothing outside the protected call may need memory. */
static TL_GIL int run(lua_State *L, Turn *turn, lua_CFunction work) {
  int n = lua_gettop(L);
  lua_pushcfunction(L, work);
  for (int i = 1; i <= n; i++)
    lua_pushvalue(L, i);
  int status = lua_pcall(L, n, 1, 0);
  turn->taken = tl_wake(&turn->waiters, 1) > 0;
  return status == LUA_OK ? 1 : lua_error(L);
}

int turn_take(lua_State *L, Turn *turn, lua_CFunction work,
              lua_KFunction again) {
  pid_t self = getpid();
  if (turn->taken && turn->process == self)
    return tl_wait(L, &turn->waiters, TL_FOREVER, 0, again);
  turn->taken = true;
  turn->process = self;
  return run(L, turn, work);
}

int turn_woken(lua_State *L, Turn *turn, lua_CFunction work,
               lua_KFunction again) {
  if (bind_woken(L)) return run(L, turn, work);
  return turn_take(L, turn, work, again);
}

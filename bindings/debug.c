/* debug.c - debug.sethook and debug.gethook over the hook that preemption
 * shares (preempt.c). */
#include <string.h>

#include "bind.h"
#include "modules.h"
#include "preempt.h"

/* The state in an optional first argument; *arg counts it. */
static TL_GIL lua_State *thread_argument(lua_State *L, int *arg) {
  *arg = lua_isthread(L, 1);
  return *arg ? lua_tothread(L, 1) : L;
}

static int mask_of(const char *events, lua_Integer count) {
  return (strchr(events, 'c') ? LUA_MASKCALL : 0) |
         (strchr(events, 'r') ? LUA_MASKRET : 0) |
         (strchr(events, 'l') ? LUA_MASKLINE : 0) |
         (count > 0 ? LUA_MASKCOUNT : 0);
}

static TL_GIL int debug_sethook(lua_State *L) {
  int arg;
  lua_State *L1 = thread_argument(L, &arg);
  int mask = 0, count = 0;
  if (lua_isnoneornil(L, arg + 1)) {
    lua_settop(L, arg);
    lua_pushnil(L);
  } else {
    const char *events = luaL_checkstring(L, arg + 2);
    luaL_checktype(L, arg + 1, LUA_TFUNCTION);
    count = (int)luaL_optinteger(L, arg + 3, 0);
    mask = mask_of(events, count);
    lua_pushvalue(L, arg + 1);
  }
  if (L1 != L && !lua_checkstack(L1, LUA_MINSTACK))
    return luaL_error(L, "stack overflow");
  tl_sethook(L, L1, mask, count);
  return 0;
}

static TL_GIL int debug_gethook(lua_State *L) {
  int arg, mask, count;
  lua_State *L1 = thread_argument(L, &arg);
  if (L1 != L && !lua_checkstack(L1, LUA_MINSTACK))
    return luaL_error(L, "stack overflow");
  if (!tl_gethook(L, L1, &mask, &count)) {
    luaL_pushfail(L);
    return 1;
  }
  char events[4];
  int n = 0;
  if (mask & LUA_MASKCALL) events[n++] = 'c';
  if (mask & LUA_MASKRET) events[n++] = 'r';
  if (mask & LUA_MASKLINE) events[n++] = 'l';
  lua_pushlstring(L, events, (size_t)n);
  lua_pushinteger(L, count);
  return 3;
}

static const luaL_Reg functions[] = {
    {"gethook", debug_gethook}, {"sethook", debug_sethook}, {NULL, NULL}};

int luaopen_tl_debug(lua_State *L) {
  lua_getglobal(L, LUA_DBLIBNAME);
  luaL_setfuncs(L, functions, 0);
  return 1;
}

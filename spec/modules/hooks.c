/* hooks.c - a C module for the specs: one that thinks the debug hook is its
 * own, as modules that were written without threads in mind do. */
#include <lauxlib.h>
#include <lua.h>

int luaopen_hooks(lua_State *L);

/* hooks.remove() */
static int hooks_remove(lua_State *L) {
  lua_sethook(L, NULL, 0, 0);
  return 0;
}

static void spin(lua_Integer n) {
  for (volatile lua_Integer i = 0; i < n; i = i + 1) {
  }
}

/* hooks.work(n): long, and calls nothing. */
static int hooks_work(lua_State *L) {
  spin(luaL_checkinteger(L, 1));
  return 0;
}

static void own_hook(lua_State *L, lua_Debug *ar) {
  (void)L, (void)ar;
}

/* hooks.borrow(n, f): works, then calls f with a hook of its own, and sets the
 * one again that it has found. */
static int hooks_borrow(lua_State *L) {
  spin(luaL_checkinteger(L, 1));
  lua_Hook hook = lua_gethook(L);
  int mask = lua_gethookmask(L), count = lua_gethookcount(L);
  lua_sethook(L, own_hook, LUA_MASKCALL, 0);
  lua_settop(L, 2);
  lua_call(L, 0, 0);
  lua_sethook(L, hook, mask, count);
  return 0;
}

int luaopen_hooks(lua_State *L) {
  static const luaL_Reg functions[] = {{"borrow", hooks_borrow},
                                       {"remove", hooks_remove},
                                       {"work", hooks_work},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

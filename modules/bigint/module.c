/* module.c - "bigint": integers of any size, over GMP. */
#include "bigint.h"

TL_MODULE_OPENER TL_GIL int luaopen_tidelock_bigint(lua_State *L);

/* Adds functions to the table on the top; the metatable is their upvalue. */
static TL_GIL void add(lua_State *L, const luaL_Reg *functions, int metatable) {
  lua_pushvalue(L, metatable);
  luaL_setfuncs(L, functions, 1);
}

/* Numbers travel to other processes as digits of a base that is a power of two,
 * which takes time in proportion to their size. */
#define TRAVEL_BASE 32

static TL_GIL int reduce(lua_State *L) {
  lua_settop(L, 1);
  lua_pushinteger(L, TRAVEL_BASE);
  return bigint_tostring(L);
}

/* Nil for what reduce has not returned. */
static TL_GIL int restore(lua_State *L) {
  size_t n = 0;
  const char *s = lua_tolstring(L, 1, &n);
  if (!s || !bigint_isinteger(s, n, TRAVEL_BASE)) return 0;
  lua_settop(L, 1);
  lua_pushinteger(L, TRAVEL_BASE);
  return bigint_new(L);
}

/* pickle.register("bigint", metatable, {reduce, restore}) */
static TL_GIL void make_portable(lua_State *L, int metatable) {
  static const luaL_Reg functions[] = {
      {"reduce", reduce}, {"restore", restore}, {NULL, NULL}};
  lua_getglobal(L, "require");
  lua_pushliteral(L, "tidelock.pickle");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "register");
  lua_pushliteral(L, "bigint");
  lua_pushvalue(L, metatable);
  lua_newtable(L);
  add(L, functions, metatable);
  lua_call(L, 3, 0);
  lua_pop(L, 1);
}

TL_GIL int luaopen_tidelock_bigint(lua_State *L) {
  lua_settop(L, 0);
  luaL_newmetatable(L, BIGINT);
  add(L, bigint_metamethods, 1);
  lua_newtable(L);
  add(L, bigint_functions, 1);
  add(L, bigint_methods, 1);
  lua_setfield(L, 1, "__index");
  make_portable(L, 1);
  lua_newtable(L);
  add(L, bigint_makers, 1);
  add(L, bigint_functions, 1);
  return 1;
}

/* pickle.c - the module pickle: values as strings of bytes and back.
 * host/pickle_*.c do it. Documented in types/pickle.lua. */
#include "pickle.h"

#include "bind.h"
#include "modules.h"

static TL_GIL int pickle_dumps(lua_State *L) {
  luaL_checkany(L, 1);
  tl_pickle_dumps(L, 1);
  return 1;
}

/* (s [, {functions}]) */
static TL_GIL int pickle_loads(lua_State *L) {
  static const char *const options[] = {"functions", NULL};
  luaL_checktype(L, 1, LUA_TSTRING);
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  bind_options(L, 2, options);
  if (!lua_isnil(L, 2) && !lua_isboolean(L, 2))
    luaL_argerror(L, 2, "functions must be a boolean");
  unsigned flags = lua_toboolean(L, 2) ? TL_PICKLE_FAMILY : 0;
  lua_settop(L, 1);
  size_t n;
  const char *s = lua_tolstring(L, 1, &n);
  tl_pickle_load(L, s, n, NULL, 0, flags);
  return 1;
}

/* (name, metatable [, {reduce, restore}]) */
static TL_GIL int pickle_register(lua_State *L) {
  static const char *const options[] = {"reduce", "restore", NULL};
  luaL_checktype(L, 1, LUA_TSTRING);
  luaL_checktype(L, 2, LUA_TTABLE);
  if (!lua_isnoneornil(L, 3)) luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  bind_options(L, 3, options);
  lua_settop(L, 4);
  for (int i = 0; i < 2; i++)
    if (!lua_isnil(L, 3 + i) && !bind_iscallable(L, 3 + i))
      luaL_argerror(L, 3,
                    lua_pushfstring(L, "%s must be a function", options[i]));
  if (lua_isnil(L, 3) != lua_isnil(L, 4))
    luaL_argerror(L, 3, "reduce and restore go together");
  tl_pickle_register(L);
  return 0;
}

/* (module, name): the metatable of the class. */
static TL_GIL int index_classes(lua_State *L) {
  lua_settop(L, 2);
  if (!tl_classes_find(L, 2)) return lua_pushnil(L), 1;
  lua_rawgeti(L, -1, 2);
  return 1;
}

/* "tidelock._classes": the metatables of registered classes by their names. */
int luaopen_tl_classes(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, index_classes);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  return 1;
}

static const luaL_Reg functions[] = {{"dumps", pickle_dumps},
                                     {"loads", pickle_loads},
                                     {"register", pickle_register},
                                     {NULL, NULL}};

int luaopen_tl_pickle(lua_State *L) {
  luaL_newlib(L, functions);
  tl_error_pushclass(L, "PicklingError");
  lua_setfield(L, -2, "PicklingError");
  tl_error_pushclass(L, "UnpicklingError");
  lua_setfield(L, -2, "UnpicklingError");
  return 1;
}

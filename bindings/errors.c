/* errors.c - the module errors: error values and their classes, which
 * host/errors.c keeps. Documented in types/errors.lua. */
#include "errors.h"

#include "bind.h"
#include "modules.h"

#define CAUSES_SHOWN 20

/* A class is the value whose class is itself. */
static TL_GIL void check_class(lua_State *L, int arg) {
  if (!tl_error_isclass(L, arg, arg)) luaL_typeerror(L, arg, "error class");
}

static TL_GIL int errors_new(lua_State *L) {
  check_class(L, 1);
  luaL_optstring(L, 2, NULL);
  if (!lua_isnoneornil(L, 3)) luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  lua_pushvalue(L, 2);
  tl_error_instance(L, 1);
  if (lua_isnil(L, 3)) return 1;
  lua_pushnil(L);
  while (lua_next(L, 3)) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, 4);
  }
  return 1;
}

static TL_GIL int errors_class(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  if (lua_isnoneornil(L, 2)) {
    lua_settop(L, 1);
    tl_error_pushclass(L, "Error");
  } else {
    check_class(L, 2);
  }
  tl_error_newclass(L, name, 2);
  return 1;
}

static TL_GIL int errors_is(lua_State *L) {
  luaL_checkany(L, 1);
  check_class(L, 2);
  lua_pushboolean(L, tl_error_isclass(L, 1, 2));
  return 1;
}

static TL_GIL int called(lua_State *L, int status, lua_KContext ctx) {
  (void)ctx;
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L);
  if (tl_error_passes(L, -1)) return lua_error(L);
  lua_pushboolean(L, false);
  lua_insert(L, -2);
  return 2;
}

static TL_GIL int errors_pcall(lua_State *L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, true);
  lua_insert(L, 1);
  int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, called);
  return called(L, status, 0);
}

/* Pushes what the value at idx says, and its traceback if it has one. */
static TL_GIL void describe(lua_State *L, int idx) {
  luaL_tolstring(L, idx, NULL);
  if (!tl_error_isvalue(L, idx)) return;
  if (lua_getfield(L, idx, "traceback") == LUA_TSTRING) {
    lua_pushliteral(L, "\n");
    lua_insert(L, -2);
    lua_concat(L, 3);
  } else {
    lua_pop(L, 1);
  }
}

static TL_GIL int errors_traceback(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  describe(L, 1);
  lua_insert(L, 1); /* the text, the value */
  for (int i = 0; i < CAUSES_SHOWN && tl_error_isvalue(L, 2); i++) {
    if (lua_getfield(L, 2, "cause") == LUA_TNIL) break;
    lua_replace(L, 2);
    lua_pushvalue(L, 1);
    lua_pushliteral(L, "\ncaused by: ");
    describe(L, 2);
    lua_concat(L, 3);
    lua_replace(L, 1);
  }
  lua_settop(L, 1);
  return 1;
}

static const luaL_Reg functions[] = {
    {"new", errors_new},     {"class", errors_class},         {"is", errors_is},
    {"pcall", errors_pcall}, {"traceback", errors_traceback}, {NULL, NULL},
};

int luaopen_tl_errors(lua_State *L) {
  luaL_newlib(L, functions);
  tl_error_pushclasses(L);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_settable(L, -5);
  }
  lua_pop(L, 1);
  return 1;
}

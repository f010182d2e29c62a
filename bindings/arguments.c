/* arguments.c - "tidelock._arguments": what constructors that are written in
 * Lua share with those in C.
 *
 * is_callable(value) says whether it can be called.
 *
 * copy(args) returns a new table of the arguments with their number 'n' (of
 * nil: an empty one), or nil if args has a wrong one: see bind_copyargs. */
#include "bind.h"
#include "modules.h"

static TL_GIL int arguments_is_callable(lua_State *L) {
  lua_settop(L, 1);
  lua_pushboolean(L, bind_iscallable(L, 1));
  return 1;
}

static TL_GIL int arguments_copy(lua_State *L) {
  lua_settop(L, 1);
  if (!bind_copyargs(L, 1)) lua_pushnil(L);
  return 1;
}

static const luaL_Reg functions[] = {{"copy", arguments_copy},
                                     {"is_callable", arguments_is_callable},
                                     {NULL, NULL}};

int luaopen_tl_arguments(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}

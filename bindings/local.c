/* local.c - threading.Local: an object whose fields are per thread.
 * Documented in types/threading.lua.
 *
 * A thread's own table has the Local as a weak key and the fields as its
 * value: they go when the thread ends or when the Local does, even if they
 * refer to it. */
#include "bind.h"
#include "modules.h"

#define LOCAL "threading.Local"

static TL_GIL int local_new(lua_State *L) {
  lua_newuserdatauv(L, 0, 0);
  luaL_setmetatable(L, LOCAL);
  return 1;
}

/* Pushes this thread's fields of the Local at 1; nil if it has none yet and
 * is not to get them. */
static TL_GIL void push_fields(lua_State *L, bool create) {
  bind_checkself(L, LOCAL);
  tl_thread_pushtable(L, bind_thread());
  lua_pushvalue(L, 1);
  if (lua_rawget(L, -2) == LUA_TNIL && create) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
  }
  lua_remove(L, -2);
}

static TL_GIL int local_index(lua_State *L) {
  lua_settop(L, 2);
  push_fields(L, false);
  if (lua_isnil(L, -1)) return 1;
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

static TL_GIL int local_newindex(lua_State *L) {
  lua_settop(L, 3);
  push_fields(L, !lua_isnil(L, 3));
  if (lua_isnil(L, -1)) return 0; /* nil to a field that is not there */
  lua_replace(L, 1);
  lua_rawset(L, 1);
  return 0;
}

static TL_GIL int local_next(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  if (lua_next(L, 1)) return 2;
  lua_pushnil(L);
  return 1;
}

static TL_GIL int local_pairs(lua_State *L) {
  lua_settop(L, 1);
  push_fields(L, true);
  lua_pushcfunction(L, local_next);
  lua_insert(L, -2);
  return 2;
}

static TL_GIL int local_tostring(lua_State *L) {
  lua_pushfstring(L, "<Local %p>", bind_checkself(L, LOCAL));
  return 1;
}

static const luaL_Reg metamethods[] = {{"__index", local_index},
                                       {"__newindex", local_newindex},
                                       {"__pairs", local_pairs},
                                       {"__tostring", local_tostring},
                                       {NULL, NULL}};
static const luaL_Reg functions[] = {{"Local", local_new}, {NULL, NULL}};

TL_GIL int luaopen_tl_local(lua_State *L) {
  bind_newclass(L, LOCAL, NULL, metamethods);
  luaL_newlib(L, functions);
  return 1;
}

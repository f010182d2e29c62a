/* arena.c - what an interpreter's small objects between processes lie in. */
#include "arena.h"

#define ARENA "multiprocessing.Arena"

/* The address is the key of this interpreter's arena in the registry. */
static const char arena_key;

ipc_arena *arena_of(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &arena_key);
  ipc_arena *a = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return a;
}

static TL_GIL int arena_gc(lua_State *L) {
  ipc_arena_destroy(bind_checkself(L, ARENA));
  return 0;
}

void arena_open(lua_State *L) {
  static const luaL_Reg none[] = {{NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__gc", arena_gc}, {NULL, NULL}};
  if (arena_of(L) != NULL) return;
  bind_newclass(L, ARENA, none, metamethods);
  ipc_arena *a = lua_newuserdatauv(L, sizeof *a, 0);
  *a = (ipc_arena){0};
  luaL_setmetatable(L, ARENA);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &arena_key);
}

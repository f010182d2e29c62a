/* threading.c - "tidelock._threading": what the files about threads and
 * synchronisation offer, in one table. threading.lua finishes it. */
#include "modules.h"

int luaopen_tl_threading(lua_State *L) {
  static const lua_CFunction parts[] = {
      luaopen_tl_thread,    luaopen_tl_threads,   luaopen_tl_lock,
      luaopen_tl_condition, luaopen_tl_semaphore, luaopen_tl_event,
      luaopen_tl_barrier,   luaopen_tl_local,     luaopen_tl_wait};
  lua_newtable(L);
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    lua_pushcfunction(L, parts[i]);
    lua_call(L, 0, 1);
    for (lua_pushnil(L); lua_next(L, -2);) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_settable(L, -5);
    }
    lua_pop(L, 1);
  }
  return 1;
}

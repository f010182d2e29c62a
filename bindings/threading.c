/* threading.c - "tidelock._threading": what the files about threads and
 * synchronisation offer, in one table. threading.lua finishes it. */
#include "bind.h"
#include "modules.h"

int luaopen_tl_threading(lua_State *L) {
  static const lua_CFunction parts[] = {
      luaopen_tl_thread,    luaopen_tl_threads,   luaopen_tl_lock,
      luaopen_tl_condition, luaopen_tl_semaphore, luaopen_tl_event,
      luaopen_tl_barrier,   luaopen_tl_local,     luaopen_tl_wait};
  return bind_openparts(L, parts, sizeof parts / sizeof *parts);
}

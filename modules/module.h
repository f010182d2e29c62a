/* module.h - for the modules in files of their own: Lua's API and the public
 * one, with what clang's analysis is told about the GIL. */
#ifndef TL_MODULE_H
#define TL_MODULE_H

#include <stdbool.h>

#include "luagil.h"
#include "tidelock/tidelock.h"

/* Around work that touches no Lua, on memory that the caller's stack pins: the
 * GIL is given up meanwhile if the work is long enough to be worth it, but not
 * in a finalizer: for as long as that lasts no other thread could collect, or
 * wait. To the analysis it always is. module_begin returns whether it was,
 * which module_end wants. Nothing between the two may call Lua, return or
 * raise. */
static inline bool module_begin(lua_State *L, bool is_long) TL_GIL_LOSE;
static inline void module_end(lua_State *L, bool left) TL_GIL_GAIN;

static inline TL_UNCHECKED bool module_begin(lua_State *L, bool is_long) {
  bool leaves = is_long && lua_gc(L, LUA_GCISRUNNING) != -1;
  if (leaves) tl_unlock(L);
  return leaves;
}

static inline TL_UNCHECKED void module_end(lua_State *L, bool left) {
  if (left) tl_lock(L);
}

#if defined(__clang__)
extern __typeof(tl_safepoint) tl_safepoint TL_GIL;
#endif

/* What require calls: the only symbol that a module shows. */
#define TL_MODULE_OPENER __attribute__((visibility("default")))

#endif

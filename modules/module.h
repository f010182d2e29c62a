/* module.h - for the modules in files of their own: Lua's API and the public
 * one, with what clang's analysis is told about the GIL. */
#ifndef TL_MODULE_H
#define TL_MODULE_H

#include <stdbool.h>

#include "luagil.h"
#include "tidelock/tidelock.h"

/* Whether the GIL is given up for work that is long enough to be worth it: not
 * in a finalizer, for as long as that lasts no other thread could collect, or
 * wait. */
static inline TL_GIL bool module_leaves(lua_State *L, bool is_long) {
  return is_long && lua_gc(L, LUA_GCISRUNNING) != -1;
}

/* Around work that touches no Lua, on memory that the caller's stack pins: the
 * GIL is given up meanwhile if module_leaves says so. To the analysis it always
 * is. Nothing between the two may call Lua, return or raise. */
static inline void module_begin(lua_State *L, bool leaves) TL_GIL_LOSE;
static inline void module_end(lua_State *L, bool leaves) TL_GIL_GAIN;

static inline TL_UNCHECKED void module_begin(lua_State *L, bool leaves) {
  if (leaves) tl_unlock(L);
}

static inline TL_UNCHECKED void module_end(lua_State *L, bool leaves) {
  if (leaves) tl_lock(L);
}

#if defined(__clang__)
extern __typeof(tl_safepoint) tl_safepoint TL_GIL;
#endif

/* What require calls: the only symbol that a module shows. */
#define TL_MODULE_OPENER __attribute__((visibility("default")))

#endif

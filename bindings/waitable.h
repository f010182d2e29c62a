/* waitable.h - how an object takes part in threading.wait_any. */
#ifndef TL_WAITABLE_H
#define TL_WAITABLE_H

#include "bind.h"

/* A metatable's field "__waitable" is a light userdata of one of these, or a
 * function that is called with the object and returns another object to wait
 * for in its place. */
typedef struct tl_waitable {
  /* Whether the object at idx is ready now; takes nothing from it. */
  bool (*ready)(lua_State *L, int idx);
  /* Why it never will be, as "the connection is closed", or NULL. Asked before
   * 'ready'; may be missing. Neither raises. */
  const char *(*dead)(lua_State *L, int idx);
  /* The queue that is woken, or whose observers are told (tl_wake with any
   * count), whenever it may have become ready. NULL: it has a descriptor. */
  tl_waitq *(*queue)(lua_State *L, int idx);
  /* The descriptor that becomes readable then, which stays open until it is
   * let go as often as it was held. Neither raises. */
  int (*hold)(lua_State *L, int idx);
  void (*let_go)(lua_State *L, int idx);
} tl_waitable;

/* Sets the field in the metatable of class 'name'. */
void waitable_register(lua_State *L, const char *name, const tl_waitable *w)
    TL_GIL;

#endif

/* watchdog.c - a tenth of a second is what asyncio allows a callback, and
 * HAProxy a Lua script, before they warn. */
#include "watchdog.h"

#include <stdio.h>

#define PATIENCE 100000000 /* ns */

/* Without an allocation, which could fail or run finalizers. */
static TL_GIL void warn(lua_State *L, const tl_thread *t, int64_t kept) {
  lua_Debug ar = {.currentline = -1};
  if (lua_getstack(L, 0, &ar)) lua_getinfo(L, "Sl", &ar);
  char text[256];
  snprintf(text, sizeof text,
           "thread \"%.80s\" kept the GIL from others for %.1f s, until %s:%d",
           t->name, (double)kept * 1e-9, ar.short_src, ar.currentline);
  lua_warning(L, text, 0);
}

void tl_watchdog(lua_State *L, const tl_thread *t) {
  int64_t kept = tl_gil_asked_for(&t->member);
  if (tl_unlikely(kept > PATIENCE)) warn(L, t, kept);
}

/* watchdog.h - names a thread that has kept the GIL from others for long. */
#ifndef TL_WATCHDOG_H
#define TL_WATCHDOG_H

#include "thread.h"

/* In a hook of L, the running state of t, before it gives way: warns (as warn()
 * does, so only after "@on") if it was asked to a tenth of a second ago or
 * longer. It has been in C functions, which cannot be preempted, since then. */
void tl_watchdog(lua_State *L, const tl_thread *t) TL_GIL;

#endif

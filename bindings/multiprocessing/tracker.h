/* tracker.h - the process that takes names of shared memory away when all that
 * might want them have ended (ipc/tracker.h), as an interpreter sees it.
 *
 * A family has one: it is started with the first block, or before the first
 * child, for what a child makes may be wanted when it has ended. Forked
 * children have it; to others it is sent. */
#ifndef TL_BIND_TRACKER_H
#define TL_BIND_TRACKER_H

#include "bind.h"
#include "ipc/tracker.h"

/* This interpreter's, which may have to be started yet. */
void tracker_open(lua_State *L) TL_GIL;
ipc_tracker *tracker_of(lua_State *L) TL_GIL;

/* Starts it unless it is there. 0 or a negative errno. */
int tracker_ensure(lua_State *L, ipc_tracker *t) TL_GIL;

/* tracker(): this interpreter's, as an object that travels; nil if it cannot be
 * started. Where it arrives its method adopt() makes it the interpreter's. */
int tracker_push(lua_State *L) TL_GIL;

#endif

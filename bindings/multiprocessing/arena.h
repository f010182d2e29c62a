/* arena.h - what an interpreter's small objects between processes lie in. */
#ifndef TL_BIND_ARENA_H
#define TL_BIND_ARENA_H

#include "bind.h"
#include "ipc/arena.h"

/* This interpreter's, once arena_open was called. */
void arena_open(lua_State *L) TL_GIL;
ipc_arena *arena_of(lua_State *L) TL_GIL;

#endif

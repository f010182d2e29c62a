/* steps.h - what must not be cut in two, though a thread may be interrupted, or
 * another one run, between any two instructions of Lua. */
#ifndef TL_STEPS_H
#define TL_STEPS_H

#include "bind.h"

/* Functions of "tidelock._multiprocessing"; see steps.c. */
int step_count(lua_State *L) TL_GIL;
int step_keep(lua_State *L) TL_GIL;
int step_keys(lua_State *L) TL_GIL;
int step_shielded(lua_State *L) TL_GIL;
int step_store(lua_State *L) TL_GIL;

#endif

/* descriptor.h - descriptors as Lua sees them. */
#ifndef TL_DESCRIPTOR_H
#define TL_DESCRIPTOR_H

#include "bind.h"

/* Takes the descriptor out of the object at 'arg', which is closed then. */
int descriptor_take(lua_State *L, int arg) TL_GIL;

/* Pushes one of its own for what fd is; raises OSError. */
void descriptor_copy(lua_State *L, int fd) TL_GIL;

/* The descriptor of the object at 'arg', which keeps it. */
int descriptor_get(lua_State *L, int arg) TL_GIL;

#endif

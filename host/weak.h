/* weak.h - tables of the registry with weak keys. */
#ifndef TL_WEAK_H
#define TL_WEAK_H

#include "luagil.h"

/* Pushes the table that the registry has at the address 'key'; makes it if
 * there is none. */
void tl_weak_push(lua_State *L, const void *key) TL_GIL;

#endif

/* warn.h - the warning function that luaL_newstate would set. */
#ifndef TL_WARN_H
#define TL_WARN_H

#include <stdbool.h>

#include "luagil.h"

/* warn() as in lua5.4: "@on" and "@off" switch it, off at first; a message
 * goes to stderr behind "Lua warning: " and is never cut. */
void tl_warn_open(lua_State *L) TL_GIL;

#endif

/* dump.h - a report of every thread. */
#ifndef TL_DUMP_H
#define TL_DUMP_H

#include "luagil.h"

/* Pushes the report as a string: for each thread its name, what it does or
 * waits for and since when, who owns that, and its Lua traceback. */
void tl_dump_push(lua_State *L) TL_GIL;

/* Writes it to stderr: a pending call. */
void tl_dump_stderr(lua_State *L) TL_GIL;

#endif

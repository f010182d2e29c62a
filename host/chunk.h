/* chunk.h - runs a piece of Lua as the program does: what it raises becomes
 * a message with a traceback, and an exit code. */
#ifndef TL_CHUNK_H
#define TL_CHUNK_H

#include <lua.h>

#define CHUNK_FAILED 1
#define CHUNK_INTERRUPTED 130 /* ended by Ctrl-C */

/* Calls the function below nargs arguments, leaving nresults values. Returns
 * 0, or an exit code with the message alone on the top instead. */
int chunk_call(lua_State *L, int nargs, int nresults);

/* Pops the message on the top and writes it to stderr, after 'name' if there
 * is one. Does nothing for code 0. Returns code. */
int chunk_report(lua_State *L, int code, const char *name);

/* Loads standard input as luaL_loadfile does, but without the GIL while it
 * waits, and Ctrl-C ends it. Returns 0 with the function on the top, or an
 * exit code with the message. */
int chunk_load_stdin(lua_State *L);

#endif

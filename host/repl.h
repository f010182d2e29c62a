/* repl.h - the read-eval-print loop. */
#ifndef TL_REPL_H
#define TL_REPL_H

#include <lua.h>

/* Reads statements from standard input, runs them and prints their results,
 * until its end. Ctrl-C gives up the line or the statement. Raises what
 * tostring(_PROMPT) raises. */
void repl_run(lua_State *L);

#endif

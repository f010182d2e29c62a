/* modules.h - the openers of all modules, and the modules written in Lua that
 * the library carries. */
#ifndef TL_MODULES_H
#define TL_MODULES_H

#include <stddef.h>

#include "luagil.h"

/* Written by cmake/embed.cmake; an entry without a name ends the table. */
struct tl_lua_module {
  const char *name;          /* without "tidelock.", as "threading" */
  const unsigned char *data; /* its source */
  size_t size;               /* bytes */
};
extern const struct tl_lua_module tl_lua_modules[];

/* Modules: each pushes its table. */
int luaopen_tl_arguments(lua_State *L) TL_GIL;
int luaopen_tl_connection(lua_State *L) TL_GIL;
int luaopen_tl_errors(lua_State *L) TL_GIL;
int luaopen_tl_gil(lua_State *L) TL_GIL;
int luaopen_tl_process(lua_State *L) TL_GIL;
int luaopen_tl_queue(lua_State *L) TL_GIL;
int luaopen_tl_threading(lua_State *L) TL_GIL;
int luaopen_tl_time(lua_State *L) TL_GIL;

/* Parts of "tidelock._threading": each pushes a table that is merged. */
int luaopen_tl_barrier(lua_State *L) TL_GIL;
int luaopen_tl_condition(lua_State *L) TL_GIL;
int luaopen_tl_event(lua_State *L) TL_GIL;
int luaopen_tl_local(lua_State *L) TL_GIL;
int luaopen_tl_lock(lua_State *L) TL_GIL;
int luaopen_tl_semaphore(lua_State *L) TL_GIL;
int luaopen_tl_thread(lua_State *L) TL_GIL;
int luaopen_tl_threads(lua_State *L) TL_GIL;
int luaopen_tl_wait(lua_State *L) TL_GIL;

/* Replacements: each changes Lua's own library in place. */
int luaopen_tl_base(lua_State *L) TL_GIL;
int luaopen_tl_coroutine(lua_State *L) TL_GIL;
int luaopen_tl_debug(lua_State *L) TL_GIL;
int luaopen_tl_io(lua_State *L) TL_GIL;
int luaopen_tl_os(lua_State *L) TL_GIL;

/* Replaces the searcher of C modules on the top of the stack by one that
 * applies the rules of cmodules.c to what it finds. */
void tl_cmodules_wrap(lua_State *L) TL_GIL;

#endif

/* modules.h - the openers of all modules, and the modules written in Lua that
 * the library carries. */
#ifndef TL_MODULES_H
#define TL_MODULES_H

#include <stdbool.h>
#include <stddef.h>

#include "luagil.h"

/* Written by cmake/embed.c; an entry without a name ends the table. */
struct tl_lua_module {
  const char *name;          /* without "tidelock.", as "threading" */
  const unsigned char *data; /* compiled */
  size_t size;               /* bytes */
};
extern const struct tl_lua_module tl_lua_modules[];

/* Modules: each pushes its table. */
int luaopen_tl_arguments(lua_State *L) TL_GIL;
int luaopen_tl_pool(lua_State *L) TL_GIL;
int luaopen_tl_connection(lua_State *L) TL_GIL;
int luaopen_tl_descriptor(lua_State *L) TL_GIL;
int luaopen_tl_errors(lua_State *L) TL_GIL;
int luaopen_tl_gil(lua_State *L) TL_GIL;
int luaopen_tl_listener(lua_State *L) TL_GIL;
int luaopen_tl_classes(lua_State *L) TL_GIL;
int luaopen_tl_managers(lua_State *L) TL_GIL;
int luaopen_tl_pickle(lua_State *L) TL_GIL;
int luaopen_tl_process(lua_State *L) TL_GIL;
int luaopen_tl_queue(lua_State *L) TL_GIL;
int luaopen_tl_queues(lua_State *L) TL_GIL;
int luaopen_tl_subprocess(lua_State *L) TL_GIL;
int luaopen_tl_synchronize(lua_State *L) TL_GIL;
int luaopen_tl_shared_memory(lua_State *L) TL_GIL;
int luaopen_tl_sharedctypes(lua_State *L) TL_GIL;
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

/* Parts of "tidelock._synchronize", likewise. */
int luaopen_tl_sync_barrier(lua_State *L) TL_GIL;
int luaopen_tl_sync_condition(lua_State *L) TL_GIL;
int luaopen_tl_sync_event(lua_State *L) TL_GIL;
int luaopen_tl_sync_lock(lua_State *L) TL_GIL;
int luaopen_tl_sync_semaphore(lua_State *L) TL_GIL;

/* Replacements: each changes Lua's own library in place. */
int luaopen_tl_base(lua_State *L) TL_GIL;
int luaopen_tl_coroutine(lua_State *L) TL_GIL;
int luaopen_tl_debug(lua_State *L) TL_GIL;
int luaopen_tl_io(lua_State *L) TL_GIL;
int luaopen_tl_os(lua_State *L) TL_GIL;

/* Modules in files of their own. Whether 'name' is one of them, in this build
 * or in another. */
bool tl_somodule_exists(const char *name);

/* For one that exists: pushes the path of its file and returns true; or pushes
 * what to tell the user and returns false. */
bool tl_somodule_find(lua_State *L, const char *name) TL_GIL;

/* Loads its file and pushes its opener; 'loadlib' is where Lua's function of
 * that name is on the stack. Raises if it cannot. */
void tl_somodule_open(lua_State *L, const char *name, int loadlib) TL_GIL;

/* Replaces the searcher of C modules on the top of the stack by one that
 * applies the rules of cmodules.c to what it finds. */
void tl_cmodules_wrap(lua_State *L) TL_GIL;

#endif

/* modules.c - how require finds the modules of this library.
 *
 * "tidelock.NAME" is always ours: its searcher stands right behind
 * package.preload. The short NAME is found after everything else, so that a
 * script's own file of that name wins. Both give the same table. Nothing is
 * opened before it is required, except what replaces standard functions. */
#include "modules.h"

#include <string.h>

#include "bind.h"

#define PREFIX "tidelock."

static const luaL_Reg c_modules[] = {
    {"_arguments", luaopen_tl_arguments},
    {"_connection", luaopen_tl_connection},
    {"_multiprocessing", luaopen_tl_process},
    {"_threading", luaopen_tl_threading},
    {"errors", luaopen_tl_errors},
    {"gil", luaopen_tl_gil},
    {"queue", luaopen_tl_queue},
    {"time", luaopen_tl_time},
    {NULL, NULL},
};

static lua_CFunction find_c(const char *name) {
  for (const luaL_Reg *m = c_modules; m->name; m++)
    if (strcmp(m->name, name) == 0) return m->func;
  return NULL;
}

static const struct tl_lua_module *find_lua(const char *name) {
  for (const struct tl_lua_module *m = tl_lua_modules; m->name; m++)
    if (strcmp(m->name, name) == 0) return m;
  return NULL;
}

/* Pushes the function that makes module 'name', which exists. */
static TL_GIL void push_opener(lua_State *L, const char *name) {
  lua_CFunction open = find_c(name);
  if (open) {
    lua_pushcfunction(L, open);
    return;
  }
  const struct tl_lua_module *m = find_lua(name);
  const char *path = luaL_gsub(L, name, ".", "/");
  path = lua_pushfstring(L, "@tidelock/%s.lua", path);
  if (luaL_loadbufferx(L, (const char *)m->data, m->size, path, "t") != LUA_OK)
    lua_error(L);
}

/* The loader that require calls with a name and the full name. Of several
 * threads that load a module at once the first to finish decides what its
 * table is. */
static TL_GIL int load_module(lua_State *L) {
  const char *full = luaL_checkstring(L, 2);
  lua_settop(L, 2);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, 3, full) != LUA_TNIL) return 1;
  push_opener(L, full + strlen(PREFIX));
  lua_pushvalue(L, 2);
  lua_call(L, 1, 1);
  if (lua_getfield(L, 3, full) != LUA_TNIL) return 1;
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  lua_setfield(L, 3, full);
  return 1;
}

static TL_GIL int found(lua_State *L, const char *name) {
  lua_pushcfunction(L, load_module);
  lua_pushfstring(L, PREFIX "%s", name);
  return 2;
}

/* package.searchers[2]: "tidelock.NAME". */
static TL_GIL int search_full(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  if (strncmp(name, PREFIX, strlen(PREFIX)) != 0) return 0;
  name += strlen(PREFIX);
  if (find_c(name) || find_lua(name)) return found(L, name);
  lua_pushfstring(L, "no module '%s' in this build of tidelock", name);
  return 1;
}

/* The last one: NAME. What begins with an underscore has no short name. */
static TL_GIL int search_short(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  if (name[0] == '_' || !(find_c(name) || find_lua(name))) return 0;
  return found(L, name);
}

/* Lua's searchers are: preload, Lua, C, C by the root's name. */
static TL_GIL void add_searchers(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, LUA_LOADLIBNAME);
  lua_getfield(L, -1, "searchers");
  int n = (int)lua_rawlen(L, -1);
  for (int i = n; i >= 2; i--) {
    lua_rawgeti(L, -1, i);
    if (i > 2) tl_cmodules_wrap(L);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcfunction(L, search_full);
  lua_rawseti(L, -2, 2);
  lua_pushcfunction(L, search_short);
  lua_rawseti(L, -2, n + 2);
  lua_pop(L, 3);
}

void bind_openall(lua_State *L) {
  static const lua_CFunction replacements[] = {
      luaopen_tl_base, luaopen_tl_coroutine, luaopen_tl_debug,
      luaopen_tl_io,   luaopen_tl_os,
  };
  add_searchers(L);
  for (size_t i = 0; i < sizeof replacements / sizeof *replacements; i++) {
    lua_pushcfunction(L, replacements[i]);
    lua_call(L, 0, 0);
  }
}

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
    {"_classes", luaopen_tl_classes},
    {"_connection", luaopen_tl_connection},
    {"_listener", luaopen_tl_listener},
    {"_descriptor", luaopen_tl_descriptor},
    {"_managers", luaopen_tl_managers},
    {"_multiprocessing", luaopen_tl_process},
    {"_pool", luaopen_tl_pool},
    {"_queues", luaopen_tl_queues},
    {"_subprocess", luaopen_tl_subprocess},
    {"_synchronize", luaopen_tl_synchronize},
    {"_shared_memory", luaopen_tl_shared_memory},
    {"_sharedctypes", luaopen_tl_sharedctypes},
    {"_threading", luaopen_tl_threading},
    {"errors", luaopen_tl_errors},
    {"gil", luaopen_tl_gil},
    {"pickle", luaopen_tl_pickle},
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

/* Pushes the function that makes module 'name', which exists. Upvalue: Lua's
 * loadlib. */
static TL_GIL void push_opener(lua_State *L, const char *name) {
  lua_CFunction open = find_c(name);
  if (open) {
    lua_pushcfunction(L, open);
    return;
  }
  if (tl_somodule_exists(name)) {
    tl_somodule_open(L, name, lua_upvalueindex(1));
    return;
  }
  const struct tl_lua_module *m = find_lua(name);
  const char *path = luaL_gsub(L, name, ".", "/");
  path = lua_pushfstring(L, "@tidelock/%s.lua", path);
  if (luaL_loadbufferx(L, (const char *)m->data, m->size, path, "b") != LUA_OK)
    lua_error(L);
}

/* The loader that require calls with a name and the full name. Upvalue: Lua's
 * loadlib. Of several threads that load a module at once the first to finish
 * decides what its table is. */
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

/* What a searcher returns for the module 'name' if there is one; nothing if
 * not. Upvalue: Lua's loadlib. */
static TL_GIL int find_module(lua_State *L, const char *name) {
  if (tl_somodule_exists(name)) {
    if (!tl_somodule_find(L, name)) return 1;
  } else if (!find_c(name) && !find_lua(name)) {
    return 0;
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, load_module, 1);
  lua_pushfstring(L, PREFIX "%s", name);
  return 2;
}

/* package.searchers[2]: "tidelock.NAME". */
static TL_GIL int search_full(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  if (strncmp(name, PREFIX, strlen(PREFIX)) != 0) return 0;
  name += strlen(PREFIX);
  int n = find_module(L, name);
  if (n > 0) return n;
  lua_pushfstring(L, "no module '%s' in this build of tidelock", name);
  return 1;
}

/* The last one: NAME. What begins with an underscore has no short name. */
static TL_GIL int search_short(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  return name[0] == '_' ? 0 : find_module(L, name);
}

/* Pushes a searcher that has Lua's loadlib, as it is at the start, for a script
 * may replace it. The table "package" is at idx. */
static TL_GIL void push_searcher(lua_State *L, lua_CFunction f, int idx) {
  lua_getfield(L, idx, "loadlib");
  lua_pushcclosure(L, f, 1);
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
  push_searcher(L, search_full, -2);
  lua_rawseti(L, -2, 2);
  push_searcher(L, search_short, -2);
  lua_rawseti(L, -2, n + 2);
  lua_pop(L, 3);
}

static const char baseline_key; /* registry: a copy of the globals */

void bind_pushbaseline(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &baseline_key);
}

static TL_GIL void keep_baseline(lua_State *L) {
  lua_newtable(L);
  lua_pushglobaltable(L);
  for (lua_pushnil(L); lua_next(L, -2);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -5);
  }
  lua_pop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &baseline_key);
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
  keep_baseline(L);
}

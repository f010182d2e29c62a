/* cmodules.c - C modules that were written without threads in mind.
 *
 * Most need no rule: they touch Lua only in calls that Lua makes, and so hold
 * the GIL, and keep no lua_State beyond the call. Read with that in mind and
 * found safe: lua-cjson, lpeg, lfs. A module that calls back later on a
 * lua_State that it remembers works on the main thread only; single functions
 * that cannot work beside threads are replaced by ones that say so. */
#include <string.h>

#include "bind.h"
#include "modules.h"

static const struct rule {
  const char *module; /* ending in a dot: all below it */
  const char *field;  /* the function refused; NULL: main thread only */
  const char *why;
} rules[] = {
    {"_cqueues", NULL, "its loop belongs to the thread that loaded it"},
    {"_cqueues.", NULL, "its loop belongs to the thread that loaded it"},
    {"cqueues", NULL, "its loop belongs to the thread that loaded it"},
    {"luv", NULL, "its callbacks run on the thread that loaded it"},
    {"posix.signal", "signal", "its handlers would run on any thread"},
    {"posix.unistd", "fork",
     "the child would have one thread and everybody's locks; "
     "use multiprocessing.Process"},
    {"posix_c", "fork",
     "the child would have one thread and everybody's locks; "
     "use multiprocessing.Process"},
    {"posix_c", "signal", "its handlers would run on any thread"},
    {NULL, NULL, NULL},
};

static bool applies(const struct rule *r, const char *name) {
  size_t n = strlen(r->module);
  if (r->module[n - 1] == '.') return strncmp(r->module, name, n) == 0;
  return strcmp(r->module, name) == 0;
}

/* Raises if module 'name' must not be loaded by the calling thread. */
static TL_GIL void check_thread(lua_State *L, const char *name) {
  if (tl_self() == tl_interp_of(L)->main) return;
  for (const struct rule *r = rules; r->module; r++)
    if (!r->field && applies(r, name))
      luaL_error(L, "module '%s' can be used by the main thread only: %s", name,
                 r->why);
}

/* Upvalues: the function's name, why. */
static TL_GIL int refuse(lua_State *L) {
  return luaL_error(L, "'%s' is refused here: %s",
                    lua_tostring(L, lua_upvalueindex(1)),
                    lua_tostring(L, lua_upvalueindex(2)));
}

/* A loader (name, file). Upvalue: the one found. */
static TL_GIL int load_patched(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_settop(L, 2);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 2);
  lua_pushvalue(L, 1);
  lua_insert(L, 3);
  lua_call(L, 2, 1);
  if (!lua_istable(L, -1)) return 1;
  for (const struct rule *r = rules; r->module; r++) {
    if (!r->field || !applies(r, name)) continue;
    lua_pushfstring(L, "%s.%s", name, r->field);
    lua_pushstring(L, r->why);
    lua_pushcclosure(L, refuse, 2);
    lua_setfield(L, -2, r->field);
  }
  return 1;
}

/* A searcher. Upvalue: the one that finds. */
static TL_GIL int search(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, 1);
  lua_call(L, 1, LUA_MULTRET);
  if (!lua_isfunction(L, 2)) return lua_gettop(L) - 1;
  check_thread(L, name);
  for (const struct rule *r = rules; r->module; r++) {
    if (!r->field || !applies(r, name)) continue;
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, load_patched, 1);
    lua_replace(L, 2);
    break;
  }
  return lua_gettop(L) - 1;
}

void tl_cmodules_wrap(lua_State *L) {
  lua_pushcclosure(L, search, 1);
}

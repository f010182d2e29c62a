/* pickle_names.c - what travels by name: modules, which are the values in
 * package.loaded, and what is in them.
 *
 * A C function cannot travel otherwise. A Lua function does so if its module
 * is one that require finds, by one of its searchers; package.preload does
 * not count, for the receiver has not filled it. The classes in such a module
 * do, too: tables with a metatable or with __index. The standard streams are
 * in io. What require found is remembered for each module. The metatable of a
 * registered class that is in no module travels by the name of the class, as
 * if that were in the module TL_CLASSES_MODULE.
 *
 * Everybody may load an error class: where nothing else needs names, it travels
 * as what it is made of, and its name in a module goes along, for receivers
 * that may use it. */
#include "errors.h"
#include "pickler.h"
#include "weak.h"

static const char found_key; /* registry: module to whether require finds it;
                                weak keys */

static TL_GIL void push_loaded(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
}

static TL_GIL bool is_container(lua_State *L, int idx) {
  return lua_istable(L, idx) || lua_isfunction(L, idx);
}

static TL_GIL void make_known(lua_State *L, tl_pickler *p, int idx) {
  const void *ptr = lua_topointer(L, idx);
  tl_met *m = tl_met_find(L, p, ptr);
  if (!m->ptr) tl_met_set(p, m, ptr, TL_MET_NAMED, 0);
}

void tl_names_modules(lua_State *L, tl_pickler *p) {
  if (p->knows_modules) return;
  p->knows_modules = true;
  push_loaded(L);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    if (lua_istable(L, -1) && lua_type(L, -2) == LUA_TSTRING &&
        lua_topointer(L, -1) != p->globals)
      make_known(L, p, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* What require finds ------------------------------------------------------- */

/* Whether a searcher finds the module whose name is at 'name'. */
static TL_GIL bool search(lua_State *L, int name) {
  bool found = false;
  push_loaded(L);
  lua_getfield(L, -1, LUA_LOADLIBNAME);
  lua_getfield(L, -1, "searchers");
  lua_Integer n = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
  for (lua_Integer i = 2; i <= n && !found; i++) {
    lua_rawgeti(L, -1, i);
    lua_pushvalue(L, name);
    int status = lua_pcall(L, 1, 1, 0);
    if (status == LUA_ERRMEM || (status != LUA_OK && tl_error_passes(L, -1)))
      lua_error(L);
    found = status == LUA_OK && lua_isfunction(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 3);
  return found;
}

/* Looks once for each module (any user code may run). 'list' is a table of
 * their names. */
static TL_GIL void search_all(lua_State *L, int list) {
  tl_weak_push(L, &found_key);
  lua_Integer n = (lua_Integer)lua_rawlen(L, list);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, list, i);
    bool found = search(L, lua_gettop(L));
    push_loaded(L);
    lua_insert(L, -2);
    lua_rawget(L, -2); /* table, loaded, module */
    lua_remove(L, -2);
    if (is_container(L, -1)) {
      lua_pushvalue(L, -1);
      bool before = lua_rawget(L, -3) == LUA_TBOOLEAN && lua_toboolean(L, -1);
      lua_pop(L, 1);
      lua_pushboolean(L, found || before);
      lua_rawset(L, -3);
    } else {
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
}

/* Pushes the table of what was found, and says whether the module on the top
 * below it was looked for. */
static TL_GIL bool was_searched(lua_State *L, int found) {
  lua_pushvalue(L, -1);
  int type = lua_rawget(L, found);
  lua_pop(L, 1);
  return type != LUA_TNIL;
}

bool tl_names_ask(lua_State *L, const tl_pickler *p) {
  lua_Integer n = 0;
  int list = lua_gettop(L) + 1;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &found_key) != LUA_TTABLE) {
    if (!p->careful) return lua_pop(L, 1), false;
    lua_pop(L, 1);
    tl_weak_push(L, &found_key);
  }
  if (p->careful)
    lua_newtable(L);
  else
    lua_pushnil(L);
  lua_insert(L, list);
  push_loaded(L);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    bool asks = lua_type(L, -2) == LUA_TSTRING && is_container(L, -1) &&
                lua_topointer(L, -1) != p->globals &&
                !was_searched(L, list + 1);
    lua_pop(L, 1);
    if (!asks) continue;
    if (!p->careful) {
      lua_settop(L, list - 1);
      return false;
    }
    lua_pushvalue(L, -1);
    lua_rawseti(L, list, ++n);
  }
  if (n > 0) search_all(L, list);
  lua_settop(L, list - 1);
  return true;
}

/* Whether require finds the module at the absolute index. */
static TL_GIL bool is_found(lua_State *L, int module) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &found_key) != LUA_TTABLE)
    return lua_pop(L, 1), false;
  lua_pushvalue(L, module);
  lua_rawget(L, -2);
  bool found = lua_toboolean(L, -1);
  lua_pop(L, 2);
  return found;
}

/* What is in modules ------------------------------------------------------- */

static TL_GIL bool is_name(lua_State *L, int idx, const char *name) {
  return strcmp(lua_tostring(L, idx), name) == 0;
}

/* Whether the table on the top has a metatable or serves as one. */
static TL_GIL bool is_class(lua_State *L) {
  if (lua_getmetatable(L, -1)) return lua_pop(L, 1), true;
  bool serves = lua_getfield(L, -1, "__index") != LUA_TNIL;
  lua_pop(L, 1);
  return serves;
}

/* Whether the value on the top travels as a field, whose name is below it, of
 * the module at 'module' with the name at 'module' - 1. */
static TL_GIL bool is_field(lua_State *L, int module, bool found) {
  if (lua_type(L, -2) != LUA_TSTRING) return false;
  switch (lua_type(L, -1)) {
  case LUA_TFUNCTION:
    return found || lua_iscfunction(L, -1);
  case LUA_TUSERDATA: /* the streams */
    return is_name(L, module - 1, LUA_IOLIBNAME) &&
           strncmp(lua_tostring(L, -2), "std", 3) == 0;
  case LUA_TTABLE: /* package.loaded and its like; classes */
    return is_name(L, module - 1, LUA_LOADLIBNAME) || (found && is_class(L));
  default:
    return false;
  }
}

bool tl_names_all(lua_State *L, tl_pickler *p) {
  luaL_checkstack(L, 16, NULL);
  tl_names_modules(L, p);
  if (!tl_names_ask(L, p)) return false;
  tl_classes_push(L);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    if (lua_type(L, -2) == LUA_TTABLE) make_known(L, p, -2);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  push_loaded(L);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    int module = lua_gettop(L);
    if (lua_type(L, -2) != LUA_TSTRING) {
      lua_pop(L, 1);
      continue;
    }
    bool found = is_found(L, module);
    if (lua_isfunction(L, module) && (found || lua_iscfunction(L, module)))
      make_known(L, p, module);
    if (lua_istable(L, module)) {
      lua_pushnil(L);
      while (lua_next(L, module)) {
        if (is_field(L, module, found)) make_known(L, p, -1);
        lua_pop(L, 1);
      }
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return true;
}

/* Whether the name at 'a' is to be preferred to that at 'b', a nil or a
 * string: tidelock's full names, then by the alphabet, so that the bytes do
 * not depend on the order of a table. */
static TL_GIL bool precedes(lua_State *L, int a, int b) {
  static const char ours[] = "tidelock.";
  if (lua_isnil(L, b)) return true;
  const char *s = lua_tostring(L, a), *t = lua_tostring(L, b);
  bool first = strncmp(s, ours, sizeof ours - 1) == 0;
  bool second = strncmp(t, ours, sizeof ours - 1) == 0;
  return first != second ? first : strcmp(s, t) < 0;
}

/* The module name below the top of the stack, and the field on it (nil: the
 * module), are one that names the value; the better one stays at 'best' and
 * 'best' + 1. */
static TL_GIL void propose(lua_State *L, int best, int name, int field) {
  bool whole = lua_isnil(L, field), had = !lua_isnil(L, best);
  if (had && !whole && lua_isnil(L, best + 1)) return;
  bool better = !had || (whole && !lua_isnil(L, best + 1));
  if (!better && lua_rawequal(L, name, best))
    better =
        !whole && strcmp(lua_tostring(L, field), lua_tostring(L, best + 1)) < 0;
  else if (!better)
    better = precedes(L, name, best);
  if (!better) return;
  lua_copy(L, name, best);
  lua_copy(L, field, best + 1);
}

/* Whether the value at idx is that at 'value', of this address. Few have it. */
static TL_GIL bool is_same(lua_State *L, int idx, int value, const void *ptr) {
  return lua_topointer(L, idx) == ptr && lua_rawequal(L, idx, value);
}

/* The same for all that names the value below 'best' in the module at 'name' +
 * 1, the top. */
static TL_GIL void propose_all(lua_State *L, int best, int name) {
  int value = best - 1, module = name + 1;
  const void *ptr = lua_topointer(L, value);
  lua_pushnil(L);
  if (is_same(L, module, value, ptr)) propose(L, best, name, module + 1);
  if (!lua_istable(L, module)) return;
  while (lua_next(L, module)) {
    if (is_same(L, -1, value, ptr) && is_field(L, module, is_found(L, module)))
      propose(L, best, name, module + 1);
    lua_pop(L, 1);
  }
}

bool tl_names_push(lua_State *L) {
  luaL_checkstack(L, 12, NULL);
  int value = lua_gettop(L), best = value + 1, name = value + 4;
  lua_pushnil(L);
  lua_pushnil(L);
  push_loaded(L);
  lua_pushnil(L);
  while (lua_next(L, best + 2)) {
    if (lua_type(L, name) == LUA_TSTRING) propose_all(L, best, name);
    lua_settop(L, name);
  }
  lua_settop(L, best + 1);
  if (!lua_isnil(L, best)) return true;
  lua_settop(L, value);
  if (!tl_classes_find(L, value)) return false;
  lua_pushliteral(L, TL_CLASSES_MODULE);
  lua_rawgeti(L, -2, TL_CLASS_NAME);
  lua_remove(L, best);
  return true;
}

/* The receiver --------------------------------------------------------------
 */

void tl_names_require(lua_State *L) {
  lua_getglobal(L, "require");
  lua_insert(L, -2);
  lua_call(L, 1, 1);
}

void tl_names_resolve(lua_State *L) {
  int name = lua_absindex(L, -2), field = name + 1;
  luaL_checkstack(L, 8, NULL);
  push_loaded(L);
  lua_pushvalue(L, name);
  if (lua_rawget(L, -2) == LUA_TNIL) {
    lua_pushvalue(L, name);
    tl_names_require(L);
  }
  if (!lua_isnil(L, field)) {
    if (!lua_istable(L, -1))
      tl_error(L, "UnpicklingError", "the module '%s' is not a table here",
               lua_tostring(L, name));
    lua_pushvalue(L, field);
    if (lua_gettable(L, -2) == LUA_TNIL)
      tl_error(L, "UnpicklingError", "the module '%s' has no '%s' here",
               lua_tostring(L, name), lua_tostring(L, field));
  }
  lua_replace(L, name);
  lua_settop(L, name);
}

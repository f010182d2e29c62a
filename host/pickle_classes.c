/* pickle_classes.c - classes that say how their objects travel: those that
 * pickle.register was told of, and portable ones. */
#include "errors.h"
#include "pickler.h"

/* Registry: a table of entries, by their names and by their metatables. */
static const char classes_key;
/* Registry: tables {name, module} by their tl_portable, and these by name. */
static const char portables_key;

static TL_GIL void push_table(lua_State *L, const void *key) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

void tl_classes_push(lua_State *L) {
  push_table(L, &classes_key);
}

bool tl_classes_find(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &classes_key) == LUA_TTABLE) {
    lua_pushvalue(L, idx);
    if (lua_rawget(L, -2) == LUA_TTABLE) {
      lua_remove(L, -2);
      return true;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return false;
}

/* Raises if the metatable at idx travels under another name than that at
 * 'name'. */
static TL_GIL void check_name(lua_State *L, int name, int idx) {
  if (!tl_classes_find(L, idx)) return;
  lua_rawgeti(L, -1, TL_CLASS_NAME);
  if (!lua_rawequal(L, -1, name))
    luaL_argerror(
        L, 2,
        lua_pushfstring(L, "already registered as '%s'", lua_tostring(L, -1)));
  lua_pop(L, 2);
}

void tl_pickle_register(lua_State *L) {
  int name = lua_absindex(L, -4);
  check_name(L, name, name + 1);
  push_table(L, &classes_key);
  lua_createtable(L, 4, 0);
  for (int i = TL_CLASS_NAME; i <= TL_CLASS_RESTORE; i++) {
    lua_pushvalue(L, name + i - 1);
    lua_rawseti(L, -2, i);
  }
  /* The metatable last: without its name it is not registered. */
  lua_pushvalue(L, name);
  lua_pushvalue(L, -2);
  lua_rawset(L, -4);
  lua_pushvalue(L, name + 1);
  lua_insert(L, -2);
  lua_rawset(L, -3);
  lua_settop(L, name - 1);
}

void tl_portable_register(lua_State *L, const char *name, const char *module,
                          const tl_portable *q) {
  luaL_checkstack(L, 6, NULL);
  push_table(L, &portables_key);
  lua_createtable(L, 2, 0);
  lua_pushstring(L, name);
  lua_rawseti(L, -2, 1);
  lua_pushstring(L, module);
  lua_rawseti(L, -2, 2);
  lua_rawsetp(L, -2, q);
  lua_pushlightuserdata(L, (void *)q);
  lua_setfield(L, -2, name);
  lua_pop(L, 1);
  luaL_getmetatable(L, name);
  lua_pushlightuserdata(L, (void *)q);
  lua_setfield(L, -2, "__portable");
  lua_pop(L, 1);
}

void tl_portable_pushnames(lua_State *L, const tl_portable *q) {
  push_table(L, &portables_key);
  if (lua_rawgetp(L, -1, q) != LUA_TTABLE)
    luaL_error(L, "a portable class is not registered");
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  lua_remove(L, -3);
  lua_remove(L, -3);
}

const tl_portable *tl_portable_find(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  push_table(L, &portables_key);
  lua_pushvalue(L, idx);
  lua_rawget(L, -2);
  const tl_portable *q = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return q;
}

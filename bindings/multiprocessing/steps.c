/* steps.c - see steps.h. Hooks are called between the instructions of Lua
 * functions only: what is done here is done whole, whatever a thread runs into
 * that counts its instructions. */
#include "steps.h"

/* keys(t): an array of the keys: a loop in Lua would let other threads change
 * the table meanwhile. */
int step_keys(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_newtable(L);
  lua_pushnil(L);
  for (lua_Integer n = 1; lua_next(L, 1); n++) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_rawseti(L, 2, n);
  }
  return 1;
}

/* count(t, key): adds 1 to a number in the table, which is returned then. */
int step_count(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  lua_rawget(L, 1);
  lua_pushinteger(L, luaL_checkinteger(L, 3) + 1);
  lua_replace(L, 3);
  lua_pushvalue(L, 3);
  lua_insert(L, 2);
  lua_rawset(L, 1);
  return 1;
}

/* keep(t, value, f, ...): calls a C function; what it returns are keys of the
 * table then, with that value. */
int step_keep(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkany(L, 3);
  lua_call(L, lua_gettop(L) - 3, LUA_MULTRET);
  for (int i = 3; i <= lua_gettop(L); i++) {
    lua_pushvalue(L, i);
    lua_pushvalue(L, 2);
    lua_rawset(L, 1);
  }
  return lua_gettop(L) - 2;
}

/* store(t, key, f, ...): calls a C function; what it returns is in the table
 * then. */
int step_store(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checkany(L, 3);
  lua_call(L, lua_gettop(L) - 3, 1);
  lua_rawset(L, 1);
  return 0;
}

/* Calls upvalue 1 with the arguments; what is to be raised in this thread
 * waits for its end. */
static TL_GIL int call_shielded(lua_State *L) {
  tl_thread *t = bind_thread();
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  bool was = tl_shield(t);
  int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
  tl_unshield(t, was);
  return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

/* shielded(f): f, which nothing interrupts; other threads may run meanwhile. */
int step_shielded(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  lua_pushcclosure(L, call_shielded, 1);
  return 1;
}

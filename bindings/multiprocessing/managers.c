/* managers.c - "tidelock._managers": the call of a manager's server, as its
 * clients make it.
 *
 * It is C so that nothing can come between the answer, its acknowledgement
 * and the return to the caller: a thread that is cancelled either has what it
 * asked for, or its connection is closed without an acknowledgement, and then
 * the server takes back what it gave. */
#include "bind.h"
#include "modules.h"

/* An answer that is a table is {ok, acknowledge, values..., n = of all}; any
 * other is the one value itself. */
enum { OK = 1, ACKNOWLEDGE, VALUES };

/* Calls a method of the connection at 1, with the value at 'arg' if it is not
 * 0. */
static TL_GIL void call_method(lua_State *L, const char *name, int arg,
                               int results) {
  lua_getfield(L, 1, name);
  lua_pushvalue(L, 1);
  if (arg) lua_pushvalue(L, arg);
  lua_call(L, arg ? 2 : 1, results);
}

/* (connection, request) -> answer, acknowledged if it is to be. */
static TL_GIL int talk(lua_State *L) {
  call_method(L, "send", 2, 0);
  call_method(L, "recv", 0, 1);
  if (lua_type(L, 3) != LUA_TTABLE) return 1;
  lua_rawgeti(L, 3, ACKNOWLEDGE);
  if (lua_toboolean(L, -1)) {
    lua_pushliteral(L, "");
    call_method(L, "send_bytes", lua_gettop(L), 0);
  }
  lua_settop(L, 3);
  return 1;
}

static TL_GIL int close_connection(lua_State *L) {
  call_method(L, "close", 0, 0);
  return 0;
}

/* Calls 'explain', at 3, with the value on the top; it raises. */
static TL_GIL int explain(lua_State *L, bool answered) {
  lua_pushvalue(L, 3);
  lua_insert(L, -2);
  lua_pushboolean(L, answered);
  lua_call(L, 2, 0);
  return luaL_error(L, "an error that was not explained");
}

/* Puts the connection among those that are free, unless they are no more. */
static TL_GIL void give_back(lua_State *L) {
  lua_getfield(L, 2, "closed");
  bool closed = lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (closed) {
    lua_pushcfunction(L, close_connection);
    lua_pushvalue(L, 1);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
    return;
  }
  lua_pushvalue(L, 1);
  lua_rawseti(L, 2, (lua_Integer)lua_rawlen(L, 2) + 1);
}

/* exchange(connection, free, explain, request) -> values. Takes the connection
 * over: it is put into 'free', or closed if something is raised. explain(what,
 * answered) raises: an answer that is an error, or what was raised here. */
static TL_GIL int managers_exchange(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 4);
  lua_pushcfunction(L, talk);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 4);
  if (lua_pcall(L, 2, 1, 0) != LUA_OK) {
    lua_pushcfunction(L, close_connection);
    lua_pushvalue(L, 1);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
    return explain(L, false);
  }
  give_back(L);
  if (lua_type(L, 5) != LUA_TTABLE) return 1;
  lua_rawgeti(L, 5, OK);
  if (!lua_toboolean(L, -1)) {
    lua_settop(L, 5);
    return explain(L, true);
  }
  lua_getfield(L, 5, "n");
  int n = (int)lua_tointeger(L, -1);
  lua_settop(L, 5);
  luaL_checkstack(L, n, "too many values");
  for (int i = VALUES; i <= n; i++)
    lua_rawgeti(L, 5, i);
  return lua_gettop(L) - 5;
}

static const luaL_Reg functions[] = {{"exchange", managers_exchange},
                                     {NULL, NULL}};

TL_GIL int luaopen_tl_managers(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}

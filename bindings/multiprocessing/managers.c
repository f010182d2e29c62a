/* managers.c - "tidelock._managers": the call of a manager's server, as its
 * clients make it, the scopes in which its locks are held, and the counts of
 * references in the server.
 *
 * It is C so that nothing can come between the answer, its acknowledgement
 * and the return to the caller: a thread that is cancelled either has what it
 * asked for, or its connection is closed without an acknowledgement, and then
 * the server takes back what it gave. So it is with the counts, which threads
 * and finalizers change. */
#include <errno.h>
#include <poll.h>

#include "bind.h"
#include "modules.h"
#include "synchronize.h"

/* An answer that is a table is {ok, acknowledge, values..., n = of all}; any
 * other is the one value itself. */
enum { OK = 1, ACKNOWLEDGE, VALUES };

/* What a caller sends that is to wait no longer: monitor.lua knows it. */
#define STOP "stop"

/* Calls a method of the connection at 1, with the value at 'arg' if it is not
 * 0. */
static TL_GIL void call_method(lua_State *L, const char *name, int arg,
                               int results) {
  lua_getfield(L, 1, name);
  lua_pushvalue(L, 1);
  if (arg) lua_pushvalue(L, arg);
  lua_call(L, arg ? 2 : 1, results);
}

/* (connection) -> answer, acknowledged if it is to be. */
static TL_GIL int receive(lua_State *L) {
  call_method(L, "recv", 0, 1);
  if (lua_type(L, 2) != LUA_TTABLE) return 1;
  lua_rawgeti(L, 2, ACKNOWLEDGE);
  if (lua_toboolean(L, -1)) {
    lua_pushliteral(L, "");
    call_method(L, "send_bytes", lua_gettop(L), 0);
  }
  lua_settop(L, 2);
  return 1;
}

/* (connection, request) -> answer */
static TL_GIL int talk(lua_State *L) {
  call_method(L, "send", 2, 0);
  lua_settop(L, 1);
  return receive(L);
}

/* (connection) -> answer of a wait that is to end now. */
static TL_GIL int talk_stop(lua_State *L) {
  lua_pushliteral(L, STOP);
  call_method(L, "send_bytes", 2, 0);
  lua_settop(L, 1);
  return receive(L);
}

/* Whether the answer is that what was waited for has come. */
static TL_GIL bool has_come(lua_State *L, int answer) {
  if (lua_type(L, answer) != LUA_TTABLE) return false;
  lua_rawgeti(L, answer, OK);
  lua_rawgeti(L, answer, VALUES);
  bool come = lua_toboolean(L, -1) && lua_toboolean(L, -2);
  lua_pop(L, 2);
  return come;
}

/* Waits for the answer from the connection at 1. False: something is to be
 * raised by sync_raise. */
static TL_GIL bool await(lua_State *L) {
  call_method(L, "fileno", 0, 1);
  int fd = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  while (tl_wait_fd(L, fd, POLLIN, TL_FOREVER, "read") == -EINTR)
    if (!sync_serve(L)) return false;
  return true;
}

/* (connection, request) -> answer, and true if the connection has served its
 * time. The server settles what the caller of such a wait has, the lock of a
 * condition or its place at a barrier, before anything is raised here. What has
 * come at the moment of an interruption has come. */
static TL_GIL int talk_waiting(lua_State *L) {
  call_method(L, "send", 2, 0);
  lua_settop(L, 1);
  luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
  if (await(L)) return receive(L);
  tl_thread *t = bind_thread();
  lua_pushcfunction(L, talk_stop);
  lua_pushvalue(L, 1);
  bool was = tl_shield(t);
  int status = lua_pcall(L, 1, 1, 0);
  tl_unshield(t, was);
  bool come = status == LUA_OK && has_come(L, 3);
  if (!come || !lua_isnil(L, 2)) {
    lua_pushvalue(L, 2);
    sync_raise(L);
  }
  if (status != LUA_OK) return lua_error(L);
  lua_pushboolean(L, true);
  return 2;
}

static TL_GIL int close_connection(lua_State *L) {
  call_method(L, "close", 0, 0);
  return 0;
}

static TL_GIL void try_close(lua_State *L) {
  lua_pushcfunction(L, close_connection);
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
}

/* Calls 'explain', at 3, with the value on the top; it raises. */
static TL_GIL int explain(lua_State *L, bool answered) {
  lua_pushvalue(L, 3);
  lua_insert(L, -2);
  lua_pushboolean(L, answered);
  lua_call(L, 2, 0);
  return luaL_error(L, "an error that was not explained");
}

/* Puts the connection among those that are free, unless they are no more, or
 * it is not to be used again. */
static TL_GIL void give_back(lua_State *L, bool used_up) {
  lua_getfield(L, 2, "closed");
  bool closed = lua_toboolean(L, -1);
  lua_pop(L, 1);
  if (closed || used_up) {
    try_close(L);
    return;
  }
  lua_pushvalue(L, 1);
  lua_rawseti(L, 2, (lua_Integer)lua_rawlen(L, 2) + 1);
}

/* (connection, free, explain, request) -> values */
static TL_GIL int exchange(lua_State *L, lua_CFunction by) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 4);
  lua_pushcfunction(L, by);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 4);
  if (lua_pcall(L, 2, 2, 0) != LUA_OK) {
    try_close(L);
    return explain(L, false);
  }
  give_back(L, lua_toboolean(L, 6));
  lua_settop(L, 5);
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

/* exchange(connection, free, explain, request) -> values. Takes the connection
 * over: it is put into 'free', or closed if something is raised. explain(what,
 * answered) raises: an answer that is an error, or what was raised here. */
static TL_GIL int managers_exchange(lua_State *L) {
  return exchange(L, talk);
}

/* The same for a wait whose end the server has to settle: see talk_waiting. */
static TL_GIL int managers_wait(lua_State *L) {
  return exchange(L, talk_waiting);
}

/* --- Scopes --------------------------------------------------------------- */

/* Calls upvalue 1, which takes the lock, with the proxy at 1: no instruction
 * of Lua is between the last step of that and the caller. */
static TL_GIL void enter(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, 1);
  lua_call(L, 1, 0);
  lua_pushinteger(L, TL_GRANTED);
}

static TL_GIL int scope_guard(lua_State *L) {
  lua_settop(L, 1);
  enter(L);
  return bind_guarded(L, LUA_OK, 0);
}

static TL_GIL int scope_with(lua_State *L) {
  bind_checkcallable(L, 2);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  enter(L);
  return bind_within(L, LUA_OK, 0);
}

/* scopes(take) -> the methods guard and with of proxies that take(proxy)
 * locks, and whose __close lets go. */
static TL_GIL int managers_scopes(lua_State *L) {
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, scope_guard, 1);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, scope_with, 1);
  return 2;
}

/* --- References: see objects.lua ------------------------------------------ */

/* (objects, references, id): adds n, 1 or -1, to the references with this id
 * and to the 'count' of the object. False if there is no such object, or would
 * be less than no reference. */
static TL_GIL bool count(lua_State *L, lua_Integer n, lua_Integer *left) {
  lua_pushvalue(L, 3);
  if (lua_rawget(L, 1) != LUA_TTABLE) return false;
  lua_pushvalue(L, 3);
  lua_rawget(L, 2);
  lua_Integer had = lua_tointeger(L, -1);
  if (had + n < 0) return false;
  lua_getfield(L, -2, "count");
  *left = lua_tointeger(L, -1) + n;
  lua_pushvalue(L, 3);
  if (had + n > 0)
    lua_pushinteger(L, had + n);
  else
    lua_pushnil(L);
  lua_rawset(L, 2); /* only this may need memory */
  lua_pushinteger(L, *left);
  lua_setfield(L, 4, "count");
  return true;
}

/* retain(objects, references, id [, object]) -> whether there is such an
 * object: a new one is put there. */
static TL_GIL int managers_retain(lua_State *L) {
  lua_Integer left;
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  if (!lua_isnoneornil(L, 4)) {
    lua_pushvalue(L, 3);
    lua_pushvalue(L, 4);
    lua_rawset(L, 1);
  }
  lua_settop(L, 3);
  lua_pushboolean(L, count(L, 1, &left));
  return 1;
}

/* release(objects, references, id) -> whether there was a reference. An object
 * to which there is none any more goes. */
static TL_GIL int managers_release(lua_State *L) {
  lua_Integer left = 0;
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 3);
  bool was = count(L, -1, &left);
  if (was && left == 0) {
    lua_pushvalue(L, 3);
    lua_pushnil(L);
    lua_rawset(L, 1);
  }
  lua_pushboolean(L, was);
  return 1;
}

static const luaL_Reg functions[] = {
    {"exchange", managers_exchange}, {"release", managers_release},
    {"retain", managers_retain},     {"scopes", managers_scopes},
    {"wait", managers_wait},         {NULL, NULL}};

TL_GIL int luaopen_tl_managers(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}

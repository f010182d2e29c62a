/* thread_run.c - what a Thread does and what comes of it: start, run, join,
 * result. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "thread_handle.h"

/* The message handler of a thread: leaves the error as it is and keeps its
 * traceback in the handle. */
static TL_GIL int keep_traceback(lua_State *L) {
  tl_thread_pushanchor(L, tl_self());
  luaL_traceback(L, L, NULL, 1);
  if (tl_error_isvalue(L, 1)) {
    lua_settop(L, 3);
    lua_pushcfunction(L, tl_error_traceback);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 0);
  }
  lua_setiuservalue(L, 2, THREAD_TRACE);
  lua_settop(L, 1);
  return 1;
}

/* Stores the values in the handle: (handle, values...). */
static TL_GIL int keep_values(lua_State *L) {
  int n = lua_gettop(L) - 1;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_createtable(L, n, 1);
  lua_insert(L, 2);
  for (int i = n; i >= 1; i--)
    lua_rawseti(L, 2, i);
  lua_pushinteger(L, n);
  lua_setfield(L, 2, "n");
  lua_setiuservalue(L, 1, THREAD_WORK);
  return 0;
}

/* The same for the values from 3 on and the handle at 1; 2 is free. False: no
 * memory. */
static TL_GIL bool keep(lua_State *L) {
  int n = lua_gettop(L) - 2;
  if (!lua_checkstack(L, LUA_MINSTACK)) return false;
  lua_pushcfunction(L, keep_values);
  lua_replace(L, 2);
  lua_pushvalue(L, 1);
  lua_insert(L, 3);
  return lua_pcall(L, n + 1, 0, 0) == LUA_OK;
}

/* Tells of the error that has ended the thread: (handle). */
static TL_GIL int report(lua_State *L) {
  const Thread *th = lua_touserdata(L, 1);
  if (th->result == THREAD_LOST) {
    lua_pushliteral(L, "not enough memory");
  } else {
    lua_getiuservalue(L, 1, THREAD_WORK);
    lua_rawgeti(L, -1, 1);
  }
  if (!tl_error_is(L, -1, "Cancelled")) thread_report(L, lua_gettop(L));
  return 0;
}

/* The bottom of a thread's stack: handle, function, arguments. */
static TL_GIL int thread_main(lua_State *L) {
  Thread *th = lua_touserdata(L, 1);
  lua_pushcfunction(L, keep_traceback);
  lua_insert(L, 2);
  int status = lua_pcall(L, lua_gettop(L) - 3, LUA_MULTRET, 2);
  tl_thread_unwound(th->t);
  if (!keep(L))
    th->result = THREAD_LOST;
  else
    th->result = status == LUA_OK ? THREAD_RETURNED : THREAD_RAISED;
  if (th->result == THREAD_RETURNED) return 0;
  lua_settop(L, 1);
  lua_pushcfunction(L, report);
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK)
    fprintf(stderr, "Exception in thread %s: no memory to report it\n",
            th->t->name);
  return 0;
}

/* Pushes the target, or nil, and its arguments; returns how many they are. */
static TL_GIL int push_target(lua_State *L, int handle) {
  lua_getiuservalue(L, handle, THREAD_WORK);
  int work = lua_gettop(L);
  lua_getfield(L, work, "n");
  int n = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  luaL_checkstack(L, n + LUA_MINSTACK, "too many arguments to a thread");
  lua_rawgeti(L, work, 0);
  for (int i = 1; i <= n; i++)
    lua_rawgeti(L, work, i);
  lua_remove(L, work);
  return n;
}

/* Pushes what the thread is to call: the method 'run' of its class with the
 * handle, or the target with its arguments. Returns how many arguments. */
static TL_GIL int push_work(lua_State *L, int handle) {
  if (lua_getiuservalue(L, handle, THREAD_CLASS) == LUA_TTABLE &&
      lua_getfield(L, -1, "run") != LUA_TNIL) {
    lua_remove(L, -2);
    lua_pushvalue(L, handle);
    return 1;
  }
  lua_settop(L, handle);
  return push_target(L, handle);
}

static TL_GIL int do_nothing(lua_State *L) {
  (void)L;
  return 0;
}

int thread_start(lua_State *L) {
  Thread *th = thread_check(L);
  if (th->t->state != TL_THREAD_NEW)
    return luaL_error(L, "threads can only be started once");
  lua_settop(L, 1);
  int n = push_work(L, 1);
  if (lua_isnil(L, 2)) {
    lua_pushcfunction(L, do_nothing);
    lua_replace(L, 2);
  }
  size_t stack = th->stack_size ? th->stack_size : th->t->interp->stack_size;
  int err = tl_thread_start(L, th->t, thread_main, 1, n + 1, stack);
  if (err == -ECANCELED)
    return luaL_error(L, "can't start a thread: the interpreter is closing");
  if (err < 0)
    return luaL_error(L, "can't start a new thread: %s", strerror(-err));
  lua_pushnil(L); /* the thread has them now */
  lua_setiuservalue(L, 1, THREAD_WORK);
  lua_settop(L, 1);
  return 1;
}

/* What a thread does whose class has no method of its own for it. */
int thread_run(lua_State *L) {
  Thread *th = thread_check(L);
  lua_settop(L, 1);
  if (lua_getiuservalue(L, 1, THREAD_WORK) != LUA_TTABLE || th->result)
    return 0;
  lua_settop(L, 1);
  int n = push_target(L, 1);
  if (lua_isnil(L, 2)) return 0;
  lua_call(L, n, 0);
  return 0;
}

/* --- waiting for it --------------------------------------------------------
 */

static TL_GIL void check_joinable(lua_State *L, Thread *th) {
  if (th->t->state == TL_THREAD_NEW)
    luaL_error(L, "cannot join a thread before it is started");
  if (th->t == tl_self()) luaL_error(L, "cannot join the current thread");
}

static TL_GIL int joined(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  lua_pushboolean(L, bind_woken(L));
  return 1;
}

int thread_join(lua_State *L) {
  Thread *th = thread_check(L);
  int64_t deadline = bind_deadline(L, 2);
  check_joinable(L, th);
  if (th->t->state != TL_THREAD_FINISHED)
    return tl_wait(L, &th->t->joiners, deadline, 0, joined);
  lua_pushboolean(L, true);
  return 1;
}

static TL_GIL int give_result(lua_State *L, Thread *th) {
  lua_getiuservalue(L, 1, THREAD_WORK);
  int work = lua_gettop(L);
  if (th->result == THREAD_RAISED) {
    lua_rawgeti(L, work, 1);
    return lua_error(L);
  }
  if (th->result == THREAD_NO_RESULT) return 0;
  if (th->result == THREAD_LOST) {
    lua_pushliteral(L, "not enough memory");
    return lua_error(L);
  }
  lua_getfield(L, work, "n");
  int n = (int)lua_tointeger(L, -1);
  luaL_checkstack(L, n, "too many results");
  for (int i = 1; i <= n; i++)
    lua_rawgeti(L, work, i);
  return n;
}

static TL_GIL int result_awaited(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  if (!bind_woken(L))
    return tl_error(L, "TimeoutError", "the thread has not finished in time");
  return give_result(L, lua_touserdata(L, 1));
}

int thread_result(lua_State *L) {
  Thread *th = thread_check(L);
  int64_t deadline = bind_deadline(L, 2);
  check_joinable(L, th);
  if (th->t->state != TL_THREAD_FINISHED)
    return tl_wait(L, &th->t->joiners, deadline, 0, result_awaited);
  return give_result(L, th);
}

/* synchronized.c - Array and Value of multiprocessing: access with the lock.
 *
 * As in CPython each access takes the lock, although one element is read and
 * written as a whole without: a value that is set while another process adds to
 * it, under the lock, must not be lost, and what that process stores meanwhile
 * must not be seen. The lock is any object with acquire and release. */
#include "array.h"

/* The last step: the lock has been released; 'ok': results lie above the
 * arguments, otherwise what was raised. */
static TL_GIL int released(lua_State *L, int status, lua_KContext ok) {
  (void)status;
  if (!ok) return lua_error(L);
  return lua_gettop(L) - ARRAY_ARGS;
}

static TL_GIL bool do_work(lua_State *L, lua_CFunction work) {
  lua_pushcfunction(L, work);
  for (int i = 1; i <= ARRAY_ARGS; i++)
    lua_pushvalue(L, i);
  return lua_pcall(L, ARRAY_ARGS, LUA_MULTRET, 0) == LUA_OK;
}

/* OwnerDied is raised to one that has the lock nevertheless. */
static TL_GIL int acquired(lua_State *L, int status, lua_KContext ctx) {
  bool ok = status == LUA_OK || status == LUA_YIELD;
  if (ok)
    ok = do_work(L, (lua_CFunction)ctx);
  else if (!tl_error_is(L, -1, "OwnerDied"))
    return lua_error(L);
  lua_getiuservalue(L, 1, ARRAY_RELEASE);
  lua_getiuservalue(L, 1, ARRAY_LOCK);
  lua_callk(L, 1, 0, ok, released);
  return released(L, LUA_OK, ok);
}

int array_access(lua_State *L, lua_CFunction work) {
  const Array *a = lua_touserdata(L, 1);
  if (!(a->class & ARRAY_LOCKED)) return work(L);
  lua_settop(L, ARRAY_ARGS);
  /* For the work and for the release: the latter must not want memory. */
  luaL_checkstack(L, 2 * ARRAY_ARGS + 2 * LUA_MINSTACK, NULL);
  lua_getiuservalue(L, 1, ARRAY_ACQUIRE);
  lua_getiuservalue(L, 1, ARRAY_LOCK);
  lua_KContext ctx = (lua_KContext)work;
  return acquired(L, lua_pcallk(L, 1, 0, 0, ctx, acquired), ctx);
}

void array_set_lock(lua_State *L, int lock) {
  lua_pushvalue(L, lock);
  lua_setiuservalue(L, -2, ARRAY_LOCK);
  lua_getfield(L, lock, "acquire");
  lua_setiuservalue(L, -2, ARRAY_ACQUIRE);
  lua_getfield(L, lock, "release");
  lua_setiuservalue(L, -2, ARRAY_RELEASE);
}

/* --- Methods -------------------------------------------------------------- */

static TL_GIL int forwarded(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  return lua_gettop(L);
}

/* Calls the lock's method with the caller's arguments. */
static TL_GIL int forward(lua_State *L, const char *name) {
  array_check(L);
  lua_getiuservalue(L, 1, ARRAY_LOCK);
  lua_replace(L, 1);
  lua_getfield(L, 1, name);
  lua_insert(L, 1);
  lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, forwarded);
  return forwarded(L, LUA_OK, 0);
}

static TL_GIL int array_acquire(lua_State *L) {
  return forward(L, "acquire");
}

static TL_GIL int array_release(lua_State *L) {
  return forward(L, "release");
}

static TL_GIL int array_guard(lua_State *L) {
  return forward(L, "guard");
}

static TL_GIL int array_with(lua_State *L) {
  return forward(L, "with");
}

static TL_GIL int array_get_lock(lua_State *L) {
  array_check(L);
  lua_getiuservalue(L, 1, ARRAY_LOCK);
  return 1;
}

/* The same memory without the lock. */
static TL_GIL int array_get_obj(lua_State *L) {
  Array *a = array_check(L);
  Array *raw = array_push(L, a->class & ARRAY_SINGLE, a->kind, a->count);
  array_view(L, raw, a->base, a->offset, 1);
  return 1;
}

const luaL_Reg array_lock_methods[] = {{"acquire", array_acquire},
                                       {"release", array_release},
                                       {"guard", array_guard},
                                       {"with", array_with},
                                       {"get_lock", array_get_lock},
                                       {"get_obj", array_get_obj},
                                       {NULL, NULL}};

/* failing.c - a C module for the specs: an allocator that refuses.
 *
 *   local failing = require("failing")
 *   failing.run(n, lasting, f, ...)  -> refused, ok, results of f or its error
 *
 * The n-th time from now that this thread wants more memory it gets none: it
 * alone if 'lasting' is false (Lua collects garbage and asks once more, which
 * is refused as well), from then on if it is true. 'refused' says how often.
 * failing.arm(n, lasting, everybody) begins it for what follows, in this
 * thread or in all; failing.disarm() ends it and returns 'refused'. */
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

int luaopen_failing(lua_State *L);

/* The GIL guards it; one at a time in a process. */
static struct {
  lua_Alloc real;
  void *ud;
  pthread_t thread;
  bool armed, everybody, lasting;
  lua_Integer left; /* of the requests to be served before */
  lua_Integer refused;
} plan;

static bool refuses(void) {
  if (!plan.everybody && !pthread_equal(plan.thread, pthread_self()))
    return false;
  if (plan.left > 0 && --plan.left > 0) return false;
  if (!plan.lasting && plan.refused == 2) return false;
  plan.refused++;
  return true;
}

static void *allocate(void *ud, void *block, size_t osize, size_t nsize) {
  if (plan.armed && nsize > 0 && (!block || nsize > osize) && refuses())
    return NULL;
  (void)ud;
  return plan.real(plan.ud, block, osize, nsize);
}

static void arm(lua_State *L, lua_Integer n, bool lasting, bool everybody) {
  if (!plan.real) {
    plan.real = lua_getallocf(L, &plan.ud);
    lua_setallocf(L, allocate, NULL);
  }
  plan.thread = pthread_self();
  plan.everybody = everybody;
  plan.lasting = lasting;
  plan.left = n;
  plan.refused = 0;
  plan.armed = true;
}

static lua_Integer disarm(lua_State *L) {
  plan.armed = false;
  lua_setallocf(L, plan.real, plan.ud);
  plan.real = NULL;
  return plan.refused;
}

static int failing_arm(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n >= 1, 1, "must be at least 1");
  arm(L, n, lua_toboolean(L, 2), lua_toboolean(L, 3));
  return 0;
}

static int failing_disarm(lua_State *L) {
  if (!plan.real) return luaL_error(L, "it is not armed");
  lua_pushinteger(L, disarm(L));
  return 1;
}

static int failing_run(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n >= 1, 1, "must be at least 1");
  bool lasting = lua_toboolean(L, 2);
  luaL_checkany(L, 3);
  lua_remove(L, 2);
  arm(L, n, lasting, false);
  int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
  lua_pushinteger(L, disarm(L));
  lua_replace(L, 1);
  luaL_checkstack(L, 1, NULL);
  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, 2);
  return lua_gettop(L);
}

int luaopen_failing(lua_State *L) {
  static const luaL_Reg functions[] = {{"arm", failing_arm},
                                       {"disarm", failing_disarm},
                                       {"run", failing_run},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

/* condition.c - threading.Condition: waiting for a change under a lock.
 * Documented in types/threading.lua.
 *
 * A waiter gives the lock up wholly, waits for its grant, and takes the lock
 * again as often as it held it before anything is reported or raised. Notified
 * and interrupted at once means notified: the grant is not lost. */
#include <limits.h>

#include "lock.h"
#include "modules.h"

#define CONDITION "threading.Condition"

typedef struct Condition {
  tl_waitq waiters; /* GIL; a waiter's stack holds this userdata */
  Lock *lock;       /* const; user value 1 is its userdata */
} Condition;

static TL_GIL Condition *check_condition(lua_State *L) {
  return bind_checkself(L, CONDITION);
}

/* The condition, with its lock held. */
static TL_GIL Condition *check_held(lua_State *L, const char *what) {
  Condition *c = check_condition(L);
  if (!lock_held(c->lock))
    luaL_error(L, "cannot %s on a Condition without holding its lock", what);
  return c;
}

static TL_GIL int condition_new(lua_State *L) {
  static const char *const options[] = {"lock", NULL};
  Lock *lock = NULL;
  bind_options(L, 1, options);
  if (!lua_isnoneornil(L, 1)) lock = lock_check(L, 1);
  lua_settop(L, 1);
  if (lock == NULL) lock = lock_push(L, true);
  Condition *c = lua_newuserdatauv(L, sizeof *c, 1);
  *c = (Condition){.waiters = {.what = "condition"}, .lock = lock};
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, CONDITION);
  return 1;
}

static TL_GIL int acquired(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  lua_pushboolean(L, bind_woken(L));
  return 1;
}

static TL_GIL int condition_acquire(lua_State *L) {
  Condition *c = check_condition(L);
  return lock_take(L, c->lock, bind_blocking(L, 2), 0, acquired);
}

static TL_GIL int condition_release(lua_State *L) {
  lock_give(L, check_condition(L)->lock);
  return 0;
}

static TL_GIL int condition_guard(lua_State *L) {
  Condition *c = check_condition(L);
  lock_free_orphan(L, c->lock);
  return lock_take(L, c->lock, TL_FOREVER, 0, bind_guarded);
}

static TL_GIL int condition_with(lua_State *L) {
  Condition *c = check_condition(L);
  bind_checkcallable(L, 2);
  lock_free_orphan(L, c->lock);
  return lock_take(L, c->lock, TL_FOREVER, 0, bind_within);
}

/* The lock is held again; below TL_GRANTED is the outcome of the wait. */
static TL_GIL int wait_ended(lua_State *L, int status, lua_KContext count) {
  (void)status;
  Condition *c = lua_touserdata(L, 1);
  c->lock->count = (lua_Integer)count;
  lua_pop(L, 1);
  lua_pushboolean(L, bind_woken(L));
  return 1;
}

static TL_GIL int woken(lua_State *L, int status, lua_KContext count) {
  (void)status;
  Condition *c = lua_touserdata(L, 1);
  return lock_retake(L, c->lock, (lua_Integer)count, wait_ended);
}

/* Waits with the condition as argument 1, its lock held by the caller. */
static TL_GIL int wait_until(lua_State *L, Condition *c, int64_t deadline) {
  /* What tl_wait could raise must be raised before the lock is given up. */
  if (tl_in_finalizer(L)) return luaL_error(L, "cannot wait in a finalizer");
  lua_settop(L, 1);
  luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
  lua_Integer count = lock_give_wholly(c->lock);
  return tl_wait(L, &c->waiters, deadline, (lua_KContext)count, woken);
}

static TL_GIL int condition_wait(lua_State *L) {
  check_condition(L);
  int64_t deadline = bind_deadline(L, 2);
  return wait_until(L, check_held(L, "wait"), deadline);
}

static TL_GIL int condition_wait_for(lua_State *L) {
  check_held(L, "wait");
  return bind_wait_for(L, condition_wait);
}

static TL_GIL int condition_notify(lua_State *L) {
  check_condition(L);
  lua_Integer n = bind_count(L, 2, 1, 0);
  tl_wake(&check_held(L, "notify")->waiters, n < INT_MAX ? (int)n : INT_MAX);
  return 0;
}

static TL_GIL int condition_notify_all(lua_State *L) {
  tl_wake(&check_held(L, "notify")->waiters, INT_MAX);
  return 0;
}

static TL_GIL int condition_tostring(lua_State *L) {
  Condition *c = check_condition(L);
  lua_getiuservalue(L, 1, 1);
  lua_pushfstring(L, "<Condition %s waiters=%d>", luaL_tolstring(L, -1, NULL),
                  tl_waitq_count(&c->waiters));
  return 1;
}

static const luaL_Reg methods[] = {{"acquire", condition_acquire},
                                   {"release", condition_release},
                                   {"guard", condition_guard},
                                   {"with", condition_with},
                                   {"wait", condition_wait},
                                   {"wait_for", condition_wait_for},
                                   {"notify", condition_notify},
                                   {"notify_all", condition_notify_all},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__close", condition_release},
                                       {"__tostring", condition_tostring},
                                       {NULL, NULL}};
static const luaL_Reg functions[] = {{"Condition", condition_new},
                                     {NULL, NULL}};

TL_GIL int luaopen_tl_condition(lua_State *L) {
  bind_newclass(L, CONDITION, methods, metamethods);
  luaL_newlib(L, functions);
  return 1;
}

/* condition.c - multiprocessing.Condition.
 * Documented in types/multiprocessing.synchronize.lua.
 *
 * As bindings/condition.c: a waiter gives the lock up wholly and takes it again
 * as often as it held it before anything is reported or raised; notified and
 * interrupted at once means notified. */
#include "ipc/condition.h"

#include "modules.h"
#include "synchronize.h"

#define CONDITION "multiprocessing.Condition"

typedef struct Condition {
  const void *tag; /* const: see bind_checktagged */
  SyncLock *lock;  /* const; user value 1 is its userdata */
  ipc_condition os;
} Condition;

static const char tag;

static const sync_kind waiting = {"mp condition", NULL, NULL, false};

static TL_GIL Condition *check_condition(lua_State *L) {
  Condition *c = bind_checktagged(L, &tag, sizeof(Condition));
  sync_check_open(L, c->os.memory);
  sync_check_open(L, c->lock->os.memory);
  return c;
}

/* The condition, with its lock held. */
static TL_GIL Condition *check_held(lua_State *L, const char *what) {
  Condition *c = check_condition(L);
  if (!sync_lock_held(c->lock))
    luaL_error(L, "cannot %s on a Condition without holding its lock", what);
  return c;
}

/* A closed one over the lock at the index, on the top. */
static TL_GIL Condition *new_condition(lua_State *L, int lock) {
  lock = lua_absindex(L, lock);
  Condition *c = lua_newuserdatauv(L, sizeof *c, 1);
  *c = (Condition){.lock = lua_touserdata(L, lock), .os.segment.fd = -1};
  lua_pushvalue(L, lock);
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, CONDITION);
  return c;
}

static TL_GIL int condition_new(lua_State *L) {
  static const char *const options[] = {"lock", NULL};
  bind_options(L, 1, options);
  lua_settop(L, 1);
  if (!lua_isnil(L, 1))
    sync_lock_check(L, 1);
  else
    sync_lock_push(L, true);
  Condition *c = new_condition(L, -1);
  int err = ipc_condition_create(&c->os);
  if (sync_made_room(L, err)) err = ipc_condition_create(&c->os);
  if (err) return tl_error_os(L, -err, "Condition");
  c->tag = &tag;
  return 1;
}

static TL_GIL int condition_acquire(lua_State *L) {
  return sync_lock_acquire(L, check_condition(L)->lock);
}

static TL_GIL int condition_release(lua_State *L) {
  return sync_lock_release(L, check_condition(L)->lock);
}

static TL_GIL int condition_guard(lua_State *L) {
  return sync_lock_guard(L, check_condition(L)->lock);
}

static TL_GIL int condition_with(lua_State *L) {
  return sync_lock_with(L, check_condition(L)->lock);
}

/* Sleeps until notified or the deadline; false: something is to be raised. */
static TL_GIL bool sleep_in(lua_State *L, Condition *c, int record,
                            int64_t deadline) {
  ipc_wait w = ipc_wait_start(deadline);
  while (ipc_condition_try(&c->os, record, &w) == IPC_BUSY && !w.last)
    if (!sync_sleep(L, &waiting, &w, deadline)) return false;
  return true;
}

/* Waits with the condition as argument 1, its lock held by the caller. */
static TL_GIL int wait_until(lua_State *L, Condition *c, int64_t deadline) {
  /* What could be raised must be raised before the lock is given up. */
  if (tl_in_finalizer(L)) return luaL_error(L, "cannot wait in a finalizer");
  luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
  int record = ipc_condition_enter(&c->os);
  if (record < 0)
    return luaL_error(L, "too many threads wait for the condition at once (%d)",
                      IPC_CONDITION_WAITERS);
  uint64_t count = sync_lock_give_wholly(c->lock);
  bool undisturbed = sleep_in(L, c, record, deadline);
  bool notified = ipc_condition_leave(&c->os, record);
  ipc_outcome lock = sync_lock_retake(L, c->lock, count);
  if (!undisturbed && (!notified || !lua_isnil(L, -1))) sync_raise(L);
  if (lock == IPC_DIED) return sync_owner_died(L);
  lua_pushboolean(L, notified);
  return 1;
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
  ipc_condition_notify(&check_held(L, "notify")->os, (uint64_t)n);
  return 0;
}

static TL_GIL int condition_notify_all(lua_State *L) {
  ipc_condition_notify(&check_held(L, "notify")->os, UINT64_MAX);
  return 0;
}

static TL_GIL int condition_tostring(lua_State *L) {
  Condition *c = check_condition(L);
  lua_getiuservalue(L, 1, 1);
  lua_pushfstring(L, "<Condition %s waiters=%d>", luaL_tolstring(L, -1, NULL),
                  ipc_condition_count(&c->os));
  return 1;
}

static TL_GIL int condition_gc(lua_State *L) {
  Condition *c = bind_checkself(L, CONDITION);
  c->tag = NULL;
  ipc_condition_close(&c->os);
  return 0;
}

/* --- To other processes --------------------------------------------------- */

static TL_UNCHECKED int condition_pack(lua_State *L, int idx, int *fds) {
  Condition *c = lua_touserdata(L, idx);
  sync_check_open(L, c->os.memory);
  lua_getiuservalue(L, idx, 1);
  fds[0] = c->os.segment.fd;
  return 1;
}

static TL_UNCHECKED void condition_unpack(lua_State *L, int *fds, int n) {
  sync_lock_check(L, -1);
  Condition *c = new_condition(L, -1);
  lua_remove(L, -2);
  int err = ipc_condition_open(&c->os, sync_take_fd(L, fds, n));
  sync_check_opened(L, err, "Condition");
  c->tag = &tag;
}

static const tl_portable portable = {
    .name = "Condition", .pack = condition_pack, .unpack = condition_unpack};

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
                                       {"__gc", condition_gc},
                                       {"__tostring", condition_tostring},
                                       {NULL, NULL}};
static const luaL_Reg functions[] = {{"Condition", condition_new},
                                     {NULL, NULL}};

TL_GIL int luaopen_tl_sync_condition(lua_State *L) {
  bind_newclass(L, CONDITION, methods, metamethods);
  tl_portable_register(L, CONDITION, "tidelock._synchronize", &portable);
  luaL_newlib(L, functions);
  return 1;
}

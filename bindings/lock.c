/* lock.c - threading.Lock and threading.RLock.
 * Documented in types/threading.lua.
 *
 * A released lock is free at once and its first waiter is told to look: a
 * running thread may take it again meanwhile, since handing it over at every
 * release would make two threads that hammer it switch at each operation. A
 * waiter that has been overtaken for LOCK_PATIENCE is handed the lock. Among
 * the waiters the first one alone may take it, so they go in order, and one
 * that leaves without it leaves it held: no wake-up is lost. */
#include "lock.h"

#include "modules.h"

#define LOCK "threading.Lock"
#define RLOCK "threading.RLock"

static const char tag;

static TL_GIL void own(Lock *l, tl_thread *t) {
  l->count = 1;
  l->waiters.owner = t->ident;
}

/* Takes it, if that needs no waiting. */
static inline TL_GIL bool try_take(Lock *l) {
  tl_thread *t = bind_thread();
  if (l->count == 0)
    own(l, t);
  else if (l->recursive && l->waiters.owner == t->ident)
    l->count++;
  else
    return false;
  return true;
}

static TL_UNCHECKED bool lock_ready(tl_waiter *w) {
  Lock *l = w->object;
  if (l->count != 0 || w->prev != NULL) return false;
  own(l, w->thread);
  return true;
}

static const tl_wait_kind taking = {.ready = lock_ready};
static const tl_wait_kind retaking = {.ready = lock_ready,
                                      .uninterruptible = true};

static TL_GIL void set_free(Lock *l) {
  tl_waiter *w = l->waiters.first;
  if (tl_unlikely(w != NULL) && os_now() - w->since > LOCK_PATIENCE) {
    own(l, w->thread);
    tl_grant(w);
    return;
  }
  l->count = 0;
  l->waiters.owner = 0;
  if (tl_unlikely(w != NULL) && !w->nudged) tl_nudge(w);
}

Lock *lock_check(lua_State *L, int arg) {
  Lock *l = luaL_testudata(L, arg, RLOCK);
  if (l == NULL) l = luaL_testudata(L, arg, LOCK);
  if (l == NULL) luaL_typeerror(L, arg, "threading.Lock or threading.RLock");
  return l;
}

Lock *lock_push(lua_State *L, bool recursive) {
  Lock *l = lua_newuserdatauv(L, sizeof *l, 0);
  *l = (Lock){.tag = &tag,
              .waiters = {.what = recursive ? "rlock" : "lock"},
              .recursive = recursive};
  luaL_setmetatable(L, recursive ? RLOCK : LOCK);
  return l;
}

bool lock_held(const Lock *l) {
  return l->count > 0 &&
         (!l->recursive || l->waiters.owner == bind_thread()->ident);
}

static TL_GIL bool is_orphan(const Lock *l) {
  tl_interp *in = bind_thread()->interp;
  return l->count > 0 && tl_thread_vanished(in, l->waiters.owner);
}

static TL_GIL int owner_died(lua_State *L) {
  return tl_error(L, "OwnerDied",
                  "the thread that held the lock is none of this process");
}

/* Takes one that a fork has left locked for ever. */
static TL_GIL void take_orphan(lua_State *L, Lock *l) {
  if (tl_likely(!is_orphan(l))) return;
  own(l, bind_thread());
  owner_died(L);
}

void lock_free_orphan(lua_State *L, Lock *l) {
  if (tl_likely(!is_orphan(l))) return;
  set_free(l);
  owner_died(L);
}

int lock_take(lua_State *L, Lock *l, int64_t deadline, lua_KContext ctx,
              lua_KFunction k) {
  if (!try_take(l)) {
    take_orphan(L, l);
    return tl_wait_when(L, &l->waiters, deadline, &taking, l, ctx, k);
  }
  lua_pushinteger(L, TL_GRANTED);
  return k(L, LUA_OK, ctx);
}

void lock_give(lua_State *L, Lock *l) {
  if (tl_unlikely(!lock_held(l)))
    luaL_error(L, l->recursive ? "cannot release an RLock that this thread "
                                 "does not hold"
                               : "cannot release an unlocked Lock");
  if (l->count > 1)
    l->count--;
  else
    set_free(l);
}

lua_Integer lock_give_wholly(Lock *l) {
  lua_Integer count = l->count;
  set_free(l);
  return count;
}

int lock_retake(lua_State *L, Lock *l, lua_Integer count, lua_KFunction k) {
  if (!try_take(l))
    return tl_wait_when(L, &l->waiters, TL_FOREVER, &retaking, l,
                        (lua_KContext)count, k);
  lua_pushinteger(L, TL_GRANTED);
  return k(L, LUA_OK, (lua_KContext)count);
}

static TL_GIL Lock *check_self(lua_State *L) {
  return bind_checktagged(L, &tag, sizeof(Lock));
}

static TL_GIL int acquired(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  lua_pushboolean(L, bind_woken(L));
  return 1;
}

static TL_GIL int lock_acquire(lua_State *L) {
  Lock *l = check_self(L);
  int64_t deadline = TL_FOREVER;
  if (tl_unlikely(lua_gettop(L) > 1)) deadline = bind_blocking(L, 2);
  bool taken = try_take(l);
  if (!taken) take_orphan(L, l);
  if (!taken && deadline != 0)
    return tl_wait_when(L, &l->waiters, deadline, &taking, l, 0, acquired);
  lua_pushboolean(L, taken);
  return 1;
}

static TL_GIL int lock_release(lua_State *L) {
  lock_give(L, check_self(L));
  return 0;
}

static TL_GIL int lock_locked(lua_State *L) {
  lua_pushboolean(L, check_self(L)->count > 0);
  return 1;
}

static TL_GIL int lock_guard(lua_State *L) {
  Lock *l = check_self(L);
  lock_free_orphan(L, l);
  return lock_take(L, l, TL_FOREVER, 0, bind_guarded);
}

static TL_GIL int lock_with(lua_State *L) {
  Lock *l = check_self(L);
  bind_checkcallable(L, 2);
  lock_free_orphan(L, l);
  return lock_take(L, l, TL_FOREVER, 0, bind_within);
}

static TL_GIL int lock_tostring(lua_State *L) {
  Lock *l = check_self(L);
  lua_pushfstring(L, "<%s %s>", l->recursive ? "RLock" : "Lock",
                  l->count > 0 ? "locked" : "unlocked");
  return 1;
}

static TL_GIL int rlock_tostring(lua_State *L) {
  Lock *l = check_self(L);
  if (l->count == 0) return lock_tostring(L);
  const tl_thread *t = tl_thread_find(tl_interp_of(L), l->waiters.owner);
  if (t != NULL && t->name != NULL)
    lua_pushfstring(L, "<RLock locked owner=\"%s\" count=%I>", t->name,
                    l->count);
  else /* it ended without releasing */
    lua_pushfstring(L, "<RLock locked owner=%I count=%I>", l->waiters.owner,
                    l->count);
  return 1;
}

static TL_GIL int lock_new(lua_State *L) {
  lock_push(L, false);
  return 1;
}

static TL_GIL int rlock_new(lua_State *L) {
  lock_push(L, true);
  return 1;
}

static const luaL_Reg methods[] = {
    {"acquire", lock_acquire}, {"release", lock_release},
    {"locked", lock_locked},   {"guard", lock_guard},
    {"with", lock_with},       {NULL, NULL}};
static const luaL_Reg lock_metamethods[] = {
    {"__close", lock_release}, {"__tostring", lock_tostring}, {NULL, NULL}};
static const luaL_Reg rlock_metamethods[] = {
    {"__close", lock_release}, {"__tostring", rlock_tostring}, {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"Lock", lock_new}, {"RLock", rlock_new}, {NULL, NULL}};

TL_GIL int luaopen_tl_lock(lua_State *L) {
  bind_newclass(L, LOCK, methods, lock_metamethods);
  bind_newclass(L, RLOCK, methods, rlock_metamethods);
  luaL_newlib(L, functions);
  return 1;
}

/* semaphore.c - threading.Semaphore and threading.BoundedSemaphore.
 * Documented in types/threading.lua.
 *
 * Permits are freed as a lock is (lock.c): a running thread may take one
 * before a waiter that was told to look, and a waiter that was overtaken for
 * LOCK_PATIENCE is handed its permit. While permits are free, as many of the
 * first waiters have been told to look; a waiter takes one only if there are
 * more than waiters before it. So they go in order and none is forgotten. */
#include "lock.h"
#include "modules.h"

#define SEMAPHORE "threading.Semaphore"

typedef struct Semaphore {
  const void *tag;   /* const: see bind_checktagged */
  tl_waitq waiters;  /* GIL; a waiter's stack holds this userdata */
  lua_Integer value; /* GIL: free permits */
  lua_Integer most;  /* const: value may not exceed it */
} Semaphore;

static const char tag;

static TL_GIL Semaphore *check_semaphore(lua_State *L) {
  return bind_checktagged(L, &tag, sizeof(Semaphore));
}

static TL_GIL bool is_bounded(const Semaphore *s) {
  return s->most != LUA_MAXINTEGER;
}

static TL_GIL int semaphore_push(lua_State *L, bool bounded) {
  static const char *const options[] = {"n", "value", NULL};
  if (bind_options(L, 1, options) && lua_isnil(L, 1)) lua_remove(L, 1);
  lua_Integer value = bind_count(L, 1, 1, 0);
  Semaphore *s = lua_newuserdatauv(L, sizeof *s, 0);
  *s = (Semaphore){.tag = &tag,
                   .waiters = {.what = "semaphore"},
                   .value = value,
                   .most = bounded ? value : LUA_MAXINTEGER};
  luaL_setmetatable(L, SEMAPHORE);
  return 1;
}

static TL_GIL int semaphore_new(lua_State *L) {
  return semaphore_push(L, false);
}

static TL_GIL int bounded_new(lua_State *L) {
  return semaphore_push(L, true);
}

static TL_UNCHECKED bool semaphore_ready(tl_waiter *w) {
  Semaphore *s = w->object;
  lua_Integer spare = s->value;
  for (tl_waiter *p = w->prev; p != NULL && spare > 0; p = p->prev)
    spare--;
  if (spare <= 0) return false;
  s->value--;
  return true;
}

static const tl_wait_kind taking = {.ready = semaphore_ready};

static TL_GIL int acquired(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  lua_pushboolean(L, bind_woken(L));
  return 1;
}

/* Takes a permit, waiting for it, and goes on in 'k' with the outcome. */
static TL_GIL int take(lua_State *L, Semaphore *s, int64_t deadline,
                       lua_KFunction k) {
  if (s->value == 0)
    return tl_wait_when(L, &s->waiters, deadline, &taking, s, 0, k);
  s->value--;
  lua_pushinteger(L, TL_GRANTED);
  return k(L, LUA_OK, 0);
}

static TL_GIL int semaphore_acquire(lua_State *L) {
  Semaphore *s = check_semaphore(L);
  int64_t deadline = TL_FOREVER;
  if (tl_unlikely(lua_gettop(L) > 1)) {
    deadline = bind_blocking(L, 2);
    bind_deadline(L, 3); /* unlike a lock's, -1 means nothing */
  }
  return take(L, s, deadline, acquired);
}

static TL_GIL void serve(Semaphore *s) {
  tl_waiter *w = s->waiters.first;
  int64_t now = os_now();
  while (w != NULL && s->value > 0 && now - w->since > LOCK_PATIENCE) {
    s->value--;
    tl_grant(w);
    w = s->waiters.first;
  }
  for (lua_Integer n = s->value; w != NULL && n > 0; n--, w = w->next)
    if (!w->nudged) tl_nudge(w);
}

static TL_GIL void give(lua_State *L, Semaphore *s, lua_Integer n) {
  if (tl_unlikely(n > s->most - s->value))
    luaL_error(L, is_bounded(s) ? "BoundedSemaphore released too often"
                                : "Semaphore value too large");
  s->value += n;
  if (tl_unlikely(s->waiters.first != NULL)) serve(s);
}

static TL_GIL int semaphore_release(lua_State *L) {
  Semaphore *s = check_semaphore(L);
  give(L, s, lua_gettop(L) > 1 ? bind_count(L, 2, 1, 1) : 1);
  return 0;
}

static TL_GIL int semaphore_close(lua_State *L) {
  give(L, check_semaphore(L), 1);
  return 0;
}

static TL_GIL int semaphore_guard(lua_State *L) {
  return take(L, check_semaphore(L), TL_FOREVER, bind_guarded);
}

static TL_GIL int semaphore_with(lua_State *L) {
  Semaphore *s = check_semaphore(L);
  bind_checkcallable(L, 2);
  return take(L, s, TL_FOREVER, bind_within);
}

static TL_GIL int semaphore_tostring(lua_State *L) {
  Semaphore *s = check_semaphore(L);
  if (is_bounded(s))
    lua_pushfstring(L, "<BoundedSemaphore value=%I/%I>", s->value, s->most);
  else
    lua_pushfstring(L, "<Semaphore value=%I>", s->value);
  return 1;
}

static const luaL_Reg methods[] = {{"acquire", semaphore_acquire},
                                   {"release", semaphore_release},
                                   {"guard", semaphore_guard},
                                   {"with", semaphore_with},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__close", semaphore_close},
                                       {"__tostring", semaphore_tostring},
                                       {NULL, NULL}};
static const luaL_Reg functions[] = {{"Semaphore", semaphore_new},
                                     {"BoundedSemaphore", bounded_new},
                                     {NULL, NULL}};

TL_GIL int luaopen_tl_semaphore(lua_State *L) {
  bind_newclass(L, SEMAPHORE, methods, metamethods);
  luaL_newlib(L, functions);
  return 1;
}

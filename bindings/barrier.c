/* barrier.c - threading.Barrier: a number of threads wait for each other.
 * Documented in types/threading.lua.
 *
 * Who waits is granted its index, or false for "broken", by the thread that
 * ends the wait. So nothing has to drain: the barrier is empty again at once
 * and no thread can lap another. While the action runs nobody may enter: who
 * comes then waits at the entrance. Whatever breaks or resets the barrier
 * meanwhile breaks the pass that the action belongs to. */
#include <limits.h>

#include "bind.h"
#include "modules.h"

#define BARRIER "threading.Barrier"
#define PASS "threading.Barrier.pass"

typedef struct Barrier {
  tl_waitq waiters;    /* GIL; their stacks hold this userdata */
  tl_waitq entrance;   /* GIL: come while the action runs */
  lua_Integer parties; /* const */
  lua_Number timeout;  /* const: seconds, negative: for ever */
  bool broken;         /* GIL */
  bool acting;         /* GIL: the action runs */
  bool spoiled;        /* GIL: the pass whose action runs is broken */
} Barrier;

enum { ACTION = 1, PASS_VALUE }; /* user values; both nil without an action */

/* Lives on the stack while the action runs, to be closed: an error in it, or
 * the end of its coroutine, breaks the barrier. */
typedef struct Pass {
  Barrier *barrier; /* const; keeps its Pass, and is argument 1 below it */
} Pass;

static TL_GIL Barrier *check_barrier(lua_State *L) {
  return bind_checkself(L, BARRIER);
}

static TL_GIL int broken_error(lua_State *L) {
  return tl_error(L, "BrokenBarrierError", "the barrier is broken");
}

/* Ends every wait as broken. */
static TL_GIL void turn_out(Barrier *b) {
  tl_waiter *w;
  while ((w = tl_waitq_first(&b->waiters)) != NULL) {
    lua_pushboolean(w->L, false);
    tl_grant(w);
  }
  b->spoiled = b->acting;
}

static TL_GIL void open_entrance(Barrier *b) {
  for (tl_waiter *w = b->entrance.first; w != NULL; w = w->next)
    tl_nudge(w);
}

static TL_GIL void break_barrier(Barrier *b) {
  b->broken = true;
  turn_out(b);
  open_entrance(b);
}

/* Lets everybody pass; returns the caller's index, the last. */
static TL_GIL int let_pass(Barrier *b) {
  int index = 0;
  tl_waiter *w;
  while ((w = tl_waitq_first(&b->waiters)) != NULL) {
    lua_pushinteger(w->L, index++);
    tl_grant(w);
  }
  return index;
}

static TL_GIL void end_action(Barrier *b) {
  b->acting = false;
  open_entrance(b);
}

static TL_GIL int pass_close(lua_State *L) {
  Pass *p = bind_checkself(L, PASS);
  Barrier *b = p->barrier;
  if (!b->acting) return 0;
  end_action(b);
  if (!b->spoiled) break_barrier(b);
  return 0;
}

static TL_GIL int acted(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  Barrier *b = lua_touserdata(L, 1);
  end_action(b);
  if (b->spoiled) return broken_error(L);
  lua_pushinteger(L, let_pass(b));
  return 1;
}

/* The last one is here. */
static TL_GIL int complete(lua_State *L, Barrier *b) {
  if (lua_getiuservalue(L, 1, PASS_VALUE) == LUA_TNIL) {
    lua_pushinteger(L, let_pass(b));
    return 1;
  }
  lua_toclose(L, -1);
  lua_getiuservalue(L, 1, ACTION);
  b->acting = true;
  b->spoiled = false;
  lua_callk(L, 0, 0, 0, acted);
  return acted(L, LUA_OK, 0);
}

/* Granted: the index or false is on the top. */
static TL_GIL int waited(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  Barrier *b = lua_touserdata(L, 1);
  bool timed_out = lua_tointeger(L, -1) == TL_TIMEDOUT;
  if (timed_out) break_barrier(b);
  if (!bind_woken(L) || !lua_isinteger(L, -1)) return broken_error(L);
  return 1;
}

static TL_GIL int enter(lua_State *L, Barrier *b, int64_t deadline) {
  if (b->broken) return broken_error(L);
  lua_settop(L, 1); /* so that only a grant can leave an integer on the top */
  if (tl_waitq_count(&b->waiters) + 1 >= b->parties) return complete(L, b);
  return tl_wait(L, &b->waiters, deadline, 0, waited);
}

static TL_UNCHECKED bool may_enter(tl_waiter *w) {
  const Barrier *b = w->object;
  return !b->acting || b->broken;
}

static const tl_wait_kind entering = {.ready = may_enter};

/* The deadline is argument 2. Nobody began another action since may_enter. */
static TL_GIL int entered(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  Barrier *b = lua_touserdata(L, 1);
  bool timed_out = lua_tointeger(L, -1) == TL_TIMEDOUT;
  if (timed_out) break_barrier(b);
  if (!bind_woken(L)) return broken_error(L);
  return enter(L, b, lua_tointeger(L, 2));
}

static TL_GIL int barrier_wait(lua_State *L) {
  Barrier *b = check_barrier(L);
  lua_settop(L, 2);
  int64_t deadline = bind_deadline_or(L, 2, b->timeout);
  if (!b->acting || b->broken) return enter(L, b, deadline);
  lua_pushinteger(L, deadline);
  lua_replace(L, 2);
  return tl_wait_when(L, &b->entrance, deadline, &entering, b, 0, entered);
}

static TL_GIL int barrier_reset(lua_State *L) {
  Barrier *b = check_barrier(L);
  turn_out(b);
  b->broken = false;
  return 0;
}

static TL_GIL int barrier_abort(lua_State *L) {
  break_barrier(check_barrier(L));
  return 0;
}

/* 2: action, 3: timeout; checked. */
static TL_GIL Barrier *push_barrier(lua_State *L, lua_Integer parties) {
  bool acts = !lua_isnil(L, 2);
  Barrier *b = lua_newuserdatauv(L, sizeof *b, 2);
  *b = (Barrier){.waiters = {.what = "barrier"},
                 .entrance = {.what = "barrier"},
                 .parties = parties,
                 .timeout = luaL_optnumber(L, 3, -1)};
  luaL_setmetatable(L, BARRIER);
  if (!acts) return b;
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, ACTION);
  Pass *p = lua_newuserdatauv(L, sizeof *p, 0);
  p->barrier = b;
  luaL_setmetatable(L, PASS);
  lua_setiuservalue(L, -2, PASS_VALUE);
  return b;
}

static TL_GIL int barrier_new(lua_State *L) {
  push_barrier(L, bind_parties(L, INT_MAX));
  return 1;
}

static TL_GIL int barrier_parties(lua_State *L) {
  lua_pushinteger(L, check_barrier(L)->parties);
  return 1;
}

static TL_GIL int filling(const Barrier *b) {
  return b->acting ? 0 : tl_waitq_count(&b->waiters);
}

static TL_GIL int barrier_n_waiting(lua_State *L) {
  lua_pushinteger(L, filling(check_barrier(L)));
  return 1;
}

static TL_GIL int barrier_broken(lua_State *L) {
  lua_pushboolean(L, check_barrier(L)->broken);
  return 1;
}

static TL_GIL int barrier_tostring(lua_State *L) {
  Barrier *b = check_barrier(L);
  if (b->broken)
    lua_pushfstring(L, "<Barrier parties=%I broken>", b->parties);
  else
    lua_pushfstring(L, "<Barrier parties=%I waiting=%d>", b->parties,
                    filling(b));
  return 1;
}

static const luaL_Reg methods[] = {{"wait", barrier_wait},
                                   {"reset", barrier_reset},
                                   {"abort", barrier_abort},
                                   {NULL, NULL}};
static const luaL_Reg getters[] = {{"parties", barrier_parties},
                                   {"n_waiting", barrier_n_waiting},
                                   {"broken", barrier_broken},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", barrier_tostring},
                                       {NULL, NULL}};
static const luaL_Reg pass_metamethods[] = {{"__close", pass_close},
                                            {NULL, NULL}};
static const luaL_Reg functions[] = {{"Barrier", barrier_new}, {NULL, NULL}};

TL_GIL int luaopen_tl_barrier(lua_State *L) {
  bind_newclass_attrs(L, BARRIER, methods, metamethods, getters, NULL);
  bind_newclass(L, PASS, NULL, pass_metamethods);
  luaL_newlib(L, functions);
  return 1;
}

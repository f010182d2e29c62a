/* barrier.c - multiprocessing.Barrier.
 * Documented in types/multiprocessing.synchronize.lua. */
#include "ipc/barrier.h"

#include "modules.h"
#include "synchronize.h"

#define BARRIER "multiprocessing.Barrier"
#define PASS "multiprocessing.Barrier.pass"

typedef struct Barrier {
  const void *tag;    /* const: see bind_checktagged */
  lua_Number timeout; /* const: seconds, negative: for ever */
  bool acting;        /* GIL: a thread of this interpreter runs the action */
  ipc_barrier os;
} Barrier;

enum { ACTION = 1, PASS_VALUE }; /* user values; both nil without an action */

/* Lives on the stack while the action runs, to be closed: an error in it, or
 * the end of its coroutine, breaks the barrier. */
typedef struct Pass {
  Barrier *barrier; /* const; keeps its Pass, and is argument 1 below it */
} Pass;

static const char tag;
static const sync_kind waiting = {"mp barrier", NULL, NULL, false};
static const sync_kind guarding = {"mp barrier", NULL, NULL, true};

static TL_GIL Barrier *check_barrier(lua_State *L) {
  Barrier *b = bind_checktagged(L, &tag, sizeof(Barrier));
  sync_check_open(L, b->os.memory);
  return b;
}

static TL_GIL int broken_error(lua_State *L) {
  return tl_error(L, "BrokenBarrierError", "the barrier is broken");
}

/* Taken with the GIL only: who has it never waits for that. A finalizer keeps
 * the GIL. */
static TL_GIL void guard(lua_State *L, Barrier *b) {
  ipc_wait w = ipc_wait_start(TL_FOREVER);
  while (ipc_barrier_guard(&b->os, &w) == IPC_BUSY) {
    if (!tl_in_finalizer(L)) {
      sync_sleep(L, &guarding, &w, TL_FOREVER);
    } else {
      ipc_wait_begin(&w, TL_FOREVER);
      os_cpu_relax();
      ipc_wait_end(&w, TL_FOREVER);
    }
  }
}

static TL_GIL void unguard(Barrier *b) {
  ipc_barrier_unguard(&b->os);
}

/* --- The action ----------------------------------------------------------- */

static TL_GIL bool end_action(lua_State *L, Barrier *b, bool well,
                              uint32_t *index) {
  guard(L, b);
  b->acting = false;
  bool whole = ipc_barrier_acted(&b->os, well, index);
  unguard(b);
  return whole;
}

static TL_GIL int pass_close(lua_State *L) {
  Pass *p = bind_checkself(L, PASS);
  uint32_t index;
  if (p->barrier->acting && p->barrier->os.memory != NULL)
    end_action(L, p->barrier, false, &index);
  return 0;
}

static TL_GIL int acted(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  uint32_t index;
  if (!end_action(L, lua_touserdata(L, 1), true, &index))
    return broken_error(L);
  lua_pushinteger(L, index);
  return 1;
}

/* 'acting' is set already. */
static TL_GIL int act(lua_State *L) {
  lua_getiuservalue(L, 1, PASS_VALUE);
  lua_toclose(L, -1);
  lua_getiuservalue(L, 1, ACTION);
  lua_callk(L, 0, 0, 0, acted);
  return acted(L, LUA_OK, 0);
}

/* --- Waiting -------------------------------------------------------------- */

typedef struct arrival {
  int record;
  uint32_t index;
} arrival;

static TL_GIL ipc_outcome arrive(lua_State *L, Barrier *b, arrival *a) {
  bool acts = lua_getiuservalue(L, 1, ACTION) != LUA_TNIL;
  lua_pop(L, 1);
  guard(L, b);
  ipc_outcome outcome = ipc_barrier_arrive(&b->os, acts, &a->record, &a->index);
  b->acting = b->acting || outcome == IPC_ACT;
  unguard(b);
  return outcome;
}

/* Sleeps until the record's wait has ended. False: something is to be raised;
 * '*late': the deadline passed. */
static TL_GIL bool sleep_at(lua_State *L, Barrier *b, int record,
                            int64_t deadline, bool *late) {
  ipc_wait w = ipc_wait_start(deadline);
  bool wants_guard, goes_on = true;
  while (goes_on &&
         ipc_barrier_try(&b->os, record, &w, &wants_guard) == IPC_BUSY) {
    if (wants_guard) {
      guard(L, b);
      ipc_barrier_look(&b->os);
      unguard(b);
    } else if (w.last) {
      break;
    } else {
      goes_on = sync_sleep(L, &waiting, &w, deadline);
    }
  }
  *late = goes_on && w.last;
  return goes_on;
}

/* Waits at the record; IPC_ACT: at the entrance, which has been opened. */
static TL_GIL ipc_outcome wait_at(lua_State *L, Barrier *b, arrival *a,
                                  int64_t deadline) {
  bool late, undisturbed = sleep_at(L, b, a->record, deadline, &late);
  guard(L, b);
  ipc_outcome outcome = ipc_barrier_end(&b->os, a->record, late, &a->index);
  unguard(b);
  bool raises = !undisturbed && (outcome == IPC_BUSY || outcome == IPC_ACT ||
                                 !lua_isnil(L, -1));
  if (raises) sync_raise(L);
  return outcome;
}

static TL_GIL int wait_until(lua_State *L, Barrier *b, int64_t deadline) {
  arrival a = {.record = -1};
  for (;;) {
    ipc_outcome outcome = arrive(L, b, &a);
    if (outcome == IPC_BUSY) {
      outcome = wait_at(L, b, &a, deadline);
      if (outcome == IPC_ACT) continue;
    }
    lua_settop(L, 1);
    if (outcome == IPC_ACT) return act(L);
    if (outcome == IPC_FULL)
      return luaL_error(L, "too many take part in the barrier at once (%d)",
                        IPC_BARRIER_RECORDS);
    if (outcome != IPC_TAKEN) return broken_error(L);
    lua_pushinteger(L, a.index);
    return 1;
  }
}

static TL_GIL int barrier_wait(lua_State *L) {
  Barrier *b = check_barrier(L);
  int64_t deadline = bind_deadline_or(L, 2, b->timeout);
  if (deadline != 0 && tl_in_finalizer(L))
    return luaL_error(L, "cannot wait in a finalizer");
  luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
  lua_settop(L, 1);
  return wait_until(L, b, deadline);
}

static TL_GIL int barrier_reset(lua_State *L) {
  Barrier *b = check_barrier(L);
  guard(L, b);
  ipc_barrier_reset(&b->os);
  unguard(b);
  return 0;
}

static TL_GIL int barrier_abort(lua_State *L) {
  Barrier *b = check_barrier(L);
  guard(L, b);
  ipc_barrier_abort(&b->os);
  unguard(b);
  return 0;
}

/* --- The class ------------------------------------------------------------ */

/* A closed one, on the top; the action at the index may be nil. */
static TL_GIL Barrier *new_barrier(lua_State *L, int action,
                                   lua_Number timeout) {
  action = lua_absindex(L, action);
  Barrier *b = lua_newuserdatauv(L, sizeof *b, 2);
  *b = (Barrier){.timeout = timeout, .os.segment.fd = -1};
  luaL_setmetatable(L, BARRIER);
  if (lua_isnil(L, action)) return b;
  lua_pushvalue(L, action);
  lua_setiuservalue(L, -2, ACTION);
  Pass *p = lua_newuserdatauv(L, sizeof *p, 0);
  p->barrier = b;
  luaL_setmetatable(L, PASS);
  lua_setiuservalue(L, -2, PASS_VALUE);
  return b;
}

static TL_GIL int barrier_new(lua_State *L) {
  uint32_t parties = (uint32_t)bind_parties(L, IPC_BARRIER_RECORDS / 2);
  Barrier *b = new_barrier(L, 2, luaL_optnumber(L, 3, -1));
  int err = ipc_barrier_create(&b->os, parties);
  if (sync_made_room(L, err)) err = ipc_barrier_create(&b->os, parties);
  if (err) return tl_error_os(L, -err, "Barrier");
  b->tag = &tag;
  return 1;
}

static TL_GIL int barrier_parties(lua_State *L) {
  lua_pushinteger(L, check_barrier(L)->os.memory->parties);
  return 1;
}

static TL_GIL int barrier_n_waiting(lua_State *L) {
  lua_pushinteger(L, ipc_barrier_waiting(&check_barrier(L)->os));
  return 1;
}

static TL_GIL int barrier_broken(lua_State *L) {
  lua_pushboolean(L, ipc_barrier_is_broken(&check_barrier(L)->os));
  return 1;
}

static TL_GIL int barrier_tostring(lua_State *L) {
  Barrier *b = check_barrier(L);
  int parties = (int)b->os.memory->parties;
  if (ipc_barrier_is_broken(&b->os))
    lua_pushfstring(L, "<Barrier parties=%d broken>", parties);
  else
    lua_pushfstring(L, "<Barrier parties=%d waiting=%d>", parties,
                    (int)ipc_barrier_waiting(&b->os));
  return 1;
}

static TL_GIL int barrier_gc(lua_State *L) {
  Barrier *b = bind_checkself(L, BARRIER);
  b->tag = NULL;
  ipc_barrier_close(&b->os);
  return 0;
}

/* --- To other processes --------------------------------------------------- */

static TL_UNCHECKED int barrier_pack(lua_State *L, int idx, int *fds) {
  Barrier *b = lua_touserdata(L, idx);
  sync_check_open(L, b->os.memory);
  lua_createtable(L, 0, 2);
  lua_getiuservalue(L, idx, ACTION);
  lua_setfield(L, -2, "action");
  lua_pushnumber(L, b->timeout);
  lua_setfield(L, -2, "timeout");
  fds[0] = b->os.segment.fd;
  return 1;
}

static TL_UNCHECKED void barrier_unpack(lua_State *L, int *fds, int n) {
  if (!lua_istable(L, -1)) luaL_error(L, "this is no Barrier");
  lua_getfield(L, -1, "action");
  lua_getfield(L, -2, "timeout");
  if (!lua_isnumber(L, -1)) luaL_error(L, "this is no Barrier");
  Barrier *b = new_barrier(L, -2, lua_tonumber(L, -1));
  lua_replace(L, -4);
  lua_pop(L, 2);
  int err = ipc_barrier_open(&b->os, sync_take_fd(L, fds, n));
  sync_check_opened(L, err, "Barrier");
  b->tag = &tag;
}

static const tl_portable portable = {
    .name = "Barrier", .pack = barrier_pack, .unpack = barrier_unpack};

static const luaL_Reg methods[] = {{"wait", barrier_wait},
                                   {"reset", barrier_reset},
                                   {"abort", barrier_abort},
                                   {NULL, NULL}};
static const luaL_Reg getters[] = {{"parties", barrier_parties},
                                   {"n_waiting", barrier_n_waiting},
                                   {"broken", barrier_broken},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__gc", barrier_gc}, {"__tostring", barrier_tostring}, {NULL, NULL}};
static const luaL_Reg pass_metamethods[] = {{"__close", pass_close},
                                            {NULL, NULL}};
static const luaL_Reg functions[] = {{"Barrier", barrier_new}, {NULL, NULL}};

TL_GIL int luaopen_tl_sync_barrier(lua_State *L) {
  bind_newclass_attrs(L, BARRIER, methods, metamethods, getters, NULL);
  bind_newclass(L, PASS, NULL, pass_metamethods);
  tl_portable_register(L, BARRIER, "tidelock._synchronize", &portable);
  luaL_newlib(L, functions);
  return 1;
}

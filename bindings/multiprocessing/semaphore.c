/* semaphore.c - multiprocessing.Semaphore and BoundedSemaphore.
 * Documented in types/multiprocessing.synchronize.lua. */
#include "ipc/semaphore.h"

#include <errno.h>

#include "modules.h"
#include "synchronize.h"

#define SEMAPHORE "multiprocessing.Semaphore"

typedef struct Semaphore {
  const void *tag; /* const: see bind_checktagged */
  bool bounded;    /* const */
  ipc_semaphore os;
} Semaphore;

static const char tag;

static inline TL_GIL Semaphore *check_semaphore(lua_State *L) {
  Semaphore *s = bind_checktagged(L, &tag, sizeof(Semaphore));
  sync_check_open(L, s->os.memory);
  return s;
}

static ipc_outcome try(void *object, ipc_wait *w) {
  return ipc_semaphore_try(object, w);
}

static void quit(void *object) {
  ipc_semaphore_quit(object);
}

static const sync_kind taking = {"mp semaphore", try, quit, false};

static TL_GIL Semaphore *new_semaphore(lua_State *L, bool bounded) {
  Semaphore *s = lua_newuserdatauv(L, sizeof *s, 0);
  *s = (Semaphore){.bounded = bounded, .os.segment.fd = -1};
  luaL_setmetatable(L, SEMAPHORE);
  return s;
}

static TL_GIL int semaphore_push(lua_State *L, bool bounded) {
  static const char *const options[] = {"n", "value", NULL};
  if (bind_options(L, 1, options) && lua_isnil(L, 1)) lua_remove(L, 1);
  lua_Integer value = bind_count(L, 1, 1, 0);
  luaL_argcheck(L, value <= IPC_SEMAPHORE_MOST, 1, "too many permits");
  uint32_t n = (uint32_t)value, most = bounded ? n : IPC_SEMAPHORE_MOST;
  Semaphore *s = new_semaphore(L, bounded);
  int err = ipc_semaphore_create(&s->os, n, most);
  if (sync_made_room(L, err)) err = ipc_semaphore_create(&s->os, n, most);
  if (err) return tl_error_os(L, -err, "Semaphore");
  s->tag = &tag;
  return 1;
}

static TL_GIL int semaphore_new(lua_State *L) {
  return semaphore_push(L, false);
}

static TL_GIL int bounded_new(lua_State *L) {
  return semaphore_push(L, true);
}

static TL_GIL int too_many(lua_State *L) {
  return luaL_error(L, "too many processes use the semaphore at once (%d)",
                    IPC_SEMAPHORE_SLOTS);
}

/* Takes a permit; false when the time has passed. */
static TL_GIL bool take(lua_State *L, Semaphore *s, int64_t deadline) {
  ipc_outcome outcome = sync_wait(L, &taking, &s->os, deadline);
  if (tl_unlikely(outcome == IPC_FULL)) too_many(L);
  return outcome == IPC_TAKEN;
}

static TL_GIL int semaphore_acquire(lua_State *L) {
  Semaphore *s = check_semaphore(L);
  int64_t deadline = TL_FOREVER;
  if (tl_unlikely(lua_gettop(L) > 1)) {
    deadline = bind_blocking(L, 2);
    bind_deadline(L, 3); /* unlike a lock's, -1 means nothing */
  }
  lua_pushboolean(L, take(L, s, deadline));
  return 1;
}

static TL_GIL void give(lua_State *L, Semaphore *s, lua_Integer n) {
  int err = n > IPC_SEMAPHORE_MOST ? -EOVERFLOW
                                   : ipc_semaphore_release(&s->os, (uint32_t)n);
  if (tl_likely(err == 0)) return;
  if (err == -ENOSPC) too_many(L);
  luaL_error(L, s->bounded ? "BoundedSemaphore released too often"
                           : "Semaphore value too large");
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
  take(L, check_semaphore(L), TL_FOREVER);
  lua_pushinteger(L, TL_GRANTED);
  return bind_guarded(L, LUA_OK, 0);
}

static TL_GIL int semaphore_with(lua_State *L) {
  Semaphore *s = check_semaphore(L);
  bind_checkcallable(L, 2);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  take(L, s, TL_FOREVER);
  lua_pushinteger(L, TL_GRANTED);
  return bind_within(L, LUA_OK, 0);
}

static TL_GIL int semaphore_get_value(lua_State *L) {
  lua_pushinteger(L, ipc_semaphore_value(&check_semaphore(L)->os));
  return 1;
}

static TL_GIL int semaphore_tostring(lua_State *L) {
  Semaphore *s = check_semaphore(L);
  lua_Integer value = ipc_semaphore_value(&s->os);
  if (s->bounded)
    lua_pushfstring(L, "<BoundedSemaphore value=%I/%d>", value,
                    (int)s->os.memory->most);
  else
    lua_pushfstring(L, "<Semaphore value=%I>", value);
  return 1;
}

static TL_GIL int semaphore_gc(lua_State *L) {
  Semaphore *s = bind_checkself(L, NULL);
  s->tag = NULL;
  ipc_semaphore_close(&s->os);
  return 0;
}

/* --- To other processes --------------------------------------------------- */

static TL_UNCHECKED int semaphore_pack(lua_State *L, int idx, int *fds) {
  Semaphore *s = lua_touserdata(L, idx);
  sync_check_open(L, s->os.memory);
  lua_pushboolean(L, s->bounded);
  fds[0] = s->os.segment.fd;
  return 1;
}

static TL_UNCHECKED void semaphore_unpack(lua_State *L, int *fds, int n) {
  bool bounded = lua_toboolean(L, -1);
  lua_pop(L, 1);
  Semaphore *s = new_semaphore(L, bounded);
  int err = ipc_semaphore_open(&s->os, sync_take_fd(L, fds, n));
  sync_check_opened(L, err, "Semaphore");
  s->tag = &tag;
}

static const tl_portable portable = {
    .name = "Semaphore", .pack = semaphore_pack, .unpack = semaphore_unpack};

static const luaL_Reg methods[] = {
    {"acquire", semaphore_acquire},     {"release", semaphore_release},
    {"get_value", semaphore_get_value}, {"guard", semaphore_guard},
    {"with", semaphore_with},           {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__close", semaphore_close},
                                       {"__gc", semaphore_gc},
                                       {"__tostring", semaphore_tostring},
                                       {NULL, NULL}};
static const luaL_Reg functions[] = {{"Semaphore", semaphore_new},
                                     {"BoundedSemaphore", bounded_new},
                                     {NULL, NULL}};

TL_GIL int luaopen_tl_sync_semaphore(lua_State *L) {
  bind_newclass(L, SEMAPHORE, methods, metamethods);
  tl_portable_register(L, SEMAPHORE, "tidelock._synchronize", &portable);
  luaL_newlib(L, functions);
  return 1;
}

/* tracker.c - the process that takes names of shared memory away, as an
 * interpreter sees it. */
#include "tracker.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "pickle.h"
#include "runtime.h"

#define TRACKER "multiprocessing.shared_memory.Tracker"

/* The address is the key of this interpreter's tracker in the registry. */
static const char tracker_key;

ipc_tracker *tracker_of(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &tracker_key);
  ipc_tracker *t = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return t;
}

/* In a finalizer the GIL is kept. */
static TL_GIL int start(lua_State *L, ipc_tracker *t) {
  if (tl_in_finalizer(L)) return ipc_tracker_start(t);
  tl_block_begin(bind_thread(), "shared memory");
  int err = ipc_tracker_start(t);
  tl_block_end(bind_thread());
  return err;
}

/* In place: other threads may be about to write to it. */
static int replace(const ipc_tracker *t, const ipc_tracker *by) {
  return dup3(by->fd, t->fd, O_CLOEXEC) < 0 ? -errno : 0;
}

/* Another thread may have started one meanwhile, and named blocks to it. */
int tracker_ensure(lua_State *L, ipc_tracker *t) {
  if (ipc_tracker_lives(t)) return 0;
  ipc_tracker started;
  int err = start(L, &started);
  if (err) return err;
  if (t->fd < 0) {
    t->fd = started.fd;
    return 0;
  }
  if (!ipc_tracker_lives(t)) err = replace(t, &started);
  ipc_tracker_close(&started);
  return err;
}

static TL_GIL void before_fork(lua_State *L) {
  ipc_tracker *t = tracker_of(L);
  if (t != NULL && t->fd < 0) ipc_tracker_start(t);
}

static TL_GIL void after_fork(lua_State *L, int child) {
  (void)L, (void)child;
}

static const tl_fork_hooks fork_hooks = {before_fork, after_fork};

/* --- To children that are no forks ---------------------------------------- */

int tracker_push(lua_State *L) {
  lua_settop(L, 0);
  ipc_tracker *t = tracker_of(L);
  if (tracker_ensure(L, t) != 0) return lua_pushnil(L), 1;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &tracker_key);
  return 1;
}

static TL_GIL int tracker_adopt(lua_State *L) {
  ipc_tracker *given = bind_checkself(L, TRACKER), *t = tracker_of(L);
  if (given == t || given->fd < 0) return 0;
  if (t->fd < 0) {
    *t = *given;
    given->fd = -1;
    return 0;
  }
  int err = replace(t, given);
  if (err) return tl_error_os(L, -err, "dup");
  ipc_tracker_close(given);
  return 0;
}

static TL_GIL ipc_tracker *new_tracker(lua_State *L) {
  ipc_tracker *t = lua_newuserdatauv(L, sizeof *t, 0);
  t->fd = -1;
  luaL_setmetatable(L, TRACKER);
  return t;
}

static TL_GIL int pack(lua_State *L, int idx, int *fds) {
  const ipc_tracker *t = lua_touserdata(L, idx);
  if (t->fd < 0) return luaL_error(L, "the tracker has been adopted");
  fds[0] = t->fd;
  lua_pushnil(L);
  return 1;
}

static TL_GIL void unpack(lua_State *L, int *fds, int n) {
  lua_pop(L, 1);
  if (n != 1) luaL_error(L, "no tracker");
  new_tracker(L)->fd = fds[0];
  fds[0] = -1;
}

static const tl_portable portable = {
    .name = "tracker", .pack = pack, .unpack = unpack};

static TL_GIL int tracker_gc(lua_State *L) {
  ipc_tracker_close(bind_checkself(L, TRACKER));
  return 0;
}

void tracker_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"adopt", tracker_adopt}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__gc", tracker_gc}, {NULL, NULL}};
  if (tracker_of(L) != NULL) return;
  bind_newclass(L, TRACKER, methods, metamethods);
  tl_portable_register(L, TRACKER, "tidelock._shared_memory", &portable);
  new_tracker(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &tracker_key);
  tl_runtime_atfork(&fork_hooks);
}

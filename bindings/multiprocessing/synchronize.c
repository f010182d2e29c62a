/* synchronize.c - "tidelock._synchronize": locks and the like between
 * processes, in one table; and how they wait. */
#include "synchronize.h"

#include <errno.h>

#include "modules.h"

static TL_GIL int run_pending(lua_State *L) {
  tl_check(L);
  return 0;
}

bool sync_serve(lua_State *L) {
  if (tl_would_raise(L, bind_thread())) {
    lua_pushnil(L);
    return false;
  }
  lua_pushcfunction(L, run_pending);
  return lua_pcall(L, 0, 0, 0) == LUA_OK;
}

bool sync_sleep(lua_State *L, const sync_kind *k, ipc_wait *w,
                int64_t deadline) {
  int64_t until = ipc_wait_begin(w, deadline);
  tl_thread *t = bind_thread();
  bool goes_on = true;
  t->waits_since = w->since;
  if (k->uninterruptible)
    tl_sleep_word(w->word, w->seen, until, k->what);
  else if (tl_wait_word(L, w->word, w->seen, until, k->what) == -EINTR)
    goes_on = false;
  t->waits_since = 0;
  if (!goes_on) goes_on = sync_serve(L);
  ipc_wait_end(w, deadline);
  return goes_on;
}

void sync_raise(lua_State *L) {
  if (!lua_isnil(L, -1)) lua_error(L);
  lua_pop(L, 1);
  tl_check(L);
}

ipc_outcome sync_wait(lua_State *L, const sync_kind *k, void *object,
                      int64_t deadline) {
  ipc_wait w = ipc_wait_start(deadline);
  ipc_outcome outcome;
  while ((outcome = k->try(object, &w)) == IPC_BUSY && !w.last) {
    if (w.since == 0) {
      luaL_checkstack(L, LUA_MINSTACK, NULL);
      if (tl_in_finalizer(L)) luaL_error(L, "cannot wait in a finalizer");
    }
    if (sync_sleep(L, k, &w, deadline)) continue;
    if (k->quit) k->quit(object);
    sync_raise(L);
  }
  if (outcome == IPC_BUSY && w.slept && k->quit) k->quit(object);
  return outcome;
}

bool sync_made_room(lua_State *L, int err) {
  if (err != -EMFILE && err != -ENFILE && err != -ENOMEM) return false;
  lua_gc(L, LUA_GCCOLLECT);
  return true;
}

void sync_check_opened(lua_State *L, int err, const char *what) {
  if (err == -EINVAL) luaL_error(L, "this is no %s", what);
  if (err) tl_error_os(L, -err, what);
}

int sync_take_fd(lua_State *L, int *fds, int n) {
  if (n != 1) luaL_error(L, "an object in shared memory has one descriptor");
  int fd = fds[0];
  fds[0] = -1;
  return fd;
}

int sync_pack_block(lua_State *L, const ipc_block *b, int *fds) {
  lua_pushinteger(L, (lua_Integer)ipc_block_offset(b));
  fds[0] = ipc_block_fd(b);
  return 1;
}

size_t sync_unpack_block(lua_State *L, int n) {
  if (n != 1 || !lua_isinteger(L, -1))
    luaL_error(L, "an object in shared memory has a place there");
  lua_Integer offset = lua_tointeger(L, -1); /* negative: lies outside */
  lua_pop(L, 1);
  return (size_t)offset;
}

int luaopen_tl_synchronize(lua_State *L) {
  static const lua_CFunction parts[] = {
      luaopen_tl_sync_lock, luaopen_tl_sync_condition,
      luaopen_tl_sync_semaphore, luaopen_tl_sync_event,
      luaopen_tl_sync_barrier};
  arena_open(L);
  return bind_openparts(L, parts, sizeof parts / sizeof *parts);
}

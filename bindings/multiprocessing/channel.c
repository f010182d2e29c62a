/* channel.c - waiting for a channel between processes. */
#include "channel.h"

#include <errno.h>

void channel_create(lua_State *L, ipc_channel *c, uint32_t maxsize,
                    uint64_t limit, size_t extra) {
  int err = ipc_channel_create(c, maxsize, limit, extra);
  if (sync_made_room(L, err))
    err = ipc_channel_create(c, maxsize, limit, extra);
  if (err) tl_error_os(L, -err, "cannot make shared memory");
}

/* After a try that has to wait: false when the time has passed. */
static TL_GIL bool wait_on(lua_State *L, ipc_channel *c, ipc_wait *w,
                           int64_t deadline, const char *what) {
  const sync_kind kind = {.what = what};
  if (w->last) {
    ipc_channel_quit(c, w);
    return false;
  }
  if (w->since == 0) {
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    if (tl_in_finalizer(L)) {
      ipc_channel_quit(c, w);
      luaL_error(L, "cannot wait in a finalizer");
    }
  }
  c->sleepers++;
  bool goes_on = sync_sleep(L, &kind, w, deadline);
  c->sleepers--;
  if (!goes_on) {
    ipc_channel_quit(c, w);
    sync_raise(L);
  }
  return true;
}

bool channel_put(lua_State *L, ipc_channel *c, const struct iovec *parts, int n,
                 int64_t deadline, const char *what, int wake,
                 uint32_t *number) {
  ipc_wait w = ipc_wait_start(deadline);
  for (;;) {
    int done = ipc_channel_put(c, &w, parts, n, wake, number);
    if (done == IPC_CHANNEL_DONE) return true;
    if (done == IPC_CHANNEL_CLOSED) return false;
    if (done < 0) return tl_error_os(L, -done, "cannot put the message");
    if (!wait_on(L, c, &w, deadline, what)) return false;
  }
}

static bool has_messages(const void *ring) {
  return ipc_ring_count(ring) > 0;
}

static TL_GIL void spin(ipc_channel *c, Spinner *s) {
  const ipc_ring *r = &c->memory->ring;
  if (has_messages(r)) return;
  c->sleepers++;
  spin_until(s, has_messages, r);
  c->sleepers--;
}

bool channel_get(lua_State *L, ipc_channel *c, Spinner *s, int64_t deadline,
                 const char *what, ipc_mark mark, channel_message *m) {
  if (s && deadline != 0 && !tl_in_finalizer(L)) spin(c, s);
  ipc_wait w = ipc_wait_start(deadline);
  char *to = m->small;
  uint64_t room = sizeof m->small;
  lua_pushnil(L);
  m->ended = false;
  for (;;) {
    m->size = room;
    int done = ipc_channel_get(c, &w, to, &m->size, mark);
    if (done == IPC_CHANNEL_DONE) {
      m->data = to;
      return true;
    }
    if (done == -EMSGSIZE) {
      lua_pop(L, 1);
      room = m->size;
      to = lua_newuserdatauv(L, room, 0);
      continue;
    }
    m->ended = done == IPC_CHANNEL_CLOSED;
    if (m->ended || !wait_on(L, c, &w, deadline, what)) break;
  }
  lua_pop(L, 1);
  return false;
}

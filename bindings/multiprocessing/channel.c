/* channel.c - waiting for a channel between processes. */
#include "channel.h"

#include <errno.h>

static TL_GIL bool refuse(lua_State *L, const char *problem) {
  luaL_where(L, 1);
  lua_pushstring(L, problem);
  lua_concat(L, 2);
  return false;
}

void channel_create(lua_State *L, ipc_channel *c, uint32_t maxsize,
                    uint64_t limit, size_t extra) {
  int err = ipc_channel_create(c, maxsize, limit, extra);
  if (sync_made_room(L, err))
    err = ipc_channel_create(c, maxsize, limit, extra);
  if (err) tl_error_os(L, -err, "cannot make shared memory");
}

bool channel_sleep(lua_State *L, ipc_channel *c, const sync_kind *k,
                   ipc_wait *w, int64_t deadline) {
  if (w->since == 0) {
    if (!lua_checkstack(L, LUA_MINSTACK)) return refuse(L, "stack overflow");
    if (tl_in_finalizer(L)) return refuse(L, "cannot wait in a finalizer");
  }
  tl_users_enter(&c->users);
  bool goes_on = sync_sleep(L, k, w, deadline);
  tl_users_leave(&c->users);
  return goes_on;
}

/* A caller and how long it waits. */
typedef struct Waiting {
  ipc_wait w;
  int64_t deadline, until;
  const char *what;
} Waiting;

static Waiting start(int64_t deadline, const char *what) {
  return (Waiting){ipc_wait_start(deadline), deadline, deadline, what};
}

/* Who does not wait for room or for a message waits so long for another process
 * that puts or takes, which may be stopped. */
#define GRACE 10000000 /* ns */

/* After a try that ended with WAIT or LOCKED: false when the time has passed.
 */
static TL_GIL bool goes_on(lua_State *L, ipc_channel *c, Waiting *x, int done) {
  const sync_kind kind = {.what = x->what};
  bool locked = done == IPC_CHANNEL_LOCKED;
  if (locked && x->until == 0 && !tl_in_finalizer(L)) {
    x->until = os_now() + GRACE;
    x->w = ipc_wait_start(x->until);
    return true;
  }
  if (x->w.last || (x->deadline == 0 && !locked)) {
    ipc_channel_quit(c, &x->w);
    return false;
  }
  if (channel_sleep(L, c, &kind, &x->w, x->until)) return true;
  ipc_channel_quit(c, &x->w);
  sync_raise(L);
  return true;
}

bool channel_put(lua_State *L, ipc_channel *c, const struct iovec *parts, int n,
                 int64_t deadline, const char *what, int wake,
                 uint32_t *number) {
  Waiting x = start(deadline, what);
  for (;;) {
    int done = ipc_channel_put(c, &x.w, parts, n, wake, number);
    if (done == IPC_CHANNEL_DONE) return true;
    if (done == IPC_CHANNEL_CLOSED) return false;
    if (done < 0) return tl_error_os(L, -done, "cannot put the message");
    if (!goes_on(L, c, &x, done)) return false;
  }
}

/* Whether getting goes on: there is a message, or will be none. */
static bool is_ready(const void *memory) {
  const ipc_channel_memory *m = memory;
  return ipc_ring_count(&m->ring) > 0 || atomic_load(&m->closed);
}

static TL_GIL void spin(ipc_channel *c, Spinner *s, int64_t deadline) {
  if (is_ready(c->memory)) return;
  tl_users_enter(&c->users);
  spin_until(s, deadline, is_ready, c->memory);
  tl_users_leave(&c->users);
}

bool channel_get(lua_State *L, ipc_channel *c, Spinner *s, int64_t deadline,
                 const char *what, ipc_mark mark, channel_message *m) {
  if (s && deadline != 0 && !tl_in_finalizer(L)) spin(c, s, deadline);
  Waiting x = start(deadline, what);
  char *to = m->small;
  uint64_t room = sizeof m->small;
  lua_pushnil(L);
  m->ended = false;
  for (;;) {
    m->size = room;
    int done = ipc_channel_get(c, &x.w, to, &m->size, mark);
    if (done == IPC_CHANNEL_DONE) {
      m->data = to;
      return true;
    }
    if (done == -EMSGSIZE) {
      lua_pop(L, 1);
      room = m->size;
      to = lua_newuserdatauv(L, room, 0);
      if (!c->memory) luaL_error(L, "closed by a finalizer");
      continue;
    }
    m->ended = done == IPC_CHANNEL_CLOSED;
    if (m->ended || !goes_on(L, c, &x, done)) break;
  }
  lua_pop(L, 1);
  return false;
}

/* queues.c - "tidelock._queues": Queue, JoinableQueue and SimpleQueue between
 * processes. Documented in types/multiprocessing.queues.lua.
 *
 * put pickles the item and has put it into shared memory when it returns: there
 * is no thread that feeds a pipe, so nothing has to be flushed, and nothing
 * waits for that. An item that cannot travel is refused by put. */
#include <errno.h>

#include "channel.h"
#include "ipc/takers.h"
#include "modules.h"
#include "pickle.h"

#define PREFIX "multiprocessing."
#define LIMIT ((lua_Integer)256 * 1024 * 1024) /* bytes */

typedef enum queue_class { QUEUE, JOINABLE, SIMPLE } queue_class;
static const char *const names[] = {PREFIX "Queue", PREFIX "JoinableQueue",
                                    PREFIX "SimpleQueue"};

static const char *short_name(queue_class class) {
  return names[class] + sizeof PREFIX - 1;
}

/* Of a JoinableQueue: behind the channel's own part of its first page. */
#define TAKERS_BEGIN 2048

_Static_assert(sizeof(ipc_channel_memory) <= TAKERS_BEGIN &&
                   TAKERS_BEGIN + sizeof(ipc_takers) <= 4096,
               "both in the page before the data");

typedef struct Queue {
  queue_class class; /* const */
  uint32_t place;    /* GIL: of this process among the takers */
  Spinner spinner;
  ipc_channel os;
} Queue;

static ipc_takers *takers_of(Queue *q) {
  return (ipc_takers *)((char *)q->os.segment.memory + TAKERS_BEGIN);
}

static TL_GIL Queue *check_queue(lua_State *L) {
  Queue *q = bind_checkself(L, NULL);
  if (tl_unlikely(q->os.memory == NULL)) luaL_error(L, "the queue is closed");
  return q;
}

static TL_GIL Queue *new_queue(lua_State *L, queue_class class) {
  Queue *q = lua_newuserdatauv(L, sizeof *q, 0);
  *q = (Queue){.class = class, .os.segment.fd = -1};
  luaL_setmetatable(L, names[class]);
  return q;
}

/* --- put and get ---------------------------------------------------------- */

static TL_GIL int refuse(lua_State *L, const char *class) {
  lua_pushnil(L);
  tl_error_pushclass(L, class);
  return 2;
}

static TL_GIL int put(lua_State *L, int64_t deadline) {
  Queue *q = check_queue(L);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  const tl_pickled *p = tl_pickle_dump(L, 2, 0, "item");
  check_queue(L); /* what it runs may have closed it */
  struct iovec part = {(void *)p->data, p->size};
  if (p->size + 16 > q->os.memory->ring.limit)
    luaL_argerror(L, 2, "larger than the queue's limit");
  uint32_t number;
  if (!channel_put(L, &q->os, &part, 1, deadline, "mp queue", 1, &number))
    return refuse(L, "Full");
  lua_pushboolean(L, true);
  return 1;
}

static TL_GIL int queue_put(lua_State *L) {
  return put(L, bind_block(L, 3));
}

static TL_GIL int queue_put_nowait(lua_State *L) {
  return put(L, 0);
}

static TL_GIL int get(lua_State *L, int64_t deadline) {
  Queue *q = check_queue(L);
  struct ipc_taker *mine =
      q->class == JOINABLE ? ipc_takers_mine(takers_of(q), &q->place) : NULL;
  channel_message m;
  if (!channel_get(L, &q->os, &q->spinner, deadline, "mp queue",
                   (ipc_mark){.current = mine ? &mine->current : NULL}, &m))
    return refuse(L, "Empty");
  if (mine) ipc_taker_took(mine);
  tl_pickle_load(L, m.data, m.size, NULL, 0, TL_PICKLE_FAMILY);
  return 1;
}

static TL_GIL int queue_get(lua_State *L) {
  return get(L, bind_block(L, 2));
}

static TL_GIL int queue_get_nowait(lua_State *L) {
  return get(L, 0);
}

/* --- Looking -------------------------------------------------------------- */

static TL_GIL int queue_qsize(lua_State *L) {
  lua_pushinteger(L, ipc_ring_count(&check_queue(L)->os.memory->ring));
  return 1;
}

static TL_GIL int queue_empty(lua_State *L) {
  lua_pushboolean(L, ipc_ring_count(&check_queue(L)->os.memory->ring) == 0);
  return 1;
}

static TL_GIL int queue_full(lua_State *L) {
  ipc_channel_memory *m = check_queue(L)->os.memory;
  lua_pushboolean(L, m->maxsize > 0 && ipc_ring_count(&m->ring) >= m->maxsize);
  return 1;
}

static TL_GIL int queue_tostring(lua_State *L) {
  Queue *q = bind_checkself(L, NULL);
  if (q->os.memory)
    lua_pushfstring(L, "<%s qsize=%d>", short_name(q->class),
                    (int)ipc_ring_count(&q->os.memory->ring));
  else
    lua_pushfstring(L, "<%s closed>", short_name(q->class));
  return 1;
}

/* --- Tasks ---------------------------------------------------------------- */

#define NUMBERS ((1U << 24) - 1)

/* How many of the items that were put have not been told done; none, if more
 * were, which takers.h allows. */
static uint32_t unfinished(ipc_channel_memory *m) {
  uint32_t done = atomic_load(&m->done);
  uint32_t n = (ipc_ring_put_number(&m->ring) - done) & NUMBERS;
  return n > NUMBERS / 2 ? 0 : n;
}

static TL_GIL int queue_task_done(lua_State *L) {
  Queue *q = check_queue(L);
  ipc_channel_memory *m = q->os.memory;
  unsigned done = atomic_load(&m->done);
  do {
    if (unfinished(m) == 0)
      return luaL_error(L, "task_done() called too many times");
  } while (!atomic_compare_exchange_strong(&m->done, &done, done + 1));
  struct ipc_taker *mine = ipc_takers_mine(takers_of(q), &q->place);
  if (mine) ipc_taker_done(mine);
  if (unfinished(m) == 0) os_shared_wake(&m->done, INT32_MAX);
  return 0;
}

typedef struct Join {
  Queue *q;
  uint32_t lost; /* tasks of dead processes, told to this thread */
} Join;

static ipc_outcome try_join(Join *j, ipc_wait *w) {
  ipc_channel_memory *m = j->q->os.memory;
  w->word = &m->done;
  w->seen = atomic_load(&m->done);
  if (unfinished(m) > 0 && w->look)
    j->lost += ipc_takers_settle(takers_of(j->q),
                                 ipc_ring_taken_number(&m->ring), &m->done);
  w->look = false;
  if (j->lost > 0) return IPC_DIED;
  return unfinished(m) == 0 ? IPC_TAKEN : IPC_BUSY;
}

/* join(): raises OwnerDied for tasks that were lost with their processes, once:
 * the others are waited for when it is called again. */
static TL_GIL int queue_join(lua_State *L) {
  static const sync_kind kind = {.what = "mp queue's tasks"};
  Join j = {.q = check_queue(L)};
  ipc_wait w = ipc_wait_start(TL_FOREVER);
  ipc_outcome outcome;
  while ((outcome = try_join(&j, &w)) == IPC_BUSY)
    if (!channel_sleep(L, &j.q->os, &kind, &w, TL_FOREVER)) sync_raise(L);
  if (outcome != IPC_DIED) return 0;
  os_shared_wake(&j.q->os.memory->done, INT32_MAX);
  return tl_error(L, "OwnerDied", "%d tasks were lost with a process that died",
                  (int)j.lost);
}

/* --- The end -------------------------------------------------------------- */

/* Of this process's handle; what is in the queue stays there. */
static TL_GIL int queue_close(lua_State *L) {
  Queue *q = bind_checkself(L, NULL);
  if (tl_users_any(&q->os.users))
    return tl_error_os(L, EBUSY, "another thread waits for the queue");
  ipc_channel_close(&q->os);
  return 0;
}

static TL_GIL int queue_gc(lua_State *L) {
  Queue *q = bind_checkself(L, NULL);
  ipc_channel_close(&q->os);
  return 0;
}

/* There is no thread to be joined. */
static TL_GIL int queue_nothing(lua_State *L) {
  bind_checkself(L, NULL);
  return 0;
}

/* --- Making and travelling ------------------------------------------------ */

static TL_GIL lua_Integer check_limit(lua_State *L, int arg) {
  lua_Integer limit = luaL_optinteger(L, arg, LIMIT);
  luaL_argcheck(L, limit >= 1 && limit <= (lua_Integer)1 << 40, arg,
                "limit out of range");
  return limit;
}

static TL_GIL int create(lua_State *L, queue_class class) {
  static const char *const options[] = {"maxsize", "limit", NULL};
  bind_options(L, 1, options);
  lua_Integer maxsize = luaL_optinteger(L, 1, 0);
  lua_Integer limit = check_limit(L, 2);
  luaL_argcheck(L, maxsize <= (lua_Integer)IPC_RING_MOST, 1, "maxsize too big");
  Queue *q = new_queue(L, class);
  channel_create(L, &q->os, maxsize > 0 ? (uint32_t)maxsize : 0,
                 (uint64_t)limit, 0);
  return 1;
}

static TL_GIL int queues_queue(lua_State *L) {
  return create(L, QUEUE);
}

static TL_GIL int queues_joinable(lua_State *L) {
  return create(L, JOINABLE);
}

static TL_GIL int queues_simple(lua_State *L) {
  bind_noargs(L);
  lua_settop(L, 0);
  return create(L, SIMPLE);
}

static TL_GIL int pack(lua_State *L, int idx, int *fds) {
  Queue *q = lua_touserdata(L, idx);
  if (q->os.memory == NULL) luaL_error(L, "the queue is closed");
  fds[0] = q->os.segment.fd;
  lua_pushinteger(L, q->class);
  return 1;
}

static TL_GIL void unpack(lua_State *L, int *fds, int n) {
  lua_Integer class = lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (n != 1 || class < QUEUE || class > SIMPLE) luaL_error(L, "no queue");
  Queue *q = new_queue(L, (queue_class) class);
  int fd = fds[0];
  fds[0] = -1;
  int err = ipc_channel_open(&q->os, fd);
  sync_check_opened(L, err, "Queue");
}

static const luaL_Reg methods[] = {{"cancel_join_thread", queue_nothing},
                                   {"close", queue_close},
                                   {"empty", queue_empty},
                                   {"full", queue_full},
                                   {"get", queue_get},
                                   {"get_nowait", queue_get_nowait},
                                   {"join_thread", queue_nothing},
                                   {"put", queue_put},
                                   {"put_nowait", queue_put_nowait},
                                   {"qsize", queue_qsize},
                                   {NULL, NULL}};
static const luaL_Reg task_methods[] = {
    {"join", queue_join}, {"task_done", queue_task_done}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__close", queue_close},
                                       {"__gc", queue_gc},
                                       {"__tostring", queue_tostring},
                                       {NULL, NULL}};
static const luaL_Reg functions[] = {{"JoinableQueue", queues_joinable},
                                     {"Queue", queues_queue},
                                     {"SimpleQueue", queues_simple},
                                     {NULL, NULL}};

static const tl_portable portable = {
    .name = "Queue", .pack = pack, .unpack = unpack};

static TL_GIL void open_class(lua_State *L, queue_class class) {
  luaL_Reg all[16] = {{NULL, NULL}};
  size_t n = 0;
  for (const luaL_Reg *m = methods; m->name; m++)
    all[n++] = *m;
  for (const luaL_Reg *m = task_methods; class == JOINABLE && m->name; m++)
    all[n++] = *m;
  all[n] = (luaL_Reg){NULL, NULL};
  bind_newclass(L, names[class], all, metamethods);
  tl_portable_register(L, names[class], "tidelock._queues", &portable);
}

int luaopen_tl_queues(lua_State *L) {
  open_class(L, QUEUE);
  open_class(L, JOINABLE);
  open_class(L, SIMPLE);
  luaL_newlib(L, functions);
  return 1;
}

/* pool.c - "tidelock._pool": what a pool of processes sends tasks and results
 * through.
 *
 * A task is a head, the pickled function, which workers keep by its serial
 * number, and the pickled arguments; a result is a head and a pickled value.
 * The channel of the tasks has a place for each worker, where it is kept what
 * the worker is on: so the pool knows what is lost when one dies, and nothing
 * else is. See multiprocessing/pool/processes.lua. */
#include <errno.h>
#include <string.h>

#include "channel.h"
#include "modules.h"
#include "news.h"
#include "parcel.h"
#include "results.h"
#include "tasks.h"

#define CHANNEL "multiprocessing.PoolChannel"
#define LIMIT ((uint64_t)1 << 36) /* bytes: what memory there is decides */

/* Of a worker, in shared memory. */
typedef struct Place {
  _Atomic uint64_t id;      /* of the task; valid unless 'current' is 0 */
  _Atomic uint32_t current; /* 0; number + 1 while it is taken; then TAKEN */
  _Atomic uint32_t began;   /* the worker's initializer has succeeded */
} Place;

#define TAKEN UINT32_MAX

typedef struct Channel {
  ipc_channel os;
  Spinner spinner;
  bool has_result; /* GIL: this one is taken, and not known to be a job's: */
  channel_message result;
} Channel; /* user value: what keeps that message, or nil */

static TL_GIL Channel *check_channel(lua_State *L) {
  Channel *c = bind_checkself(L, CHANNEL);
  sync_check_open(L, c->os.memory);
  return c;
}

static uint32_t place_count(const Channel *c) {
  return (uint32_t)(ipc_channel_extra_size(&c->os) / sizeof(Place));
}

static Place *places_of(const Channel *c) {
  return ipc_channel_extra(&c->os);
}

static TL_GIL Place *check_place(lua_State *L, Channel *c, int arg) {
  lua_Integer place = luaL_checkinteger(L, arg);
  luaL_argcheck(L, place >= 1 && place <= place_count(c), arg, "no such place");
  return &places_of(c)[place - 1];
}

static TL_GIL Channel *new_channel(lua_State *L) {
  Channel *c = lua_newuserdatauv(L, sizeof *c, 1);
  *c = (Channel){.os.segment.fd = -1};
  luaL_setmetatable(L, CHANNEL);
  return c;
}

/* Channel(places) */
static TL_GIL int channel_new(lua_State *L) {
  lua_Integer places = bind_count(L, 1, 0, 0);
  luaL_argcheck(L, places <= 1 << 20, 1, "too many");
  channel_create(L, &new_channel(L)->os, 0, LIMIT,
                 (size_t)places * sizeof(Place));
  return 1;
}

/* --- Waiting -------------------------------------------------------------- */

#define PAUSE 50000 /* ns */
#define FEW 8

/* Who waits for many results is not woken for each: that would take a processor
 * from the workers. */
static TL_GIL void pause_for_more(lua_State *L, Channel *c) {
  atomic_uint never;
  if (ipc_ring_count(&c->os.memory->ring) >= FEW) return;
  atomic_init(&never, 0);
  tl_users_enter(&c->os.users);
  tl_wait_word(L, &never, 0, os_now() + PAUSE, "results");
  tl_users_leave(&c->os.users);
}

/* --- Tasks ---------------------------------------------------------------- */

static TL_GIL void put(lua_State *L, Channel *c, const struct iovec *parts,
                       int n, int wake) {
  uint32_t number;
  if (channel_put(L, &c->os, parts, n, TL_FOREVER, "a pool's channel", wake,
                  &number))
    return;
  lua_pushliteral(L, "the pool is closed"); /* whose call it is, nobody knows */
  lua_error(L);
}

/* send(id, mode, code, list, first, n, held, job, wake, index): puts a task
 * with n arguments, which are in the list, and says so in the job's "_sent";
 * the descriptors that it refers to become keys of the job. Wakes that many
 * workers. Returns how many bytes were put. */
static TL_GIL int channel_send(lua_State *L) {
  Channel *c = check_channel(L);
  TaskHead head = {.id = (uint64_t)luaL_checkinteger(L, 2),
                   .mode = (uint32_t)luaL_checkinteger(L, 3)};
  size_t code_size;
  const char *code = luaL_checklstring(L, 4, &code_size);
  luaL_checktype(L, 5, LUA_TTABLE);
  lua_Integer first = bind_count(L, 6, 1, 0), n = bind_count(L, 7, 0, 0);
  luaL_checktype(L, 8, LUA_TTABLE);
  luaL_checktype(L, 9, LUA_TTABLE);
  int wake = (int)luaL_checkinteger(L, 10);
  lua_Integer index = luaL_checkinteger(L, 11);
  luaL_argcheck(L, code_size <= UINT32_MAX, 4, "too large");
  head.code_size = (uint32_t)code_size;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  parcel p;
  parcel_make(L, tl_pickle_dump_items(L, 5, first, n, PARCEL_FLAGS, "args"),
              (parcel_keeper){8, 9}, &p);
  struct iovec parts[] = {{&head, sizeof head},
                          {(void *)code, code_size},
                          {&p.count, sizeof p.count},
                          {(void *)p.refs, p.count * sizeof *p.refs},
                          {(void *)p.pickled->data, p.pickled->size}};
  lua_pushliteral(L, "_sent");
  put(L, c, parts, 5, wake);
  lua_pushinteger(L, index);
  lua_rawset(L, 9);
  lua_pushinteger(L, (lua_Integer)code_size + (lua_Integer)p.pickled->size);
  tl_pickle_free(L, p.pickled);
  return 1;
}

/* take(place, [timeout]): a task's id and the task, which is kept at the place
 * until the next is taken; nil on timeout, false when there will be none. */
static TL_GIL int channel_take(lua_State *L) {
  Channel *c = check_channel(L);
  Place *place = check_place(L, c, 2);
  int64_t deadline = bind_deadline(L, 3);
  ipc_mark mark = {.current = &place->current, .key = &place->id};
  channel_message m;
  if (!channel_get(L, &c->os, &c->spinner, deadline, "tasks", mark, &m)) {
    if (m.ended)
      lua_pushboolean(L, false);
    else
      lua_pushnil(L);
    return 1;
  }
  atomic_store(&place->current, TAKEN);
  lua_pushinteger(L, (lua_Integer)atomic_load(&place->id));
  lua_pushlstring(L, m.data, m.size);
  return 2;
}

/* begin(place): the worker is ready for tasks. */
static TL_GIL int channel_begin(lua_State *L) {
  Channel *c = check_channel(L);
  atomic_store(&check_place(L, c, 2)->began, 1);
  return 0;
}

/* Whether a task that a dead worker was taking is still there. */
static bool is_there(Channel *c, uint32_t current) {
  const uint32_t half = 1 << 23, mask = (1 << 24) - 1;
  uint32_t taken = ipc_ring_taken_number(&c->os.memory->ring);
  return ((taken - current) & mask) >= half;
}

static bool has_another(Channel *c, uint64_t id) {
  const Place *places = places_of(c);
  for (uint32_t i = 0; i < place_count(c); i++)
    if (atomic_load(&places[i].current) != 0 &&
        atomic_load(&places[i].id) == id)
      return true;
  return false;
}

/* clear(place): of a worker that has ended: the id of the last task that it had
 * taken, or nil; and whether the worker had begun. The result of that task may
 * have been put. A task that it was about to take and another one has taken in
 * its place is the other's. */
static TL_GIL int channel_clear(lua_State *L) {
  Channel *c = check_channel(L);
  Place *place = check_place(L, c, 2);
  uint64_t id = atomic_load(&place->id);
  uint32_t current = atomic_exchange(&place->current, 0);
  bool lost = current == TAKEN ||
              (current != 0 && !is_there(c, current) && !has_another(c, id));
  if (lost)
    lua_pushinteger(L, (lua_Integer)id);
  else
    lua_pushnil(L);
  lua_pushboolean(L, atomic_exchange(&place->began, 0) != 0);
  return 2;
}

/* count(): how many messages are there. */
static TL_GIL int channel_count(lua_State *L) {
  lua_pushinteger(L, ipc_ring_count(&check_channel(L)->os.memory->ring));
  return 1;
}

/* finish(): no more is put; who takes gets what is there, then false. */
static TL_GIL int channel_finish(lua_State *L) {
  ipc_channel_end(&check_channel(L)->os);
  return 0;
}

/* --- Results -------------------------------------------------------------- */

/* answer(id, kind, value, root, [n]): what came of a task, pickled: a value, or
 * n packed ones. */
static TL_GIL int channel_answer(lua_State *L) {
  Channel *c = check_channel(L);
  ResultHead head = {.id = (uint64_t)luaL_checkinteger(L, 2),
                     .kind = (uint64_t)luaL_checkinteger(L, 3)};
  const char *root = luaL_checkstring(L, 5);
  const tl_pickled *p =
      lua_isnoneornil(L, 6)
          ? tl_pickle_dump(L, 4, 0, root)
          : tl_pickle_dump_items(L, 4, 1, bind_count(L, 6, 0, 0), 0, root);
  struct iovec parts[] = {{&head, sizeof head}, {(void *)p->data, p->size}};
  put(L, c, parts, 2, 1);
  tl_pickle_free(L, p);
  return 0;
}

/* tell(id, kind, text): the same for what is not pickled. */
static TL_GIL int channel_tell(lua_State *L) {
  Channel *c = check_channel(L);
  ResultHead head = {.id = (uint64_t)luaL_checkinteger(L, 2),
                     .kind = (uint64_t)luaL_checkinteger(L, 3)};
  size_t size;
  const char *text = luaL_checklstring(L, 4, &size);
  struct iovec parts[] = {{&head, sizeof head}, {(void *)text, size}};
  put(L, c, parts, 2, 1);
  return 0;
}

/* Pushes the part that a message is: a string, or the userdata on the top if it
 * is large, which the message is; of what is not RESULT_DONE a table with the
 * kind and that. */
static TL_GIL void push_part(lua_State *L, const channel_message *m,
                             const ResultHead *head) {
  bool small = lua_isnil(L, -1);
  if (head->kind != RESULT_DONE) lua_createtable(L, 2, 0);
  if (small)
    lua_pushlstring(L, m->data + sizeof *head, m->size - sizeof *head);
  else
    lua_pushvalue(L, head->kind == RESULT_DONE ? -1 : -2);
  if (head->kind == RESULT_DONE) return;
  lua_rawseti(L, -2, 2);
  lua_pushinteger(L, (lua_Integer)head->kind);
  lua_rawseti(L, -2, 1);
}

/* The next result is in the channel's object: who has no memory to do more with
 * it leaves it there, for the next call. False: none has come in time. */
static TL_GIL bool get_result(lua_State *L, Channel *c, int64_t deadline,
                              bool many) {
  const ipc_mark none = {NULL, NULL};
  if (c->has_result) return true;
  if (!channel_get(L, &c->os, many ? NULL : &c->spinner, deadline, "results",
                   none, &c->result))
    return false;
  c->has_result = true;
  lua_setiuservalue(L, 1, 1);
  return true;
}

static TL_GIL void drop_result(lua_State *L, Channel *c) {
  c->has_result = false;
  lua_pushnil(L);
  lua_setiuservalue(L, 1, 1);
}

/* collect(jobs, ready, [timeout], many): completes what has come, after waiting
 * for it; 'many': a lot more is to come. Whether anything came. Is called by
 * one thread at a time. */
static TL_GIL int channel_collect(lua_State *L) {
  Channel *c = check_channel(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  int64_t deadline = bind_deadline(L, 4);
  bool any = false;
  lua_settop(L, 5);
  bool many = lua_toboolean(L, 5);
  if (deadline != 0 && many) pause_for_more(L, c);
  const channel_message *m = &c->result;
  ResultHead head;
  while (get_result(L, c, any ? 0 : deadline, many)) {
    any = true;
    if (m->size < sizeof head) {
      drop_result(L, c);
      return luaL_error(L, "a damaged message");
    }
    memcpy(&head, m->data, sizeof head);
    if (lua_rawgeti(L, 2, (lua_Integer)(head.id >> RESULT_INDEX_BITS)) ==
        LUA_TTABLE) {
      lua_getiuservalue(L, 1, 1);
      push_part(L, m, &head);
      lua_remove(L, -2);
      result_add(L, 2, 3, head.id);
    }
    drop_result(L, c);
    lua_settop(L, 5);
  }
  lua_pushboolean(L, any);
  return 1;
}

/* Whether what is in the table at 1 is all that it has; other objects have
 * items by their metatable only. */
static TL_GIL bool is_raw(lua_State *L) {
  if (luaL_getmetafield(L, 1, "__index") == LUA_TNIL)
    return lua_type(L, 1) == LUA_TTABLE;
  return lua_pop(L, 1), false;
}

/* slice(list, from, n): a table of n items with field 'n'. */
static TL_GIL int pool_slice(lua_State *L) {
  lua_Integer from = luaL_checkinteger(L, 2), n = luaL_checkinteger(L, 3);
  luaL_argcheck(L, n >= 0 && n < INT_MAX, 3, "out of range");
  lua_settop(L, 1);
  bool raw = is_raw(L);
  lua_createtable(L, (int)n, 1);
  for (lua_Integer i = 1; i <= n; i++) {
    if (raw)
      lua_rawgeti(L, 1, from++);
    else
      lua_geti(L, 1, from++);
    lua_rawseti(L, 2, i);
  }
  lua_pushinteger(L, n);
  lua_setfield(L, 2, "n");
  return 1;
}

/* raw(list, n): the list itself; a copy of n items if it has others than those
 * that are in it. */
static TL_GIL int pool_raw(lua_State *L) {
  lua_settop(L, 2);
  if (is_raw(L)) return lua_settop(L, 1), 1;
  lua_pushinteger(L, 1);
  lua_insert(L, 2);
  return pool_slice(L);
}

/* --- The module ----------------------------------------------------------- */

static TL_GIL int channel_gc(lua_State *L) {
  Channel *c = bind_checkself(L, CHANNEL);
  ipc_channel_close(&c->os);
  return 0;
}

static const luaL_Reg methods[] = {
    {"answer", channel_answer}, {"begin", channel_begin},
    {"clear", channel_clear},   {"collect", channel_collect},
    {"count", channel_count},   {"finish", channel_finish},
    {"send", channel_send},     {"take", channel_take},
    {"tell", channel_tell},     {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__gc", channel_gc}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"Channel", channel_new},
                                     {"News", news_new},
                                     {"captured", task_captured},
                                     {"captures", task_captures},
                                     {"complete", result_complete},
                                     {"decode", result_decode},
                                     {"encode", task_encode},
                                     {"inline", task_inline},
                                     {"join", result_join},
                                     {"open", task_open},
                                     {"raw", pool_raw},
                                     {"slice", pool_slice},
                                     {"store", task_store},
                                     {NULL, NULL}};

static TL_GIL int pack(lua_State *L, int idx, int *fds) {
  Channel *c = lua_touserdata(L, idx);
  sync_check_open(L, c->os.memory);
  fds[0] = c->os.segment.fd;
  lua_pushnil(L);
  return 1;
}

static TL_GIL void unpack(lua_State *L, int *fds, int n) {
  lua_pop(L, 1);
  Channel *c = new_channel(L);
  int err = ipc_channel_open(&c->os, sync_take_fd(L, fds, n));
  sync_check_opened(L, err, "PoolChannel");
}

static const tl_portable portable = {
    .name = "PoolChannel", .pack = pack, .unpack = unpack};

TL_GIL int luaopen_tl_pool(lua_State *L) {
  bind_newclass(L, CHANNEL, methods, metamethods);
  tl_portable_register(L, CHANNEL, "tidelock._pool", &portable);
  parcel_init(L);
  task_init(L);
  news_init(L);
  luaL_newlib(L, functions);
  return 1;
}

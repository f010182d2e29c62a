/* queue.c - queues between threads. Documented in types/queue.lua.
 *
 * A getter waits only while there are no items, a putter only while there is
 * no place. So put hands its item straight to the longest waiting getter, and
 * get takes the item of the longest waiting putter in. Only a priority queue
 * gives that putter the place instead: comparing keys may raise, and that is
 * the putter's business.
 *
 * Order matters in put and get: first whatever may run other code (keys,
 * finalizers), then a look at the state, then the change, with nothing between
 * the two. See items.h. */
#include <limits.h>
#include <string.h>

#include "modules.h"
#include "queue.h"
#include "waitable.h"

#define PREFIX "queue." /* of a class, which its objects do not print */
#define SIMPLE (-1)     /* the maxsize of a SimpleQueue */

const char queue_magic;

int queue_refuse(lua_State *L, const char *class) {
  lua_pushnil(L);
  tl_error_pushclass(L, class);
  return 2;
}

static TL_GIL int done(lua_State *L) {
  lua_pushboolean(L, true);
  return 1;
}

static bool is_full(const Queue *q) {
  return q->maxsize > 0 && q->items.count + q->promised >= q->maxsize;
}

/* --- put ------------------------------------------------------------------ */

/* Hands the item at idx to a waiting getter, if there is one. */
static TL_GIL bool hand_over(lua_State *L, Queue *q, int idx) {
  if (tl_likely(q->getters.first == NULL)) return false;
  tl_waiter *getter = tl_waitq_first(&q->getters);
  if (getter == NULL) return false;
  lua_pushvalue(L, idx);
  lua_xmove(L, getter->L, 1);
  tl_grant(getter);
  q->unfinished++;
  return true;
}

/* A place has become free: the longest waiting putter gets it. Room for its
 * item has been reserved. */
static TL_GIL void admit(lua_State *L, Queue *q) {
  tl_waiter *putter = tl_waitq_first(&q->putters);
  if (putter == NULL) return;
  if (q->items.order == ITEMS_LEAST) {
    q->promised++;
  } else {
    lua_pushvalue(putter->L, 2);
    lua_xmove(putter->L, L, 1);
    int item = lua_gettop(L);
    items_add(L, &q->items, item);
    lua_settop(L, item - 1);
    q->unfinished++;
  }
  tl_grant(putter);
}

/* Adds the item at 2, to which there is a place; false: look again. */
static TL_GIL bool add(lua_State *L, Queue *q) {
  if (!items_add(L, &q->items, 2)) return false;
  q->unfinished++;
  if (tl_unlikely(q->getters.first != NULL)) tl_wake(&q->getters, 0);
  return true;
}

static TL_GIL void give_back_place(lua_State *L, Queue *q) {
  q->promised--;
  if (!q->shut && !is_full(q)) admit(L, q);
}

/* Puts (queue, item, key) into a place that was promised; true if it is in. */
static TL_GIL int put_promised(lua_State *L) {
  Queue *q = lua_touserdata(L, 1);
  bool in = false;
  while (!q->shut && !in) {
    items_reserve(L, &q->items);
    if (q->shut) break;
    if (hand_over(L, q, 2)) {
      give_back_place(L, q);
      return done(L);
    }
    in = add(L, q);
  }
  q->promised--;
  lua_pushboolean(L, in);
  return 1;
}

/* What a putter that waited got: its item is in; or, with a value more on the
 * stack, the queue was shut; or, in a priority queue, there is a place. */
static TL_GIL int put_waited(lua_State *L, int status, lua_KContext top) {
  (void)status;
  Queue *q = lua_touserdata(L, 1);
  if (!bind_woken(L)) return queue_refuse(L, "Full");
  if (lua_gettop(L) > top) return queue_refuse(L, "ShutDown");
  if (q->items.order != ITEMS_LEAST) return done(L);
  lua_pushcfunction(L, put_promised);
  for (int i = 1; i <= 3; i++)
    lua_pushvalue(L, i);
  if (lua_pcall(L, 3, 1, 0) != LUA_OK) {
    give_back_place(L, q);
    return lua_error(L);
  }
  return lua_toboolean(L, -1) ? done(L) : queue_refuse(L, "ShutDown");
}

/* The stack holds the queue and the item. */
static TL_GIL int put(lua_State *L, Queue *q, int64_t deadline) {
  if (q->items.order == ITEMS_LEAST) items_pushkey(L, 2);
  do {
    items_reserve(L, &q->items);
    if (tl_unlikely(q->shut)) return queue_refuse(L, "ShutDown");
    if (hand_over(L, q, 2)) return done(L);
    if (is_full(q)) {
      if (deadline == 0) return queue_refuse(L, "Full");
      return tl_wait(L, &q->putters, deadline, lua_gettop(L), put_waited);
    }
  } while (!add(L, q));
  return done(L);
}

static TL_GIL int queue_put(lua_State *L) {
  Queue *q = queue_check(L);
  int64_t deadline = TL_FOREVER;
  if (tl_unlikely(lua_gettop(L) != 2)) {
    luaL_checkany(L, 2);
    deadline = bind_block(L, 3);
    lua_settop(L, 2);
  }
  return put(L, q, deadline);
}

static TL_GIL int queue_put_nowait(lua_State *L) {
  Queue *q = queue_check(L);
  luaL_checkany(L, 2);
  lua_settop(L, 2);
  return put(L, q, 0);
}

/* --- get ------------------------------------------------------------------ */

bool queue_take(lua_State *L, Queue *q) {
  do {
    if (tl_unlikely(q->putters.first != NULL)) items_reserve(L, &q->items);
    if (q->items.count == 0) return false;
  } while (!items_take(L, &q->items));
  if (tl_unlikely(q->putters.first != NULL)) admit(L, q);
  return true;
}

/* A getter that waited: with a value on its stack, that is the item; without,
 * the queue was shut. */
static TL_GIL int get_waited(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  if (!bind_woken(L)) return queue_refuse(L, "Empty");
  return lua_gettop(L) > 1 ? 1 : queue_refuse(L, "ShutDown");
}

static TL_GIL int get(lua_State *L, Queue *q, int64_t deadline) {
  if (tl_likely(queue_take(L, q))) return 1;
  if (q->shut) return queue_refuse(L, "ShutDown");
  if (deadline == 0) return queue_refuse(L, "Empty");
  lua_settop(L, 1);
  return tl_wait(L, &q->getters, deadline, 0, get_waited);
}

static TL_GIL int queue_get(lua_State *L) {
  Queue *q = queue_check(L);
  int64_t deadline = TL_FOREVER;
  if (tl_unlikely(lua_gettop(L) != 1)) deadline = bind_block(L, 2);
  return get(L, q, deadline);
}

static TL_GIL int queue_get_nowait(lua_State *L) {
  return get(L, queue_check(L), 0);
}

/* An iterator, called with (queue, the item before). */
static TL_GIL int queue_next(lua_State *L) {
  return get(L, queue_check(L), TL_FOREVER);
}

static TL_GIL int queue_iter(lua_State *L) {
  queue_check(L);
  lua_pushcfunction(L, queue_next);
  lua_pushvalue(L, 1);
  return 2;
}

/* --- the rest ------------------------------------------------------------- */

static TL_GIL int queue_qsize(lua_State *L) {
  lua_pushinteger(L, queue_check(L)->items.count);
  return 1;
}

static TL_GIL int queue_empty(lua_State *L) {
  lua_pushboolean(L, queue_check(L)->items.count == 0);
  return 1;
}

static TL_GIL int queue_full(lua_State *L) {
  lua_pushboolean(L, is_full(queue_check(L)));
  return 1;
}

static TL_GIL void finish(Queue *q, lua_Integer n) {
  q->unfinished = q->unfinished > n ? q->unfinished - n : 0;
  if (q->unfinished == 0) tl_wake(&q->joiners, INT_MAX);
}

static TL_GIL int queue_task_done(lua_State *L) {
  Queue *q = queue_check(L);
  if (q->unfinished == 0)
    return luaL_error(L, "task_done() called more often than items were put");
  finish(q, 1);
  return 0;
}

static TL_GIL int queue_joined(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  bind_woken(L);
  return 0;
}

static TL_GIL int queue_join(lua_State *L) {
  Queue *q = queue_check(L);
  if (q->unfinished == 0) return 0;
  return tl_wait(L, &q->joiners, TL_FOREVER, 0, queue_joined);
}

static TL_GIL int queue_shutdown(lua_State *L) {
  Queue *q = queue_check(L);
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TBOOLEAN);
  q->shut = true;
  if (lua_toboolean(L, 2)) {
    lua_Integer n = q->items.count;
    items_clear(L, &q->items);
    finish(q, n);
  }
  tl_wake(&q->getters, INT_MAX);
  for (tl_waiter *w; (w = tl_waitq_first(&q->putters)) != NULL;) {
    lua_pushnil(w->L); /* see put_waited */
    tl_grant(w);
  }
  return 0;
}

static TL_GIL int queue_tostring(lua_State *L) {
  const Queue *q = queue_check(L);
  lua_pushfstring(L, "<%s size=%I", q->class + strlen(PREFIX),
                  (LUAI_UACINT)q->items.count);
  if (q->maxsize != SIMPLE)
    lua_pushfstring(L, " maxsize=%I", (LUAI_UACINT)q->maxsize);
  else
    lua_pushliteral(L, "");
  lua_pushstring(L, q->shut ? " shut down>" : ">");
  lua_concat(L, 3);
  return 1;
}

static TL_GIL bool is_ready(lua_State *L, int idx) {
  const Queue *q = lua_touserdata(L, idx);
  return q->items.count > 0 || q->shut;
}

static TL_GIL tl_waitq *ready_queue(lua_State *L, int idx) {
  Queue *q = lua_touserdata(L, idx);
  return &q->getters;
}

/* --- classes -------------------------------------------------------------- */

static TL_GIL void push_queue(lua_State *L, const char *class,
                              items_order order, lua_Integer maxsize) {
  Queue *q = lua_newuserdatauv(L, sizeof *q, ITEMS_VALUES);
  *q = (Queue){.magic = &queue_magic,
               .items = items_none(order),
               .maxsize = maxsize,
               .class = class,
               .getters = {.what = "queue"},
               .putters = {.what = "full queue"},
               .joiners = {.what = "queue's tasks"}};
  luaL_setmetatable(L, class);
}

/* The argument maxsize; 0 and less mean no limit. */
static TL_GIL lua_Integer check_maxsize(lua_State *L) {
  lua_Integer maxsize = luaL_optinteger(L, 1, 0);
  return maxsize > 0 ? maxsize : 0;
}

static TL_GIL int new_sized(lua_State *L, const char *class,
                            items_order order) {
  static const char *const options[] = {"maxsize", NULL};
  bind_options(L, 1, options);
  push_queue(L, class, order, check_maxsize(L));
  return 1;
}

static TL_GIL int new_queue(lua_State *L) {
  return new_sized(L, PREFIX "Queue", ITEMS_FIFO);
}

static TL_GIL int new_lifo(lua_State *L) {
  return new_sized(L, PREFIX "LifoQueue", ITEMS_LIFO);
}

static TL_GIL int new_simple(lua_State *L) {
  push_queue(L, PREFIX "SimpleQueue", ITEMS_FIFO, SIMPLE);
  return 1;
}

static TL_GIL int new_priority(lua_State *L) {
  static const char *const options[] = {"maxsize", "key", "lt", NULL};
  bind_options(L, 1, options);
  lua_Integer maxsize = check_maxsize(L);
  for (int arg = 2; arg <= 3; arg++)
    if (!lua_isnoneornil(L, arg)) bind_checkcallable(L, arg);
  lua_settop(L, 3);
  push_queue(L, PREFIX "PriorityQueue", ITEMS_LEAST, maxsize);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, ITEMS_KEY);
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, -2, ITEMS_LT);
  return 1;
}

static const luaL_Reg functions[] = {
    {"Queue", new_queue},
    {"LifoQueue", new_lifo},
    {"PriorityQueue", new_priority},
    {"SimpleQueue", new_simple},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"put", queue_put},
    {"get", queue_get},
    {"put_nowait", queue_put_nowait},
    {"get_nowait", queue_get_nowait},
    {"get_many", queue_get_many},
    {"iter", queue_iter},
    {"qsize", queue_qsize},
    {"empty", queue_empty},
    {"full", queue_full},
    {"task_done", queue_task_done},
    {"join", queue_join},
    {"shutdown", queue_shutdown},
    {NULL, NULL},
};

static const luaL_Reg simple_methods[] = {
    {"put", queue_put},
    {"get", queue_get},
    {"put_nowait", queue_put_nowait},
    {"get_nowait", queue_get_nowait},
    {"get_many", queue_get_many},
    {"qsize", queue_qsize},
    {"empty", queue_empty},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__tostring", queue_tostring},
    {NULL, NULL},
};

int luaopen_tl_queue(lua_State *L) {
  static const tl_waitable waitable = {.ready = is_ready, .queue = ready_queue};
  static const struct {
    const char *name;
    const luaL_Reg *methods;
  } classes[] = {
      {PREFIX "Queue", methods},
      {PREFIX "LifoQueue", methods},
      {PREFIX "PriorityQueue", methods},
      {PREFIX "SimpleQueue", simple_methods},
  };
  static const char *const errors[] = {"Empty", "Full", "ShutDown"};
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    bind_newclass(L, classes[i].name, classes[i].methods, metamethods);
    waitable_register(L, classes[i].name, &waitable);
  }
  luaL_newlib(L, functions);
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
    tl_error_pushclass(L, errors[i]);
    lua_setfield(L, -2, errors[i]);
  }
  return 1;
}

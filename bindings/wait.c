/* wait.c - threading.wait_any: waits for the first of several objects.
 * Documented in types/threading.lua. What takes part says so: waitable.h.
 *
 * It looks, sleeps until one of the queues was woken or a descriptor became
 * readable, and looks again: nothing is taken from an object, and one that was
 * ready only in between is not seen. */
#include "waitable.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "modules.h"

typedef struct Watch { /* one object; its value is at 'index' on the stack */
  const tl_waitable *as;
  int index;
} Watch;

void waitable_register(lua_State *L, const char *name, const tl_waitable *w) {
  luaL_getmetatable(L, name);
  lua_pushlightuserdata(L, (void *)w);
  lua_setfield(L, -2, "__waitable");
  lua_pop(L, 1);
}

/* --- descriptors -------------------------------------------------------- */

static TL_GIL bool descriptor_ready(lua_State *L, int idx) {
  return os_ready((int)lua_tointeger(L, idx), POLLIN) != 0;
}

static TL_GIL int descriptor_hold(lua_State *L, int idx) {
  return (int)lua_tointeger(L, idx);
}

static TL_GIL void descriptor_let_go(lua_State *L, int idx) {
  (void)L, (void)idx;
}

static const tl_waitable descriptor = {.ready = descriptor_ready,
                                       .hold = descriptor_hold,
                                       .let_go = descriptor_let_go};

/* Raises for the object at place i of the list. */
static TL_GIL void is_bad(lua_State *L, lua_Integer i, const char *why) {
  tl_error_os(L, EBADF, lua_pushfstring(L, "object %I: %s", i, why));
}

/* The integer on the top, which must be an open descriptor. */
static TL_GIL const tl_waitable *check_descriptor(lua_State *L, lua_Integer i) {
  lua_Integer fd = lua_tointeger(L, -1);
  if (fd < 0 || fd > INT_MAX || fcntl((int)fd, F_GETFD) < 0)
    is_bad(L, i, lua_pushfstring(L, "descriptor %I", fd));
  return &descriptor;
}

/* Replaces the object on the top by what its method fileno returns. */
static TL_GIL bool has_descriptor(lua_State *L) {
  int type = lua_type(L, -1);
  if (type == LUA_TUSERDATA && luaL_getmetafield(L, -1, "__index") != LUA_TNIL)
    lua_pop(L, 1);
  else if (type != LUA_TTABLE)
    return false;
  lua_getfield(L, -1, "fileno");
  if (!bind_iscallable(L, -1)) return lua_pop(L, 1), false;
  lua_insert(L, -2);
  lua_call(L, 1, 1);
  return lua_isinteger(L, -1);
}

/* --- the objects -------------------------------------------------------- */

/* The object on the top as a waitable; one that names another is replaced by
 * it. 'i' is its place in the list. */
static TL_GIL const tl_waitable *resolve(lua_State *L, lua_Integer i) {
  int type = luaL_getmetafield(L, -1, "__waitable");
  if (type == LUA_TFUNCTION) {
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    type = luaL_getmetafield(L, -1, "__waitable");
  }
  if (type == LUA_TNIL && (lua_isinteger(L, -1) || has_descriptor(L)))
    return check_descriptor(L, i);
  if (type != LUA_TLIGHTUSERDATA)
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "object %I cannot be waited for", i));
  const tl_waitable *w = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return w;
}

/* Pushes an array of those that are ready and returns their number. */
static TL_GIL lua_Integer push_ready(lua_State *L, const Watch *watches,
                                     int n) {
  lua_Integer ready = 0;
  lua_newtable(L);
  for (int i = 0; i < n; i++) {
    const Watch *w = &watches[i];
    const char *why = w->as->dead ? w->as->dead(L, w->index) : NULL;
    if (why) is_bad(L, i + 1, why);
    if (!w->as->ready(L, w->index)) continue;
    lua_rawgeti(L, 3, i + 1);
    lua_rawseti(L, -2, ++ready);
  }
  return ready;
}

/* Pushes a copy of the list at 1, so that it may change meanwhile. */
static TL_GIL int push_list(lua_State *L) {
  lua_Integer n = luaL_len(L, 1);
  if (n > INT_MAX / 64 || !lua_checkstack(L, (int)n + LUA_MINSTACK))
    luaL_argerror(L, 1, "too many objects");
  lua_createtable(L, (int)n, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, 1, i);
    lua_rawseti(L, -2, i);
  }
  return (int)n;
}

/* Sleeps until one may be ready, with the descriptors held; as tl_observe. */
static TL_GIL int observe(lua_State *L, tl_observation *o, const Watch *watches,
                          int n, int64_t deadline) {
  o->fd_count = 0;
  for (int i = 0; i < n; i++) {
    if (watches[i].as->queue) continue;
    int fd = watches[i].as->hold(L, watches[i].index);
    o->fds[o->fd_count++] = (struct pollfd){.fd = fd, .events = POLLIN};
  }
  int found = tl_observe(L, o, deadline);
  for (int i = 0; i < n; i++)
    if (!watches[i].as->queue) watches[i].as->let_go(L, watches[i].index);
  return found;
}

static TL_GIL int wait_any(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  int64_t deadline = bind_deadline(L, 2);
  lua_settop(L, 2);
  int n = push_list(L); /* 3 */
  Watch *watches = lua_newuserdatauv(L, n * sizeof *watches, 0);
  tl_observation o = {
      .queues = lua_newuserdatauv(L, n * sizeof(tl_waitq *), 0),
      .observers = lua_newuserdatauv(L, n * sizeof(tl_waiter), 0),
      .fds = lua_newuserdatauv(L, (n + 1) * sizeof(struct pollfd), 0)};
  for (int i = 0; i < n; i++) {
    lua_rawgeti(L, 3, i + 1);
    const tl_waitable *as = resolve(L, i + 1);
    watches[i] = (Watch){as, lua_gettop(L)};
    if (as->queue) o.queues[o.queue_count++] = as->queue(L, watches[i].index);
  }
  int top = lua_gettop(L);
  while (push_ready(L, watches, n) == 0 && n > 0) {
    if (deadline == 0) break;
    if (tl_in_finalizer(L)) return luaL_error(L, "cannot wait in a finalizer");
    lua_settop(L, top);
    int found = observe(L, &o, watches, n, deadline);
    if (found < 0) return tl_error_os(L, -found, "wait_any");
    if (found == 0) deadline = 0; /* one last look */
    tl_check(L);
  }
  return 1;
}

static const luaL_Reg functions[] = {{"wait_any", wait_any}, {NULL, NULL}};

TL_GIL int luaopen_tl_wait(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}

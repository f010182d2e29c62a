/* event.c - threading.Event: a flag that threads and tasks wait for.
 * Documented in types/threading.lua. */
#include <limits.h>

#include "bind.h"
#include "modules.h"
#include "waitable.h"

#define EVENT "threading.Event"

typedef struct Event {
  tl_waitq waiters; /* GIL; a waiter's stack holds this userdata */
  bool set;         /* GIL */
} Event;

static TL_GIL Event *check_event(lua_State *L) {
  return bind_checkself(L, EVENT);
}

static TL_GIL int event_new(lua_State *L) {
  Event *e = lua_newuserdatauv(L, sizeof *e, 0);
  *e = (Event){.waiters = {.what = "event"}};
  luaL_setmetatable(L, EVENT);
  return 1;
}

static TL_GIL int event_waited(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  lua_pushboolean(L, bind_woken(L));
  return 1;
}

static TL_GIL int event_wait(lua_State *L) {
  Event *e = check_event(L);
  int64_t deadline = bind_deadline(L, 2);
  if (!e->set && deadline != 0)
    return tl_wait(L, &e->waiters, deadline, 0, event_waited);
  lua_pushboolean(L, e->set);
  return 1;
}

/* Waiters are granted the event, so that a clear right after it does not take
 * it away from them. */
static TL_GIL int event_set(lua_State *L) {
  Event *e = check_event(L);
  e->set = true;
  tl_wake(&e->waiters, INT_MAX);
  return 0;
}

static TL_GIL int event_clear(lua_State *L) {
  check_event(L)->set = false;
  return 0;
}

static TL_GIL int event_is_set(lua_State *L) {
  lua_pushboolean(L, check_event(L)->set);
  return 1;
}

static TL_GIL int event_tostring(lua_State *L) {
  Event *e = check_event(L);
  lua_pushstring(L, e->set ? "<Event set>" : "<Event unset>");
  return 1;
}

static TL_GIL bool event_ready(lua_State *L, int idx) {
  return ((Event *)lua_touserdata(L, idx))->set;
}

static TL_GIL tl_waitq *event_queue(lua_State *L, int idx) {
  return &((Event *)lua_touserdata(L, idx))->waiters;
}

static const tl_waitable waitable = {.ready = event_ready,
                                     .queue = event_queue};
static const luaL_Reg methods[] = {{"set", event_set},
                                   {"clear", event_clear},
                                   {"is_set", event_is_set},
                                   {"wait", event_wait},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__tostring", event_tostring},
                                       {NULL, NULL}};
static const luaL_Reg functions[] = {{"Event", event_new}, {NULL, NULL}};

TL_GIL int luaopen_tl_event(lua_State *L) {
  bind_newclass(L, EVENT, methods, metamethods);
  waitable_register(L, EVENT, &waitable);
  luaL_newlib(L, functions);
  return 1;
}

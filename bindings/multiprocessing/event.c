/* event.c - multiprocessing.Event.
 * Documented in types/multiprocessing.synchronize.lua. */
#include "ipc/event.h"

#include "modules.h"
#include "synchronize.h"

#define EVENT "multiprocessing.Event"

typedef struct Event {
  const void *tag; /* const: see bind_checktagged */
  ipc_event os;
} Event;

static const char tag;

static TL_GIL Event *check_event(lua_State *L) {
  Event *e = bind_checktagged(L, &tag, sizeof(Event));
  sync_check_open(L, e->os.memory);
  return e;
}

static ipc_outcome try(void *object, ipc_wait *w) {
  return ipc_event_try(object, w);
}

static const sync_kind waiting = {"mp event", try, NULL, false};

static TL_GIL Event *new_event(lua_State *L) {
  Event *e = lua_newuserdatauv(L, sizeof *e, 0);
  *e = (Event){.tag = NULL};
  luaL_setmetatable(L, EVENT);
  return e;
}

static TL_GIL int event_new(lua_State *L) {
  bind_noargs(L);
  Event *e = new_event(L);
  ipc_arena *arena = arena_of(L);
  int err = ipc_event_create(&e->os, arena);
  if (sync_made_room(L, err)) err = ipc_event_create(&e->os, arena);
  if (err) return tl_error_os(L, -err, "Event");
  e->tag = &tag;
  return 1;
}

static TL_GIL int event_wait(lua_State *L) {
  Event *e = check_event(L);
  int64_t deadline = bind_deadline(L, 2);
  ipc_outcome outcome = sync_wait(L, &waiting, &e->os, deadline);
  lua_pushboolean(L, outcome == IPC_TAKEN);
  return 1;
}

static TL_GIL int event_set(lua_State *L) {
  ipc_event_set(&check_event(L)->os);
  return 0;
}

static TL_GIL int event_clear(lua_State *L) {
  ipc_event_clear(&check_event(L)->os);
  return 0;
}

static TL_GIL int event_is_set(lua_State *L) {
  lua_pushboolean(L, ipc_event_is_set(&check_event(L)->os));
  return 1;
}

static TL_GIL int event_tostring(lua_State *L) {
  Event *e = check_event(L);
  lua_pushstring(L, ipc_event_is_set(&e->os) ? "<Event set>" : "<Event unset>");
  return 1;
}

static TL_GIL int event_gc(lua_State *L) {
  Event *e = bind_checkself(L, EVENT);
  e->tag = NULL;
  ipc_event_close(&e->os);
  return 0;
}

/* --- To other processes --------------------------------------------------- */

static TL_UNCHECKED int event_pack(lua_State *L, int idx, int *fds) {
  Event *e = lua_touserdata(L, idx);
  sync_check_open(L, e->os.memory);
  return sync_pack_block(L, &e->os.block, fds);
}

static TL_UNCHECKED void event_unpack(lua_State *L, int *fds, int n) {
  size_t offset = sync_unpack_block(L, n);
  Event *e = new_event(L);
  int err = ipc_event_open(&e->os, arena_of(L), fds[0], offset);
  sync_check_opened(L, err, "Event");
  e->tag = &tag;
}

static const tl_portable portable = {.name = "Event",
                                     .pack = event_pack,
                                     .unpack = event_unpack,
                                     .memory = true};

static const luaL_Reg methods[] = {{"set", event_set},
                                   {"clear", event_clear},
                                   {"is_set", event_is_set},
                                   {"wait", event_wait},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__gc", event_gc}, {"__tostring", event_tostring}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"Event", event_new}, {NULL, NULL}};

TL_GIL int luaopen_tl_sync_event(lua_State *L) {
  bind_newclass(L, EVENT, methods, metamethods);
  tl_portable_register(L, EVENT, "tidelock._synchronize", &portable);
  luaL_newlib(L, functions);
  return 1;
}

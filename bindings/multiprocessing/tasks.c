/* tasks.c - the functions that tasks of a pool call, and how a worker opens a
 * task.
 *
 * A function has a serial number, by which workers keep it: so it is unpickled
 * once, and if it is large it lies in memory of its own and is read once. One
 * that has captured something else is another function. */
#include "tasks.h"

#include <string.h>

#include "ipc/segment.h"
#include "parcel.h"

#define MEMORY "multiprocessing.PoolMemory"

typedef struct CodeHead {
  uint64_t serial;
  uint64_t stored; /* 0: a parcel follows; else a reference to memory with a
                      parcel of that size */
} CodeHead;

/* A segment until it is collected, at the latest. */
static TL_GIL os_segment *new_memory(lua_State *L) {
  os_segment *s = lua_newuserdatauv(L, sizeof *s, 0);
  *s = (os_segment){.fd = -1};
  luaL_setmetatable(L, MEMORY);
  return s;
}

static TL_GIL int memory_gc(lua_State *L) {
  os_segment_close(luaL_checkudata(L, 1, MEMORY));
  return 0;
}

/* encode(fn, held, owner): the parcel of a function, as a string. */
int task_encode(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  parcel p;
  parcel_make(L, tl_pickle_dump(L, 1, PARCEL_FLAGS, "function"),
              (parcel_keeper){2, 3}, &p);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addlstring(&b, (const char *)&p.count, sizeof p.count);
  if (p.count > 0)
    luaL_addlstring(&b, (const char *)p.refs, p.count * sizeof *p.refs);
  luaL_addlstring(&b, p.pickled->data, p.pickled->size);
  luaL_pushresult(&b);
  tl_pickle_free(L, p.pickled);
  return 1;
}

/* Whether the value on the top is one that cannot change and is pickled as
 * itself, or the table of globals. */
static TL_GIL bool is_plain(lua_State *L) {
  switch (lua_type(L, -1)) {
  case LUA_TNIL:
  case LUA_TBOOLEAN:
  case LUA_TNUMBER:
  case LUA_TSTRING:
    return true;
  case LUA_TTABLE:
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 1);
    return same;
  default:
    return false;
  }
}

/* captured(fn): an array of what a function has captured, with the number as
 * 'n'; nil if that is not plain. */
int task_captured(lua_State *L) {
  lua_Integer n = 0;
  lua_settop(L, 1);
  if (!lua_isfunction(L, 1) || lua_iscfunction(L, 1)) return 0;
  lua_newtable(L);
  while (lua_getupvalue(L, 1, (int)n + 1)) {
    if (!is_plain(L)) return 0;
    lua_rawseti(L, 2, ++n);
  }
  lua_pushinteger(L, n);
  lua_setfield(L, 2, "n");
  return 1;
}

/* Whether the two values on the top are pickled alike: 1 and 1.0 are not. */
static TL_GIL bool is_same(lua_State *L) {
  if (lua_type(L, -1) != LUA_TNUMBER) return lua_rawequal(L, -1, -2);
  if (lua_type(L, -2) != LUA_TNUMBER ||
      lua_isinteger(L, -1) != lua_isinteger(L, -2))
    return false;
  if (lua_isinteger(L, -1)) return lua_rawequal(L, -1, -2);
  lua_Number x = lua_tonumber(L, -1), y = lua_tonumber(L, -2);
  uint64_t a, b; /* 0.0 and -0.0 are two, a NaN is one */
  memcpy(&a, &x, sizeof a);
  memcpy(&b, &y, sizeof b);
  return a == b;
}

/* captures(fn, list): whether it has still captured what 'captured' said. */
int task_captures(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  lua_getfield(L, 2, "n");
  lua_Integer n = lua_tointeger(L, -1);
  lua_pop(L, 1);
  bool same = true;
  for (lua_Integer i = 1; same && i <= n; i++) {
    lua_rawgeti(L, 2, i);
    lua_getupvalue(L, 1, (int)i);
    same = is_same(L);
    lua_pop(L, 2);
  }
  lua_pushboolean(L, same);
  return 1;
}

/* inline(serial, parcel): the code that a task carries. */
int task_inline(lua_State *L) {
  CodeHead head = {.serial = (uint64_t)luaL_checkinteger(L, 1)};
  luaL_checkstring(L, 2);
  lua_pushlstring(L, (const char *)&head, sizeof head);
  lua_pushvalue(L, 2);
  lua_concat(L, 2);
  return 1;
}

/* store(serial, parcel, held, owner): the same, with the parcel in memory of
 * its own, which 'owner' keeps; nil if that cannot be had. */
int task_store(lua_State *L) {
  struct {
    CodeHead head;
    parcel_ref ref;
  } code = {.head.serial = (uint64_t)luaL_checkinteger(L, 1)};
  size_t size;
  const char *bytes = luaL_checklstring(L, 2, &size);
  luaL_checktype(L, 3, LUA_TTABLE);
  luaL_checktype(L, 4, LUA_TTABLE);
  os_segment *s = new_memory(L);
  if (os_segment_create(s, "tidelock-function", size) < 0) {
    lua_pushnil(L);
    return 1;
  }
  memcpy(s->memory, bytes, size);
  code.head.stored = size;
  parcel_lend(L, s->fd, (parcel_keeper){3, 4}, &code.ref);
  os_segment_close(s);
  lua_pushlstring(L, (const char *)&code, sizeof code);
  return 1;
}

/* Pushes the function from its parcel in another process's memory. */
static TL_GIL void open_stored(lua_State *L, const char *data, size_t size) {
  parcel_ref ref;
  if (size != sizeof ref) luaL_error(L, "a damaged message");
  memcpy(&ref, data, sizeof ref);
  os_segment *s = new_memory(L);
  int fd = parcel_borrow(L, &ref);
  int err = os_segment_open(s, fd, 1);
  if (err) tl_error_os(L, -err, "cannot open a function");
  CodeHead head;
  memcpy(&head, data - sizeof head, sizeof head);
  if (head.stored > s->size) luaL_error(L, "a damaged message");
  parcel_open(L, s->memory, head.stored);
  os_segment_close(s);
  lua_remove(L, -2);
}

#define KEPT 64

/* Adds the function on the top to those that are kept. */
static TL_GIL void keep(lua_State *L, int functions, uint64_t serial) {
  lua_rawgeti(L, functions, 0);
  lua_Integer n = lua_tointeger(L, -1) + 1;
  lua_pop(L, 1);
  if (n > KEPT) {
    for (lua_pushnil(L); lua_next(L, functions);) {
      lua_pop(L, 1);
      lua_pushvalue(L, -1);
      lua_pushnil(L);
      lua_rawset(L, functions);
    }
    n = 1;
  }
  lua_pushinteger(L, n);
  lua_rawseti(L, functions, 0);
  lua_pushvalue(L, -1);
  lua_rawseti(L, functions, (lua_Integer)serial);
}

/* open(task, functions): its mode, function and arguments. 'functions' keeps
 * those that were met lately, by their serial numbers. */
int task_open(lua_State *L) {
  size_t size;
  const char *task = luaL_checklstring(L, 1, &size);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  TaskHead head;
  CodeHead code;
  if (size < sizeof head) return luaL_error(L, "a damaged message");
  memcpy(&head, task, sizeof head);
  if (head.code_size < sizeof code || head.code_size > size - sizeof head)
    return luaL_error(L, "a damaged message");
  const char *at = task + sizeof head;
  memcpy(&code, at, sizeof code);
  lua_pushinteger(L, head.mode);
  if (lua_rawgeti(L, 2, (lua_Integer)code.serial) == LUA_TNIL) {
    lua_pop(L, 1);
    size_t rest = head.code_size - sizeof code;
    if (code.stored)
      open_stored(L, at + sizeof code, rest);
    else
      parcel_open(L, at + sizeof code, rest);
    keep(L, 2, code.serial);
  }
  at += head.code_size;
  parcel_open(L, at, size - (size_t)(at - task));
  return 3;
}

void task_init(lua_State *L) {
  static const luaL_Reg none[] = {{NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__gc", memory_gc}, {NULL, NULL}};
  bind_newclass(L, MEMORY, none, metamethods);
}

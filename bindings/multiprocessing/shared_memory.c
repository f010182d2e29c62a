/* shared_memory.c - "tidelock._shared_memory": SharedMemory, blocks of memory
 * with a name. Documented in types/multiprocessing.shared_memory.lua.
 *
 * The name of a tracked block that nobody unlinks goes when this process, and
 * its children, have ended (tracker.h). To open a block tracks nothing: it is
 * its creator's. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "array.h"
#include "ipc/named.h"
#include "modules.h"
#include "pickle.h"
#include "tracker.h"

#define SHARED_MEMORY "multiprocessing.shared_memory.SharedMemory"
#define BUFFER "multiprocessing.shared_memory.Buffer"

/* Memory of more bytes is made without the GIL: it takes its time. */
#define LONG_WORK ((size_t)1 << 20)
#define TRIES 100 /* random names */

typedef struct Shared {
  os_segment segment;          /* GIL: fd -1 closed */
  unsigned char *memory;       /* GIL: the same, for those who look at it */
  uint64_t id;                 /* const */
  size_t size;                 /* const */
  char name[OS_NAMED_MAX + 1]; /* const */
} Shared;

/* What shm.buf is. */
typedef struct Buffer {
  Shared *shm; /* const; its user value keeps that alive */
} Buffer;

static TL_GIL Shared *check_shared(lua_State *L) {
  return bind_checkself(L, SHARED_MEMORY);
}

/* --- Away from the GIL ---------------------------------------------------- */

/* What may take a while, and touches no Lua. In a finalizer the GIL is kept. */
static TL_GIL int do_away(lua_State *L, int (*work)(void *), void *arg) {
  if (tl_in_finalizer(L)) return work(arg);
  tl_block_begin(bind_thread(), "shared memory");
  int result = work(arg);
  tl_block_end(bind_thread());
  return result;
}

/* --- Making and opening --------------------------------------------------- */

typedef struct Making {
  os_segment segment;
  uint64_t id;
  size_t size;          /* 0: opens one */
  char *name;           /* of OS_NAMED_MAX + 1 bytes; empty: a random one */
  ipc_tracker *tracker; /* NULL: it is not tracked */
} Making;

/* The tracker knows the name before the block has it: whenever this process is
 * killed, the name goes. */
static int publish(const Making *m, const char *name) {
  int err = m->tracker ? ipc_tracker_add(m->tracker, name, m->id) : 0;
  if (err) return err;
  err = os_named_publish(&m->segment, name);
  if (err && m->tracker) ipc_tracker_remove(m->tracker, name, m->id);
  return err;
}

static int publish_random(Making *m) {
  int err = -EEXIST;
  for (int i = 0; i < TRIES && err == -EEXIST; i++) {
    char name[OS_NAMED_RANDOM];
    err = os_named_random(name);
    if (!err) err = publish(m, name);
    if (!err) memcpy(m->name, name, sizeof name);
  }
  return err;
}

static int make(void *arg) {
  Making *m = arg;
  int err = os_named_make(&m->segment, m->size);
  if (err) return err;
  m->id = os_named_id(&m->segment);
  err = *m->name ? publish(m, m->name) : publish_random(m);
  if (err) os_segment_close(&m->segment);
  return err;
}

static int open_named(void *arg) {
  Making *m = arg;
  int err = os_named_open(&m->segment, m->name);
  if (!err) m->id = os_named_id(&m->segment);
  return err;
}

static TL_GIL int make_tracked(lua_State *L, Making *m) {
  int err = m->tracker ? tracker_ensure(L, m->tracker) : 0;
  return err ? err : do_away(L, make, m);
}

/* Pushes an object that is closed, and has its buffer. */
static TL_GIL Shared *push_shared(lua_State *L) {
  Shared *shm = lua_newuserdatauv(L, sizeof *shm, 1);
  *shm = (Shared){.segment.fd = -1};
  luaL_setmetatable(L, SHARED_MEMORY);
  Buffer *b = lua_newuserdatauv(L, sizeof *b, 1);
  b->shm = shm;
  luaL_setmetatable(L, BUFFER);
  lua_pushvalue(L, -2);
  lua_setiuservalue(L, -2, 1);
  lua_setiuservalue(L, -2, 1);
  return shm;
}

static TL_GIL void check_name(lua_State *L, bool create) {
  if (lua_isnil(L, 1)) {
    luaL_argcheck(L, create, 1, "name expected, as none is created");
    return;
  }
  luaL_checktype(L, 1, LUA_TSTRING);
  size_t length;
  const char *name = lua_tolstring(L, 1, &length);
  luaL_argcheck(L, os_named_valid(name, length), 1,
                "a name is 1 to 255 bytes without '/' and control characters");
}

static TL_GIL bool check_boolean(lua_State *L, int arg, bool usual) {
  if (lua_isnil(L, arg)) return usual;
  luaL_checktype(L, arg, LUA_TBOOLEAN);
  return lua_toboolean(L, arg);
}

/* SharedMemory(name, create, size, track) */
static TL_GIL int shared_new(lua_State *L) {
  static const char *const options[] = {"name", "create", "size", "track",
                                        NULL};
  bind_options(L, 1, options);
  lua_settop(L, 4);
  bool create = check_boolean(L, 2, false), track = check_boolean(L, 4, true);
  check_name(L, create);
  lua_Integer size = create ? luaL_checkinteger(L, 3) : 0;
  luaL_argcheck(L, !create || size > 0, 3, "size must be positive");
  Shared *shm = push_shared(L);
  if (!lua_isnil(L, 1))
    memcpy(shm->name, lua_tostring(L, 1), lua_rawlen(L, 1) + 1);
  Making m = {.size = (size_t)size,
              .name = shm->name,
              .tracker = create && track ? tracker_of(L) : NULL};
  int err = create ? make_tracked(L, &m) : do_away(L, open_named, &m);
  if (err) return tl_error_os(L, -err, *shm->name ? shm->name : "SharedMemory");
  shm->segment = m.segment;
  shm->memory = m.segment.memory;
  shm->size = m.segment.size;
  shm->id = m.id;
  return 1;
}

/* --- Methods -------------------------------------------------------------- */

static TL_GIL int shared_close(lua_State *L) {
  Shared *shm = check_shared(L);
  shm->memory = NULL;
  os_segment_close(&shm->segment);
  return 0;
}

typedef struct Unlinking {
  const Shared *shm;
  const ipc_tracker *tracker;
} Unlinking;

static int unlink_named(void *arg) {
  const Unlinking *u = arg;
  int err = os_named_unlink(u->shm->name, u->shm->id);
  if (u->tracker && (err == 0 || err == -ENOENT))
    ipc_tracker_remove(u->tracker, u->shm->name, u->shm->id);
  return err;
}

static TL_GIL int shared_unlink(lua_State *L) {
  const Shared *shm = check_shared(L);
  const ipc_tracker *t = tracker_of(L);
  Unlinking u = {.shm = shm, .tracker = t != NULL && t->fd >= 0 ? t : NULL};
  int err = do_away(L, unlink_named, &u);
  return err ? tl_error_os(L, -err, shm->name) : 0;
}

static TL_GIL int shared_get_name(lua_State *L) {
  lua_pushstring(L, check_shared(L)->name);
  return 1;
}

static TL_GIL int shared_get_size(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_shared(L)->size);
  return 1;
}

static TL_GIL int shared_get_buf(lua_State *L) {
  check_shared(L);
  lua_getiuservalue(L, 1, 1);
  return 1;
}

static TL_GIL int shared_tostring(lua_State *L) {
  const Shared *shm = check_shared(L);
  if (shm->memory == NULL)
    lua_pushfstring(L, "<SharedMemory \"%s\" closed>", shm->name);
  else
    lua_pushfstring(L, "<SharedMemory \"%s\" size=%I>", shm->name,
                    (lua_Integer)shm->size);
  return 1;
}

/* --- The buffer ----------------------------------------------------------- */

static TL_GIL Shared *check_open(lua_State *L) {
  Shared *shm = ((Buffer *)bind_checkself(L, BUFFER))->shm;
  if (shm->memory == NULL) tl_error_os(L, EBADF, "the shared memory is closed");
  return shm;
}

/* An offset, from 0 to the size. */
static TL_GIL size_t check_offset(lua_State *L, const Shared *shm, int arg,
                                  lua_Integer usual) {
  lua_Integer offset = luaL_optinteger(L, arg, usual);
  if (offset < 0 || (lua_Unsigned)offset > shm->size)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "offset %I is out of range [0, %I]",
                                  offset, (lua_Integer)shm->size));
  return (size_t)offset;
}

static TL_GIL void check_room(lua_State *L, const Shared *shm, int arg,
                              size_t offset, size_t n) {
  if (n > shm->size - offset)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "%I bytes at offset %I: the size is %I",
                                  (lua_Integer)n, (lua_Integer)offset,
                                  (lua_Integer)shm->size));
}

/* buf:read([offset = 0 [, n]]) */
static TL_GIL int buffer_read(lua_State *L) {
  const Shared *shm = check_open(L);
  size_t offset = check_offset(L, shm, 2, 0);
  lua_Integer n = bind_count(L, 3, (lua_Integer)(shm->size - offset), 0);
  check_room(L, shm, 3, offset, (size_t)n);
  typed_pushbytes(L, shm->memory + offset, (size_t)n);
  return 1;
}

/* Writes the string at 'arg'; returns the offset behind it. */
static TL_GIL size_t write_string(lua_State *L, size_t offset, int arg) {
  const Shared *shm = check_open(L);
  size_t n;
  const char *s = lua_tolstring(L, arg, &n);
  check_room(L, shm, arg, offset, n);
  typed_copy_in(shm->memory + offset, s, n);
  return offset + n;
}

/* buf:write(offset, string) */
static TL_GIL int buffer_write(lua_State *L) {
  const Shared *shm = check_open(L);
  luaL_checkinteger(L, 2);
  size_t offset = check_offset(L, shm, 2, 0);
  luaL_checktype(L, 3, LUA_TSTRING);
  write_string(L, offset, 3);
  return 0;
}

static TL_GIL void push_string_function(lua_State *L, const char *name) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, LUA_STRLIBNAME);
  lua_getfield(L, -1, name);
  lua_replace(L, -3);
  lua_pop(L, 1);
}

/* buf:pack(offset, format, ...): string.pack's bytes are written there; returns
 * the offset behind them. */
static TL_GIL int buffer_pack(lua_State *L) {
  const Shared *shm = check_open(L);
  luaL_checkinteger(L, 2);
  size_t offset = check_offset(L, shm, 2, 0);
  luaL_checkstring(L, 3);
  push_string_function(L, "pack");
  lua_insert(L, 3);
  lua_call(L, lua_gettop(L) - 3, 1);
  lua_pushinteger(L, (lua_Integer)write_string(L, offset, 3));
  return 1;
}

/* Whether string.unpack, whose message is on the top, wants more bytes. */
static TL_GIL bool wants_more(lua_State *L) {
  const char *s = lua_tostring(L, -1);
  return s != NULL &&
         (strstr(s, "too short") || strstr(s, "unfinished string"));
}

/* buf:unpack(offset, format): as string.unpack; the last value is the offset
 * behind what was read. How long that is only string.unpack can tell: it gets
 * more and more until it has enough. */
static TL_GIL int buffer_unpack(lua_State *L) {
  const Shared *shm = check_open(L);
  luaL_checkinteger(L, 2);
  size_t offset = check_offset(L, shm, 2, 0), some = 256;
  luaL_checkstring(L, 3);
  lua_settop(L, 3);
  for (;; some *= 8) {
    shm = check_open(L);
    size_t left = shm->size - offset, n = some < left ? some : left;
    push_string_function(L, "unpack");
    lua_pushvalue(L, 3);
    typed_pushbytes(L, shm->memory + offset, n);
    if (lua_pcall(L, 2, LUA_MULTRET, 0) == LUA_OK) break;
    if (n == left || !wants_more(L)) return lua_error(L);
    lua_settop(L, 3);
  }
  lua_Integer next = lua_tointeger(L, -1) - 1 + (lua_Integer)offset;
  lua_pop(L, 1);
  lua_pushinteger(L, next);
  return lua_gettop(L) - 3;
}

/* buf:view(type [, offset = 0 [, count]]): an array of what lies there. */
static TL_GIL int buffer_view(lua_State *L) {
  Shared *shm = check_open(L);
  const typed_kind *k = typed_check(L, 2);
  size_t offset = check_offset(L, shm, 3, 0);
  if (offset % k->size != 0)
    luaL_argerror(
        L, 3,
        lua_pushfstring(L, "offset must be a multiple of %d", (int)k->size));
  lua_Integer most = (lua_Integer)((shm->size - offset) / k->size);
  lua_Integer count = bind_count(L, 4, most, 0);
  if (count > most)
    luaL_argerror(L, 4,
                  lua_pushfstring(L, "%I elements at offset %I: the size is %I",
                                  count, (lua_Integer)offset,
                                  (lua_Integer)shm->size));
  lua_getiuservalue(L, 1, 1);
  int owner = lua_gettop(L);
  Array *a = array_push(L, RAW_ARRAY, k, count);
  array_view(L, a, &shm->memory, offset, owner);
  return 1;
}

static TL_GIL int buffer_len(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_open(L)->size);
  return 1;
}

static TL_GIL int buffer_tostring(lua_State *L) {
  const Shared *shm = ((Buffer *)bind_checkself(L, BUFFER))->shm;
  lua_pushfstring(L, shm->memory ? "<Buffer of \"%s\">" : "<Buffer closed>",
                  shm->name);
  return 1;
}

/* --- How they travel ------------------------------------------------------ */

/* By name: one who gets it when that is gone, gets none. A list travels as an
 * object that stands for it, which has the block at its user value. */

#define LIST "multiprocessing.shared_memory.List"

static TL_GIL int pack_shared(lua_State *L, int idx, int *fds) {
  const Shared *shm = lua_touserdata(L, idx);
  (void)fds;
  lua_createtable(L, 2, 0);
  lua_pushstring(L, shm->name);
  lua_rawseti(L, -2, 1);
  lua_pushinteger(L, (lua_Integer)shm->id);
  lua_rawseti(L, -2, 2);
  return 0;
}

/* Opens the block that the table on the top names. */
static TL_GIL void unpack_shared(lua_State *L, int *fds, int n) {
  (void)fds, (void)n;
  int table = lua_gettop(L);
  if (!lua_istable(L, table)) luaL_error(L, "no shared memory");
  lua_pushcfunction(L, shared_new);
  lua_rawgeti(L, table, 1);
  lua_call(L, 1, 1);
  lua_rawgeti(L, table, 2);
  const Shared *shm = lua_touserdata(L, -2);
  if ((uint64_t)lua_tointeger(L, -1) != shm->id)
    tl_error_os(L, ENOENT, shm->name);
  lua_pop(L, 1);
  lua_remove(L, table);
}

static TL_GIL int pack_list(lua_State *L, int idx, int *fds) {
  (void)fds;
  lua_getiuservalue(L, idx, 1);
  return 0;
}

static TL_GIL void unpack_list(lua_State *L, int *fds, int n) {
  (void)fds, (void)n;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "tidelock.multiprocessing.shared_memory");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "_attach");
  lua_replace(L, -2);
  lua_insert(L, -2);
  lua_call(L, 1, 1);
}

/* portable_list(shm): what is sent in the place of the list in it. */
static TL_GIL int shared_portable_list(lua_State *L) {
  luaL_checkudata(L, 1, SHARED_MEMORY);
  lua_newuserdatauv(L, 0, 1);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, LIST);
  return 1;
}

static const tl_portable portable = {
    .name = "SharedMemory", .pack = pack_shared, .unpack = unpack_shared};
static const tl_portable portable_list = {
    .name = "ShareableList", .pack = pack_list, .unpack = unpack_list};

/* --- The module ----------------------------------------------------------- */

static const luaL_Reg shared_methods[] = {
    {"close", shared_close}, {"unlink", shared_unlink}, {NULL, NULL}};
static const luaL_Reg shared_metamethods[] = {{"__close", shared_close},
                                              {"__gc", shared_close},
                                              {"__tostring", shared_tostring},
                                              {NULL, NULL}};
static const luaL_Reg shared_getters[] = {{"buf", shared_get_buf},
                                          {"name", shared_get_name},
                                          {"size", shared_get_size},
                                          {NULL, NULL}};
static const luaL_Reg buffer_methods[] = {
    {"pack", buffer_pack}, {"read", buffer_read},   {"unpack", buffer_unpack},
    {"view", buffer_view}, {"write", buffer_write}, {NULL, NULL}};
static const luaL_Reg buffer_metamethods[] = {
    {"__len", buffer_len}, {"__tostring", buffer_tostring}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"SharedMemory", shared_new},
                                     {"portable_list", shared_portable_list},
                                     {"tracker", tracker_push},
                                     {NULL, NULL}};

TL_GIL int luaopen_tl_shared_memory(lua_State *L) {
  array_open(L);
  bind_newclass_attrs(L, SHARED_MEMORY, shared_methods, shared_metamethods,
                      shared_getters, NULL);
  bind_newclass(L, BUFFER, buffer_methods, buffer_metamethods);
  bind_newclass(L, LIST, NULL, NULL);
  tl_portable_register(L, SHARED_MEMORY, "tidelock._shared_memory", &portable);
  tl_portable_register(L, LIST, "tidelock._shared_memory", &portable_list);
  tracker_open(L);
  luaL_newlib(L, functions);
  return 1;
}

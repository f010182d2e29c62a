/* sharedctypes.c - "tidelock._sharedctypes": makes Value, Array, RawValue and
 * RawArray. Documented in types/multiprocessing.sharedctypes.lua. */
#include <errno.h>
#include <stdint.h>

#include "array.h"
#include "modules.h"
#include "synchronize.h"

/* Memory of more bytes is made without the GIL: it takes its time. */
#define LONG_WORK ((size_t)1 << 20)

/* --- Memory --------------------------------------------------------------- */

static TL_GIL int create_segment(lua_State *L, os_segment *s, size_t size) {
  if (size < LONG_WORK || tl_in_finalizer(L))
    return os_segment_create(s, "tidelock-array", size);
  tl_block_begin(bind_thread(), "memory");
  int err = os_segment_create(s, "tidelock-array", size);
  tl_block_end(bind_thread());
  return err;
}

static TL_GIL int make_large(lua_State *L, ipc_arena *arena, size_t size,
                             ipc_block *b) {
  os_segment s;
  int err = create_segment(L, &s, size);
  if (err) return err;
  err = ipc_arena_adopt(arena, &s, b);
  if (err) os_segment_close(&s);
  return err;
}

static TL_GIL int make_block(lua_State *L, size_t size, ipc_block *b) {
  ipc_arena *arena = arena_of(L);
  if (size > IPC_SMALL) return make_large(L, arena, size, b);
  return ipc_arena_cut(arena, size > 0 ? size : 1, b);
}

/* Gives the new object its memory. */
static TL_GIL void allocate(lua_State *L, Array *a) {
  size_t size = (size_t)a->count * a->kind->size;
  int err = make_block(L, size, &a->block);
  if (sync_made_room(L, err)) err = make_block(L, size, &a->block);
  if (err) tl_error_os(L, -err, "shared memory");
}

/* --- The lock ------------------------------------------------------------- */

static TL_GIL bool has_method(lua_State *L, int idx, const char *name) {
  int type = lua_type(L, idx);
  if (type != LUA_TTABLE && type != LUA_TUSERDATA) return false;
  lua_getfield(L, idx, name);
  bool there = bind_iscallable(L, -1);
  lua_pop(L, 1);
  return there;
}

/* The argument 3: nil and true ask for a lock of its own, an RLock between
 * processes, which upvalue 1 makes; false for none. Leaves a lock there, or
 * false. */
static TL_GIL void check_lock(lua_State *L) {
  if (lua_isnil(L, 3) || (lua_isboolean(L, 3) && lua_toboolean(L, 3))) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_call(L, 0, 1);
    lua_replace(L, 3);
  } else if (!lua_isboolean(L, 3)) {
    if (!has_method(L, 3, "acquire") || !has_method(L, 3, "release"))
      luaL_typeerror(L, 3, "boolean or lock");
  }
}

/* Pushes the object with its memory, and its lock if there is one at 3. */
static TL_GIL Array *push_object(lua_State *L, array_class class,
                                 const typed_kind *k, lua_Integer count) {
  bool locked = lua_toboolean(L, 3);
  if (locked) class |= ARRAY_LOCKED;
  Array *a = array_push(L, class, k, count);
  if (locked) array_set_lock(L, 3);
  allocate(L, a);
  return a;
}

/* --- Constructors --------------------------------------------------------- */

static const char *const options[] = {"type", "init", "lock", NULL};

static TL_GIL int new_value(lua_State *L) {
  const typed_kind *k = typed_check(L, 1);
  typed_bits bits = {0};
  if (!lua_isnil(L, 2)) {
    const char *wrong = typed_convert(L, 2, k, &bits);
    if (wrong != NULL) return luaL_argerror(L, 2, wrong);
  }
  check_lock(L);
  Array *a = push_object(L, RAW_VALUE, k, 1);
  typed_store(k, a->block.memory, bits);
  return 1;
}

/* The elements that argument 2 asks for: a number of them, or a table, or for
 * characters a string, which is left there as a string of bytes. */
static TL_GIL lua_Integer check_elements(lua_State *L, const typed_kind *k) {
  int type = lua_type(L, 2);
  if (type == LUA_TSTRING && k->form == TYPED_CHAR)
    return (lua_Integer)lua_rawlen(L, 2);
  if (type != LUA_TNUMBER && type != LUA_TTABLE)
    luaL_typeerror(L, 2,
                   k->form == TYPED_CHAR ? "size, table or string"
                                         : "size or table");
  lua_Integer n =
      type == LUA_TNUMBER ? luaL_checkinteger(L, 2) : luaL_len(L, 2);
  luaL_argcheck(L, n >= 0, 2, "size must not be negative");
  luaL_argcheck(L, n <= (lua_Integer)(PTRDIFF_MAX / k->size), 2,
                "size too large");
  if (type == LUA_TTABLE) {
    array_pushbytes(L, 2, n, k, 2);
    lua_replace(L, 2);
  }
  return n;
}

static TL_GIL int new_array(lua_State *L) {
  const typed_kind *k = typed_check(L, 1);
  lua_Integer count = check_elements(L, k);
  check_lock(L);
  Array *a = push_object(L, RAW_ARRAY, k, count);
  if (lua_type(L, 2) == LUA_TSTRING)
    typed_copy_in(a->block.memory, lua_tostring(L, 2), lua_rawlen(L, 2));
  return 1;
}

/* The arguments (type, init, lock) or a table of them. */
static TL_GIL void read_arguments(lua_State *L) {
  bind_options(L, 1, options);
  lua_settop(L, 3);
}

static TL_GIL void read_raw_arguments(lua_State *L) {
  static const char *const raw_options[] = {"type", "init", NULL};
  bind_options(L, 1, raw_options);
  lua_settop(L, 2);
  lua_pushboolean(L, false);
}

static TL_GIL int ctypes_value(lua_State *L) {
  read_arguments(L);
  return new_value(L);
}

static TL_GIL int ctypes_array(lua_State *L) {
  read_arguments(L);
  return new_array(L);
}

static TL_GIL int ctypes_raw_value(lua_State *L) {
  read_raw_arguments(L);
  return new_value(L);
}

static TL_GIL int ctypes_raw_array(lua_State *L) {
  read_raw_arguments(L);
  return new_array(L);
}

/* constructors(new_lock): a table of the four; new_lock() makes the lock of an
 * object that is not told otherwise. */
static TL_GIL int ctypes_constructors(lua_State *L) {
  static const luaL_Reg functions[] = {{"Array", ctypes_array},
                                       {"RawArray", ctypes_raw_array},
                                       {"RawValue", ctypes_raw_value},
                                       {"Value", ctypes_value},
                                       {NULL, NULL}};
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  luaL_newlibtable(L, functions);
  lua_pushvalue(L, 1);
  luaL_setfuncs(L, functions, 1);
  return 1;
}

static const luaL_Reg functions[] = {{"constructors", ctypes_constructors},
                                     {NULL, NULL}};

TL_GIL int luaopen_tl_sharedctypes(lua_State *L) {
  array_open(L);
  luaL_newlib(L, functions);
  return 1;
}

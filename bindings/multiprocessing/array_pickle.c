/* array_pickle.c - how values and arrays in shared memory travel to other
 * processes: with the descriptor of the segment that they lie in, and a table
 * {class, type, count, offset, lock}. A view travels with what it is a view of:
 * {class, type, count, offset, owner}. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "array.h"
#include "pickle.h"

enum { CLASS = 1, TYPE, COUNT, OFFSET, OTHER };

static TL_GIL void set_integer(lua_State *L, int key, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_rawseti(L, -2, key);
}

static TL_GIL int pack(lua_State *L, int idx, int *fds) {
  const Array *a = lua_touserdata(L, idx);
  array_memory(L, a); /* raises if there is none any more */
  bool whole = a->block.memory != NULL;
  lua_createtable(L, OTHER, 0);
  set_integer(L, CLASS, a->class);
  lua_pushstring(L, a->kind->name);
  lua_rawseti(L, -2, TYPE);
  set_integer(L, COUNT, a->count);
  set_integer(L, OFFSET,
              (lua_Integer)(whole ? ipc_block_offset(&a->block) : a->offset));
  lua_getiuservalue(L, idx, whole ? ARRAY_LOCK : ARRAY_OWNER);
  lua_rawseti(L, -2, OTHER);
  if (!whole) return 0;
  fds[0] = ipc_block_fd(&a->block);
  return 1;
}

static TL_GIL int refuse(lua_State *L) {
  return tl_error(L, "UnpicklingError", "this is no shared memory");
}

/* What the table at 1 says of the object; the rest of it is checked where it is
 * used. The type is left at 2. */
static TL_GIL const typed_kind *read_table(lua_State *L, array_class *class,
                                           lua_Integer *count,
                                           lua_Integer *offset) {
  if (!lua_istable(L, 1)) refuse(L);
  lua_rawgeti(L, 1, TYPE);
  lua_rawgeti(L, 1, CLASS);
  lua_rawgeti(L, 1, COUNT);
  lua_rawgeti(L, 1, OFFSET);
  lua_Integer number = lua_tointeger(L, 3);
  const typed_kind *k = typed_check(L, 2);
  *count = lua_tointeger(L, 4);
  *offset = lua_tointeger(L, 5);
  if (number < RAW_ARRAY || number > VALUE || *offset < 0 || *count < 0 ||
      *count > (lua_Integer)(PTRDIFF_MAX / k->size) ||
      ((number & ARRAY_SINGLE) && *count != 1))
    refuse(L);
  *class = (array_class)number;
  lua_settop(L, 2);
  return k;
}

/* The owner is at 3: an array with a lock, or a block of shared memory, which
 * knows how to make a view. */
static TL_GIL int restore_view(lua_State *L, const typed_kind *k,
                               array_class class, lua_Integer count,
                               lua_Integer offset) {
  const Array *owner = array_test(L, 3);
  if (owner != NULL) {
    if (owner->kind != k || owner->count != count) refuse(L);
    Array *a = array_push(L, class, k, count);
    array_view(L, a, owner->base, owner->offset, 3);
    return 1;
  }
  if (lua_type(L, 3) != LUA_TUSERDATA) refuse(L);
  lua_getfield(L, 3, "buf");
  lua_getfield(L, -1, "view");
  lua_insert(L, -2);
  lua_pushvalue(L, 2);
  lua_pushinteger(L, offset);
  lua_pushinteger(L, count);
  lua_call(L, 4, 1);
  return 1;
}

/* Arguments: the table, a light userdata of the descriptor or nil. */
static TL_GIL int restore(lua_State *L) {
  const int *fd = lua_touserdata(L, 2);
  array_class class;
  lua_Integer count, offset;
  lua_settop(L, 1);
  const typed_kind *k = read_table(L, &class, &count, &offset);
  lua_rawgeti(L, 1, OTHER);
  if (fd == NULL) {
    if (class & ARRAY_LOCKED) refuse(L);
    return restore_view(L, k, class, count, offset);
  }
  Array *a = array_push(L, class, k, count);
  if (class & ARRAY_LOCKED) array_set_lock(L, 3);
  size_t size = count > 0 ? (size_t)count * k->size : 1;
  int err = ipc_arena_open(arena_of(L), *fd, (size_t)offset, size, &a->block);
  if (err == -EINVAL) refuse(L);
  if (err) tl_error_os(L, -err, "shared memory");
  return 1;
}

static TL_GIL void unpack(lua_State *L, int *fds, int n) {
  lua_pushcfunction(L, restore);
  lua_insert(L, -2);
  lua_pushlightuserdata(L, n == 1 ? fds : NULL);
  lua_call(L, 2, 1);
}

static const tl_portable portable = {
    .name = "shared memory", .pack = pack, .unpack = unpack, .memory = true};

void array_portable(lua_State *L, const char *name) {
  tl_portable_register(L, name, "tidelock._sharedctypes", &portable);
}

/* array.c - RawArray and RawValue, Array and Value of multiprocessing: elements
 * of shared memory. Documented in types/multiprocessing.sharedctypes.lua.
 *
 * A method checks its arguments, which may raise, and then has its work done by
 * array_access, which takes the lock if there is one: so nothing is raised with
 * the lock held but lack of memory, and no argument error comes late. */
#include "array.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

static const char tag;

Array *array_check(lua_State *L) {
  return bind_checktagged(L, &tag, sizeof(Array));
}

static inline TL_GIL Array *check_self(lua_State *L) {
  return bind_checktagged(L, &tag, sizeof(Array));
}

Array *array_test(lua_State *L, int arg) {
  Array *a = lua_touserdata(L, arg);
  if (a == NULL || lua_rawlen(L, arg) != sizeof *a || a->tag != &tag)
    return NULL;
  return lua_type(L, arg) == LUA_TUSERDATA ? a : NULL;
}

static const char *const names[] = {[RAW_ARRAY] = "multiprocessing.RawArray",
                                    [RAW_VALUE] = "multiprocessing.RawValue",
                                    [ARRAY] = "multiprocessing.Array",
                                    [VALUE] = "multiprocessing.Value"};

Array *array_push(lua_State *L, array_class class, const typed_kind *k,
                  lua_Integer count) {
  Array *a = lua_newuserdatauv(L, sizeof *a, ARRAY_VALUES);
  *a = (Array){.tag = &tag, .class = class, .kind = k, .count = count};
  a->base = &a->block.memory;
  luaL_setmetatable(L, names[class]);
  return a;
}

void array_view(lua_State *L, Array *a, unsigned char *const *base,
                size_t offset, int owner) {
  lua_pushvalue(L, owner);
  lua_setiuservalue(L, -2, ARRAY_OWNER);
  a->base = base;
  a->offset = offset;
}

unsigned char *array_memory(lua_State *L, const Array *a) {
  unsigned char *memory = *a->base;
  if (tl_unlikely(memory == NULL))
    tl_error_os(L, EBADF, "the shared memory is closed");
  return memory + a->offset;
}

static inline TL_GIL unsigned char *element(lua_State *L, const Array *a,
                                            lua_Integer i) {
  return array_memory(L, a) + (size_t)i * a->kind->size;
}

/* --- Elements ----------------------------------------------------------- */

static TL_GIL lua_Integer bad_index(lua_State *L, const Array *a, int arg) {
  if (lua_type(L, arg) != LUA_TNUMBER) luaL_typeerror(L, arg, "integer");
  int is_integer;
  lua_Integer i = lua_tointegerx(L, arg, &is_integer);
  if (!is_integer)
    luaL_argerror(L, arg, "number has no integer representation");
  if (i < 0 && i >= -a->count) return a->count + i;
  return luaL_argerror(
      L, arg,
      lua_pushfstring(L, "index %I is out of range [1, %I]", i, a->count));
}

/* The index at 'arg', which is 1 to 'most' or counts from the end, from 0. */
static inline TL_GIL lua_Integer check_index(lua_State *L, const Array *a,
                                             int arg, lua_Integer most) {
  lua_Integer i = lua_tointegerx(L, arg, NULL); /* 0: it is none */
  if (tl_likely((lua_Unsigned)i - 1 < (lua_Unsigned)most &&
                lua_type(L, arg) == LUA_TNUMBER))
    return i - 1;
  return bad_index(L, a, arg);
}

static TL_GIL typed_bits check_value(lua_State *L, const Array *a, int arg) {
  typed_bits bits = {0};
  const char *wrong = typed_convert(L, arg, a->kind, &bits);
  if (tl_unlikely(wrong != NULL)) luaL_argerror(L, arg, wrong);
  return bits;
}

static TL_GIL int push_element(lua_State *L) {
  Array *a = check_self(L);
  lua_Integer i = check_index(L, a, 2, a->count);
  typed_push(L, a->kind, element(L, a, i));
  return 1;
}

static TL_GIL int put_element(lua_State *L) {
  Array *a = check_self(L);
  lua_Integer i = check_index(L, a, 2, a->count);
  typed_store(a->kind, element(L, a, i), check_value(L, a, 3));
  return 0;
}

/* Pushes the method that the string at 2 names; upvalue 2 has them. */
static TL_GIL int push_method(lua_State *L) {
  lua_settop(L, 2);
  lua_rawget(L, lua_upvalueindex(2));
  return 1;
}

static TL_GIL int no_attribute(lua_State *L) {
  const char *key = luaL_tolstring(L, 2, NULL);
  lua_getfield(L, lua_upvalueindex(1), "__name");
  return luaL_error(L, "no attribute '%s' to set in a %s", key,
                    lua_tostring(L, -1));
}

static TL_GIL bool is_key(lua_State *L, const char *name) {
  return lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), name) == 0;
}

/* --- Strings of characters ----------------------------------------------- */

/* What the bytes hold before the first zero byte. */
static TL_GIL int push_text(lua_State *L) {
  Array *a = check_self(L);
  luaL_Buffer b;
  char *s = luaL_buffinitsize(L, &b, (size_t)a->count);
  typed_copy_out(s, array_memory(L, a), (size_t)a->count);
  luaL_pushresultsize(&b, strnlen(s, (size_t)a->count));
  return 1;
}

static TL_GIL int push_raw(lua_State *L) {
  Array *a = check_self(L);
  typed_pushbytes(L, array_memory(L, a), (size_t)a->count);
  return 1;
}

/* As C has it: with a zero byte behind it if there is room. */
static TL_GIL int put_text(lua_State *L) {
  Array *a = check_self(L);
  size_t n;
  const char *s = lua_tolstring(L, 3, &n);
  unsigned char *memory = array_memory(L, a);
  typed_copy_in(memory, s, n);
  if (n < (size_t)a->count) typed_copy_in(memory + n, "", 1);
  return 0;
}

/* array.value and array.raw of an array of characters. */
static TL_GIL bool is_text(lua_State *L, const Array *a) {
  return a->kind->form == TYPED_CHAR &&
         (is_key(L, "value") || is_key(L, "raw"));
}

static TL_GIL int set_text(lua_State *L, const Array *a) {
  luaL_checktype(L, 3, LUA_TSTRING);
  if (lua_rawlen(L, 3) > (lua_Unsigned)a->count)
    luaL_argerror(L, 3, "string longer than the array");
  return array_access(L, put_text);
}

/* --- Access by [] --------------------------------------------------------- */

static TL_GIL int array_index(lua_State *L) {
  Array *a = check_self(L);
  if (tl_likely(lua_type(L, 2) == LUA_TNUMBER)) {
    lua_Integer i = check_index(L, a, 2, a->count);
    if (a->class & ARRAY_LOCKED) return array_access(L, push_element);
    typed_push(L, a->kind, element(L, a, i));
    return 1;
  }
  if (tl_unlikely(is_text(L, a)))
    return array_access(L, is_key(L, "raw") ? push_raw : push_text);
  return push_method(L);
}

static TL_GIL int array_newindex(lua_State *L) {
  Array *a = check_self(L);
  if (tl_unlikely(lua_type(L, 2) != LUA_TNUMBER))
    return is_text(L, a) ? set_text(L, a) : no_attribute(L);
  lua_Integer i = check_index(L, a, 2, a->count);
  typed_bits bits = check_value(L, a, 3);
  if (a->class & ARRAY_LOCKED) return array_access(L, put_element);
  typed_store(a->kind, element(L, a, i), bits);
  return 0;
}

static TL_GIL int push_value(lua_State *L) {
  Array *a = check_self(L);
  typed_push(L, a->kind, array_memory(L, a));
  return 1;
}

static TL_GIL int put_value(lua_State *L) {
  Array *a = check_self(L);
  typed_store(a->kind, array_memory(L, a), check_value(L, a, 3));
  return 0;
}

static TL_GIL int value_index(lua_State *L) {
  check_self(L);
  if (tl_likely(is_key(L, "value"))) return array_access(L, push_value);
  return push_method(L);
}

static TL_GIL int value_newindex(lua_State *L) {
  Array *a = check_self(L);
  if (tl_unlikely(!is_key(L, "value"))) return no_attribute(L);
  check_value(L, a, 3);
  return array_access(L, put_value);
}

/* --- Many elements -------------------------------------------------------- */

/* The arguments (i = 1, n = as many as follow) at 'arg' and behind it: the
 * first element, from 0, and their number. */
static TL_GIL lua_Integer check_range(lua_State *L, const Array *a, int arg,
                                      lua_Integer *n) {
  lua_Integer first =
      lua_isnoneornil(L, arg) ? 0 : check_index(L, a, arg, a->count + 1);
  *n = luaL_optinteger(L, arg + 1, a->count - first);
  if (*n < 0 || *n > a->count - first)
    luaL_argerror(L, arg + 1,
                  lua_pushfstring(L,
                                  "%I elements from %I on are out of range "
                                  "[1, %I]",
                                  *n, first + 1, a->count));
  return first;
}

static TL_GIL int read_elements(lua_State *L) {
  Array *a = check_self(L);
  lua_Integer n, first = check_range(L, a, 2, &n);
  lua_createtable(L, n < INT_MAX ? (int)n : INT_MAX, 0);
  for (lua_Integer i = 0; i < n; i++) {
    typed_push(L, a->kind, element(L, a, first + i));
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

static TL_GIL int array_read(lua_State *L) {
  Array *a = check_self(L);
  lua_Integer n;
  check_range(L, a, 2, &n);
  return array_access(L, read_elements);
}

static TL_GIL int push_bytes(lua_State *L) {
  Array *a = check_self(L);
  lua_Integer n, first = check_range(L, a, 2, &n);
  typed_pushbytes(L, element(L, a, first), (size_t)n * a->kind->size);
  return 1;
}

static TL_GIL int array_tobytes(lua_State *L) {
  Array *a = check_self(L);
  lua_Integer n;
  check_range(L, a, 2, &n);
  return array_access(L, push_bytes);
}

void array_pushbytes(lua_State *L, int idx, lua_Integer n, const typed_kind *k,
                     int arg) {
  luaL_Buffer b;
  char *s = luaL_buffinitsize(L, &b, (size_t)n * k->size);
  for (lua_Integer i = 1; i <= n; i++) {
    typed_bits bits = {0};
    lua_geti(L, idx, i);
    const char *wrong = typed_convert(L, -1, k, &bits);
    if (tl_unlikely(wrong != NULL))
      luaL_argerror(L, arg, lua_pushfstring(L, "element %I: %s", i, wrong));
    lua_pop(L, 1);
    memcpy(s, &bits, k->size);
    s += k->size;
  }
  luaL_pushresultsize(&b, (size_t)n * k->size);
}

/* How many elements the source at 3 has: a table, a string of their bytes, or
 * an object with elements of the same type. */
static TL_GIL lua_Integer check_source(lua_State *L, const Array *a) {
  const Array *other = array_test(L, 3);
  if (other != NULL) {
    if (other->kind != a->kind)
      luaL_argerror(L, 3,
                    lua_pushfstring(L, "elements of type %s expected, got %s",
                                    a->kind->name, other->kind->name));
    return other->count;
  }
  if (lua_type(L, 3) == LUA_TTABLE) return luaL_len(L, 3);
  if (lua_type(L, 3) != LUA_TSTRING)
    luaL_typeerror(L, 3, "table, string or array");
  size_t length = lua_rawlen(L, 3);
  if (length % a->kind->size != 0)
    luaL_argerror(L, 3,
                  lua_pushfstring(L, "length must be a multiple of %d bytes",
                                  (int)a->kind->size));
  return (lua_Integer)(length / a->kind->size);
}

static bool overlap(const unsigned char *a, const unsigned char *b, size_t n) {
  return (uintptr_t)a < (uintptr_t)b + n && (uintptr_t)b < (uintptr_t)a + n;
}

/* From a string, or from other elements, whose lock is not taken. */
static TL_GIL int write_elements(lua_State *L) {
  Array *a = check_self(L);
  lua_Integer first = check_index(L, a, 2, a->count + 1);
  const Array *other = array_test(L, 3);
  if (other == NULL) {
    size_t size;
    const char *s = lua_tolstring(L, 3, &size);
    typed_copy_in(element(L, a, first), s, size);
    return 0;
  }
  size_t size = (size_t)other->count * other->kind->size;
  unsigned char *to = element(L, a, first), *from = array_memory(L, other);
  if (!overlap(to, from, size)) {
    typed_copy(to, from, size);
    return 0;
  }
  void *between = lua_newuserdatauv(L, size, 0);
  typed_copy_out(between, array_memory(L, other), size);
  typed_copy_in(element(L, a, first), between, size);
  return 0;
}

static TL_GIL int array_write(lua_State *L) {
  Array *a = check_self(L);
  lua_settop(L, 3);
  lua_Integer first = check_index(L, a, 2, a->count + 1);
  lua_Integer n = check_source(L, a);
  if (n > a->count - first)
    luaL_argerror(L, 3,
                  lua_pushfstring(L,
                                  "%I elements from %I on are out of range "
                                  "[1, %I]",
                                  n, first + 1, a->count));
  if (lua_type(L, 3) == LUA_TTABLE) {
    array_pushbytes(L, 3, n, a->kind, 3);
    lua_replace(L, 3);
  }
  return array_access(L, write_elements);
}

static TL_GIL int fill_elements(lua_State *L) {
  Array *a = check_self(L);
  lua_Integer n, first = check_range(L, a, 3, &n);
  typed_bits bits = check_value(L, a, 2);
  unsigned char many[4096];
  size_t size = a->kind->size, left = (size_t)n * size;
  for (size_t i = 0; i < sizeof many; i += size)
    memcpy(many + i, &bits, size);
  for (unsigned char *p = element(L, a, first); left > 0;) {
    size_t some = left < sizeof many ? left : sizeof many;
    typed_copy_in(p, many, some);
    p += some;
    left -= some;
  }
  return 0;
}

static TL_GIL int array_fill(lua_State *L) {
  Array *a = check_self(L);
  lua_Integer n;
  check_value(L, a, 2);
  check_range(L, a, 3, &n);
  return array_access(L, fill_elements);
}

static TL_GIL int array_len(lua_State *L) {
  lua_pushinteger(L, check_self(L)->count);
  return 1;
}

/* --- Iteration ------------------------------------------------------------ */

static TL_GIL int push_next(lua_State *L) {
  Array *a = check_self(L);
  lua_pushvalue(L, 2);
  typed_push(L, a->kind, element(L, a, lua_tointeger(L, 2) - 1));
  return 2;
}

/* next(array, i): the element behind i, with its index. */
static TL_GIL int array_next(lua_State *L) {
  Array *a = check_self(L);
  lua_Integer i = luaL_checkinteger(L, 2);
  if (i < 0 || i >= a->count) return lua_pushnil(L), 1;
  lua_pushinteger(L, i + 1);
  lua_replace(L, 2);
  return array_access(L, push_next);
}

static TL_GIL int array_pairs(lua_State *L) {
  check_self(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushcclosure(L, array_next, 1);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 0);
  return 3;
}

/* --- The rest ------------------------------------------------------------- */

static TL_GIL int array_gc(lua_State *L) {
  ipc_block_free(&check_self(L)->block);
  return 0;
}

static TL_GIL int array_tostring(lua_State *L) {
  Array *a = check_self(L);
  if (*a->base == NULL)
    lua_pushliteral(L, "<Array closed>");
  else
    lua_pushfstring(L, "<Array %s[%I]>", a->kind->name, a->count);
  return 1;
}

/* What is there now, whoever holds the lock. */
static TL_GIL int value_tostring(lua_State *L) {
  Array *a = check_self(L);
  if (*a->base == NULL) return lua_pushliteral(L, "<Value closed>"), 1;
  typed_push(L, a->kind, array_memory(L, a));
  luaL_tolstring(L, -1, NULL);
  lua_pushfstring(L, "<Value %s %s>", a->kind->name, lua_tostring(L, -1));
  return 1;
}

static const luaL_Reg value_methods[] = {{NULL, NULL}};
static const luaL_Reg array_methods[] = {{"fill", array_fill},
                                         {"read", array_read},
                                         {"tobytes", array_tobytes},
                                         {"write", array_write},
                                         {NULL, NULL}};
static const luaL_Reg value_metamethods[] = {{"__gc", array_gc},
                                             {"__tostring", value_tostring},
                                             {"__newindex", value_newindex},
                                             {NULL, NULL}};
static const luaL_Reg array_metamethods[] = {{"__gc", array_gc},
                                             {"__len", array_len},
                                             {"__pairs", array_pairs},
                                             {"__tostring", array_tostring},
                                             {"__newindex", array_newindex},
                                             {NULL, NULL}};

/* --- The classes ---------------------------------------------------------- */

/* A class whose __index has its methods as upvalue 2. */
static TL_GIL void new_class(lua_State *L, array_class class) {
  bool single = class & ARRAY_SINGLE;
  bind_newclass(L, names[class], single ? value_methods : array_methods,
                single ? value_metamethods : array_metamethods);
  luaL_getmetatable(L, names[class]);
  lua_pushvalue(L, -1);
  lua_getfield(L, -1, "__index");
  if (class & ARRAY_LOCKED) {
    lua_pushvalue(L, -2);
    luaL_setfuncs(L, array_lock_methods, 1);
  }
  lua_pushcclosure(L, single ? value_index : array_index, 2);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  array_portable(L, names[class]);
}

void array_open(lua_State *L) {
  bool there = luaL_getmetatable(L, names[VALUE]) != LUA_TNIL;
  lua_pop(L, 1);
  if (there) return;
  arena_open(L);
  for (int class = RAW_ARRAY; class <= VALUE; class ++)
    new_class(L, (array_class) class);
}

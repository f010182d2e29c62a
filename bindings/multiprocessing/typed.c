/* typed.c - elements of shared memory: their types, their limits, copies. */
#include "typed.h"

#include <limits.h>
#include <string.h>

#define LIMITS(type) .least = type##_MIN, .most = type##_MAX
#define ULIMITS(type) .least = 0, .most = type##_MAX

static const typed_kind kinds[] = {
    [TYPED_INT8] = {"int8", TYPED_INT8, 1, LIMITS(INT8)},
    [TYPED_UINT8] = {"uint8", TYPED_UINT8, 1, ULIMITS(UINT8)},
    [TYPED_INT16] = {"int16", TYPED_INT16, 2, LIMITS(INT16)},
    [TYPED_UINT16] = {"uint16", TYPED_UINT16, 2, ULIMITS(UINT16)},
    [TYPED_INT32] = {"int32", TYPED_INT32, 4, LIMITS(INT32)},
    [TYPED_UINT32] = {"uint32", TYPED_UINT32, 4, ULIMITS(UINT32)},
    [TYPED_INT64] = {"int64", TYPED_INT64, 8, LIMITS(INT64)},
    /* Lua's integers are signed: all of them stand for their bits. */
    [TYPED_UINT64] = {"uint64", TYPED_UINT64, 8, LIMITS(INT64)},
    [TYPED_FLOAT] = {"float", TYPED_FLOAT, 4, 0, 0},
    [TYPED_DOUBLE] = {"double", TYPED_DOUBLE, 8, 0, 0},
    [TYPED_BOOL] = {"bool", TYPED_BOOL, 1, 0, 0},
    [TYPED_CHAR] = {"char", TYPED_CHAR, 1, 0, 0},
};

#define IS_LONG_64 (LONG_MAX > INT32_MAX)

static const struct {
  char letter;
  typed_form form;
} codes[] = {
    {'b', TYPED_INT8},
    {'B', TYPED_UINT8},
    {'h', TYPED_INT16},
    {'H', TYPED_UINT16},
    {'i', TYPED_INT32},
    {'I', TYPED_UINT32},
    {'l', IS_LONG_64 ? TYPED_INT64 : TYPED_INT32},
    {'L', IS_LONG_64 ? TYPED_UINT64 : TYPED_UINT32},
    {'q', TYPED_INT64},
    {'Q', TYPED_UINT64},
    {'f', TYPED_FLOAT},
    {'d', TYPED_DOUBLE},
    {'?', TYPED_BOOL},
    {'c', TYPED_CHAR},
};

static const typed_kind *find_kind(const char *name, size_t length) {
  if (length == 1) {
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
      if (codes[i].letter == *name) return &kinds[codes[i].form];
    return NULL;
  }
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (strlen(kinds[i].name) == length && strcmp(kinds[i].name, name) == 0)
      return &kinds[i];
  return NULL;
}

const typed_kind *typed_check(lua_State *L, int arg) {
  size_t length;
  luaL_checktype(L, arg, LUA_TSTRING);
  const char *name = lua_tolstring(L, arg, &length);
  const typed_kind *k = find_kind(name, length);
  if (k == NULL)
    luaL_argerror(L, arg, lua_pushfstring(L, "unknown type '%s'", name));
  return k;
}

static TL_GIL const char *expected(lua_State *L, int idx, const char *what) {
  return lua_pushfstring(L, "%s expected, got %s", what, luaL_typename(L, idx));
}

static TL_GIL const char *
convert_integer(lua_State *L, int idx, const typed_kind *k, typed_bits *bits) {
  int is_integer;
  lua_Integer i = lua_tointegerx(L, idx, &is_integer);
  if (lua_type(L, idx) != LUA_TNUMBER) return expected(L, idx, "integer");
  if (!is_integer)
    return lua_pushstring(L, "number has no integer representation");
  if (i < k->least || i > k->most)
    return lua_pushfstring(L, "%I does not fit into %s", i, k->name);
  switch (k->size) {
  case 1:
    bits->byte = (uint8_t)i;
    break;
  case 2:
    bits->half = (uint16_t)i;
    break;
  case 4:
    bits->word = (uint32_t)i;
    break;
  default:
    bits->all = (uint64_t)i;
  }
  return NULL;
}

static TL_GIL const char *convert_char(lua_State *L, int idx,
                                       typed_bits *bits) {
  size_t length = 0;
  if (lua_type(L, idx) != LUA_TSTRING)
    return expected(L, idx, "string of one byte");
  const char *s = lua_tolstring(L, idx, &length);
  if (length != 1) return lua_pushstring(L, "string of one byte expected");
  bits->byte = (uint8_t)*s;
  return NULL;
}

const char *typed_convert(lua_State *L, int idx, const typed_kind *k,
                          typed_bits *bits) {
  switch (k->form) {
  case TYPED_DOUBLE:
  case TYPED_FLOAT:
    if (tl_unlikely(lua_type(L, idx) != LUA_TNUMBER))
      return expected(L, idx, "number");
    if (k->form == TYPED_DOUBLE)
      bits->number = lua_tonumber(L, idx);
    else
      bits->single = (float)lua_tonumber(L, idx);
    return NULL;
  case TYPED_BOOL:
    if (!lua_isboolean(L, idx)) return expected(L, idx, "boolean");
    bits->byte = (uint8_t)lua_toboolean(L, idx);
    return NULL;
  case TYPED_CHAR:
    return convert_char(L, idx, bits);
  default:
    return convert_integer(L, idx, k, bits);
  }
}

/* --- Memory ------------------------------------------------------------- */

static inline void store8(unsigned char *p, uint64_t v) {
  __atomic_store_n((typed_u64 *)p, v, __ATOMIC_RELAXED);
}

static inline void store4(unsigned char *p, uint32_t v) {
  __atomic_store_n((typed_u32 *)p, v, __ATOMIC_RELAXED);
}

static inline void store2(unsigned char *p, uint16_t v) {
  __atomic_store_n((typed_u16 *)p, v, __ATOMIC_RELAXED);
}

static inline void store1(unsigned char *p, uint8_t v) {
  __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

void typed_store(const typed_kind *k, unsigned char *shared, typed_bits bits) {
  switch (k->size) {
  case 8:
    store8(shared, bits.all);
    break;
  case 4:
    store4(shared, bits.word);
    break;
  case 2:
    store2(shared, bits.half);
    break;
  default:
    store1(shared, bits.byte);
  }
}

/* How many bytes can be copied at once where 'shared' is, n > 0 being left and
 * no whole word beginning: as its address allows, which is at least an element.
 */
static inline size_t step(const unsigned char *shared, size_t n) {
  size_t most = (size_t)1 << __builtin_ctzl((uintptr_t)shared | 4);
  while (most > n)
    most /= 2;
  return most;
}

static size_t copy_in_some(unsigned char *shared, const unsigned char *from,
                           size_t n) {
  typed_bits bits = {0};
  size_t size = step(shared, n);
  memcpy(&bits, from, size);
  if (size == 4)
    store4(shared, bits.word);
  else if (size == 2)
    store2(shared, bits.half);
  else
    store1(shared, bits.byte);
  return size;
}

static size_t copy_out_some(unsigned char *to, const unsigned char *shared,
                            size_t n) {
  typed_bits bits = {0};
  size_t size = step(shared, n);
  if (size == 4)
    bits = typed_load4(shared);
  else if (size == 2)
    bits.half = typed_load2(shared);
  else
    bits.byte = typed_load1(shared);
  memcpy(to, &bits, size);
  return size;
}

/* The bytes before the first whole word, and those after the last one, are
 * copied in fewer at a time. */

void typed_copy_in(unsigned char *shared, const void *from, size_t n) {
  const unsigned char *p = from;
  size_t i = 0;
  while (i < n && (uintptr_t)(shared + i) % 8 != 0)
    i += copy_in_some(shared + i, p + i, n - i);
  for (; n - i >= 8; i += 8) {
    uint64_t word;
    memcpy(&word, p + i, 8);
    store8(shared + i, word);
  }
  while (i < n)
    i += copy_in_some(shared + i, p + i, n - i);
}

void typed_copy_out(void *to, const unsigned char *shared, size_t n) {
  unsigned char *p = to;
  size_t i = 0;
  while (i < n && (uintptr_t)(shared + i) % 8 != 0)
    i += copy_out_some(p + i, shared + i, n - i);
  for (; n - i >= 8; i += 8) {
    uint64_t word = typed_load8(shared + i).all;
    memcpy(p + i, &word, 8);
  }
  while (i < n)
    i += copy_out_some(p + i, shared + i, n - i);
}

/* By way of memory that is not shared: the two may lie at different distances
 * from a whole word. */
void typed_copy(unsigned char *to, const unsigned char *from, size_t n) {
  unsigned char some[4096];
  for (size_t i = 0; i < n; i += sizeof some) {
    size_t m = n - i < sizeof some ? n - i : sizeof some;
    typed_copy_out(some, from + i, m);
    typed_copy_in(to + i, some, m);
  }
}

/* Of a short string Lua reads the bytes more than once: if they changed between
 * the hash and the copy, it would be equal to no other string of its bytes. A
 * long one is copied once; by way of a buffer it would cost three times as
 * much. */
void typed_pushbytes(lua_State *L, const unsigned char *shared, size_t n) {
  char some[256]; /* more than what is short to Lua */
  const char *s = (const char *)shared;
  if (n <= sizeof some) {
    typed_copy_out(some, shared, n);
    s = some;
  }
  lua_pushlstring(L, s, n);
}

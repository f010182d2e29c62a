/* typed.h - numbers, booleans and characters in memory that other processes and
 * interpreters change at the same time.
 *
 * An element is read and written as a whole, in no order with others (relaxed
 * atomics): who needs an order takes a lock. Its address is a multiple of its
 * size. */
#ifndef TL_TYPED_H
#define TL_TYPED_H

#include <stdint.h>

#include "bind.h"

typedef enum typed_form {
  TYPED_INT8,
  TYPED_UINT8,
  TYPED_INT16,
  TYPED_UINT16,
  TYPED_INT32,
  TYPED_UINT32,
  TYPED_INT64,
  TYPED_UINT64,
  TYPED_FLOAT,
  TYPED_DOUBLE,
  TYPED_BOOL,
  TYPED_CHAR
} typed_form;

typedef struct typed_kind {
  const char *name;
  typed_form form;
  uint8_t size;            /* bytes of an element */
  lua_Integer least, most; /* of those integers that have limits */
} typed_kind;

/* The type that the string at 'arg' names, as "int32" or, in Python's array,
 * "i", or an argument error. */
const typed_kind *typed_check(lua_State *L, int arg) TL_GIL;

/* The bits of an element, in the bytes where it begins. */
typedef union typed_bits {
  uint64_t all;
  uint32_t word;
  uint16_t half;
  uint8_t byte;
  float single;
  double number;
} typed_bits;

/* Turns the value at idx into an element. NULL, or what is wrong with it, which
 * is pushed then. */
const char *typed_convert(lua_State *L, int idx, const typed_kind *k,
                          typed_bits *bits) TL_GIL;

void typed_store(const typed_kind *k, unsigned char *shared, typed_bits bits);

/* Copies between memory that is shared and such that is not: each element that
 * lies in it at a multiple of its size is copied as a whole. */
void typed_copy_in(unsigned char *shared, const void *from, size_t n);
void typed_copy_out(void *to, const unsigned char *shared, size_t n);

/* The same between two places in shared memory that have no byte in common. */
void typed_copy(unsigned char *to, const unsigned char *from, size_t n);

/* Pushes n bytes of shared memory as a string. */
void typed_pushbytes(lua_State *L, const unsigned char *shared, size_t n)
    TL_GIL;

/* What is loaded and stored at once; its type is known to nobody else. */
typedef uint64_t __attribute__((may_alias)) typed_u64;
typedef uint32_t __attribute__((may_alias)) typed_u32;
typedef uint16_t __attribute__((may_alias)) typed_u16;

static inline typed_bits typed_load8(const unsigned char *p) {
  return (typed_bits){
      .all = __atomic_load_n((const typed_u64 *)p, __ATOMIC_RELAXED)};
}

static inline typed_bits typed_load4(const unsigned char *p) {
  return (typed_bits){
      .word = __atomic_load_n((const typed_u32 *)p, __ATOMIC_RELAXED)};
}

static inline uint16_t typed_load2(const unsigned char *p) {
  return __atomic_load_n((const typed_u16 *)p, __ATOMIC_RELAXED);
}

static inline uint8_t typed_load1(const unsigned char *p) {
  return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/* Pushes the element at 'p'. */
static inline TL_GIL void typed_push(lua_State *L, const typed_kind *k,
                                     const unsigned char *p) {
  switch (k->form) {
  case TYPED_DOUBLE:
    lua_pushnumber(L, typed_load8(p).number);
    break;
  case TYPED_FLOAT:
    lua_pushnumber(L, (lua_Number)typed_load4(p).single);
    break;
  case TYPED_INT64:
  case TYPED_UINT64: /* its bits, as string.unpack gives them */
    lua_pushinteger(L, (lua_Integer)typed_load8(p).all);
    break;
  case TYPED_INT32:
    lua_pushinteger(L, (int32_t)typed_load4(p).word);
    break;
  case TYPED_UINT32:
    lua_pushinteger(L, typed_load4(p).word);
    break;
  case TYPED_INT16:
    lua_pushinteger(L, (int16_t)typed_load2(p));
    break;
  case TYPED_UINT16:
    lua_pushinteger(L, typed_load2(p));
    break;
  case TYPED_INT8:
    lua_pushinteger(L, (int8_t)typed_load1(p));
    break;
  case TYPED_UINT8:
    lua_pushinteger(L, typed_load1(p));
    break;
  case TYPED_BOOL:
    lua_pushboolean(L, typed_load1(p) != 0);
    break;
  case TYPED_CHAR: {
    char c = (char)typed_load1(p);
    lua_pushlstring(L, &c, 1);
    break;
  }
  }
}

#endif

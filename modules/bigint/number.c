/* number.c - numbers as userdata, what arguments stand for, and how GMP is
 * made to compute. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bigint.h"

/* Below this GMP's needs are not looked at: a process without so much is
 * about to fail anyway. */
#define RESERVED_LEAST ((size_t)1 << 20)

const char bigint_tag;

/* The number at idx, or NULL. This is asked twice for each operator: less than
 * a comparison of metatables takes. */
static TL_GIL const number *number_at(lua_State *L, int idx) {
  const number *n = lua_touserdata(L, idx);
  if (n == NULL || lua_rawlen(L, idx) < sizeof *n || n->tag != &bigint_tag)
    return NULL;
  return n;
}

bool bigint_is(lua_State *L, int idx) {
  return number_at(L, idx) != NULL;
}

static void set_small(value *v, lua_Integer n) {
  v->limb = n < 0 ? -(mp_limb_t)n : (mp_limb_t)n;
  mpz_roinit_n(v->z, &v->limb, n < 0 ? -1 : 1);
}

bool bigint_value(lua_State *L, int idx, value *v) {
  const number *n = number_at(L, idx);
  if (n != NULL) {
    mpz_roinit_n(v->z, n->limbs, n->size);
    return true;
  }
  if (!lua_isinteger(L, idx)) return false;
  set_small(v, lua_tointeger(L, idx));
  return true;
}

void bigint_check(lua_State *L, int arg, value *v) {
  if (bigint_value(L, arg, v)) return;
  if (lua_type(L, arg) != LUA_TNUMBER)
    luaL_typeerror(L, arg, "bigint or integer");
  set_small(v, luaL_checkinteger(L, arg));
}

int bigint_toolarge(lua_State *L) {
  return luaL_error(L, "bigint too large (over 2^32 bits)");
}

void bigint_reserve(lua_State *L, size_t limbs) {
  size_t size = limbs * sizeof(mp_limb_t);
  if (size < RESERVED_LEAST) return;
  void *block = malloc(size);
  if (block == NULL) luaL_error(L, "not enough memory");
  free(block);
}

/* Pushes a number with room for so many limbs; it is 0. */
static TL_GIL number *push_zero(lua_State *L, size_t limbs) {
  number *n =
      lua_newuserdatauv(L, sizeof(number) + limbs * sizeof(mp_limb_t), 0);
  n->tag = &bigint_tag;
  n->size = 0;
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_setmetatable(L, -2);
  return n;
}

/* The number that has just been made takes its value. */
static void assign(number *n, size_t room, mpz_srcptr z) {
  size_t size = mpz_size(z);
  if (size > room) {
    fprintf(stderr, "bigint: %zu limbs where at most %zu were expected\n", size,
            room);
    abort();
  }
  memcpy(n->limbs, mpz_limbs_read(z), size * sizeof(mp_limb_t));
  n->size = mpz_sgn(z) < 0 ? -(mp_size_t)size : (mp_size_t)size;
}

/* A number on the top that has much less than it has room for is replaced by
 * one of its own size. */
static TL_GIL void trim(lua_State *L, const number *n, size_t room) {
  size_t size = (size_t)labs(n->size);
  if (room <= 2 * size + 4) return;
  number *exact = push_zero(L, size);
  memcpy(exact->limbs, n->limbs, size * sizeof(mp_limb_t));
  exact->size = n->size;
  lua_replace(L, -2);
}

void bigint_compute(lua_State *L, job *j) {
  if (j->limbs > BIGINT_BITS / GMP_NUMB_BITS + 2) bigint_toolarge(L);
  luaL_checkstack(L, 4, NULL);
  number *n = push_zero(L, j->limbs);
  bigint_reserve(L, j->scratch);
  mpz_t result;
  bool left = module_begin(L, j->is_long);
  mpz_init(result);
  if (j->operation)
    j->operation(result, j->a, j->b);
  else
    j->run(result, j);
  assign(n, j->limbs, result);
  mpz_clear(result);
  module_end(L, left);
  trim(L, n, j->limbs);
}

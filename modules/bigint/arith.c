/* arith.c - the metamethods: what Lua's operators do with numbers of this
 * class and with Lua's integers beside them. With a float they give what they
 * give for an integer and a float. */
#include <limits.h>
#include <math.h>

#include "bigint.h"

/* --- Operands ------------------------------------------------------------ */

/* Raises for the operand that is no number at all. */
static TL_GIL int bad_operand(lua_State *L, const char *what) {
  value v;
  int bad = bigint_value(L, 1, &v) || lua_type(L, 1) == LUA_TNUMBER ? 2 : 1;
  return luaL_error(L, "attempt to %s a %s value", what, luaL_typename(L, bad));
}

/* The operand as a float, if it is a number. */
static TL_GIL bool as_float(lua_State *L, int idx, lua_Number *d) {
  value v;
  if (bigint_value(L, idx, &v)) {
    *d = bigint_todouble(v.z);
    return true;
  }
  *d = lua_tonumber(L, idx);
  return lua_type(L, idx) == LUA_TNUMBER;
}

/* Neither operand is wrong and not both are integers. */
static TL_GIL int float_arith(lua_State *L, int op) {
  lua_Number a, b;
  if (!as_float(L, 1, &a) || !as_float(L, 2, &b))
    return bad_operand(L, "perform arithmetic on");
  lua_settop(L, 0);
  lua_pushnumber(L, a);
  lua_pushnumber(L, b);
  lua_arith(L, op);
  return 1;
}

static TL_GIL bool two(lua_State *L, value *a, value *b) {
  return bigint_value(L, 1, a) && bigint_value(L, 2, b);
}

/* --- Arithmetic ----------------------------------------------------------- */

static void negation(mpz_ptr r, mpz_srcptr a, mpz_srcptr same) {
  (void)same;
  mpz_neg(r, a);
}

/* Of two operands, in time proportional to their size. */
static TL_GIL int linear(lua_State *L, bigint_operation *operation,
                         mpz_srcptr a, mpz_srcptr b) {
  size_t limbs = bigint_larger(a, b) + 1;
  bigint_compute(L, &(job){.operation = operation,
                           .a = a,
                           .b = b,
                           .limbs = limbs,
                           .scratch = 2 * limbs,
                           .is_long = limbs > BIGINT_LONG_LINEAR});
  return 1;
}

static TL_GIL int sum(lua_State *L, bigint_operation *operation, int op) {
  value a, b;
  if (!two(L, &a, &b)) return float_arith(L, op);
  return linear(L, operation, a.z, b.z);
}

static TL_GIL int meta_add(lua_State *L) {
  return sum(L, mpz_add, LUA_OPADD);
}

static TL_GIL int meta_sub(lua_State *L) {
  return sum(L, mpz_sub, LUA_OPSUB);
}

void bigint_multiply(lua_State *L, mpz_srcptr a, mpz_srcptr b) {
  size_t m = mpz_size(a), n = mpz_size(b);
  bigint_compute(L, &(job){.operation = mpz_mul,
                           .a = a,
                           .b = b,
                           .limbs = m + n,
                           .scratch = BIGINT_SCRATCH * bigint_larger(a, b),
                           .is_long = m * n > BIGINT_LONG_PRODUCT});
}

static TL_GIL int meta_mul(lua_State *L) {
  value a, b;
  if (!two(L, &a, &b)) return float_arith(L, LUA_OPMUL);
  bigint_multiply(L, a.z, b.z);
  return 1;
}

static bool is_long_division(mpz_srcptr a, mpz_srcptr b) {
  size_t m = mpz_size(a), n = mpz_size(b);
  if (m <= n) return m > BIGINT_LONG_LINEAR;
  return m > BIGINT_LONG_LINEAR || (m - n) * n > BIGINT_LONG_PRODUCT;
}

/* The quotient or the remainder, of so many limbs at most. */
static TL_GIL int divide(lua_State *L, bigint_operation *operation,
                         mpz_srcptr a, mpz_srcptr b, size_t limbs) {
  bigint_compute(L, &(job){.operation = operation,
                           .a = a,
                           .b = b,
                           .limbs = limbs,
                           .scratch = BIGINT_SCRATCH * bigint_larger(a, b),
                           .is_long = is_long_division(a, b)});
  return 1;
}

static TL_GIL int meta_idiv(lua_State *L) {
  value a, b;
  if (!two(L, &a, &b)) return float_arith(L, LUA_OPIDIV);
  if (mpz_sgn(b.z) == 0) return luaL_error(L, "attempt to divide by zero");
  size_t m = mpz_size(a.z), n = mpz_size(b.z);
  return divide(L, mpz_fdiv_q, a.z, b.z, m < n ? 1 : m - n + 2);
}

static TL_GIL int meta_mod(lua_State *L) {
  value a, b;
  if (!two(L, &a, &b)) return float_arith(L, LUA_OPMOD);
  if (mpz_sgn(b.z) == 0) return luaL_error(L, "attempt to perform 'n%%0'");
  return divide(L, mpz_fdiv_r, a.z, b.z, mpz_size(b.z));
}

static TL_GIL int meta_div(lua_State *L) {
  value a, b;
  if (!two(L, &a, &b)) return float_arith(L, LUA_OPDIV);
  bigint_reserve(L, (BIGINT_SCRATCH + 2) * bigint_larger(a.z, b.z));
  bool left = module_begin(L, is_long_division(a.z, b.z));
  double quotient = bigint_quotient(a.z, b.z);
  module_end(L, left);
  lua_pushnumber(L, quotient);
  return 1;
}

static TL_GIL int meta_pow(lua_State *L) {
  value a, b;
  if (!two(L, &a, &b)) return float_arith(L, LUA_OPPOW);
  bigint_power(L, a.z, b.z);
  return 1;
}

void bigint_negate(lua_State *L, mpz_srcptr a) {
  linear(L, negation, a, a);
}

static TL_GIL int meta_unm(lua_State *L) {
  value a;
  if (!bigint_value(L, 1, &a)) return bad_operand(L, "perform arithmetic on");
  bigint_negate(L, a.z);
  return 1;
}

/* --- Bits: two's complement, without an end on the left ------------------- */

static void complement(mpz_ptr r, mpz_srcptr a, mpz_srcptr same) {
  (void)same;
  mpz_com(r, a);
}

static void run_left(mpz_ptr r, job *j) {
  mpz_mul_2exp(r, j->a, j->n);
}

static void run_right(mpz_ptr r, job *j) {
  mpz_fdiv_q_2exp(r, j->a, j->n);
}

/* An operand; floats with an integer value serve, as in Lua. */
static TL_GIL void bits_of(lua_State *L, int idx, value *v) {
  if (bigint_value(L, idx, v)) return;
  if (lua_type(L, idx) != LUA_TNUMBER)
    bad_operand(L, "perform bitwise operation on");
  int exact;
  lua_pushinteger(L, lua_tointegerx(L, idx, &exact));
  if (!exact) luaL_error(L, "number has no integer representation");
  lua_replace(L, idx);
  bigint_value(L, idx, v);
}

static TL_GIL int bitwise(lua_State *L, bigint_operation *operation) {
  value a, b;
  bits_of(L, 1, &a);
  bits_of(L, 2, &b);
  return linear(L, operation, a.z, b.z);
}

static TL_GIL int meta_band(lua_State *L) {
  return bitwise(L, mpz_and);
}

static TL_GIL int meta_bor(lua_State *L) {
  return bitwise(L, mpz_ior);
}

static TL_GIL int meta_bxor(lua_State *L) {
  return bitwise(L, mpz_xor);
}

static TL_GIL int meta_bnot(lua_State *L) {
  value a;
  bits_of(L, 1, &a);
  return linear(L, complement, a.z, a.z);
}

void bigint_shift_left(lua_State *L, mpz_srcptr a, size_t bits) {
  if (mpz_sgn(a) == 0) bits = 0;
  if (bits > BIGINT_BITS) bigint_toolarge(L);
  size_t limbs = mpz_size(a) + bits / GMP_NUMB_BITS + 1;
  bigint_compute(L, &(job){.run = run_left,
                           .a = a,
                           .n = bits,
                           .limbs = limbs,
                           .scratch = 2 * limbs,
                           .is_long = limbs > BIGINT_LONG_LINEAR});
}

void bigint_shift_right(lua_State *L, mpz_srcptr a, size_t bits) {
  size_t limbs = mpz_size(a) + 1;
  size_t all = limbs * GMP_NUMB_BITS;
  bigint_compute(L, &(job){.run = run_right,
                           .a = a,
                           .n = bits < all ? bits : all,
                           .limbs = limbs,
                           .scratch = 2 * limbs,
                           .is_long = limbs > BIGINT_LONG_LINEAR});
}

/* By a count of any size and sign. */
static TL_GIL int shift(lua_State *L, bool left) {
  value a, b;
  bits_of(L, 1, &a);
  bits_of(L, 2, &b);
  size_t count = mpz_fits_slong_p(b.z) ? mpz_get_ui(b.z) : LONG_MAX;
  if (left == (mpz_sgn(b.z) >= 0))
    bigint_shift_left(L, a.z, count);
  else
    bigint_shift_right(L, a.z, count);
  return 1;
}

static TL_GIL int meta_shl(lua_State *L) {
  return shift(L, true);
}

static TL_GIL int meta_shr(lua_State *L) {
  return shift(L, false);
}

/* --- Comparison ----------------------------------------------------------- */

/* The sign of a - b, exact also for a float; false if there is none, for NaN.
 * One of the two is ours. */
static TL_GIL bool compare(lua_State *L, int *sign) {
  value a, b;
  bool is_a = bigint_value(L, 1, &a), is_b = bigint_value(L, 2, &b);
  int other = is_a ? 2 : 1;
  if (is_a && is_b) {
    *sign = mpz_cmp(a.z, b.z);
    return true;
  }
  if (lua_type(L, other) != LUA_TNUMBER)
    luaL_error(L, "attempt to compare %s with %s",
               is_a ? "bigint" : luaL_typename(L, 1),
               is_b ? "bigint" : luaL_typename(L, 2));
  double d = lua_tonumber(L, other);
  if (isnan(d)) return false;
  *sign = is_a ? mpz_cmp_d(a.z, d) : -mpz_cmp_d(b.z, d);
  return true;
}

static TL_GIL int meta_lt(lua_State *L) {
  int sign;
  lua_pushboolean(L, compare(L, &sign) && sign < 0);
  return 1;
}

static TL_GIL int meta_le(lua_State *L) {
  int sign;
  lua_pushboolean(L, compare(L, &sign) && sign <= 0);
  return 1;
}

/* Lua asks for two userdata only, the other one of any class. */
static TL_GIL int meta_eq(lua_State *L) {
  value a, b;
  lua_pushboolean(L, two(L, &a, &b) && mpz_cmp(a.z, b.z) == 0);
  return 1;
}

static TL_GIL int meta_concat(lua_State *L) {
  for (int i = 1; i <= 2; i++) {
    if (!lua_isstring(L, i) && !bigint_is(L, i))
      return luaL_error(L, "attempt to concatenate a %s value",
                        luaL_typename(L, i));
    luaL_tolstring(L, i, NULL);
  }
  lua_concat(L, 2);
  return 1;
}

const luaL_Reg bigint_metamethods[] = {
    {"__add", meta_add}, {"__band", meta_band}, {"__bnot", meta_bnot},
    {"__bor", meta_bor}, {"__bxor", meta_bxor}, {"__concat", meta_concat},
    {"__div", meta_div}, {"__eq", meta_eq},     {"__idiv", meta_idiv},
    {"__le", meta_le},   {"__lt", meta_lt},     {"__mod", meta_mod},
    {"__mul", meta_mul}, {"__pow", meta_pow},   {"__shl", meta_shl},
    {"__shr", meta_shr}, {"__sub", meta_sub},   {"__tostring", bigint_tostring},
    {"__unm", meta_unm}, {NULL, NULL},
};

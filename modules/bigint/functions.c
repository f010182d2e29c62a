/* functions.c - factorials, powers, and what else GMP knows of numbers. */
#include <math.h>

#include "bigint.h"

/* Up to these GMP makes factorials and powers at once, in less than about
 * 0.2 s; larger ones are made in steps, with a look between them for what is
 * pending. */
#define FACTORIAL_AT_ONCE ((unsigned long)1 << 20)
#define POWER_AT_ONCE ((size_t)1 << 23) /* bits */

/* Limbs above which work that is quadratic in them takes some 20 us. */
#define LONG_QUADRATIC 256

/* mpz_powm's table of powers of the base: at most so many of them. */
#define POWMOD_TABLE 1024

/* Limbs for so many bits, which have been estimated. Raises for too many. */
static TL_GIL size_t limbs_for(lua_State *L, double bits) {
  if (bits > (double)BIGINT_BITS) bigint_toolarge(L);
  return (size_t)(bits / GMP_NUMB_BITS) + 2;
}

/* The number at idx. */
static TL_GIL void at(lua_State *L, int idx, value *v) {
  bigint_value(L, idx, v);
}

/* Replaces the number at idx by its product with b. */
static TL_GIL void multiply_by(lua_State *L, int idx, mpz_srcptr b) {
  value a;
  at(L, idx, &a);
  bigint_multiply(L, a.z, b);
  lua_replace(L, idx);
  tl_safepoint(L);
}

static TL_GIL void square(lua_State *L, int idx) {
  value a;
  at(L, idx, &a);
  multiply_by(L, idx, a.z);
}

/* --- Factorials ----------------------------------------------------------- */

static void run_factorial(mpz_ptr r, job *j) {
  mpz_fac_ui(r, j->n);
}

/* n over n/2 */
static void run_binomial(mpz_ptr r, job *j) {
  mpz_bin_uiui(r, j->n, j->n / 2);
}

static TL_GIL void push_factorial(lua_State *L, unsigned long n, double bits) {
  size_t limbs = limbs_for(L, bits);
  bigint_compute(L, &(job){.run = run_factorial,
                           .n = n,
                           .limbs = limbs,
                           .scratch = BIGINT_SCRATCH * limbs,
                           .is_long = n > 2000});
}

/* Makes the factorial of n out of that of n/2, on the top. */
static TL_GIL void double_factorial(lua_State *L, unsigned long n) {
  int top = lua_gettop(L);
  unsigned long half = n / 2;
  size_t limbs = limbs_for(L, (double)n);
  square(L, top);
  bigint_compute(L, &(job){.run = run_binomial,
                           .n = n,
                           .limbs = limbs,
                           .scratch = BIGINT_SCRATCH * limbs,
                           .is_long = true});
  tl_safepoint(L);
  value v;
  if (n % 2 == 1) { /* (n - half)! is (half + 1) times half! */
    lua_pushinteger(L, (lua_Integer)half + 1);
    at(L, -1, &v);
    multiply_by(L, top + 1, v.z);
  }
  at(L, top + 1, &v);
  multiply_by(L, top, v.z);
  lua_settop(L, top);
}

static double factorial_bits(unsigned long n) {
  int sign;
  return lgamma_r((double)n + 1, &sign) / log(2) + 1;
}

static TL_GIL int bigint_factorial(lua_State *L) {
  value v;
  bigint_check(L, 1, &v);
  luaL_argcheck(L, mpz_sgn(v.z) >= 0, 1, "must not be negative");
  if (!mpz_fits_ulong_p(v.z)) return bigint_toolarge(L);
  unsigned long n = mpz_get_ui(v.z);
  limbs_for(L, factorial_bits(n)); /* raises early */
  int halvings = 0;
  while (n >> halvings > FACTORIAL_AT_ONCE)
    halvings++;
  push_factorial(L, n >> halvings, factorial_bits(n >> halvings));
  while (halvings > 0)
    double_factorial(L, n >> --halvings);
  return 1;
}

/* --- Powers --------------------------------------------------------------- */

static void run_power(mpz_ptr r, job *j) {
  mpz_pow_ui(r, j->a, j->n);
}

static double log2_of(mpz_srcptr a) {
  long exponent;
  double m = mpz_get_d_2exp(&exponent, a);
  return log2(fabs(m)) + (double)exponent;
}

static TL_GIL void push_power_at_once(lua_State *L, mpz_srcptr a,
                                      unsigned long e, size_t limbs) {
  bigint_compute(L, &(job){.run = run_power,
                           .a = a,
                           .n = e,
                           .limbs = limbs,
                           .scratch = BIGINT_SCRATCH * limbs,
                           .is_long = limbs > LONG_QUADRATIC});
}

/* Of the odd part of a, by squaring; its zeros come back at the end. */
static TL_GIL void push_power_in_steps(lua_State *L, mpz_srcptr a,
                                       unsigned long e, unsigned long zeros) {
  bigint_shift_right(L, a, zeros);
  int odd = lua_gettop(L), power = odd + 1;
  value v, whole;
  at(L, odd, &v);
  lua_pushvalue(L, odd);
  int bits = (int)(sizeof e * 8) - __builtin_clzl(e);
  for (int i = bits - 2; i >= 0; i--) {
    square(L, power);
    if (e >> i & 1) multiply_by(L, power, v.z);
  }
  at(L, power, &whole);
  bigint_shift_left(L, whole.z, zeros * e);
  lua_replace(L, odd);
  lua_settop(L, odd);
}

void bigint_power(lua_State *L, mpz_srcptr a, mpz_srcptr e) {
  if (mpz_sgn(e) < 0) luaL_error(L, "bigint to the power of a negative number");
  if (mpz_cmpabs_ui(a, 1) <= 0) { /* any power of 0, 1 and -1 */
    unsigned long same = mpz_odd_p(e) ? 1 : mpz_sgn(e) ? 2 : 0;
    push_power_at_once(L, a, same, 1);
    return;
  }
  if (!mpz_fits_ulong_p(e)) bigint_toolarge(L);
  unsigned long n = mpz_get_ui(e), zeros = mpz_scan1(a, 0);
  double bits = log2_of(a) * (double)n;
  size_t limbs = limbs_for(L, bits);
  if (bits - (double)zeros * (double)n <= (double)POWER_AT_ONCE)
    push_power_at_once(L, a, n, limbs);
  else
    push_power_in_steps(L, a, n, zeros);
}

static TL_GIL int bigint_pow(lua_State *L) {
  value a, e;
  bigint_check(L, 1, &a);
  bigint_check(L, 2, &e);
  luaL_argcheck(L, mpz_sgn(e.z) >= 0, 2, "must not be negative");
  bigint_power(L, a.z, e.z);
  return 1;
}

/* a^b modulo c, with the sign of c, as Lua's % gives it. */
static void run_powmod(mpz_ptr r, job *j) {
  mpz_t positive;
  if (mpz_sgn(j->b) >= 0) {
    mpz_powm(r, j->a, j->b, j->c);
  } else if (mpz_invert(r, j->a, j->c)) {
    mpz_init(positive);
    mpz_neg(positive, j->b);
    mpz_powm(r, r, positive, j->c);
    mpz_clear(positive);
  } else {
    j->failed = true;
  }
  mpz_fdiv_r(r, r, j->c);
}

static TL_GIL int bigint_powmod(lua_State *L) {
  value a, e, m;
  bigint_check(L, 1, &a);
  bigint_check(L, 2, &e);
  bigint_check(L, 3, &m);
  luaL_argcheck(L, mpz_sgn(m.z) != 0, 3, "must not be zero");
  size_t work = mpz_size(m.z) * mpz_size(m.z) * mpz_size(e.z);
  job j = {.run = run_powmod,
           .a = a.z,
           .b = e.z,
           .c = m.z,
           .limbs = mpz_size(m.z),
           .scratch = bigint_larger(a.z, e.z) + POWMOD_TABLE * mpz_size(m.z),
           .is_long = work > 64 || mpz_size(a.z) > BIGINT_LONG_LINEAR};
  bigint_compute(L, &j);
  luaL_argcheck(L, !j.failed, 1, "has no inverse for this modulus");
  return 1;
}

/* --- Number theory -------------------------------------------------------- */

static void run_sqrt(mpz_ptr r, job *j) {
  mpz_sqrt(r, j->a);
}

static TL_GIL int of_two(lua_State *L, bigint_operation *operation) {
  value a, b;
  bigint_check(L, 1, &a);
  bigint_check(L, 2, &b);
  size_t m = mpz_size(a.z), n = mpz_size(b.z);
  bigint_compute(L, &(job){.operation = operation,
                           .a = a.z,
                           .b = b.z,
                           .limbs = m + n,
                           .scratch = BIGINT_SCRATCH * bigint_larger(a.z, b.z),
                           .is_long = m * n > 1024});
  return 1;
}

static TL_GIL int bigint_gcd(lua_State *L) {
  return of_two(L, mpz_gcd);
}

static TL_GIL int bigint_lcm(lua_State *L) {
  return of_two(L, mpz_lcm);
}

static TL_GIL int bigint_isqrt(lua_State *L) {
  value a;
  bigint_check(L, 1, &a);
  luaL_argcheck(L, mpz_sgn(a.z) >= 0, 1, "must not be negative");
  size_t n = mpz_size(a.z);
  bigint_compute(L, &(job){.run = run_sqrt,
                           .a = a.z,
                           .limbs = n / 2 + 1,
                           .scratch = BIGINT_SCRATCH * n,
                           .is_long = n > LONG_QUADRATIC});
  return 1;
}

/* 24 rounds are GMP's Baillie-PSW test, which no composite is known to pass;
 * the others are Miller and Rabin's. */
static TL_GIL int bigint_is_prime(lua_State *L) {
  value a;
  bigint_check(L, 1, &a);
  bigint_reserve(L, BIGINT_SCRATCH * mpz_size(a.z));
  bool left = module_begin(L, mpz_size(a.z) > 1);
  bool prime = mpz_sgn(a.z) > 0 && mpz_probab_prime_p(a.z, 32) > 0;
  module_end(L, left);
  lua_pushboolean(L, prime);
  return 1;
}

/* --- Small ones ----------------------------------------------------------- */

static TL_GIL int bigint_abs(lua_State *L) {
  value a;
  bigint_check(L, 1, &a);
  if (mpz_sgn(a.z) < 0)
    bigint_negate(L, a.z);
  else
    bigint_copy(L, a.z);
  return 1;
}

static TL_GIL int bigint_sign(lua_State *L) {
  value a;
  bigint_check(L, 1, &a);
  lua_pushinteger(L, mpz_sgn(a.z));
  return 1;
}

/* Pushes the Lua integer of this value, if it fits. */
static TL_GIL bool push_integer(lua_State *L, mpz_srcptr a) {
  if (!mpz_fits_slong_p(a)) return false;
  lua_pushinteger(L, mpz_get_si(a));
  return true;
}

/* As math.tointeger. */
static TL_GIL int bigint_tointeger(lua_State *L) {
  value a;
  bigint_check(L, 1, &a);
  if (!push_integer(L, a.z)) luaL_pushfail(L);
  return 1;
}

/* Lua's nearest number. */
static TL_GIL int bigint_tonumber(lua_State *L) {
  value a;
  bigint_check(L, 1, &a);
  if (!push_integer(L, a.z)) lua_pushnumber(L, bigint_todouble(a.z));
  return 1;
}

const luaL_Reg bigint_makers[] = {
    {"factorial", bigint_factorial},
    {"new", bigint_new},
    {NULL, NULL},
};

const luaL_Reg bigint_functions[] = {
    {"gcd", bigint_gcd},
    {"is_prime", bigint_is_prime},
    {"isqrt", bigint_isqrt},
    {"lcm", bigint_lcm},
    {"pow", bigint_pow},
    {"powmod", bigint_powmod},
    {NULL, NULL},
};

const luaL_Reg bigint_methods[] = {
    {"abs", bigint_abs},
    {"digits", bigint_digits},
    {"sign", bigint_sign},
    {"tointeger", bigint_tointeger},
    {"tonumber", bigint_tonumber},
    {"tostring", bigint_tostring},
    {NULL, NULL},
};

/* text.c - numbers from strings, and as strings. */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "bigint.h"

/* Limbs and digits above which a conversion takes some 20 us. */
#define LONG_LIMBS 128
#define LONG_DIGITS ((size_t)LONG_LIMBS * 19)

/* --- From strings and numbers --------------------------------------------- */

typedef struct numeral {
  const char *digits; /* without sign and prefix; something else may follow */
  size_t length;      /* of the digits; 0: it is none */
  int base;
  bool negative;
} numeral;

static int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

/* What tonumber takes for an integer: spaces, a sign, with base 0 perhaps "0x",
 * digits, spaces. */
static numeral read_numeral(const char *s, size_t size, int base) {
  const char *end = s + size;
  numeral n = {.base = base ? base : 10};
  while (s < end && isspace((unsigned char)*s))
    s++;
  while (s < end && isspace((unsigned char)end[-1]))
    end--;
  if (s < end && (*s == '-' || *s == '+')) n.negative = *s++ == '-';
  if (base == 0 && end - s > 2 && s[0] == '0' && (s[1] | 32) == 'x') {
    n.base = 16;
    s += 2;
  }
  n.digits = s;
  while (s < end && digit_of(*s) < n.base)
    s++;
  if (s == end) n.length = (size_t)(end - n.digits);
  return n;
}

typedef struct parsing {
  job job;
  const numeral *numeral;
} parsing;

/* The digits are followed by the end of the string or by spaces, which GMP
 * skips. */
static void run_parse(mpz_ptr r, job *j) {
  const numeral *n = ((parsing *)j)->numeral;
  mpz_set_str(r, n->digits, n->base);
  if (n->negative) mpz_neg(r, r);
}

static TL_GIL int parse(lua_State *L, int base) {
  size_t size;
  const char *s = lua_tolstring(L, 1, &size);
  numeral n = read_numeral(s, size, base);
  if (n.length == 0)
    return luaL_argerror(
        L, 1, lua_pushfstring(L, "not an integer of base %d", n.base));
  double bits = (double)n.length * log2(n.base);
  if (bits > (double)BIGINT_BITS) return bigint_toolarge(L);
  size_t limbs = (size_t)(bits / GMP_NUMB_BITS) + 2;
  parsing p = {.numeral = &n};
  p.job = (job){.run = run_parse,
                .limbs = limbs,
                .scratch = BIGINT_SCRATCH * limbs,
                .is_long = n.length > LONG_DIGITS};
  bigint_compute(L, &p.job);
  return 1;
}

typedef struct rounding {
  job job;
  double d;
} rounding;

static void run_double(mpz_ptr r, job *j) {
  mpz_set_d(r, ((rounding *)j)->d);
}

/* A float with an integer value of any size. */
static TL_GIL int from_float(lua_State *L) {
  rounding r = {.d = lua_tonumber(L, 1)};
  luaL_argcheck(L, isfinite(r.d) && floor(r.d) == r.d, 1,
                "number has no integer representation");
  r.job = (job){.run = run_double, .limbs = 1024 / GMP_NUMB_BITS + 1};
  bigint_compute(L, &r.job);
  return 1;
}

bool bigint_isinteger(const char *s, size_t size, int base) {
  return read_numeral(s, size, base).length > 0;
}

int bigint_new(lua_State *L) {
  value v;
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 1, LUA_TSTRING);
    lua_Integer base = luaL_checkinteger(L, 2);
    luaL_argcheck(L, base >= 2 && base <= 36, 2, "base out of range");
    return parse(L, (int)base);
  }
  switch (lua_type(L, 1)) {
  case LUA_TSTRING:
    return parse(L, 0);
  case LUA_TNUMBER:
    if (!lua_isinteger(L, 1)) return from_float(L);
    bigint_check(L, 1, &v);
    bigint_copy(L, v.z);
    return 1;
  default:
    if (!bigint_is(L, 1)) return luaL_typeerror(L, 1, "number or string");
    lua_settop(L, 1); /* it never changes */
    return 1;
  }
}

/* --- To strings ----------------------------------------------------------- */

int bigint_tostring(lua_State *L) {
  value v;
  bigint_check(L, 1, &v);
  lua_Integer base = luaL_optinteger(L, 2, 10);
  luaL_argcheck(L, base >= 2 && base <= 36, 2, "base out of range");
  bigint_reserve(L, BIGINT_SCRATCH * mpz_size(v.z));
  luaL_Buffer b; /* with a sign and a zero at the end */
  char *s = luaL_buffinitsize(L, &b, mpz_sizeinbase(v.z, (int)base) + 2);
  bool left = module_begin(L, mpz_size(v.z) > LONG_LIMBS);
  mpz_get_str(s, (int)base, v.z);
  size_t size = strlen(s);
  module_end(L, left);
  luaL_pushresultsize(&b, size);
  return 1;
}

/* Whether |a| >= 10^n. */
static bool reaches(mpz_srcptr a, unsigned long n) {
  mpz_t power;
  mpz_init(power);
  mpz_ui_pow_ui(power, 10, n);
  bool does = mpz_cmpabs(a, power) >= 0;
  mpz_clear(power);
  return does;
}

/* The number of decimal digits of a != 0. GMP's is that or one more; logarithms
 * tell which, but near a power of ten. */
static size_t count_digits(mpz_srcptr a) {
  size_t n = mpz_sizeinbase(a, 10);
  long exponent;
  long double m = fabs(mpz_get_d_2exp(&exponent, a));
  long double log = (log2l(m) + exponent) * log10l(2);
  if (log > (long double)n - 1 + 1e-6L) return n;
  if (log < (long double)n - 1 - 1e-6L) return n - 1;
  return reaches(a, n - 1) ? n : n - 1;
}

int bigint_digits(lua_State *L) {
  value v;
  bigint_check(L, 1, &v);
  bigint_reserve(L, BIGINT_SCRATCH * mpz_size(v.z));
  bool left = module_begin(L, mpz_size(v.z) > LONG_LIMBS);
  size_t n = mpz_sgn(v.z) == 0 ? 1 : count_digits(v.z);
  module_end(L, left);
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

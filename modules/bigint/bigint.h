/* bigint.h - what the parts of the module bigint share: integers of any size
 * over GMP, as immutable Lua values. Documented in types/bigint.lua.
 *
 * A number is a userdata that holds its limbs: it needs no finalizer, and
 * Lua's collector and memory limit know its size. GMP computes in memory of
 * its own, between two calls of Lua's API, and the result is copied.
 *
 * GMP ends the process when it gets no memory, and nothing may jump out of it.
 * So the result's place, sized by a bound that is known before, is taken from
 * Lua first, which may raise; a bound beyond BIGINT_BITS is refused; and what
 * GMP will want for itself, if it is much, must be there a moment before. That
 * another thread takes it within that moment is possible, and not provided
 * for. */
#ifndef TL_BIGINT_H
#define TL_BIGINT_H

#include <gmp.h>

#include "module.h"

#define BIGINT "bigint.Integer"
#define BIGINT_BITS ((size_t)1 << 32) /* no result is made beyond this size */

_Static_assert(sizeof(mp_limb_t) == sizeof(lua_Integer), "one limb each");

typedef struct number {
  const void *tag; /* &bigint_tag: it is one of ours */
  mp_size_t size;  /* of the limbs, negative for a negative number; const */
  mp_limb_t limbs[];
} number;

/* What a Lua value stands for, to be read only. Refers to itself or to the
 * userdata, which a stack must keep; is not to be copied. */
typedef struct value {
  mpz_t z;
  mp_limb_t limb; /* of a Lua integer */
} value;

/* What GMP's functions of two numbers are. */
typedef void bigint_operation(mpz_ptr result, mpz_srcptr a, mpz_srcptr b);

/* Work for GMP: an operation on a and b or, without, 'run' computes it. Neither
 * touches Lua. */
typedef struct job {
  bigint_operation *operation;
  void (*run)(mpz_ptr result, struct job *j);
  mpz_srcptr a, b, c;
  unsigned long n;
  size_t limbs;   /* at least those of the result */
  size_t scratch; /* limbs that GMP may need at once; an estimate */
  bool is_long;   /* worth giving the GIL up */
  bool failed;    /* set by 'run': there is no result */
} job;

extern const char bigint_tag;

/* Each function that Lua calls has the class's metatable as its first upvalue;
 * what pushes a number takes it from there. */

/* True if the value at idx is one of ours, or a Lua integer. */
bool bigint_value(lua_State *L, int idx, value *v) TL_GIL;

/* An argument: one of ours, or a number with an integer value that fits a Lua
 * integer. */
void bigint_check(lua_State *L, int arg, value *v) TL_GIL;

bool bigint_is(lua_State *L, int idx) TL_GIL; /* one of ours */

/* Runs the job and pushes its result. Raises for a result that is too large
 * and for lack of memory. */
void bigint_compute(lua_State *L, job *j) TL_GIL;

/* Raises unless GMP can have so many limbs now. */
void bigint_reserve(lua_State *L, size_t limbs) TL_GIL;
int bigint_toolarge(lua_State *L) TL_GIL; /* raises */

/* Push a * b, -a, and a shifted by 'bits'; to the right it is rounded down, so
 * that of a negative number -1 is left at last. */
void bigint_multiply(lua_State *L, mpz_srcptr a, mpz_srcptr b) TL_GIL;
void bigint_negate(lua_State *L, mpz_srcptr a) TL_GIL;
void bigint_shift_left(lua_State *L, mpz_srcptr a, size_t bits) TL_GIL;
void bigint_shift_right(lua_State *L, mpz_srcptr a, size_t bits) TL_GIL;

/* Pushes a^e; raises for a negative e. */
void bigint_power(lua_State *L, mpz_srcptr a, mpz_srcptr e) TL_GIL;

/* The nearest double, and that of a / b; ties to even, infinite beyond the
 * range, as Lua's for b == 0. The second one needs scratch memory. */
double bigint_todouble(mpz_srcptr a);
double bigint_quotient(mpz_srcptr a, mpz_srcptr b);

/* Whether these digits, with what may be around them, are an integer. */
bool bigint_isinteger(const char *s, size_t size, int base);

/* What Lua calls. */
int bigint_new(lua_State *L) TL_GIL;
int bigint_tostring(lua_State *L) TL_GIL;
int bigint_digits(lua_State *L) TL_GIL;
extern const luaL_Reg bigint_metamethods[];
extern const luaL_Reg bigint_makers[];    /* of the module */
extern const luaL_Reg bigint_functions[]; /* of the module, methods as well */
extern const luaL_Reg bigint_methods[];

static inline TL_GIL void bigint_copy(lua_State *L, mpz_srcptr a) {
  bigint_shift_left(L, a, 0);
}

static inline size_t bigint_larger(mpz_srcptr a, mpz_srcptr b) {
  return mpz_size(a) > mpz_size(b) ? mpz_size(a) : mpz_size(b);
}

/* Estimates, from measurements of GMP 6.2: what it needs at once is below this
 * many times the largest number involved; */
#define BIGINT_SCRATCH 10
/* and these take some 20 us: linear work on so many limbs; work on a and b
 * limbs, a * b of which is this. */
#define BIGINT_LONG_LINEAR 32768
#define BIGINT_LONG_PRODUCT 65536

#endif

/* real.c - the double nearest to an integer and to a quotient. GMP's own
 * conversions cut off. */
#include <math.h>
#include <stdint.h>

#include "bigint.h"

/* A value with so many bits, the last of which is set if any further one is,
 * is rounded to a double's 53 as the whole would be. */
#define BITS 64

/* |a| / 2^*exponent, cut off to BITS bits, the last one being sticky. */
static uint64_t leading(mpz_srcptr a, long *exponent) {
  size_t n = mpz_size(a), bits = mpz_sizeinbase(a, 2);
  const mp_limb_t *limbs = mpz_limbs_read(a);
  *exponent = 0;
  if (bits <= BITS) return n ? limbs[0] : 0;
  *exponent = (long)(bits - BITS);
  unsigned spare = (unsigned)(n * BITS - bits); /* zeros in the first limb */
  uint64_t top = limbs[n - 1] << spare, rest = limbs[n - 2];
  if (spare > 0) {
    top |= rest >> (BITS - spare);
    rest <<= spare;
  }
  bool sticky = rest != 0 || mpz_scan1(a, 0) < (n - 2) * BITS;
  return top | sticky;
}

/* m * 2^exponent, negated if asked for. */
static double scaled(uint64_t m, long exponent, bool negative) {
  if (exponent > 2000) exponent = 2000; /* infinite */
  double d = ldexp((double)m, (int)exponent);
  return negative ? -d : d;
}

double bigint_todouble(mpz_srcptr a) {
  long exponent;
  uint64_t m = leading(a, &exponent);
  return scaled(m, exponent, mpz_sgn(a) < 0);
}

static double quotient_by_zero(mpz_srcptr a) {
  if (mpz_sgn(a) == 0) return NAN;
  return mpz_sgn(a) < 0 ? -INFINITY : INFINITY;
}

/* |a| * 2^shift / |b|, cut off, its last bit being sticky. */
static uint64_t shifted_quotient(mpz_srcptr a, mpz_srcptr b, long shift) {
  mpz_t q, r, shifted;
  mpz_inits(q, r, shifted, NULL);
  if (shift >= 0) {
    mpz_mul_2exp(shifted, a, (mp_bitcnt_t)shift);
    mpz_tdiv_qr(q, r, shifted, b);
  } else {
    mpz_mul_2exp(shifted, b, (mp_bitcnt_t)-shift);
    mpz_tdiv_qr(q, r, a, shifted);
  }
  uint64_t m = mpz_size(q) ? mpz_limbs_read(q)[0] : 0;
  m |= mpz_sgn(r) != 0;
  mpz_clears(q, r, shifted, NULL);
  return m;
}

/* The quotient is taken with 62 or 63 bits, and rounded once. What will be a
 * subnormal double has at most 54: its last one is worth 2^-1074, and two more
 * decide how that is rounded. There ldexp rounds, once if there are up to 53;
 * of 54 the conversion has rounded the last one before, to even, which is away
 * from the ties of the second rounding. */
double bigint_quotient(mpz_srcptr a, mpz_srcptr b) {
  if (mpz_sgn(b) == 0) return quotient_by_zero(a);
  bool negative = (mpz_sgn(a) < 0) != (mpz_sgn(b) < 0);
  if (mpz_sgn(a) == 0) return mpz_sgn(b) < 0 ? -0.0 : 0.0;
  long shift = 62 - (long)mpz_sizeinbase(a, 2) + (long)mpz_sizeinbase(b, 2);
  if (shift > 1076) shift = 1076;
  uint64_t m = 1; /* where it is too small to be told from 0 */
  if ((long)mpz_sizeinbase(b, 2) - (long)mpz_sizeinbase(a, 2) < 1100)
    m = shifted_quotient(a, b, shift);
  return scaled(m, -shift, negative);
}

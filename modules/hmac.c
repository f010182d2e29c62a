/* hmac.c - "tidelock._hmac", over OpenSSL's libcrypto: what processes prove to
 * each other that they have the same key with.
 *
 *   digest(key, message [, hash = "sha256"]) -> string of bytes
 *   equal(a, b) -> boolean; how long it takes tells nothing but the lengths
 *   random(n) -> string of n bytes that nobody can guess
 *
 * Keys and messages may be empty and hold any bytes. */
#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/random.h>

#include "module.h"

/* Bytes above which the GIL is given up: some 50 us of work. */
#define LONG_WORK 65536

TL_MODULE_OPENER TL_GIL int luaopen_tidelock__hmac(lua_State *L);

static TL_GIL const EVP_MD *check_hash(lua_State *L, int arg) {
  static const char *const names[] = {"sha256", "sha384", "sha512", NULL};
  static const EVP_MD *(*const hashes[])(void) = {EVP_sha256, EVP_sha384,
                                                  EVP_sha512};
  return hashes[luaL_checkoption(L, arg, "sha256", names)]();
}

static TL_GIL int hmac_digest(lua_State *L) {
  size_t key_size, size;
  const char *key = luaL_checklstring(L, 1, &key_size);
  const char *message = luaL_checklstring(L, 2, &size);
  luaL_argcheck(L, key_size <= INT_MAX, 1, "too long");
  const EVP_MD *hash = check_hash(L, 3);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  bool left = module_begin(L, key_size > LONG_WORK || size > LONG_WORK);
  bool done = HMAC(hash, key, (int)key_size, (const unsigned char *)message,
                   size, digest, &n) != NULL;
  module_end(L, left);
  if (!done) return luaL_error(L, "OpenSSL cannot make the digest");
  lua_pushlstring(L, (const char *)digest, n);
  return 1;
}

static TL_GIL int hmac_equal(lua_State *L) {
  size_t size_a, size_b;
  const char *a = luaL_checklstring(L, 1, &size_a);
  const char *b = luaL_checklstring(L, 2, &size_b);
  lua_pushboolean(L, size_a == size_b && CRYPTO_memcmp(a, b, size_a) == 0);
  return 1;
}

/* Fills the buffer from the kernel. Returns 0 or a negative errno. */
static int fill(char *buffer, size_t n) {
  while (n > 0) {
    ssize_t got = getrandom(buffer, n, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -errno;
    buffer += got;
    n -= (size_t)got;
  }
  return 0;
}

static TL_GIL int hmac_random(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n >= 0, 1, "must not be negative");
  luaL_argcheck(L, n <= INT_MAX, 1, "too many");
  luaL_Buffer b;
  char *bytes = luaL_buffinitsize(L, &b, (size_t)n);
  bool left = module_begin(L, n > LONG_WORK);
  int err = fill(bytes, (size_t)n);
  module_end(L, left);
  if (err) return luaL_error(L, "no random bytes: %s", strerror(-err));
  luaL_pushresultsize(&b, (size_t)n);
  return 1;
}

TL_GIL int luaopen_tidelock__hmac(lua_State *L) {
  static const luaL_Reg functions[] = {{"digest", hmac_digest},
                                       {"equal", hmac_equal},
                                       {"random", hmac_random},
                                       {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

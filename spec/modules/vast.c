/* vast.c - a C module for the specs: strings of gigabytes that need next to no
 * memory.
 *
 *   local vast = require("vast")
 *   vast.run(f, ...) -> results of f
 *   vast.string(n) -> a string of n bytes, for f
 *
 * While f runs the memory of a large block is, but for its beginning, the same
 * few pages again and again: whatever is written there is the size of it that
 * counts, not the bytes. f may leave none behind. */
#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int luaopen_vast(lua_State *L);

#define LARGE ((size_t)256 << 20) /* bytes: from here on */
#define PIECE ((size_t)4 << 20)

/* The GIL guards it; one at a time in a process. */
static struct {
  lua_Alloc real;
  void *ud;
  int file;   /* of the pages */
  int blocks; /* there are */
} vast;

static size_t whole(size_t n) {
  return (n + PIECE - 1) / PIECE * PIECE;
}

static void *map(size_t n) {
  char *p = mmap(NULL, whole(n), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return NULL;
  for (size_t at = PIECE; at < n; at += PIECE)
    if (mmap(p + at, PIECE, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED | MAP_POPULATE, vast.file,
             0) == MAP_FAILED) {
      munmap(p, whole(n));
      return NULL;
    }
  vast.blocks++;
  return p;
}

static void *allocate(void *ud, void *block, size_t osize, size_t nsize) {
  bool was = block && osize >= LARGE, is = nsize >= LARGE;
  (void)ud;
  if (!was && !is) return vast.real(vast.ud, block, osize, nsize);
  void *p = is ? map(nsize) : NULL;
  if (!is && nsize > 0) p = vast.real(vast.ud, NULL, 0, nsize);
  if (!p && nsize > 0) return NULL;
  size_t kept = osize < nsize ? osize : nsize;
  if (p && block) memcpy(p, block, kept < PIECE || !was ? kept : PIECE);
  if (was) {
    munmap(block, whole(osize));
    vast.blocks--;
  } else if (block) {
    vast.real(vast.ud, block, osize, 0);
  }
  return p;
}

static int vast_string(lua_State *L) {
  size_t n = (size_t)luaL_checkinteger(L, 1);
  luaL_Buffer b;
  luaL_argcheck(L, vast.real, 1, "outside of run");
  luaL_buffinitsize(L, &b, n);
  luaL_pushresultsize(&b, n);
  return 1;
}

static int vast_run(lua_State *L) {
  vast.file = memfd_create("vast", MFD_CLOEXEC);
  if (vast.file < 0 || ftruncate(vast.file, (off_t)PIECE) < 0)
    return luaL_error(L, "no memory that is a file");
  vast.real = lua_getallocf(L, &vast.ud);
  lua_setallocf(L, allocate, NULL);
  int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
  lua_gc(L, LUA_GCCOLLECT);
  lua_gc(L, LUA_GCCOLLECT);     /* what had a finalizer */
  if (vast.blocks > 0) abort(); /* nobody could free them */
  lua_setallocf(L, vast.real, vast.ud);
  vast.real = NULL;
  close(vast.file);
  return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

int luaopen_vast(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"run", vast_run}, {"string", vast_string}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

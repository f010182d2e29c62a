/* pickle_fuzz.c - libFuzzer's target for pickle.loads: whatever the bytes are,
 * there is a value or an error, in time and memory that are in proportion to
 * their number, and what was loaded can be dumped and loaded again.
 *
 * It opens what loading needs, on this thread alone: no library but Lua's. The
 * memory of each input is counted and limited by the interpreter's allocator.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "errors.h"
#include "interp.h"
#include "pickle.h"
#include "runtime.h"

#define BYTES_EACH 400    /* of memory for a byte of input, at most */
#define BYTES_MORE 200000 /* and beside that */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static tl_interp *interp;

static const char setup[] = "local register = ...\n"
                            "local function restore(...) return {...} end\n"
                            "register('Plain', {})\n"
                            "register('Reduced', {}, restore, restore)\n";

static TL_UNCHECKED int add_class(lua_State *L) {
  lua_settop(L, 4);
  tl_pickle_register(L);
  return 0;
}

static TL_UNCHECKED void open_all(void) {
  if (tl_runtime_init() < 0) abort();
  interp = tl_interp_open();
  if (!interp) abort();
  lua_State *L = interp->L;
  luaL_openlibs(L);
  if (luaL_loadstring(L, setup) != LUA_OK) abort();
  lua_pushcfunction(L, add_class);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) abort();
  lua_gc(L, LUA_GCCOLLECT);
}

/* Loads the string at 1. */
static TL_UNCHECKED int load(lua_State *L) {
  size_t size;
  const char *data = lua_tolstring(L, 1, &size);
  tl_pickle_load(L, data, size, NULL, 0, 0);
  return 1;
}

static TL_UNCHECKED int dump(lua_State *L) {
  tl_pickle_dumps(L, 1);
  return 1;
}

/* Whether the error on the top is one that data may cause. */
static TL_UNCHECKED int is_expected(lua_State *L) {
  if (tl_error_is(L, -1, "UnpicklingError")) return 1;
  const char *text = luaL_tolstring(L, -1, NULL);
  fprintf(stderr, "unexpected: %s\n", text);
  return 0;
}

TL_UNCHECKED int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!interp) open_all();
  lua_State *L = interp->L;
  lua_settop(L, 0);
  lua_pushcfunction(L, load);
  lua_pushlstring(L, (const char *)data, size);
  interp->alloc.limit = interp->alloc.used + size * BYTES_EACH + BYTES_MORE;
  int status = lua_pcall(L, 1, 1, 0);
  interp->alloc.limit = 0;
  if (status != LUA_OK) {
    if (!is_expected(L)) abort();
  } else {
    /* A loaded value holds nothing that cannot be dumped. */
    lua_pushcfunction(L, dump);
    lua_insert(L, 1);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
      fprintf(stderr, "dumps: %s\n", luaL_tolstring(L, -1, NULL));
      abort();
    }
    lua_pushcfunction(L, load);
    lua_insert(L, 1);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
      fprintf(stderr, "again: %s\n", luaL_tolstring(L, -1, NULL));
      abort();
    }
  }
  lua_settop(L, 0);
  lua_gc(L, LUA_GCCOLLECT);
  return 0;
}

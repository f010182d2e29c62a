/* results.c - see results.h; what a job is, pool/jobs.lua tells. */
#include "results.h"

#include <limits.h>

#include "news.h"
#include "pickle.h"

static TL_GIL lua_Integer get_integer(lua_State *L, int idx, const char *name) {
  lua_pushstring(L, name);
  lua_rawget(L, idx);
  lua_Integer n = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return n;
}

static TL_GIL void set_integer(lua_State *L, int idx, const char *name,
                               lua_Integer n) {
  lua_pushstring(L, name);
  lua_pushinteger(L, n);
  lua_rawset(L, idx);
}

/* First is what may lack memory: then the part can be added again. */
void result_add(lua_State *L, int jobs, int ready, uint64_t id) {
  int part = lua_gettop(L), job = part - 1;
  lua_Integer index =
      (lua_Integer)(id & (((uint64_t)1 << RESULT_INDEX_BITS) - 1));
  lua_pushliteral(L, "_parts");
  lua_rawget(L, job);
  lua_rawgeti(L, -1, index);
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    lua_Integer arrived = get_integer(L, job, "_arrived") + 1;
    lua_Integer left = get_integer(L, job, "_left") - 1;
    lua_pushliteral(L, "_order");
    if (lua_rawget(L, job) == LUA_TTABLE) {
      lua_pushinteger(L, index);
      lua_rawseti(L, -2, arrived);
    }
    lua_pop(L, 1);
    lua_pushboolean(L, false); /* its place */
    lua_rawseti(L, -2, index);
    lua_pushliteral(L, "_calls");
    if (lua_rawget(L, job) != LUA_TNIL && left == 0) {
      lua_pushvalue(L, job);
      lua_rawseti(L, ready, (lua_Integer)lua_rawlen(L, ready) + 1);
    }
    lua_pop(L, 1);
    lua_pushvalue(L, part);
    lua_rawseti(L, -2, index);
    set_integer(L, job, "_arrived", arrived);
    set_integer(L, job, "_left", left);
    if (left == 0) {
      lua_pushnil(L);
      lua_rawseti(L, jobs, (lua_Integer)(id >> RESULT_INDEX_BITS));
    }
  }
  lua_settop(L, job - 1);
}

/* complete(jobs, ready, id, part, [news]): adds a part to its job, if that is
 * still in 'jobs' and does not have it, and tells the news, in one step. A job
 * whose last part it is leaves 'jobs', and is appended to 'ready' if it has
 * callbacks. */
int result_complete(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_Integer id = luaL_checkinteger(L, 3);
  luaL_checkany(L, 4);
  lua_settop(L, 5);
  if (lua_rawgeti(L, 1, id >> RESULT_INDEX_BITS) == LUA_TTABLE) {
    lua_pushvalue(L, 4);
    result_add(L, 1, 2, (uint64_t)id);
  }
  if (!lua_isnil(L, 5)) news_announce(L, 5);
  return 0;
}

/* The pickled bytes of a part. */
static TL_GIL const char *check_bytes(lua_State *L, int arg, size_t *size) {
  if (lua_type(L, arg) != LUA_TUSERDATA) return luaL_checklstring(L, arg, size);
  *size = lua_rawlen(L, arg) - sizeof(ResultHead);
  return (const char *)lua_touserdata(L, arg) + sizeof(ResultHead);
}

/* decode(bytes): the value. */
int result_decode(lua_State *L) {
  size_t size;
  const char *data = check_bytes(L, 1, &size);
  tl_pickle_load(L, data, size, NULL, 0, TL_PICKLE_FAMILY);
  return 1;
}

/* join(parts, n, count): a list of the 'count' items that these n parts have:
 * pickled ones, or tables with a list of them at 2. */
int result_join(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Integer n = luaL_checkinteger(L, 2), count = luaL_checkinteger(L, 3);
  lua_settop(L, 1);
  lua_createtable(L, count < INT_MAX ? (int)count : 0, 0);
  lua_Integer at = 0;
  for (lua_Integer i = 1; i <= n; i++) {
    if (lua_rawgeti(L, 1, i) == LUA_TTABLE) {
      lua_rawgeti(L, 3, 2);
      luaL_checktype(L, 4, LUA_TTABLE);
      lua_Integer more = get_integer(L, 4, "n");
      for (lua_Integer k = 1; k <= more; k++) {
        lua_rawgeti(L, 4, k);
        lua_rawseti(L, 2, ++at);
      }
    } else {
      size_t size;
      const char *data = check_bytes(L, -1, &size);
      at += tl_pickle_load_items(L, 2, at, data, size, TL_PICKLE_FAMILY);
    }
    lua_settop(L, 2);
  }
  return 1;
}

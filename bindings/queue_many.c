/* queue_many.c - Queue:get_many: what is there, at least one item. Nothing that
 * was taken may be lost, whatever raises meanwhile. */
#include <limits.h>

#include "queue.h"

enum { RESULT = 3 }; /* its stack: queue, max, result */

/* Sets result[n + 1] to the value on the top; the slot exists. */
static TL_GIL void append(lua_State *L, lua_Integer n) {
  lua_rawseti(L, RESULT, n + 1);
  lua_pushinteger(L, n + 1);
  lua_setfield(L, RESULT, "n");
}

static TL_GIL lua_Integer taken(lua_State *L) {
  lua_getfield(L, RESULT, "n");
  lua_Integer n = lua_tointeger(L, -1);
  lua_pop(L, 1);
  return n;
}

/* Moves items into the result until it has 'max' or there are no more. A slot
 * is made before its item is taken, so that none can be lost. */
static TL_GIL int fill(lua_State *L) {
  Queue *q = lua_touserdata(L, 1);
  lua_Integer max = lua_tointeger(L, 2);
  for (lua_Integer n = taken(L); n < max; n++) {
    lua_pushboolean(L, false);
    lua_rawseti(L, RESULT, n + 1);
    if (!queue_take(L, q)) {
      lua_pushnil(L);
      lua_rawseti(L, RESULT, n + 1);
      break;
    }
    append(L, n);
    lua_settop(L, RESULT);
  }
  return 0;
}

/* A comparison raised after something was taken, which is delivered. An
 * ordinary error will come again with the next get; an interruption is asked
 * for again. */
static TL_GIL void put_off(lua_State *L) {
  if (tl_error_is(L, -1, "Cancelled")) {
    lua_getfield(L, -1, "message");
    if (!tl_thread_cancel(bind_thread(), lua_tostring(L, -1)))
      tl_thread_interrupt(bind_thread(), TL_PEND_CANCEL);
  } else if (tl_error_is(L, -1, "KeyboardInterrupt")) {
    tl_thread_interrupt(bind_thread(), TL_PEND_INTERRUPT);
  }
  lua_pushnil(L);
  lua_rawseti(L, RESULT, taken(L) + 1);
}

/* Leaves the result on the top; false if it is empty. */
static TL_GIL bool fill_protected(lua_State *L) {
  lua_pushcfunction(L, fill);
  for (int i = 1; i <= RESULT; i++)
    lua_pushvalue(L, i);
  bool raised = lua_pcall(L, RESULT, 0, 0) != LUA_OK;
  bool any = taken(L) > 0;
  if (raised && !any) lua_error(L);
  if (raised) put_off(L);
  lua_settop(L, RESULT);
  return any;
}

static TL_GIL int get_many_waited(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  if (!bind_woken(L)) return queue_refuse(L, "Empty");
  if (lua_gettop(L) == RESULT) return queue_refuse(L, "ShutDown");
  append(L, 0);
  fill_protected(L);
  return 1;
}

int queue_get_many(lua_State *L) {
  Queue *q = queue_check(L);
  lua_Integer max = luaL_checkinteger(L, 2);
  luaL_argcheck(L, max >= 1, 2, "must be at least 1");
  int64_t deadline = bind_deadline(L, 3);
  lua_settop(L, 2);
  lua_Integer n = q->items.count < max ? q->items.count : max;
  lua_createtable(L, n > 0 && n < INT_MAX ? (int)n : 1, 1);
  lua_pushinteger(L, 0);
  lua_setfield(L, RESULT, "n");
  while (q->items.count > 0)
    if (fill_protected(L)) return 1;
  if (q->shut) return queue_refuse(L, "ShutDown");
  if (deadline == 0) return queue_refuse(L, "Empty");
  return tl_wait(L, &q->getters, deadline, 0, get_many_waited);
}

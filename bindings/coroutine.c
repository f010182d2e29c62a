/* coroutine.c - Lua's coroutine library, which also keeps track of the
 * innermost running state, for preempt.c. It behaves as Lua's own does; the
 * base state of a thread answers as the main state would. */
#include "bind.h"
#include "modules.h"
#include "preempt.h"

static TL_GIL lua_State *check_coroutine(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co, 1, "thread");
  return co;
}

/* The state on which a thread runs, as opposed to a coroutine. */
static TL_GIL bool is_base(lua_State *L, lua_State *co) {
  tl_interp *in = tl_interp_of(L);
  if (co == tl_self()->L || co == in->L) return true;
  if (lua_status(co) != LUA_OK) return false;
  for (tl_thread *t = in->threads; t; t = t->next)
    if (t->L == co) return true;
  return false;
}

/* It has calls on its stack and is not suspended: it runs, here or on another
 * thread, or has resumed one that does. */
static TL_GIL bool is_active(lua_State *co) {
  lua_Debug ar;
  return lua_status(co) == LUA_OK && lua_getstack(co, 0, &ar);
}

/* Resumes co with the n values on the top of L. Returns the number of results
 * on L, or -1 with the error there. */
static TL_GIL int resume(lua_State *L, lua_State *co, int n) {
  tl_thread *t = tl_self();
  if (tl_unlikely(is_active(co) && co != L)) {
    lua_pushliteral(L, "cannot resume non-suspended coroutine");
    return -1;
  }
  if (tl_unlikely(!lua_checkstack(co, n))) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  lua_xmove(L, co, n);
  lua_State *outer = t->running;
  int results;
  tl_preempt_running(t, co);
  int status = lua_resume(co, L, n, &results);
  tl_preempt_running(t, outer);
  if (tl_unlikely(status != LUA_OK && status != LUA_YIELD)) {
    lua_xmove(co, L, 1);
    return -1;
  }
  if (tl_unlikely(!lua_checkstack(L, results + 1))) {
    lua_pop(co, results);
    lua_pushliteral(L, "too many results to resume");
    return -1;
  }
  lua_xmove(co, L, results);
  return results;
}

static TL_GIL int co_resume(lua_State *L) {
  lua_State *co = check_coroutine(L);
  int n = resume(L, co, lua_gettop(L) - 1);
  lua_pushboolean(L, n >= 0);
  if (n < 0) n = 1;
  lua_insert(L, -(n + 1));
  return n + 1;
}

/* A coroutine that died of an error from a hook is left with hooks off, and a
 * __close function of it that runs for long would hold the GIL and survive
 * every kill. Lua has no call that turns hooks on again: the flag stands right
 * behind the status in every 5.4, and what surrounds it is checked. */
static TL_GIL void allow_hooks(lua_State *co) {
  enum { TYPE, MARK, STATUS, ALLOWHOOK }; /* bytes behind a pointer */
  unsigned char *head = (unsigned char *)co + sizeof(void *);
  if (head[TYPE] == LUA_TTHREAD && head[STATUS] == lua_status(co) &&
      lua_status(co) > LUA_YIELD && head[ALLOWHOOK] == 0)
    head[ALLOWHOOK] = 1;
}

/* Closes co's variables, as the innermost state meanwhile. */
static TL_GIL int reset(lua_State *L, lua_State *co) {
  tl_thread *t = tl_self();
  lua_State *outer = t->running;
  (void)L;
  allow_hooks(co);
  tl_preempt_running(t, co);
  if (atomic_load(&t->pending) & TL_PEND_KILL) tl_preempt_unwind(co, t);
  int status = tl_lua_closethread(co, L);
  tl_preempt_running(t, outer);
  return status;
}

static TL_GIL int wrap_error(lua_State *L, lua_State *co) {
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) {
    status = reset(L, co);
    lua_xmove(co, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static TL_GIL int wrapped(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  int n = resume(L, co, lua_gettop(L));
  return n < 0 ? wrap_error(L, co) : n;
}

static TL_GIL int co_create(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  tl_preempt_newstate(L, co);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  return 1;
}

static TL_GIL int co_wrap(lua_State *L) {
  co_create(L);
  lua_pushcclosure(L, wrapped, 1);
  return 1;
}

static TL_GIL int yield_co(lua_State *L) {
  if (tl_unlikely(L == tl_self()->L))
    return luaL_error(L, "attempt to yield from outside a coroutine");
  return lua_yield(L, lua_gettop(L));
}

static TL_GIL const char *status_of(lua_State *L, lua_State *co) {
  if (co == L) return "running";
  if (lua_status(co) == LUA_YIELD) return "suspended";
  if (is_active(co)) return "normal";
  if (lua_status(co) == LUA_OK && lua_gettop(co) > 0) return "suspended";
  return "dead";
}

static TL_GIL int co_status(lua_State *L) {
  lua_pushstring(L, status_of(L, check_coroutine(L)));
  return 1;
}

static TL_GIL int co_running(lua_State *L) {
  lua_pushthread(L);
  lua_pushboolean(L, L == tl_self()->L);
  return 2;
}

static TL_GIL int co_isyieldable(lua_State *L) {
  lua_State *co = lua_isnone(L, 1) ? L : check_coroutine(L);
  lua_pushboolean(L, !is_base(L, co) && lua_isyieldable(co));
  return 1;
}

static TL_GIL int co_close(lua_State *L) {
  lua_State *co = check_coroutine(L);
  const char *status = status_of(L, co);
  if (co == L || is_active(co) || is_base(L, co))
    return luaL_error(L, "cannot close a %s coroutine", status);
  if (reset(L, co) == LUA_OK) {
    lua_pushboolean(L, true);
    return 1;
  }
  lua_pushboolean(L, false);
  lua_xmove(co, L, 1);
  return 2;
}

static const luaL_Reg functions[] = {{"close", co_close},
                                     {"create", co_create},
                                     {"isyieldable", co_isyieldable},
                                     {"resume", co_resume},
                                     {"running", co_running},
                                     {"status", co_status},
                                     {"wrap", co_wrap},
                                     {"yield", yield_co},
                                     {NULL, NULL}};

int luaopen_tl_coroutine(lua_State *L) {
  lua_getglobal(L, LUA_COLIBNAME);
  luaL_setfuncs(L, functions, 0);
  return 1;
}

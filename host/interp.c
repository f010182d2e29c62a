/* interp.c - opens and closes an interpreter. */
#include "interp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "errors.h"
#include "ipc/party.h"
#include "preempt.h"
#include "warn.h"

#ifdef TL_STRICT
extern void (*tl_strict_check)(lua_State *L);

/* Called by the strict build's Lua at each entry of its API. */
static TL_UNCHECKED void check_attached(lua_State *L) {
  tl_interp *in = tl_interp_of(L);
  tl_thread *t = tl_self();
  if (!in || !in->main) return; /* being opened */
  if (!t || t->interp != in || !tl_gil_held(&in->gil, &t->member)) {
    fputs("tidelock: Lua was called without the GIL\n", stderr);
    abort();
  }
}
#endif

static TL_GIL int panic(lua_State *L) {
  const char *message = lua_tostring(L, -1);
  fprintf(stderr, "PANIC: unprotected error in call to Lua API (%s)\n",
          message ? message : "error object is not a string");
  return 0;
}

static TL_GIL int open_protected(lua_State *L) {
  tl_warn_open(L);
  return 0;
}

TL_UNCHECKED tl_interp *tl_interp_open(void) {
  tl_interp *in = calloc(1, sizeof *in);
  if (!in) return NULL;
  if (tl_gil_init(&in->gil, tl_preempt_ask) < 0) goto no_gil;
  in->stack_size = TL_STACK_USUAL;
  in->L = lua_newstate(tl_alloc_run, &in->alloc);
  if (!in->L) goto no_state;
  *(tl_interp **)lua_getextraspace(in->L) = in;
  tl_thread *t = tl_thread_new(in);
  if (!t || tl_thread_setname(t, "MainThread") < 0) goto no_thread;
  tl_member_begin(&t->member);
  tl_gil_acquire(&in->gil, &t->member, TL_OUTSIDE);
  tl_thread_adopt(t, in->L);
  in->main = t;
  os_timer_exact();
#ifdef TL_STRICT
  tl_strict_check = check_attached;
#endif
  lua_atpanic(in->L, panic);
  tl_preempt_newstate(NULL, in->L);
  lua_pushcfunction(in->L, open_protected);
  if (lua_pcall(in->L, 0, 0, 0) == LUA_OK) return in;
  tl_current = NULL;
no_thread:
  if (t) tl_thread_unref(t);
  lua_close(in->L);
  tl_alloc_destroy(&in->alloc);
no_state:
  tl_gil_destroy(&in->gil);
no_gil:
  free(in);
  return NULL;
}

/* The first thread that the interpreter must wait for. */
static TL_GIL tl_thread *first_joined(tl_interp *in) {
  for (tl_thread *t = in->threads; t; t = t->next)
    if (t != in->main && !t->daemon) return t;
  return NULL;
}

static const char exit_key; /* registry: array of functions */

void tl_interp_atexit(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &exit_key) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &exit_key);
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

/* Runs the functions, last one first. One that fails is reported; an
 * interrupt goes on to the caller. */
static TL_GIL void run_atexit(lua_State *L) {
  for (;;) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &exit_key) != LUA_TTABLE) break;
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    if (n == 0) break;
    lua_pushcfunction(L, tl_error_traceback);
    lua_rawgeti(L, -2, n);
    lua_pushnil(L);
    lua_rawseti(L, -4, n);
    if (lua_pcall(L, 0, 0, -2) != LUA_OK) {
      if (tl_error_is(L, -1, "KeyboardInterrupt")) lua_error(L);
      fprintf(stderr, "error in an exit function: %s\n",
              luaL_tolstring(L, -1, NULL));
      lua_pop(L, 2);
    }
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
}

static const char leave_key; /* registry: a function */

void tl_interp_atleave(lua_State *L) {
  lua_rawsetp(L, LUA_REGISTRYINDEX, &leave_key);
}

void tl_interp_leave(lua_State *L, int code) {
  int top = lua_gettop(L);
  if (lua_checkstack(L, LUA_MINSTACK) &&
      lua_rawgetp(L, LUA_REGISTRYINDEX, &leave_key) == LUA_TFUNCTION) {
    lua_pushinteger(L, code);
    lua_pcall(L, 1, 0, 0);
  }
  lua_settop(L, top);
}

void tl_interp_join(lua_State *L) {
  tl_interp *in = tl_interp_of(L);
  in->ended.what = "threads to end";
  while (first_joined(in)) {
    tl_observe_queue(L, &in->ended, TL_FOREVER);
    tl_check(L);
  }
  run_atexit(L);
  ipc_leave_all();
}

/* Interrupts all other threads, and waits until the deadline for their end. */
static TL_GIL bool end_threads(tl_interp *in, unsigned how, int64_t deadline) {
  tl_thread *me = tl_self();
  for (tl_thread *t = in->threads; t; t = t->next)
    if (t != me) tl_thread_interrupt(t, how);
  while (in->thread_count > 1 && os_now() < deadline) {
    atomic_store(&me->pending, 0); /* nothing interrupts the end */
    tl_observe_queue(in->L, &in->ended, deadline);
  }
  return in->thread_count == 1;
}

TL_UNCHECKED bool tl_interp_close(tl_interp *in) {
  const int64_t second = 1000000000;
  tl_thread *me = in->main;
  in->closing = true;
  if (in->thread_count > 1 &&
      !end_threads(in, TL_PEND_CANCEL, os_deadline(second)) &&
      !end_threads(in, TL_PEND_KILL, os_deadline(second)))
    return false;
  tl_thread_reap(in, true);
  atomic_store(&me->pending, 0);
  lua_close(in->L);
  tl_current = NULL;
  tl_gil_release(&in->gil, &me->member);
  tl_thread_unref(me);
  tl_gil_destroy(&in->gil);
  tl_alloc_destroy(&in->alloc);
  free(in);
  return true;
}

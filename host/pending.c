/* pending.c - raises cancels, kills and interrupts, runs pending calls.
 *
 * A cancel is raised once. A kill is raised again at each safe point until
 * the thread has unwound; only Lua functions that close variables on the way
 * get TL_KILL_CLOSE in all (preempt.c finds out when one runs). */
#include "pending.h"

#include <stdlib.h>

#include "errors.h"
#include "interp.h"
#include "preempt.h"

bool tl_would_raise(lua_State *L, tl_thread *t) {
  unsigned p = atomic_load(&t->pending);
  if (t->shielded || tl_in_finalizer(L)) return false;
  if (p & TL_PEND_KILL)
    return t->kill_phase != TL_KILL_CLOSING || os_now() >= t->kill_deadline;
  return p & (TL_PEND_CANCEL | TL_PEND_INTERRUPT);
}

static TL_GIL void run_calls(lua_State *L, tl_thread *t) {
  tl_interp *in = t->interp;
  atomic_fetch_and(&t->pending, ~(unsigned)TL_PEND_CALLS);
  for (int i = 0; i < TL_PENDING_CALLS; i++) {
    uintptr_t call = atomic_exchange(&in->calls[i], 0);
    if (call) ((tl_pending_call)call)(L);
  }
}

/* --- raising -------------------------------------------------------------- */

static TL_GIL int identity(lua_State *L) {
  lua_settop(L, 1);
  return 1;
}

/* Calls its upvalue with the error in a coroutine, which has its hooks on. */
static TL_GIL int handle_apart(lua_State *L) {
  tl_thread *t = tl_self();
  lua_State *outer = t->running, *co = lua_newthread(L);
  tl_preempt_newstate(NULL, co);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 2);
  int n;
  tl_preempt_running(t, co);
  int status = lua_resume(co, L, 1, &n);
  tl_preempt_running(t, outer);
  if (status != LUA_OK || n > 0)
    lua_xmove(co, L, 1);
  else
    lua_pushnil(L);
  return 1;
}

/* An error raised in a hook is handled with hooks off, so a handler of the
 * script's that runs for long would hold the GIL and survive every kill. The
 * handler that is going to be called belongs to the innermost protected call,
 * and if that is an xpcall it lies in its second slot: a Lua function there is
 * called apart, or, in a thread that is being killed, not at all. */
static TL_GIL void replace_handler(lua_State *L, tl_thread *t) {
  const tl_interp *in = t->interp;
  bool kill = atomic_load(&t->pending) & TL_PEND_KILL;
  lua_Debug ar;
  for (int level = 0; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "f", &ar);
    lua_CFunction f = lua_tocfunction(L, -1);
    lua_pop(L, 1);
    if (f == in->pcall && f) return;
    if (f != in->xpcall || !f || !lua_getlocal(L, &ar, 2)) continue;
    if (kill) {
      lua_pop(L, 1);
      lua_pushcfunction(L, identity);
    } else if (!lua_iscfunction(L, -1)) {
      lua_pushcclosure(L, handle_apart, 1);
    }
    if (!lua_setlocal(L, &ar, 2)) lua_pop(L, 1);
    return;
  }
}

/* What cannot be made for lack of memory stays pending. */
static TL_GIL void raise_cancel(lua_State *L, tl_thread *t) {
  char *message = t->cancel_message;
  tl_error_push(L, "Cancelled", "%s", message ? message : "cancelled");
  if (t->cancel_message == message) { /* a finalizer may have cancelled again */
    atomic_fetch_and(&t->pending, ~(unsigned)TL_PEND_CANCEL);
    t->cancel_message = NULL;
    free(message);
  }
  lua_error(L);
}

void tl_check(lua_State *L) {
  tl_thread *t = tl_self();
  unsigned p = atomic_load(&t->pending);
  if (!p || t->shielded || tl_in_finalizer(L)) return;
  if (p & TL_PEND_CALLS) run_calls(L, t);
  if (!tl_would_raise(L, t)) return;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  replace_handler(L, t);
  if (p & TL_PEND_KILL) {
    tl_preempt_unwind(L, t);
    tl_error(L, "Killed", "killed");
  }
  if (p & TL_PEND_INTERRUPT) {
    tl_error_push(L, "KeyboardInterrupt", "interrupted!");
    atomic_fetch_and(&t->pending, ~(unsigned)TL_PEND_INTERRUPT);
    if (atomic_load(&t->pending)) tl_preempt_arm(t);
    lua_error(L);
  }
  raise_cancel(L, t);
}

void tl_unshield(tl_thread *t, bool was) {
  t->shielded = was;
  if (tl_is_pending(t)) tl_preempt_arm(t);
}

/* --- requests ------------------------------------------------------------- */

/* Sets a bit on the main thread and makes it look; true if it was set.
 * Signal-safe. */
static bool tell_main(tl_interp *in, unsigned what) {
  tl_thread *t = in->main;
  if (!t) return false;
  unsigned was = atomic_fetch_or(&t->pending, what);
  tl_preempt_poke(t);
  return was & what;
}

void tl_pending_add(tl_interp *in, tl_pending_call fn) {
  for (int i = 0; i < TL_PENDING_CALLS; i++) {
    uintptr_t is = 0;
    if (atomic_compare_exchange_strong(&in->calls[i], &is, (uintptr_t)fn) ||
        is == (uintptr_t)fn)
      break;
  }
  tell_main(in, TL_PEND_CALLS);
}

bool tl_pending_interrupt(tl_interp *in) {
  return tell_main(in, TL_PEND_INTERRUPT);
}

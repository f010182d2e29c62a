/* pending.h - what a thread is asked to do at its next safe point: cancel,
 * kill, Ctrl-C, calls for the main thread. */
#ifndef TL_PENDING_H
#define TL_PENDING_H

#include "thread.h"

/* Something is to be run or raised. Relaxed: seen late it is seen at the next
 * look, and those that raise look again. */
static inline bool tl_is_pending(tl_thread *t) {
  return atomic_load_explicit(&t->pending, memory_order_relaxed) != 0 &&
         !t->shielded;
}

/* Runs what is pending for the calling thread; raises a cancel, a kill or an
 * interrupt. Does nothing in a finalizer and while a killed thread's __close
 * has its time. */
void tl_check(lua_State *L) TL_GIL;

/* True if tl_check would raise. */
bool tl_would_raise(lua_State *L, tl_thread *t) TL_GIL;

/* The calling function returns a value to be closed: a raise waits until the
 * variable is marked. */
static inline void tl_defer_raise(tl_thread *t) {
  t->defer_raise = true;
}

/* Until tl_unshield nothing is raised in the calling thread and no pending call
 * is run in it, neither in Lua code nor in a wait: for what must come to its
 * end, as the release of a lock that a server has. Between them is a protected
 * call. Returns what tl_unshield is to be given. */
static inline bool tl_shield(tl_thread *t) {
  bool was = t->shielded;
  t->shielded = true;
  return was;
}
void tl_unshield(tl_thread *t, bool was) TL_GIL;

/* Calls fn(L) on the main thread at a safe point. From any thread or a signal
 * handler; calls of one fn that have not run yet are one. There may be
 * TL_PENDING_CALLS different ones. */
typedef void (*tl_pending_call)(lua_State *L);
void tl_pending_add(tl_interp *in, tl_pending_call fn);

/* Ctrl-C: KeyboardInterrupt in the main thread. Async-signal-safe. True if one
 * was pending already. */
bool tl_pending_interrupt(tl_interp *in);

#endif

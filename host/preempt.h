/* preempt.h - how a thread that runs Lua is made to look up: a one-shot
 * line hook, set by a signal to the holder of the GIL; and the multiplexer
 * that shares the hook with debug.sethook. The only file that knows how. */
#ifndef TL_PREEMPT_H
#define TL_PREEMPT_H

#include "thread.h"

/* Installs the handler of the preemption signal, once per process. */
int tl_preempt_install(void);
int tl_preempt_signal(void); /* its number, 0 when hooks count instead */

/* gil.h's 'ask': the holder is made to call tl_gil_yield soon. */
void tl_preempt_ask(pid_t holder);

/* Makes t, which is the caller or does not hold the GIL, look up at its next
 * instruction. */
void tl_preempt_arm(tl_thread *t) TL_GIL;

/* From any thread: t's handler runs, and wakes t or arms its hook. */
void tl_preempt_poke(tl_thread *t);

/* t is about to raise a kill in L, or to close its variables: what is called
 * next is a __close, which has its time. */
void tl_preempt_unwind(lua_State *L, tl_thread *t) TL_GIL;

/* A state that has just been created by 'from' gets from's hook, not
 * ours; from NULL: none. */
void tl_preempt_newstate(lua_State *from, lua_State *made) TL_GIL;

/* A request stands, and t goes on in another state: that one gets the hook. */
void tl_preempt_moved(tl_thread *t) TL_GIL;

/* t goes on in another state: a coroutine is resumed, or has returned. */
static inline TL_GIL void tl_preempt_running(tl_thread *t, lua_State *to) {
  t->running = to;
  atomic_signal_fence(memory_order_seq_cst);
  if (tl_unlikely(t->preempt.armed != NULL)) tl_preempt_moved(t);
}

/* debug.sethook and debug.gethook for state L1; the hook function is on the
 * top of L's stack and is popped. */
void tl_sethook(lua_State *L, lua_State *L1, int mask, int count) TL_GIL;

/* Pushes the hook (nil: none; "external hook"); mask and count by pointer.
 * False when there is none. */
bool tl_gethook(lua_State *L, lua_State *L1, int *mask, int *count) TL_GIL;

#endif

/* runtime.h - the process: signals, fork. */
#ifndef TL_RUNTIME_H
#define TL_RUNTIME_H

#include <signal.h>
#include <sys/types.h>

#include "thread.h"

/* Before an interpreter is opened; from any thread. The first time: the
 * start-up signal mask is kept for children, the preemption signal is
 * installed. 0 or -errno. */
int tl_runtime_init(void);

/* The signal mask that the process was started with. */
const sigset_t *tl_runtime_sigmask(void);

/* Forks. The caller holds the GIL, so the heap is consistent in the child,
 * where the calling thread is the only one, is the main one, and holds the
 * GIL. 'before' is called first, as to flush files, and 'after' when it is
 * done, told whether it is in the child. The child must end by _exit. Returns
 * as fork, or negative errno. */
typedef struct tl_fork_hooks {
  void (*before)(lua_State *L);
  void (*after)(lua_State *L, int child);
} tl_fork_hooks;
pid_t tl_runtime_fork(lua_State *L) TL_GIL;

/* Whether the program allows that; at first not. From any thread. */
void tl_runtime_allow_fork(bool allow);
bool tl_runtime_forks(void);

void tl_runtime_atfork(const tl_fork_hooks *hooks); /* at most 4 of them */

#endif

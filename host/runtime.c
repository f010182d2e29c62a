/* runtime.c - what belongs to the process. */
#include "runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "interp.h"
#include "preempt.h"

#define FORK_HOOKS 4

static struct {
  os_mutex mu;
  sigset_t mask; /* const after init: that of start-up */
  bool open;     /* mu */
  const tl_fork_hooks *forks[FORK_HOOKS]; /* const once counted */
  atomic_int fork_count;                  /* set under mu */
  atomic_bool fork_allowed;               /* set by any thread */
} runtime = {.mu = PTHREAD_MUTEX_INITIALIZER};

static int open_once(void) {
  if (runtime.open) return 0;
  pthread_sigmask(SIG_SETMASK, NULL, &runtime.mask);
  int err = tl_preempt_install();
  runtime.open = err == 0;
  return err;
}

int tl_runtime_init(void) {
  os_mutex_lock(&runtime.mu);
  int err = open_once();
  os_mutex_unlock(&runtime.mu);
  return err;
}

const sigset_t *tl_runtime_sigmask(void) {
  return &runtime.mask;
}

void tl_runtime_allow_fork(bool allow) {
  atomic_store(&runtime.fork_allowed, allow);
}

bool tl_runtime_forks(void) {
  return atomic_load(&runtime.fork_allowed);
}

void tl_runtime_atfork(const tl_fork_hooks *hooks) {
  os_mutex_lock(&runtime.mu);
  int n = atomic_load(&runtime.fork_count), i = 0;
  while (i < n && runtime.forks[i] != hooks)
    i++;
  if (i == FORK_HOOKS) {
    fputs("tidelock: more fork hooks than there is room for\n", stderr);
    abort();
  }
  if (i == n) {
    runtime.forks[n] = hooks;
    atomic_store(&runtime.fork_count, n + 1);
  }
  os_mutex_unlock(&runtime.mu);
}

static TL_GIL void run_hooks(lua_State *L, bool before, bool child) {
  for (int i = 0; i < atomic_load(&runtime.fork_count); i++) {
    if (before)
      runtime.forks[i]->before(L);
    else
      runtime.forks[i]->after(L, child);
  }
}

pid_t tl_runtime_fork(lua_State *L) {
  tl_thread *me = tl_self();
  /* One that ends uses AddressSanitizer's allocator: see os_thread_start. */
  if (OS_SANITIZED) tl_thread_reap(me->interp, true);
  run_hooks(L, true, false);
  /* No signal is handled between the fork and the child's own set-up. */
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  os_mutex_lock(&runtime.mu); /* whole in the child, as the GIL is */
  tl_gil_before_fork(&me->interp->gil);
  pid_t pid = fork();
  int err = errno;
  os_mutex_unlock(&runtime.mu);
  if (pid == 0) {
    tl_gil_after_fork(&me->interp->gil, &me->member);
    tl_threads_after_fork(me);
    pthread_sigmask(SIG_SETMASK, &runtime.mask, NULL);
  } else {
    tl_gil_forked(&me->interp->gil);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
  }
  run_hooks(L, false, pid == 0);
  return pid < 0 ? -err : pid;
}

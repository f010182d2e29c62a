/* gil_cpu.c - on which processors members look, wait and run.
 *
 * Those that take turns do so on one processor. Woken on another one, which
 * was idle, each would be slow for longer than the wake-up takes: two threads
 * with turns of 5 ms did 0.88 of one thread's work so, and 0.99 bound to one
 * processor by hand. The one that gives way binds the next one, which sleeps,
 * to where it is, and the next one frees itself as soon as it has the lock. So
 * nobody that runs is bound, and the kernel may move it elsewhere. */
#include "gil_cpu.h"

#define LONG_TURN 1000000 /* ns: an interval worth three system calls */

/* Relaxed, here and below: hints, which order nothing. */
static void note(atomic_int *place, int cpu) {
  atomic_store_explicit(place, cpu, memory_order_relaxed);
}

static int noted(const atomic_int *place) {
  return atomic_load_explicit((atomic_int *)place, memory_order_relaxed);
}

void tl_cpu_waits(tl_member *m) {
  note(&m->cpu, os_cpu_current());
}

void tl_cpu_runs(tl_gil *g, tl_member *m) {
  tl_cpu_waits(m);
  note(&g->holder_cpu, noted(&m->cpu));
  if (!m->bound) return;
  m->bound = false;
  os_cpu_free(&m->cpus);
}

bool tl_cpu_follows(const tl_gil *g, const tl_member *next) {
  return next->class == TL_PREEMPTED && g->may_spin &&
         atomic_load(&((tl_gil *)g)->interval) >= LONG_TURN;
}

void tl_cpu_passes(tl_gil *g, tl_member *next, bool follows) {
  if (follows && !next->bound && tl_cpu_follows(g, next)) {
    int here = os_cpu_current();
    next->bound = os_cpu_bind(atomic_load(&next->thread), here, &next->cpus);
    if (next->bound) note(&next->cpu, here);
  }
  note(&g->holder_cpu, noted(&next->cpu));
}

bool tl_cpu_spin(const tl_gil *g, const tl_member *m, int64_t end) {
  if (!g->may_spin || noted(&g->holder_cpu) == os_cpu_current()) return false;
  do {
    for (int i = 0; i < 16; i++) { /* Relaxed: who finds a bit looks again. */
      if (atomic_load_explicit(&((tl_member *)m)->word, memory_order_relaxed))
        return true;
      os_cpu_relax();
    }
  } while (os_now() < end);
  return false;
}

/* gil_cpython.c - the algorithm of CPython's GIL (Python/ceval_gil.c, 3.2 to
 * 3.14), so that scripts can show what it does.
 *
 * A waiter sleeps one interval on the condition "released"; if it timed out
 * and the lock has not changed hands meanwhile, it asks the holder to drop it.
 * Whoever comes first takes a free lock: no queue, no turn. A holder that was
 * asked waits, after dropping, until another member has taken the lock (forced
 * switching); here only while somebody does wait, which spares us the hang of
 * gh-96387. A member back from a read waits a whole interval beside a busy
 * one: the convoy effect (bpo-7946). */
#include "gil_cpython.h"

static bool is_mine(tl_gil *g) {
  return atomic_load(&g->policy) == TL_CPYTHON;
}

static bool is_free(tl_gil *g) {
  return atomic_load(&g->holder) == 0;
}

bool tl_cpython_acquire(tl_gil *g, tl_member *m) {
  os_mutex_lock(&g->mu);
  for (;;) {
    uintptr_t nobody = 0;
    if (atomic_compare_exchange_strong(&g->holder, &nobody, (uintptr_t)m))
      break;
    if (!is_mine(g)) {
      os_mutex_unlock(&g->mu);
      return false;
    }
    uint64_t seen = g->switches;
    unsigned released = atomic_load(&g->released);
    g->sleepers++;
    os_mutex_unlock(&g->mu);
    bool woken = os_word_wait(&g->released, released,
                              os_deadline(atomic_load(&g->interval)));
    os_mutex_lock(&g->mu);
    g->sleepers--;
    if (!woken && !is_free(g) && g->switches == seen) {
      tl_gil_ask(g);
      os_mutex_lock(&g->mu);
    }
  }
  if (g->last_holder != m) g->switches++;
  atomic_fetch_add(&g->taken, 1);
  os_mutex_unlock(&g->mu);
  os_word_wake(&g->taken);
  return true;
}

void tl_cpython_release(tl_gil *g, tl_member *m) {
  os_mutex_lock(&g->mu);
  bool asked = atomic_exchange(&m->drop_request, false);
  unsigned taken = atomic_load(&g->taken);
  atomic_store(&g->holder, 0);
  atomic_fetch_add(&g->released, 1);
  bool waited_for = g->sleepers > 0;
  os_mutex_unlock(&g->mu);
  if (waited_for) os_word_wake(&g->released);
  if (!asked) return;
  for (;;) {
    os_mutex_lock(&g->mu);
    bool done =
        !is_free(g) || g->sleepers == 0 || atomic_load(&g->taken) != taken;
    os_mutex_unlock(&g->mu);
    if (done) return;
    os_word_wait(&g->taken, taken, os_deadline(atomic_load(&g->interval)));
  }
}

/* gil.c - the lock of one interpreter.
 *
 * The lock is one word: the member that holds it, and a bit that says that
 * others wait. Without waiters taking and giving back are one atomic
 * operation on it each, and some bookkeeping. With waiters the holder hands the
 * lock over: under 'mu' it chooses the next holder, writes it into the word and
 * wakes it. The word is never 0 while somebody is queued (but see
 * gil_cpython.c), so nobody can overtake and nobody races.
 *
 * A member back from outside asks the holder to give way at once. For the
 * others the ticker (gil_ticker.c) asks, after an interval in which the lock
 * did not change hands. So a member that is woken by another one (tl_gil_wake)
 * is only queued and sleeps on until the lock is handed to it: one wake-up,
 * not two. Whose turn it is: gil_queue.c; on which processor: gil_cpu.c. */
#include "gil.h"

#include <errno.h>
#include <string.h>

#include "gil_cpu.h"
#include "gil_cpython.h"
#include "gil_queue.h"
#include "gil_ticker.h"

enum { GRANTED = 1, NUDGED = 2, SLEEPING = 4 }; /* bits of a member's word */

#define WAITERS ((uintptr_t)1) /* bit of the holder word */

/* How long a waiter looks before it sleeps: what a sleep and wake-up across
 * processors costs, and then some. */
#define SPIN_GRANT 60000 /* ns: for the lock, which comes (back) soon */
#define SPARED 30000     /* ns at most before the next one may ask */
#define STAY 25000       /* ns at most with I/O while others wait */
#define ASK_AGAIN 60000  /* ns: a signal takes up to 30 us */
#define SPIN_REST 32     /* parks without a look, after looks in vain */

int tl_gil_init(tl_gil *g, void (*ask)(pid_t)) {
  memset(g, 0, sizeof *g);
  int err = os_mutex_init(&g->mu);
  if (err) return err;
  g->ask = ask;
  atomic_init(&g->interval, 5000000);
  atomic_init(&g->policy, TL_FAIR);
  g->may_spin = os_cpu_count() > 1;
  return 0;
}

void tl_gil_destroy(tl_gil *g) {
  tl_ticker_stop(g);
  os_mutex_destroy(&g->mu);
}

int tl_gil_share(tl_gil *g) {
  return tl_ticker_start(g);
}

void tl_member_init(tl_member *m) {
  memset(m, 0, sizeof *m);
}

void tl_member_begin(tl_member *m) {
  atomic_store(&m->thread, os_thread_id());
}

tl_member *tl_gil_holder(const tl_gil *g) {
  uintptr_t word = atomic_load(&((tl_gil *)g)->holder);
  return (tl_member *)(word & ~WAITERS);
}

bool tl_gil_held(const tl_gil *g, const tl_member *m) {
  return tl_gil_holder(g) == m;
}

/* Relaxed: who must be sure looks again under mu. */
static bool is_fair(tl_gil *g) {
  return atomic_load_explicit(&g->policy, memory_order_relaxed) == TL_FAIR;
}

static void set_bits(tl_member *m, unsigned bits) {
  unsigned was = atomic_fetch_or(&m->word, bits);
  if (was & SLEEPING) os_word_wake(&m->word);
}

/* Makes the first in turn the holder, puts m (NULL: nobody) behind the others,
 * and releases the mutex. Somebody must be queued. Returns its class. */
static tl_gil_class hand_over(tl_gil *g, tl_member *m, int64_t now) {
  tl_member *next = tl_gil_dequeue(g, now);
  tl_gil_class class = next->class;
  /* Who gives way to one from outside goes on with its slice afterwards. */
  if (m && class == TL_OUTSIDE)
    tl_gil_enqueue_first(g, m, TL_PREEMPTED, now);
  else if (m)
    tl_gil_enqueue(g, m, TL_PREEMPTED, now);
  g->turn_since = now;
  /* Whoever gave way may run for as long as it was away before one from outside
   * asks again: so half of its speed is left to it. */
  int64_t away = class == TL_PREEMPTED ? now - next->queued_at : 0;
  g->spared_until = now + (away < SPARED ? away : SPARED);
  tl_cpu_passes(g, next, m && (atomic_load(&next->word) & SLEEPING));
  /* From now on another one from outside asks. */
  tl_member *asker = class == TL_OUTSIDE ? g->queues[TL_OUTSIDE].first : NULL;
  unsigned asker_was = asker ? atomic_fetch_or(&asker->word, NUDGED) : 0;
  atomic_store(&g->holder,
               (uintptr_t)next | (tl_gil_wanted(g) ? WAITERS : (uintptr_t)0));
  /* The member may be gone as soon as it sees the grant: then the address of
   * its word wakes nobody. */
  unsigned was = atomic_fetch_or(&next->word, GRANTED);
  os_mutex_unlock(&g->mu);
  if (was & SLEEPING) os_word_wake(&next->word);
  if (asker_was & SLEEPING) os_word_wake(&asker->word); /* likewise */
  return class;
}

/* Takes the lock if it is free, else notes that somebody waits. */
static bool take_or_mark(tl_gil *g, tl_member *m) {
  uintptr_t word = atomic_load(&g->holder);
  for (;;) {
    if (word == 0) {
      if (atomic_compare_exchange_weak(&g->holder, &word, (uintptr_t)m))
        return true;
    } else if ((word & WAITERS) || atomic_compare_exchange_weak(
                                       &g->holder, &word, word | WAITERS)) {
      return false;
    }
  }
}

/* A signal across processors can take its sender 20 us: the mutex is not held
 * for so long, since the holder needs it next. Whoever is to follow is woken
 * as well, unless it goes on where the holder is (gil_cpu.c): it is awake and
 * looks when the holder gives way. */
void tl_gil_ask(tl_gil *g) {
  tl_member *holder = tl_gil_holder(g);
  int64_t now = os_now();
  tl_member *next = tl_gil_next(g, now);
  pid_t thread = holder ? atomic_load(&holder->thread) : 0;
  if (holder && !atomic_load(&holder->drop_request)) {
    atomic_store(&holder->asked_at, now);
    atomic_store(&holder->drop_request, true);
  }
  bool asleep =
      next && (atomic_load(&next->word) & SLEEPING) && !tl_cpu_follows(g, next);
  if (asleep) atomic_fetch_or(&next->word, NUDGED);
  os_mutex_unlock(&g->mu);
  if (asleep) os_word_wake(&next->word); /* if it is gone, nobody */
  if (thread) g->ask(thread);
}

/* --- waiting ---------------------------------------------------------------
 */

/* Sleeps until a bit is set or the deadline; false if it has passed. */
static bool doze(tl_member *m, int64_t deadline) {
  bool in_time = true;
  unsigned word = 0;
  if (atomic_compare_exchange_strong(&m->word, &word, SLEEPING))
    word = SLEEPING;
  while (word == SLEEPING && in_time) {
    in_time = os_word_wait(&m->word, SLEEPING, deadline);
    word = atomic_load(&m->word);
  }
  atomic_fetch_and(&m->word, ~(unsigned)SLEEPING);
  return in_time;
}

/* The policy has changed, perhaps back as well, and m is not queued any more.
 * Whoever is cast out is nudged. */
static bool is_cast_out(tl_gil *g, tl_member *m) {
  os_mutex_lock(&g->mu);
  bool out = !m->queued && !(atomic_load(&m->word) & GRANTED);
  os_mutex_unlock(&g->mu);
  return out;
}

/* The first of those back from outside asks the holder, but for one that is
 * spared. Returns when it is to do so again: a request that comes while the
 * holder is on its way out of the hook in which it gave way before is lost.
 * '*gap' is how long it has for an answer, twice as long each time. The others
 * sleep until they are the first: many that look again and again would keep
 * whoever has the lock from the processors. */
static int64_t ask(tl_gil *g, tl_member *m, int64_t now, int64_t *gap) {
  os_mutex_lock(&g->mu);
  bool may = g->queues[TL_OUTSIDE].first == m;
  int64_t spared_until = g->spared_until;
  const tl_member *holder = tl_gil_holder(g);
  if (holder && (atomic_load(&((tl_member *)holder)->word) & GRANTED))
    spared_until = now + SPARED / 8; /* it has not come yet */
  if (may && now >= spared_until) {
    tl_gil_ask(g);
    int64_t next = now + *gap;
    if (*gap < atomic_load(&g->interval)) *gap *= 2;
    return next;
  }
  os_mutex_unlock(&g->mu);
  return may ? spared_until : OS_FOREVER;
}

/* When a spin that begins now is to end: where threads change often, those that
 * look must not keep the others from the processors. */
static int64_t spin_until(tl_gil *g, int64_t now) {
  int64_t eighth = atomic_load(&g->interval) / 8;
  return now + (eighth < SPIN_GRANT ? eighth : SPIN_GRANT);
}

/* A queued member waits until the lock is handed to it, looking for it until
 * 'spin_end'; false if the policy changed and it is to be acquired otherwise.
 */
static bool await_grant(tl_gil *g, tl_member *m, tl_gil_class why,
                        int64_t spin_end) {
  int64_t ask_at = why == TL_OUTSIDE ? 0 : OS_FOREVER, gap = ASK_AGAIN;
  for (;;) {
    unsigned word = atomic_exchange(&m->word, 0);
    if (word & GRANTED) return true;
    int64_t now = os_now();
    if (word & NUDGED) {
      if (is_cast_out(g, m)) return false;
      spin_end = spin_until(g, now); /* its turn comes: tl_gil_ask */
      if (why == TL_OUTSIDE) ask_at = 0;
    }
    if (now >= ask_at) {
      ask_at = ask(g, m, now, &gap);
      spin_end = spin_until(g, now);
    }
    if (now < spin_end &&
        tl_cpu_spin(g, m, ask_at < spin_end ? ask_at : spin_end))
      continue;
    if (os_now() < ask_at) doze(m, ask_at);
  }
}

/* Bookkeeping of a member that has just become the holder. 'since': when it
 * began to wait, 0 if it did not. */
static void taken(tl_gil *g, tl_member *m, int64_t since) {
  atomic_store(&m->word, 0); /* who was nudged looks around now */
  m->acquired_at = os_now();
  m->stats.acquires++;
  if (since) {
    m->stats.contended_acquires++;
    m->stats.wait_time += m->acquired_at - since;
  }
  if (g->last_holder != m) {
    g->last_holder = m;
    m->stats.switches++;
  }
  tl_cpu_runs(g, m);
}

/* The lock may have been handed to a member that slept and has not seen it
 * yet: on an idle processor a wake-up can take far longer than all that one
 * from outside has to do. Then m takes it first, the other one keeps its turn,
 * and is awake when the lock comes back. */
static bool take_back(tl_gil *g, tl_member *m, int64_t now) {
  tl_member *late = tl_gil_holder(g);
  if (!late || late->class == TL_OUTSIDE ||
      now - late->queued_at > atomic_load(&g->interval))
    return false;
  unsigned unseen = GRANTED | SLEEPING;
  if (!atomic_compare_exchange_strong(&late->word, &unseen, NUDGED))
    return false;
  int64_t queued_at = late->queued_at;
  tl_gil_enqueue_first(g, late, late->class, now);
  late->queued_at = queued_at;
  atomic_store(&g->holder, (uintptr_t)m | WAITERS);
  return true;
}

enum queued { TAKEN, QUEUED, OTHER_POLICY };

/* Queues m, unless a waker has done so already or the lock is free. */
static enum queued queue_up(tl_gil *g, tl_member *m, tl_gil_class why,
                            int64_t now) {
  enum queued result = QUEUED;
  tl_cpu_waits(m);
  os_mutex_lock(&g->mu);
  if (m->queued || (atomic_load(&m->word) & GRANTED)) {
    /* somebody was quicker */
  } else if (!is_fair(g)) {
    result = OTHER_POLICY;
  } else if (take_or_mark(g, m) ||
             (why == TL_OUTSIDE && take_back(g, m, now))) {
    result = TAKEN;
  } else {
    tl_gil_enqueue(g, m, why, now);
  }
  os_mutex_unlock(&g->mu);
  return result;
}

static void acquire(tl_gil *g, tl_member *m, tl_gil_class why) {
  uintptr_t nobody = 0;
  if (atomic_compare_exchange_strong(&g->holder, &nobody, (uintptr_t)m)) {
    taken(g, m, 0);
    return;
  }
  int64_t since = os_now();
  enum queued how = is_fair(g) ? queue_up(g, m, why, since) : OTHER_POLICY;
  if (how == QUEUED && !await_grant(g, m, why, spin_until(g, since)))
    how = OTHER_POLICY;
  if (how == OTHER_POLICY && !tl_cpython_acquire(g, m)) {
    acquire(g, m, why); /* the policy changed back */
    return;
  }
  taken(g, m, since);
  if (why == TL_OUTSIDE && how == QUEUED) m->stats.boosts++;
}

/* A request is void once m gives way. Relaxed: set under mu, and read by m
 * itself; one that comes at this moment is repeated (gil_ticker.c, ask). */
static void forget_request(tl_member *m) {
  atomic_store_explicit(&m->drop_request, false, memory_order_relaxed);
}

/* Frees the lock or hands it over. */
static void give_up(tl_gil *g, tl_member *m) {
  int64_t now = os_now();
  m->stats.held_time += now - m->acquired_at;
  if (!is_fair(g)) {
    tl_cpython_release(g, m);
    return;
  }
  uintptr_t alone = (uintptr_t)m;
  forget_request(m);
  if (atomic_compare_exchange_strong(&g->holder, &alone, 0)) return;
  os_mutex_lock(&g->mu);
  forget_request(m);
  hand_over(g, NULL, now);
}

/* --- the interface ---------------------------------------------------------
 */

TL_UNCHECKED void tl_gil_acquire(tl_gil *g, tl_member *m, tl_gil_class why) {
  int saved = errno;
  acquire(g, m, why);
  errno = saved;
}

TL_UNCHECKED void tl_gil_release(tl_gil *g, tl_member *m) {
  int saved = errno;
  m->stats.voluntary_releases++;
  give_up(g, m);
  errno = saved;
}

static bool yield_cpython(tl_gil *g, tl_member *m, bool asked) {
  if (!asked) return false;
  m->stats.forced_switches++;
  atomic_store(&m->drop_request, true);
  give_up(g, m);
  acquire(g, m, TL_PREEMPTED);
  return true;
}

bool tl_gil_yield(tl_gil *g, tl_member *m) {
  bool asked = atomic_exchange(&m->drop_request, false);
  if (!is_fair(g)) return yield_cpython(g, m, asked);
  if (!(atomic_load(&g->holder) & WAITERS)) return false;
  if (asked) m->stats.forced_switches++;
  int64_t now = os_now();
  m->stats.held_time += now - m->acquired_at;
  os_mutex_lock(&g->mu);
  forget_request(m);
  /* One of its own class will not be back soon. */
  bool soon = hand_over(g, m, now) != TL_PREEMPTED;
  if (await_grant(g, m, TL_PREEMPTED, soon ? spin_until(g, now) : 0))
    taken(g, m, now);
  else
    acquire(g, m, TL_PREEMPTED);
  /* It has done nothing yet: who asked meanwhile asks again. */
  forget_request(m);
  return true;
}

int64_t tl_gil_asked_for(const tl_member *m) {
  if (!atomic_load(&m->drop_request)) return 0;
  return os_now() - atomic_load(&m->asked_at);
}

bool tl_gil_has_waiters(const tl_gil *g) {
  return atomic_load(&g->holder) & WAITERS;
}

bool tl_gil_gives_way(tl_gil *g, const tl_member *m) {
  if (!is_fair(g)) return true;
  return tl_gil_has_waiters(g) && os_now() - m->acquired_at > STAY;
}

/* Members that wake each other in turn are quicker if they look once more
 * before they sleep; after a look in vain the next ones are left out. */
static void spin_parked(tl_gil *g, tl_member *m) {
  if (m->spin_rest > 0)
    m->spin_rest--;
  else if (!tl_cpu_spin(g, m, 0))
    m->spin_rest = SPIN_REST;
}

void tl_gil_sleep(tl_gil *g, tl_member *m, int64_t deadline) {
  int saved = errno;
  m->asleep = true;
  m->stats.voluntary_releases++;
  give_up(g, m);
  if (deadline == OS_FOREVER) spin_parked(g, m);
  while (atomic_load(&m->word) == 0 && doze(m, deadline)) {
  }
  /* Granted, nudged or late. What is queued already is not queued again. */
  acquire(g, m, TL_OUTSIDE);
  m->asleep = false;
  errno = saved;
}

void tl_gil_wake(tl_gil *g, tl_member *m) {
  if (!m->asleep) return;
  m->asleep = false;
  if (!is_fair(g)) {
    tl_gil_nudge(m);
    return;
  }
  os_mutex_lock(&g->mu);
  if (!m->queued) { /* else it woke by itself and waits for the lock */
    tl_gil_enqueue(g, m, TL_WOKEN, os_now());
    atomic_fetch_or(&g->holder, WAITERS);
  }
  os_mutex_unlock(&g->mu);
}

void tl_gil_nudge(tl_member *m) {
  set_bits(m, NUDGED);
}

void tl_gil_set_policy(tl_gil *g, tl_gil_policy policy) {
  os_mutex_lock(&g->mu);
  atomic_store(&g->policy, policy);
  if (policy != TL_FAIR) {
    /* Whoever is queued finds out and waits the other way. */
    for (tl_member *m; (m = tl_gil_dequeue(g, 0)) != NULL;)
      tl_gil_nudge(m);
    atomic_fetch_and(&g->holder, ~WAITERS);
  }
  atomic_fetch_add(&g->released, 1);
  os_mutex_unlock(&g->mu);
  os_word_wake(&g->released); /* and the other way round */
}

void tl_gil_set_interval(tl_gil *g, int64_t interval) {
  atomic_store(&g->interval, interval);
  os_mutex_lock(&g->mu);
  tl_ticker_hurry(g);
  os_mutex_unlock(&g->mu);
}

void tl_gil_add_stats(const tl_gil *g, const tl_member *m, tl_gil_stats *sum) {
  const tl_gil_stats *s = &m->stats;
  sum->switches += s->switches;
  sum->forced_switches += s->forced_switches;
  sum->voluntary_releases += s->voluntary_releases;
  sum->acquires += s->acquires;
  sum->contended_acquires += s->contended_acquires;
  sum->boosts += s->boosts;
  sum->wait_time += s->wait_time;
  sum->held_time += s->held_time;
  if (tl_gil_held(g, m)) sum->held_time += os_now() - m->acquired_at;
}

void tl_gil_before_fork(tl_gil *g) {
  os_mutex_lock(&g->mu);
}

void tl_gil_forked(tl_gil *g) {
  os_mutex_unlock(&g->mu);
}

void tl_gil_after_fork(tl_gil *g, tl_member *m) {
  tl_member_begin(m);
  memset(g->queues, 0, sizeof g->queues);
  memset(&g->ticker, 0, sizeof g->ticker);
  g->sleepers = 0;
  g->last_holder = m;
  m->asleep = m->queued = false;
  atomic_store(&m->word, 0);
  atomic_store(&m->drop_request, false);
  atomic_store(&g->holder, (uintptr_t)m);
  os_mutex_unlock(&g->mu); /* locked before the fork, by this thread */
}

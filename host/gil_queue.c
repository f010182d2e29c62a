/* gil_queue.c - who waits for the lock, and whose turn it is.
 *
 * Served first are those back from outside, then those woken by other members,
 * then those that were preempted; of the latter two, whoever has waited for an
 * interval goes first, and before those from outside after ten: that is what
 * keeps chatty members from starving the others. */
#include "gil_queue.h"

#include "gil_ticker.h"

#define CHATTY 10 /* intervals for which those from outside go first */

bool tl_gil_wanted(const tl_gil *g) {
  for (int c = 0; c < TL_CLASSES; c++)
    if (g->queues[c].first) return true;
  return false;
}

void tl_gil_enqueue(tl_gil *g, tl_member *m, tl_gil_class class, int64_t now) {
  struct tl_gil_queue *q = &g->queues[class];
  if (!tl_gil_wanted(g)) g->turn_since = now;
  m->class = class;
  m->queued = true;
  m->queued_at = now;
  m->next = NULL;
  if (q->first)
    q->last->next = m;
  else
    q->first = m;
  q->last = m;
  tl_ticker_rouse(g);
}

void tl_gil_enqueue_first(tl_gil *g, tl_member *m, tl_gil_class class,
                          int64_t now) {
  struct tl_gil_queue *q = &g->queues[class];
  tl_member *first = q->first, *last = q->last;
  q->first = q->last = NULL;
  tl_gil_enqueue(g, m, class, now);
  if (!first) return;
  m->next = first;
  q->last = last;
}

static int64_t waited(const struct tl_gil_queue *q, int64_t now) {
  return q->first ? now - q->first->queued_at : 0;
}

static tl_gil_class turn_of(const tl_gil *g, int64_t now) {
  const struct tl_gil_queue *q = g->queues;
  int64_t interval = atomic_load(&g->interval);
  int64_t woken = waited(&q[TL_WOKEN], now);
  int64_t preempted = waited(&q[TL_PREEMPTED], now);
  tl_gil_class oldest = preempted > woken ? TL_PREEMPTED : TL_WOKEN;
  int64_t oldest_waited = preempted > woken ? preempted : woken;
  if (q[TL_OUTSIDE].first && (oldest_waited <= CHATTY * interval ||
                              oldest_waited <= waited(&q[TL_OUTSIDE], now)))
    return TL_OUTSIDE;
  if (oldest_waited > interval) return oldest;
  return q[TL_WOKEN].first ? TL_WOKEN : TL_PREEMPTED;
}

tl_member *tl_gil_next(const tl_gil *g, int64_t now) {
  return g->queues[turn_of(g, now)].first;
}

tl_member *tl_gil_dequeue(tl_gil *g, int64_t now) {
  struct tl_gil_queue *q = &g->queues[turn_of(g, now)];
  tl_member *m = q->first;
  if (!m) return NULL;
  q->first = m->next;
  m->queued = false;
  return m;
}

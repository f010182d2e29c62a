/* gil_ticker.c - asks the holder to give way when others have waited for an
 * interval in which the lock did not change hands; and again every interval,
 * since a request can get lost (preempt.c).
 *
 * One native thread per shared GIL, started with the second member. Waiters
 * could time their own waits, but then each wake-up of a member by another one
 * would need a second wake-up, only to begin the timing. When nobody has
 * waited for a while it rests until somebody does. */
#include "gil_ticker.h"

#include "gil_queue.h"

#define REST_AFTER 100000000 /* ns without a waiter */
#define STACK ((size_t)(OS_SANITIZED ? 256 : 64) * 1024)

static TL_UNCHECKED void *run(void *arg) {
  tl_gil *g = arg;
  int64_t wanted_at = os_now();
  os_mutex_lock(&g->mu);
  while (!g->ticker.stop) {
    int64_t now = os_now();
    int64_t next = now + atomic_load(&g->interval);
    if (tl_gil_wanted(g)) {
      int64_t due = g->turn_since + atomic_load(&g->interval);
      wanted_at = now;
      if (now < due) {
        next = due;
      } else {
        g->turn_since = now;
        tl_gil_ask(g);
        os_mutex_lock(&g->mu);
        continue;
      }
    } else if (now - wanted_at > REST_AFTER) {
      g->ticker.resting = true;
      wanted_at = OS_FOREVER; /* after the rest it looks once more */
      next = OS_FOREVER;
    }
    unsigned seen = atomic_load(&g->ticker.word);
    os_mutex_unlock(&g->mu);
    os_word_wait(&g->ticker.word, seen, next);
    os_mutex_lock(&g->mu);
    if (wanted_at == OS_FOREVER) wanted_at = os_now();
  }
  os_mutex_unlock(&g->mu);
  return NULL;
}

int tl_ticker_start(tl_gil *g) {
  if (g->ticker.running) return 0;
  g->ticker.stop = g->ticker.resting = false;
  int err = os_thread_start(&g->ticker.thread, STACK, 0, run, g);
  if (err == 0) g->ticker.running = true;
  return err;
}

void tl_ticker_wake(tl_gil *g) {
  g->ticker.resting = false;
  tl_ticker_hurry(g);
}

void tl_ticker_hurry(tl_gil *g) {
  atomic_fetch_add(&g->ticker.word, 1);
  os_word_wake(&g->ticker.word);
}

void tl_ticker_stop(tl_gil *g) {
  if (!g->ticker.running) return;
  os_mutex_lock(&g->mu);
  g->ticker.stop = true;
  tl_ticker_hurry(g);
  os_mutex_unlock(&g->mu);
  os_thread_join(g->ticker.thread);
  g->ticker.running = false;
}

/* park.c - waiting, waking, granting. The only place where a thread that
 * holds the GIL goes to sleep.
 *
 * The GIL is the mutex of every wait queue. A waiter lies on the C stack of
 * the thread that waits; whoever wakes it unlinks it first, so that it is
 * never looked at after its thread has gone on. */
#include "park.h"

#include <errno.h>
#include <poll.h>

#include "interp.h"
#include "pending.h"
#include "preempt.h"

static TL_GIL void link_last(tl_waitq *q, tl_waiter *w) {
  w->q = q;
  w->next = NULL;
  w->prev = q->last;
  if (q->last)
    q->last->next = w;
  else
    q->first = w;
  q->last = w;
}

static TL_GIL void unlink_waiter(tl_waiter *w) {
  tl_waitq *q = w->q;
  if (!q) return;
  if (w->prev)
    w->prev->next = w->next;
  else
    q->first = w->next;
  if (w->next)
    w->next->prev = w->prev;
  else
    q->last = w->prev;
  w->q = NULL;
}

bool tl_in_finalizer(lua_State *L) {
  return lua_gc(L, LUA_GCISRUNNING) == -1;
}

static TL_GIL void rouse(tl_waiter *w) {
  tl_gil_wake(&w->thread->interp->gil, &w->thread->member);
}

void tl_grant(tl_waiter *w) {
  unlink_waiter(w);
  w->granted = true;
  rouse(w);
}

void tl_nudge(tl_waiter *w) {
  if (w->nudged) return;
  w->nudged = true;
  if (w->polls)
    os_wakefd_set(w->thread->wakefd);
  else
    rouse(w);
}

/* Whoever is about to raise is passed over: what it got would be lost. */
static TL_GIL bool can_take(const tl_waiter *w) {
  if (w->observer) return false;
  return w->uninterruptible || !tl_is_pending(w->thread) ||
         !tl_would_raise(w->L, w->thread);
}

tl_waiter *tl_waitq_first(const tl_waitq *q) {
  tl_waiter *w = q->first;
  while (w && !can_take(w))
    w = w->next;
  return w;
}

int tl_waitq_count(const tl_waitq *q) {
  int n = 0;
  for (tl_waiter *w = q->first; w; w = w->next)
    n += can_take(w);
  return n;
}

int tl_wake(tl_waitq *q, int n) {
  int granted = 0;
  for (tl_waiter *w = q->first, *next; w; w = next) {
    next = w->next;
    if (w->observer) {
      tl_nudge(w);
    } else if (granted < n && can_take(w)) {
      tl_grant(w);
      granted++;
    }
  }
  return granted;
}

/* When a killed thread's __close waits, its time bounds the wait. */
static TL_GIL int64_t limit_of(tl_thread *t, int64_t deadline) {
  if (t->kill_phase == TL_KILL_CLOSING && !t->shielded &&
      t->kill_deadline < deadline)
    return t->kill_deadline;
  return deadline;
}

static TL_GIL int run_pending(lua_State *L) {
  tl_check(L);
  return 0;
}

/* Runs pending calls in the middle of a wait. What they raise ends the wait:
 * false, with the error on the top. */
static TL_GIL bool serve(lua_State *L) {
  lua_pushcfunction(L, run_pending);
  return lua_pcall(L, 0, 0, 0) == LUA_OK;
}

static TL_GIL bool has_passed(int64_t deadline) {
  return deadline == 0 || (deadline != TL_FOREVER && os_now() >= deadline);
}

/* Sleeps until w is granted or ready, or the other outcomes. */
static TL_GIL tl_outcome park(tl_thread *t, tl_waiter *w, int64_t deadline) {
  for (;;) {
    if (w->granted) return TL_GRANTED;
    if (w->ready && w->ready(w)) return TL_GRANTED;
    if (!w->uninterruptible && tl_is_pending(t)) {
      if (tl_would_raise(w->L, t)) return TL_INTERRUPTED;
      if (!serve(w->L)) {
        unlink_waiter(w);
        t->waiting = NULL;
        lua_error(w->L);
      }
      /* It may have been granted or nudged while that ran. */
      if (w->granted || (w->ready && w->ready(w))) return TL_GRANTED;
    }
    if (has_passed(deadline)) return TL_TIMEDOUT;
    w->nudged = false;
    tl_gil_sleep(&t->interp->gil, &t->member,
                 w->uninterruptible ? deadline : limit_of(t, deadline));
  }
}

int tl_wait_when(lua_State *L, tl_waitq *q, int64_t deadline,
                 const tl_wait_kind *kind, void *object, lua_KContext ctx,
                 lua_KFunction k) {
  tl_thread *t = tl_self();
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (deadline != 0 && tl_in_finalizer(L))
    return luaL_error(L, "cannot wait in a finalizer");
  tl_waiter w = {.thread = t,
                 .L = L,
                 .ready = kind ? kind->ready : NULL,
                 .object = object,
                 .uninterruptible = kind && kind->uninterruptible,
                 .since = deadline == 0 ? 0 : os_now()};
  if (q) link_last(q, &w);
  t->waiting = &w;
  t->waiting_count = 1;
  tl_outcome outcome = park(t, &w, deadline);
  t->waiting = NULL;
  unlink_waiter(&w);
  /* The handler has only ended the sleep. Granted all the same, the thread
   * goes on, and must look at what is pending at its next instruction. */
  if (outcome != TL_INTERRUPTED && tl_is_pending(t)) tl_preempt_arm(t);
  lua_pushinteger(L, outcome);
  return k(L, LUA_YIELD, ctx);
}

int tl_wait(lua_State *L, tl_waitq *q, int64_t deadline, lua_KContext ctx,
            lua_KFunction k) {
  return tl_wait_when(L, q, deadline, NULL, NULL, ctx, k);
}

int tl_sleep(lua_State *L, int64_t deadline, lua_KContext ctx,
             lua_KFunction k) {
  return tl_wait_when(L, NULL, deadline, NULL, NULL, ctx, k);
}

static TL_GIL bool was_nudged(tl_thread *t, const tl_observation *o) {
  bool nudged = tl_is_pending(t);
  for (int i = 0; i < o->queue_count; i++)
    nudged = nudged || o->observers[i].nudged;
  return nudged;
}

/* Sleeps until there may be something to see. Positive: there is. */
static TL_GIL int sleep_observing(tl_thread *t, const tl_observation *o,
                                  int64_t deadline) {
  if (o->fd_count == 0) {
    tl_gil_sleep(&t->interp->gil, &t->member, deadline);
    return 0;
  }
  struct pollfd *wake = &o->fds[o->fd_count];
  int n = o->queue_count + o->fd_count;
  tl_block_begin(t, n > 1 ? "several things" : "read");
  int ready = os_poll_all(o->fds, (size_t)o->fd_count + 1, deadline);
  tl_block_end(t);
  return ready > 0 && wake->revents != 0 ? ready - 1 : ready;
}

int tl_observe(lua_State *L, const tl_observation *o, int64_t deadline) {
  tl_thread *t = tl_self();
  bool polls = o->fd_count > 0;
  int ready = polls ? tl_thread_wakefd(t) : 0;
  if (ready < 0) return ready;
  if (polls) {
    os_wakefd_clear(ready);
    o->fds[o->fd_count] = (struct pollfd){.fd = ready, .events = POLLIN};
  }
  for (int i = 0; i < o->queue_count; i++) {
    o->observers[i] = (tl_waiter){.thread = t,
                                  .L = L,
                                  .since = os_now(),
                                  .observer = true,
                                  .polls = polls};
    link_last(o->queues[i], &o->observers[i]);
  }
  t->waiting = o->queue_count > 0 ? o->observers : NULL;
  t->waiting_count = o->queue_count;
  ready = was_nudged(t, o);
  while (ready == 0 && !has_passed(deadline)) {
    ready = sleep_observing(t, o, limit_of(t, deadline));
    if (ready == 0) ready = was_nudged(t, o);
  }
  tl_park_forget(t);
  return ready > 0 ? 1 : ready;
}

void tl_observe_queue(lua_State *L, tl_waitq *q, int64_t deadline) {
  tl_waiter observer;
  tl_observation o = {.queues = &q, .observers = &observer, .queue_count = 1};
  tl_observe(L, &o, deadline);
}

int tl_wait_fd(lua_State *L, int fd, short events, int64_t deadline,
               const char *what) {
  tl_thread *t = tl_self();
  if (deadline != 0 && !tl_in_finalizer(L) &&
      tl_gil_gives_way(&t->interp->gil, &t->member)) {
    tl_block_begin(t, NULL); /* it only looks, and may wait for the GIL then */
    os_ready(fd, events);    /* for its time: so long others may run */
    tl_block_end(t);
  }
  int ready = os_ready(fd, events);
  if (ready != 0 || deadline == 0) return ready;
  if (tl_in_finalizer(L)) return luaL_error(L, "cannot wait in a finalizer");
  int wake = tl_thread_wakefd(t);
  if (wake < 0) return wake;
  do {
    if (tl_is_pending(t)) return -EINTR;
    os_wakefd_clear(wake);
    int64_t limit = limit_of(t, deadline);
    if (tl_is_pending(t)) return -EINTR;
    tl_block_begin(t, what);
    ready = os_poll(fd, events, wake, limit);
    tl_block_end(t);
    if (ready != 0) return ready;
  } while (!has_passed(deadline));
  return tl_is_pending(t) ? -EINTR : 0;
}

/* Something is pending, and tl_check does it now. In the __close of a killed
 * thread it does not. */
static TL_GIL bool is_due(lua_State *L, tl_thread *t, unsigned pending) {
  if (pending == 0 || t->shielded) return false;
  return (pending & TL_PEND_CALLS) || tl_would_raise(L, t);
}

/* Interrupts need not wake the private word: each also sends its thread, which
 * is blocked, a signal, and a signal that comes before the sleep finds the word
 * changed. */
int tl_wait_word(lua_State *L, atomic_uint *word, unsigned seen,
                 int64_t deadline, const char *what) {
  tl_thread *t = tl_self();
  if (tl_in_finalizer(L)) return luaL_error(L, "cannot wait in a finalizer");
  unsigned pending = atomic_load(&t->pending);
  if (is_due(L, t, pending)) return -EINTR;
  if (has_passed(deadline)) return 0;
  int64_t limit = limit_of(t, deadline);
  tl_block_begin(t, what);
  bool in_time = os_words_wait(word, seen, &t->pending, pending, limit);
  tl_block_end(t);
  if (is_due(L, t, atomic_load(&t->pending))) return -EINTR;
  return in_time ? 1 : 0;
}

void tl_sleep_word(atomic_uint *word, unsigned seen, int64_t deadline,
                   const char *what) {
  tl_thread *t = tl_self();
  tl_block_begin(t, what);
  os_words_wait(word, seen, NULL, 0, deadline);
  tl_block_end(t);
}

void tl_park_forget(tl_thread *t) {
  for (int i = 0; t->waiting && i < t->waiting_count; i++)
    unlink_waiter(&t->waiting[i]);
  t->waiting = NULL;
}

/* channel.c - a ring with locks and sleepers.
 *
 * Whoever finds it empty says that he is going to sleep ('getters'), looks
 * again, and sleeps while 'items' has not moved; a put moves 'items' after the
 * ring's tail and then wakes one sleeper, if there is one. The same holds for
 * 'putters' and 'space'. The count stays too high when a sleeper dies, which
 * costs a needless wake-up at each message. */
#include "ipc/channel.h"

#include <errno.h>
#include <string.h>

#include "os.h"

#define KIND 0x6368616e /* "chan" */
#define BEGIN IPC_CHANNEL_OWN

_Static_assert(sizeof(ipc_channel_memory) <= BEGIN, "one page before the data");

/* What a waiter has said before it sleeps. */
enum { NOTHING, IS_GETTER, IS_PUTTER };

int ipc_channel_create(ipc_channel *c, uint32_t maxsize, uint64_t limit,
                       size_t extra) {
  *c = (ipc_channel){.segment.fd = -1};
  uint64_t begin = BEGIN + (extra + BEGIN - 1) / BEGIN * BEGIN;
  int err = os_segment_create(&c->segment, "tidelock-channel",
                              begin + IPC_RING_LEAST);
  if (err) return err;
  ipc_channel_memory *m = c->segment.memory;
  m->maxsize = maxsize;
  err = ipc_ring_init(&m->ring, begin, limit);
  if (!err) err = ipc_ring_map(&c->segment, offsetof(ipc_channel_memory, ring));
  if (err) {
    ipc_channel_close(c);
    return err;
  }
  c->memory = c->segment.memory;
  c->memory->kind = KIND;
  return 0;
}

int ipc_channel_open(ipc_channel *c, int fd) {
  *c = (ipc_channel){.segment.fd = -1};
  int err = os_segment_open(&c->segment, fd, BEGIN + IPC_RING_LEAST);
  if (err) return err;
  const ipc_channel_memory *m = c->segment.memory;
  err = m->kind == KIND ? 0 : -EINVAL;
  if (!err) err = ipc_ring_map(&c->segment, offsetof(ipc_channel_memory, ring));
  if (err)
    ipc_channel_close(c);
  else
    c->memory = c->segment.memory;
  return err;
}

void ipc_channel_close(ipc_channel *c) {
  os_segment_close(&c->segment);
  c->memory = NULL;
}

static bool is_full(ipc_channel_memory *m) {
  return m->maxsize != 0 && ipc_ring_count(&m->ring) >= m->maxsize;
}

/* --- Sleepers ------------------------------------------------------------- */

/* The one who looks again sleeps no more. */
static void forget_sleep(ipc_channel_memory *m, ipc_wait *w) {
  if (w->mark == IS_GETTER) atomic_fetch_sub(&m->getters, 1);
  if (w->mark == IS_PUTTER) atomic_fetch_sub(&m->putters, 1);
  w->mark = NOTHING;
}

/* Before the last look. */
static void say_sleep(ipc_wait *w, unsigned mark, atomic_uint *word,
                      atomic_uint *sleepers) {
  w->word = word;
  w->seen = atomic_load(word);
  if (w->last) return;
  atomic_fetch_add(sleepers, 1);
  w->mark = mark;
}

static void move_word(atomic_uint *word, atomic_uint *sleepers, int wake) {
  atomic_fetch_add(word, 1);
  if (wake > 0 && atomic_load(sleepers) > 0) os_shared_wake(word, wake);
}

/* The wake-up may have been meant for somebody who goes on waiting. */
void ipc_channel_quit(ipc_channel *c, ipc_wait *w) {
  ipc_channel_memory *m = c->memory;
  forget_sleep(m, w);
  if (w->word == ipc_low_half(&m->putting)) ipc_lockword_quit(&m->putting);
  if (w->word == ipc_low_half(&m->taking)) ipc_lockword_quit(&m->taking);
  if (!w->slept) return;
  if (ipc_ring_count(&m->ring) > 0) move_word(&m->items, &m->getters, 1);
  if (!is_full(m)) move_word(&m->space, &m->putters, 1);
}

/* --- Putting -------------------------------------------------------------- */

static bool take_lock(ipc_lockword *lock, ipc_wait *w, int64_t *looked) {
  return ipc_lockword_try(lock, w, looked) != IPC_BUSY;
}

/* Makes room; 0, LOCKED or negative errno. The taker's lock keeps readers out
 * while messages move. */
static int grow(ipc_channel *c, ipc_wait *w, uint64_t size) {
  ipc_channel_memory *m = c->memory;
  if (!take_lock(&m->taking, w, &c->take_looked)) return IPC_CHANNEL_LOCKED;
  int err = ipc_ring_grow(&m->ring, &c->segment, size);
  ipc_lockword_release(&m->taking);
  return err;
}

static void shrink(ipc_channel *c) {
  ipc_channel_memory *m = c->memory;
  ipc_wait w = {.last = true};
  if (!take_lock(&m->taking, &w, &c->take_looked)) return;
  ipc_ring_shrink(&m->ring, &c->segment);
  ipc_lockword_release(&m->taking);
}

static int put_locked(ipc_channel *c, ipc_wait *w, const struct iovec *parts,
                      int n) {
  ipc_channel_memory *m = c->memory;
  uint64_t size = 0;
  for (int i = 0; i < n; i++)
    size += parts[i].iov_len;
  if (ipc_ring_is_loose(&m->ring)) shrink(c);
  int err =
      is_full(m) ? -ENOSPC : ipc_ring_put(&m->ring, &c->segment, parts, n);
  if (err == -EAGAIN) {
    err = grow(c, w, size);
    if (err == 0) err = ipc_ring_put(&m->ring, &c->segment, parts, n);
  }
  return err;
}

int ipc_channel_put(ipc_channel *c, ipc_wait *w, const struct iovec *parts,
                    int n, int wake, uint32_t *number) {
  ipc_channel_memory *m = c->memory;
  forget_sleep(m, w);
  /* It waited to make room, which it may not need any more. */
  if (w->word == ipc_low_half(&m->taking)) ipc_lockword_quit(&m->taking);
  if (atomic_load(&m->closed)) return IPC_CHANNEL_CLOSED;
  if (!take_lock(&m->putting, w, &c->put_looked)) return IPC_CHANNEL_LOCKED;
  *number = ipc_ring_put_number(&m->ring);
  int err = put_locked(c, w, parts, n);
  if (err == -ENOSPC) {
    say_sleep(w, IS_PUTTER, &m->space, &m->putters);
    err = put_locked(c, w, parts, n); /* a take may have gone unseen */
    if (err == -ENOSPC) err = IPC_CHANNEL_WAIT;
    if (err != IPC_CHANNEL_WAIT) forget_sleep(m, w);
  }
  ipc_lockword_release(&m->putting);
  if (err == 0) move_word(&m->items, &m->getters, wake);
  return err;
}

/* --- Taking --------------------------------------------------------------- */

static void set_mark(const ipc_ring *r, ipc_mark mark, const void *message,
                     uint64_t length) {
  uint64_t key = 0;
  if (mark.key) {
    memcpy(&key, message, length < sizeof key ? length : sizeof key);
    atomic_store(mark.current, 0);
    atomic_store(mark.key, key);
  }
  if (mark.current) atomic_store(mark.current, ipc_ring_taken_number(r) + 1);
}

static int get_locked(ipc_channel *c, void *to, uint64_t *size, ipc_mark mark) {
  ipc_channel_memory *m = c->memory;
  uint64_t length;
  if (!ipc_ring_peek(&m->ring, &c->segment, &length)) return IPC_CHANNEL_WAIT;
  bool fits = length <= *size;
  *size = length;
  if (!fits) return -EMSGSIZE;
  ipc_ring_copy(&m->ring, &c->segment, to, length);
  set_mark(&m->ring, mark, to, length);
  ipc_ring_drop(&m->ring, &c->segment);
  return IPC_CHANNEL_DONE;
}

int ipc_channel_get(ipc_channel *c, ipc_wait *w, void *to, uint64_t *size,
                    ipc_mark mark) {
  ipc_channel_memory *m = c->memory;
  forget_sleep(m, w);
  if (!take_lock(&m->taking, w, &c->take_looked)) return IPC_CHANNEL_LOCKED;
  bool closed = atomic_load(&m->closed);
  int got = get_locked(c, to, size, mark);
  if (got == IPC_CHANNEL_WAIT && !closed) {
    say_sleep(w, IS_GETTER, &m->items, &m->getters);
    closed = atomic_load(&m->closed);
    got = get_locked(c, to, size, mark); /* a put may have gone unseen */
    if (got != IPC_CHANNEL_WAIT || closed) forget_sleep(m, w);
  }
  ipc_lockword_release(&m->taking);
  if (got == IPC_CHANNEL_DONE) move_word(&m->space, &m->putters, 1);
  return got == IPC_CHANNEL_WAIT && closed ? IPC_CHANNEL_CLOSED : got;
}

void ipc_channel_end(ipc_channel *c) {
  ipc_channel_memory *m = c->memory;
  atomic_store(&m->closed, 1);
  atomic_fetch_add(&m->items, 1);
  atomic_fetch_add(&m->space, 1);
  os_shared_wake(&m->items, INT32_MAX);
  os_shared_wake(&m->space, INT32_MAX);
}

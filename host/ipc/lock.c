/* lock.c - locks between processes.
 *
 * The uncontended way is one compare-and-swap each. Under contention it is the
 * mutex of three states of U. Drepper's "Futexes Are Tricky" (mutex2): the
 * release wakes one sleeper and forgets that there are more; who has slept
 * takes the lock as one that others may sleep on. So a running process that
 * takes it again pays for one wake-up, not for one at each release. RESERVE
 * bounds how long it can go on so (as the starvation mode of Go's mutex). */
#include "lock.h"

#include <errno.h>

enum { SLEEPERS = 1, RESERVE = 2, FLAGS = 3 };
#define KIND 0x6c6f636b /* "lock" */

_Static_assert(IPC_ID_BITS + IPC_OWNER_SHIFT <= 64, "an owner and the flags");

static uint64_t owned_by(ipc_id id) {
  return id << IPC_OWNER_SHIFT;
}

ipc_id ipc_lockword_owner(ipc_lockword *word) {
  return atomic_load(word) >> IPC_OWNER_SHIFT;
}

static bool may_take(uint64_t seen, const ipc_wait *w) {
  if (seen >> IPC_OWNER_SHIFT) return false;
  return !(seen & RESERVE) || w->slept || w->last;
}

static ipc_outcome try_slowly(ipc_lockword *word, ipc_wait *w, int64_t *looked,
                              uint64_t seen) {
  const uint64_t mine = owned_by(ipc_self());
  bool looks = (seen >> IPC_OWNER_SHIFT) && ipc_wait_looks(w, looked);
  for (;;) {
    uint64_t sleepers = w->slept ? SLEEPERS : seen & SLEEPERS;
    if (may_take(seen, w)) {
      if (atomic_compare_exchange_strong(word, &seen, mine | sleepers))
        return IPC_TAKEN;
      continue;
    }
    ipc_id owner = seen >> IPC_OWNER_SHIFT;
    if (looks && owner && !ipc_alive(owner)) {
      if (atomic_compare_exchange_strong(word, &seen, mine | SLEEPERS))
        return IPC_DIED;
      continue;
    }
    if (w->last) return IPC_BUSY;
    uint64_t flagged = seen | SLEEPERS | (w->patient ? RESERVE : 0);
    if (flagged != seen &&
        !atomic_compare_exchange_strong(word, &seen, flagged))
      continue;
    w->word = ipc_low_half(word);
    w->seen = (unsigned)flagged;
    return IPC_BUSY;
  }
}

ipc_outcome ipc_lockword_try(ipc_lockword *word, ipc_wait *w, int64_t *looked) {
  if (!w->slept && ipc_lockword_take_free(word)) return IPC_TAKEN;
  return try_slowly(word, w, looked, atomic_load(word));
}

bool ipc_lockword_release(ipc_lockword *word) {
  if (ipc_lockword_release_own(word)) return true;
  uint64_t seen = atomic_load(word);
  do {
    if (!(seen >> IPC_OWNER_SHIFT)) return false;
  } while (!atomic_compare_exchange_strong(word, &seen, seen & RESERVE));
  if (seen & FLAGS) os_shared_wake(ipc_low_half(word), 1);
  return true;
}

/* The wake-up and the reservation may have been meant for the caller. */
void ipc_lockword_quit(ipc_lockword *word) {
  uint64_t seen = atomic_load(word), next;
  do {
    next = seen >> IPC_OWNER_SHIFT ? (seen | SLEEPERS) & ~(uint64_t)RESERVE : 0;
  } while (!atomic_compare_exchange_strong(word, &seen, next));
  if (next == 0) os_shared_wake(ipc_low_half(word), 1);
}

/* --- Objects -------------------------------------------------------------- */

int ipc_lock_create(ipc_lock *l, ipc_arena *a, bool recursive) {
  *l = (ipc_lock){0};
  int err = ipc_arena_cut(a, sizeof *l->memory, &l->block);
  if (err) return err;
  l->memory = (ipc_lock_memory *)(void *)l->block.memory;
  l->memory->recursive = recursive;
  l->memory->kind = KIND;
  return 0;
}

int ipc_lock_open(ipc_lock *l, ipc_arena *a, int fd, size_t offset) {
  *l = (ipc_lock){0};
  int err = ipc_arena_open(a, fd, offset, sizeof *l->memory, &l->block);
  if (err) return err;
  l->memory = (ipc_lock_memory *)(void *)l->block.memory;
  if (l->memory->kind == KIND) return 0;
  ipc_lock_close(l);
  return -EINVAL;
}

void ipc_lock_close(ipc_lock *l) {
  ipc_block_free(&l->block);
  l->memory = NULL;
}

void ipc_lock_quit(ipc_lock *l) {
  ipc_lockword_quit(&l->memory->word);
}

ipc_id ipc_lock_owner(ipc_lock *l) {
  return ipc_lockword_owner(&l->memory->word);
}

/* 'holder' is this process only while one of its threads holds the lock, and
 * then it was stored after 'thread'. */
bool ipc_rlock_is_mine(const ipc_lock *l, uint64_t thread) {
  return atomic_load_explicit(&l->memory->holder, memory_order_acquire) ==
             ipc_self() &&
         atomic_load_explicit(&l->memory->thread, memory_order_relaxed) ==
             thread;
}

ipc_outcome ipc_rlock_try(ipc_lock *l, ipc_wait *w, uint64_t thread) {
  ipc_lock_memory *m = l->memory;
  if (ipc_rlock_is_mine(l, thread)) {
    atomic_fetch_add_explicit(&m->count, 1, memory_order_relaxed);
    return IPC_TAKEN;
  }
  ipc_outcome outcome = ipc_lock_try(l, w);
  if (outcome == IPC_BUSY) return outcome;
  atomic_store_explicit(&m->count, 1, memory_order_relaxed);
  atomic_store_explicit(&m->thread, thread, memory_order_relaxed);
  atomic_store_explicit(&m->holder, ipc_self(), memory_order_release);
  return outcome;
}

bool ipc_rlock_release(ipc_lock *l, uint64_t thread) {
  ipc_lock_memory *m = l->memory;
  if (!ipc_rlock_is_mine(l, thread)) return false;
  uint64_t count = atomic_load_explicit(&m->count, memory_order_relaxed) - 1;
  atomic_store_explicit(&m->count, count, memory_order_relaxed);
  if (count > 0) return true;
  atomic_store_explicit(&m->holder, 0, memory_order_relaxed);
  return ipc_lock_release(l);
}

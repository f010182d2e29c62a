/* lock.h - a lock between processes, and one that its owner may take again.
 *
 * The word tells the process that holds it, and two flags. Whoever holds it
 * may write it, and whoever finds that process dead. Any process may release
 * a lock, but only the thread that holds it an rlock.
 *   0                  free: anybody takes it
 *   owner              held; nobody sleeps
 *   owner | SLEEPERS   held; the release wakes one
 *   owner | RESERVE    held; somebody has waited for 1 ms: the release
 *                      leaves it reserved
 *   RESERVE            free, for who has slept or is not going to
 * A death before the word is changed has not happened, one after it leaves a
 * dead owner: the next to look takes it from him by compare-and-swap, and is
 * told so, once. One between the word's change and the wake-up costs the
 * sleepers the rest of their bounded sleep. */
#ifndef TL_IPC_LOCK_H
#define TL_IPC_LOCK_H

#include "arena.h"
#include "party.h"
#include "wait.h"

/* The word alone: zeroed memory is a free one. 'looked': see ipc_wait_looks. */
typedef _Atomic uint64_t ipc_lockword;
#define IPC_OWNER_SHIFT 2 /* the flags are below */
ipc_outcome ipc_lockword_try(ipc_lockword *word, ipc_wait *w, int64_t *looked);
bool ipc_lockword_release(ipc_lockword *word); /* false: it is free */
void ipc_lockword_quit(ipc_lockword *word);
ipc_id ipc_lockword_owner(ipc_lockword *word); /* 0: it is free */

/* The uncontended ways: false, and nothing has happened, if it is not so. */
static inline bool ipc_lockword_take_free(ipc_lockword *word) {
  uint64_t seen = 0;
  return atomic_compare_exchange_strong(word, &seen,
                                        ipc_self() << IPC_OWNER_SHIFT);
}

static inline bool ipc_lockword_release_own(ipc_lockword *word) {
  uint64_t seen = ipc_self() << IPC_OWNER_SHIFT;
  return atomic_compare_exchange_strong(word, &seen, 0);
}

/* In shared memory. 'holder', 'thread' and 'count' are an rlock's and written
 * by who holds the word: 'holder' last when it is taken, first when freed, so
 * that what a dead owner left is nobody's. */
typedef struct ipc_lock_memory {
  uint32_t kind;  /* const */
  bool recursive; /* const */
  ipc_lockword word;
  _Atomic ipc_id holder;
  _Atomic uint64_t thread;
  _Atomic uint64_t count;
} ipc_lock_memory;

/* A process's handle, used by one of its threads at a time but while asleep.
 * Zeroed memory is a closed one. */
typedef struct ipc_lock {
  ipc_block block;
  ipc_lock_memory *memory;
  int64_t looked;
} ipc_lock;

/* In a block of the arena; the second as ipc_arena_open. */
int ipc_lock_create(ipc_lock *l, ipc_arena *a, bool recursive);
int ipc_lock_open(ipc_lock *l, ipc_arena *a, int fd, size_t offset);
void ipc_lock_close(ipc_lock *l);

/* IPC_TAKEN, IPC_DIED or IPC_BUSY. */
static inline ipc_outcome ipc_lock_try(ipc_lock *l, ipc_wait *w) {
  return ipc_lockword_try(&l->memory->word, w, &l->looked);
}
void ipc_lock_quit(ipc_lock *l);

/* False: it was not held. */
static inline bool ipc_lock_release(ipc_lock *l) {
  return ipc_lockword_release(&l->memory->word);
}

/* The same for an rlock; 'thread', not 0, names one of this process's threads
 * and is never used again. */
ipc_outcome ipc_rlock_try(ipc_lock *l, ipc_wait *w, uint64_t thread);
bool ipc_rlock_is_mine(const ipc_lock *l, uint64_t thread);
bool ipc_rlock_release(ipc_lock *l, uint64_t thread); /* false: not its own */

/* Who holds it, 0 if nobody does; a dead process's is held until taken. */
ipc_id ipc_lock_owner(ipc_lock *l);

#endif

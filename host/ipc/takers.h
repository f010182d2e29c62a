/* takers.h - which process has how many tasks of a queue that it has not told
 * done, so that those of a dead one are not waited for.
 *
 * A process writes its own entry only. The entry of a dead one is taken over by
 * compare-and-swap by whoever settles it, or needs it and finds no task there.
 * A death in the two steps of settling or of telling done may count a task
 * twice; only the tasks of a process that found no room are waited for in vain.
 */
#ifndef TL_TAKERS_H
#define TL_TAKERS_H

#include "ipc/party.h"

#define IPC_TAKERS 128

/* In shared memory; zeroed memory is valid. A process for which there is no
 * room is not counted: so many others live, or have died with tasks. */
typedef struct ipc_takers {
  struct ipc_taker {
    _Atomic ipc_id who;
    _Atomic uint32_t open;    /* tasks that are not done */
    _Atomic uint32_t current; /* the number + 1 of one that it is taking */
  } of[IPC_TAKERS];
} ipc_takers;

/* This process's entry, which '*place' remembers (0 at first); NULL: no room.
 */
struct ipc_taker *ipc_takers_mine(ipc_takers *t, uint32_t *place);

/* It has taken the task whose number is in its 'current'. */
static inline void ipc_taker_took(struct ipc_taker *mine) {
  atomic_fetch_add(&mine->open, 1);
  atomic_store(&mine->current, 0);
}

/* It has told one done. */
static inline void ipc_taker_done(struct ipc_taker *mine) {
  if (atomic_load(&mine->open) > 0) atomic_fetch_sub(&mine->open, 1);
}

/* Looks for dead processes; returns how many tasks they had, of which the
 * caller is told but once, and adds it to '*done' before the entries are
 * free. 'taken': the number of the next task to be taken. */
uint32_t ipc_takers_settle(ipc_takers *t, uint32_t taken, atomic_uint *done);

#endif

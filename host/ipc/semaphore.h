/* semaphore.h - a semaphore between processes.
 *
 * The value is one word, changed by compare-and-swap: no operation waits for
 * another process, whatever that one is in the middle of. How many permits a
 * process has acquired and not released stands in its slot, so that they can be
 * given back when it dies. Value and slot cannot change in one step; so the
 * word names also the slot that changed it last and the number of that change:
 *   1. the slot's 'intent' is stored: the number of the change, and what the
 *      slot holds after it;
 *   2. the change before, if it was another slot's, is noted in that slot
 *      ('acked'), for the next step overwrites its trace;
 *   3. the word is swapped: this is the moment of the change;
 *   4. the slot's 'held' is stored: the same as the intent.
 * After a death between 1 and 4 the change was made if the word or 'acked'
 * tells its number. Only the slot's process writes 'held' and 'intent'; who
 * takes over a dead one's slot (by swapping 'who') goes on as that process,
 * and gives back as one more change what it held. A process that ends in order
 * leaves instead: what it acquired stays consumed. */
#ifndef TL_IPC_SEMAPHORE_H
#define TL_IPC_SEMAPHORE_H

#include "party.h"
#include "segment.h"
#include "wait.h"

#define IPC_SEMAPHORE_SLOTS 1023 /* processes that use one at a time */
#define IPC_SEMAPHORE_MOST INT32_MAX

typedef struct ipc_slot {
  _Atomic ipc_id who;      /* 0: free, and then it holds nothing */
  _Atomic uint64_t held;   /* permits, number of the last change */
  _Atomic uint64_t intent; /* the same of the change that is being made */
  atomic_uint acked;       /* number of a change: see above; set by others */
} ipc_slot;

typedef struct ipc_semaphore_memory {
  uint32_t kind;          /* const */
  uint32_t most;          /* const: the value does not exceed it */
  _Atomic uint64_t state; /* value, slot and number of the last change */
  atomic_uint waiting;    /* flags: somebody sleeps, or has for 1 ms; it is what
                             they sleep on: who wakes them moves it */
  atomic_uint used;       /* slots from here on have never been taken */
  ipc_slot slots[IPC_SEMAPHORE_SLOTS];
} ipc_semaphore_memory;

/* A process's handle, used by one of its threads at a time but while asleep;
 * it stays in its place until it is closed. Zeroed memory with segment.fd = -1
 * is a closed one. */
typedef struct ipc_semaphore {
  ipc_member member; /* while 'slot' is this process's */
  os_segment segment;
  ipc_semaphore_memory *memory;
  int slot;
  int64_t looked;
} ipc_semaphore;

/* value <= most <= IPC_SEMAPHORE_MOST */
int ipc_semaphore_create(ipc_semaphore *s, uint32_t value, uint32_t most);
int ipc_semaphore_open(ipc_semaphore *s, int fd); /* takes over fd always */
void ipc_semaphore_close(ipc_semaphore *s);       /* leaves */

/* Takes a permit: IPC_TAKEN, IPC_BUSY or IPC_FULL. */
ipc_outcome ipc_semaphore_try(ipc_semaphore *s, ipc_wait *w);
void ipc_semaphore_quit(ipc_semaphore *s);

/* Gives n > 0 permits: the caller's own first, then new ones. 0, -EOVERFLOW
 * if there would be more than the most, -ENOSPC: no slot is free. */
int ipc_semaphore_release(ipc_semaphore *s, uint32_t n);

/* The value, after the permits of the dead have been given back. */
uint32_t ipc_semaphore_value(ipc_semaphore *s);

#endif

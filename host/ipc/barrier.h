/* barrier.h - a number of threads of several processes wait for each other.
 *
 * All is written with the guard held, a lock's word, for some instructions (but
 * for a process's record, which it drops at its orderly end). A death under it,
 * or of a process that has taken part since the last reset and has not ended in
 * order, breaks the barrier for everybody who waits then: it is whole or
 * broken. Everybody who waits has a record with a word to sleep on, where
 * whoever ends the wait writes its outcome: so nothing has to drain, and nobody
 * can lap another. */
#ifndef TL_IPC_BARRIER_H
#define TL_IPC_BARRIER_H

#include "lock.h"

#define IPC_BARRIER_RECORDS 2048 /* processes and waiting threads */

typedef struct ipc_barrier_record {
  _Atomic ipc_id who;   /* 0: free; guard */
  atomic_uint standing; /* a waiter's: see barrier.c; its sleep word; guard */
  atomic_uint resets;   /* a process's: when it took part last; guard */
  uint64_t ticket;      /* guard */
} ipc_barrier_record;

typedef struct ipc_barrier_memory {
  uint32_t kind;    /* const */
  uint32_t parties; /* const */
  ipc_lockword guard;
  atomic_uint broken;   /* guard; read by anybody, as the next three */
  atomic_uint waiting;  /* those who fill it */
  atomic_uint acting;   /* the action runs */
  atomic_uint spoiled;  /* guard: the pass whose action runs is broken */
  _Atomic ipc_id actor; /* guard: whose action */
  atomic_uint resets;   /* guard */
  uint64_t next_ticket; /* guard */
  unsigned used;        /* guard: records from here on were never taken */
  ipc_barrier_record records[IPC_BARRIER_RECORDS];
} ipc_barrier_memory;

/* A process's handle, used by one of its threads at a time but while asleep; it
 * stays in its place until it is closed. Zeroed memory with segment.fd = -1 is
 * a closed one. */
typedef struct ipc_barrier {
  ipc_member member; /* while 'record' is this process's */
  os_segment segment;
  ipc_barrier_memory *memory;
  int record; /* the process's */
} ipc_barrier;

/* parties >= 1; not more than IPC_BARRIER_RECORDS / 2 */
int ipc_barrier_create(ipc_barrier *b, uint32_t parties);
int ipc_barrier_open(ipc_barrier *b, int fd); /* takes over fd always */
void ipc_barrier_close(ipc_barrier *b);       /* leaves */

/* Takes the guard, which every other function but the two that only read needs:
 * IPC_TAKEN or IPC_BUSY, for an instant, unless who has it is stopped there. */
ipc_outcome ipc_barrier_guard(ipc_barrier *b, ipc_wait *w);
void ipc_barrier_unguard(ipc_barrier *b);

/* Comes to the barrier. IPC_BUSY: '*record' waits now; with 'acts' IPC_ACT: all
 * are here, the caller runs the action and calls ipc_barrier_acted; without,
 * IPC_TAKEN: all are here, it is the last ('*index'). IPC_BROKEN, IPC_FULL. */
ipc_outcome ipc_barrier_arrive(ipc_barrier *b, bool acts, int *record,
                               uint32_t *index);

/* The action is done, or has failed. True, with the caller's index, if the pass
 * is whole. */
bool ipc_barrier_acted(ipc_barrier *b, bool well, uint32_t *index);

/* Sleeps on the record: without the guard. IPC_BUSY; anything else: end it. It
 * wants the guard when the caller must take it and call ipc_barrier_look. */
ipc_outcome ipc_barrier_try(ipc_barrier *b, int record, ipc_wait *w,
                            bool *wants_guard);
void ipc_barrier_look(ipc_barrier *b); /* breaks it if somebody has died */

/* Ends the wait. IPC_TAKEN with the index; IPC_BROKEN; IPC_BUSY: it just leaves
 * (or, if 'late', it breaks the barrier); IPC_ACT: it waited for an action to
 * end, which has: it may come again. */
ipc_outcome ipc_barrier_end(ipc_barrier *b, int record, bool late,
                            uint32_t *index);

void ipc_barrier_abort(ipc_barrier *b);
void ipc_barrier_reset(ipc_barrier *b);

/* Read without the guard. */
bool ipc_barrier_is_broken(const ipc_barrier *b);
uint32_t ipc_barrier_waiting(const ipc_barrier *b);

#endif

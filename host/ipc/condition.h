/* condition.h - waiting between processes for a change under a lock.
 *
 * Every waiting thread has a record: whose it is, and a word that it sleeps on,
 * with a ticket that tells the order. Records are registered and notified with
 * the lock held, so a notification concerns who waits then, the oldest first.
 *   free -> WAITING (its process) -> free                  timed out, cancelled
 *                                 -> NOTIFIED (anybody) -> free (its process)
 * Each step is one compare-and-swap, so a waiter has been notified or not. The
 * record of a dead process is taken over (by swapping 'who') by whoever looks
 * next; a notification that it had got and not acted on passes on to the oldest
 * that has waited since before it. Two deaths at the same notification may let
 * two waiters go on instead of one; none is lost. */
#ifndef TL_IPC_CONDITION_H
#define TL_IPC_CONDITION_H

#include "party.h"
#include "segment.h"
#include "wait.h"

#define IPC_CONDITION_WAITERS 1024 /* at a time */

typedef struct ipc_waiter {
  _Atomic ipc_id who;     /* 0: free */
  _Atomic uint64_t state; /* ticket, and how it stands: see condition.c */
} ipc_waiter;

typedef struct ipc_condition_memory {
  uint32_t kind;    /* const */
  atomic_uint used; /* records from here on were never taken */
  _Atomic uint64_t next_ticket;
  ipc_waiter waiters[IPC_CONDITION_WAITERS];
} ipc_condition_memory;

/* A process's handle. Zeroed memory with segment.fd = -1 is a closed one. */
typedef struct ipc_condition {
  os_segment segment;
  ipc_condition_memory *memory;
} ipc_condition;

int ipc_condition_create(ipc_condition *c);
int ipc_condition_open(ipc_condition *c, int fd); /* takes over fd always */
void ipc_condition_close(ipc_condition *c);

/* Registers the caller, who holds the lock and gives it up next. The record,
 * or -ENOSPC: too many wait. */
int ipc_condition_enter(ipc_condition *c);

/* IPC_TAKEN: notified; IPC_BUSY. */
ipc_outcome ipc_condition_try(ipc_condition *c, int record, ipc_wait *w);

/* Ends the wait; true if it was notified all the same. */
bool ipc_condition_leave(ipc_condition *c, int record);

/* Notifies the n oldest that wait. */
void ipc_condition_notify(ipc_condition *c, uint64_t n);

/* How many wait. */
int ipc_condition_count(ipc_condition *c);

#endif

/* event.h - a flag that processes wait for.
 *
 * One word: the flag, and how often it was set while it was clear, by which a
 * waiter sees a set that was followed by a clear. A death has nothing to
 * repair; between a set and its wake-up it costs the sleepers the rest of
 * their bounded sleep. */
#ifndef TL_IPC_EVENT_H
#define TL_IPC_EVENT_H

#include "arena.h"
#include "wait.h"

typedef struct ipc_event_memory {
  uint32_t kind;    /* const */
  atomic_uint word; /* bit 0: set; the rest: generation */
} ipc_event_memory;

/* A process's handle. Zeroed memory is a closed one. */
typedef struct ipc_event {
  ipc_block block;
  ipc_event_memory *memory;
} ipc_event;

/* In a block of the arena; the second as ipc_arena_open. */
int ipc_event_create(ipc_event *e, ipc_arena *a);
int ipc_event_open(ipc_event *e, ipc_arena *a, int fd, size_t offset);
void ipc_event_close(ipc_event *e);

void ipc_event_set(ipc_event *e);
void ipc_event_clear(ipc_event *e);
bool ipc_event_is_set(const ipc_event *e);

/* IPC_TAKEN: it is set, or was since the wait began; or IPC_BUSY. */
ipc_outcome ipc_event_try(ipc_event *e, ipc_wait *w);

#endif

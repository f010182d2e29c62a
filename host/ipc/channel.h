/* channel.h - messages between any processes that share it: a ring, the two
 * locks that it needs, and words to sleep on while it is empty or full.
 *
 * No death of a process makes another one wait for ever: see wait.h. The
 * message that it was putting is not there, the one it was taking still is.
 * A message has a number, from 0, modulo 2^24, which is put's and get's order.
 */
#ifndef TL_CHANNEL_H
#define TL_CHANNEL_H

#include "ipc/lock.h"
#include "ipc/ring.h"
#include "users.h"

/* In shared memory: what different processes write has lines of its own. */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
typedef struct ipc_channel_memory {
  uint32_t kind;    /* const */
  uint32_t maxsize; /* const: messages at most; 0: any number */
  ipc_lockword putting, taking;
  _Alignas(64) atomic_uint items; /* moved by each put: getters sleep on it */
  atomic_uint putters;            /* sleep, or died while they slept */
  _Alignas(64) atomic_uint space; /* moved by each take: putters sleep on it */
  atomic_uint getters;
  atomic_uint closed; /* nothing more will be put */
  atomic_uint done;   /* a queue's: how many tasks are done */
  ipc_ring ring;
} ipc_channel_memory;

/* A process's handle, used by one of its threads at a time but while asleep.
 * Zeroed memory with segment.fd = -1 is a closed one. */
typedef struct ipc_channel {
  os_segment segment;
  ipc_channel_memory *memory;
  int64_t put_looked, take_looked;
  tl_users users; /* threads that wait: the handle must stay open */
} ipc_channel;

/* Makes one; 'limit': bytes of all messages at most; 'extra': zeroed bytes that
 * the caller has for himself. 0 or negative errno. */
int ipc_channel_create(ipc_channel *c, uint32_t maxsize, uint64_t limit,
                       size_t extra);
int ipc_channel_open(ipc_channel *c, int fd); /* takes over fd in any case */
void ipc_channel_close(ipc_channel *c);

/* What the caller has for himself, and how many bytes at least. */
#define IPC_CHANNEL_OWN ((uint64_t)4096)
static inline void *ipc_channel_extra(const ipc_channel *c) {
  return (char *)c->segment.memory + IPC_CHANNEL_OWN;
}
static inline size_t ipc_channel_extra_size(const ipc_channel *c) {
  return (size_t)(c->memory->ring.begin - IPC_CHANNEL_OWN);
}

/* What a try ends with; else negative errno. LOCKED: another one puts or takes,
 * which takes some instructions; WAIT: it is full, or empty. Sleep on w->word
 * then. */
enum {
  IPC_CHANNEL_DONE = 0,
  IPC_CHANNEL_WAIT = 1,
  IPC_CHANNEL_CLOSED = 2,
  IPC_CHANNEL_LOCKED = 3
};

/* Puts the bytes of n parts as one message, whose number is stored, and wakes
 * up to 'wake' sleeping getters: 0 if a later put will, else 1. -EMSGSIZE: it
 * can never fit; -ENOMEM. */
int ipc_channel_put(ipc_channel *c, ipc_wait *w, const struct iovec *parts,
                    int n, int wake, uint32_t *number);

/* Where it is kept, in shared memory, what a process is about to take: who
 * finds it dead sees it. The number + 1, and the message's first 8 bytes, which
 * are stored while 'current' is 0. Both may be NULL, or 'key' alone. */
typedef struct ipc_mark {
  _Atomic uint32_t *current;
  _Atomic uint64_t *key;
} ipc_mark;

/* Takes a message of up to *size bytes and stores how many it has. -EMSGSIZE:
 * it has more, and is still there. CLOSED: and nothing more will come. */
int ipc_channel_get(ipc_channel *c, ipc_wait *w, void *to, uint64_t *size,
                    ipc_mark mark);

/* Who gives up waiting, or was refused the last time, calls this. */
void ipc_channel_quit(ipc_channel *c, ipc_wait *w);

/* Nothing more will be put; wakes all getters. */
void ipc_channel_end(ipc_channel *c);

#endif

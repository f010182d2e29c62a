/* ring.h - a queue of messages in shared memory, without Lua and without
 * waiting.
 *
 * One process at a time puts, one takes, each under a lock of the caller's
 * that survives the death of its holder. A message is there once 'tail' has
 * been moved behind it, and gone once 'head' has: each is one store, so
 * whoever dies in the middle leaves the queue as it was before. The ring grows
 * while it is full, up to a limit that is mapped from the start; it becomes
 * small again after a while of little use. */
#ifndef TL_RING_H
#define TL_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "ipc/segment.h"

/* In the segment; zeroed memory is not one. What any process has written here
 * may be read by all. */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
typedef struct ipc_ring {
  uint64_t begin;            /* const: where the data are in the segment */
  uint64_t limit;            /* const: bytes of data at most; a power of 2 */
  _Atomic uint64_t capacity; /* bytes of data: a power of 2; both locks */
  _Alignas(64) _Atomic uint64_t tail; /* place and number; putter */
  uint32_t calm; /* putter: puts since it was well filled */
  _Alignas(64) _Atomic uint64_t head; /* place and number; taker */
} ipc_ring;

#define IPC_RING_LEAST ((uint64_t)64 * 1024)    /* bytes at first */
#define IPC_RING_MOST ((uint32_t)(1 << 24) - 1) /* messages at most */

/* Makes a ring at 'r' in the segment, which has room for 'begin' bytes before
 * the data and IPC_RING_LEAST behind; 'limit' is rounded up. 0 or negative
 * errno. */
int ipc_ring_init(ipc_ring *r, uint64_t begin, uint64_t limit);

/* Maps all that the ring may ever need; s->memory changes. -EINVAL: what is at
 * 'offset' in the segment is no ring. By each process, before anything else. */
int ipc_ring_map(os_segment *s, uint64_t offset);

/* How many messages there are; exact for one who holds both locks. */
uint32_t ipc_ring_count(const ipc_ring *r);

/* The numbers, modulo 2^24, of the next message to be put and to be taken. */
uint32_t ipc_ring_put_number(const ipc_ring *r);
uint32_t ipc_ring_taken_number(const ipc_ring *r);

/* Under the putter's lock: puts the bytes of n parts as one message. -EAGAIN:
 * it must grow first; -EMSGSIZE: it can never fit; -ENOSPC: it cannot now. */
int ipc_ring_put(ipc_ring *r, const os_segment *s, const struct iovec *parts,
                 int n);

/* Under both locks: makes room for a message of 'size' bytes, or gives back
 * what has not been needed for long. 0, -ENOSPC: that is more than the limit;
 * negative errno. */
int ipc_ring_grow(ipc_ring *r, const os_segment *s, uint64_t size);
bool ipc_ring_is_loose(const ipc_ring *r);
void ipc_ring_shrink(ipc_ring *r, const os_segment *s);

/* Under the taker's lock: the size of the next message; false: there is none.
 */
bool ipc_ring_peek(const ipc_ring *r, const os_segment *s, uint64_t *size);

/* Copies its first 'size' bytes; it is still there. */
void ipc_ring_copy(const ipc_ring *r, const os_segment *s, void *to,
                   uint64_t size);

/* Removes it. */
void ipc_ring_drop(ipc_ring *r, const os_segment *s);

#endif

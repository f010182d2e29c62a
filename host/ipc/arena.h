/* arena.h - blocks of memory that processes share, small ones many to a
 * segment, without Lua.
 *
 * A block is a part of a chunk, which is a segment. Small blocks are cut from
 * the current chunk one behind the other; a larger one has a chunk of its own.
 * Nothing is ever cut twice: another process may still use what this one has
 * freed. A chunk is unmapped when this process has freed all its blocks in it,
 * and is gone when all processes have done so, or ended. So freeing concerns
 * this process alone, and nothing has to be agreed upon; what is made and freed
 * again and again takes no more than a chunk beside what lives. New chunks are
 * the larger the more blocks there are: many take few descriptors.
 *
 * A forked child has the blocks of its parent and cuts new ones from chunks of
 * its own. Functions return 0 or a negative errno. An arena and its blocks are
 * guarded by whoever owns them (the GIL). */
#ifndef TL_ARENA_H
#define TL_ARENA_H

#include <stddef.h>
#include <sys/types.h>

#include "segment.h"

typedef struct ipc_chunk ipc_chunk;

/* Zeroed memory is an empty arena. */
typedef struct ipc_arena {
  ipc_chunk *chunks;  /* all that are mapped */
  ipc_chunk *current; /* the one that is cut from, or NULL */
  pid_t owner;        /* the process that cuts from it */
} ipc_arena;

/* Zeroed memory is no block. */
typedef struct ipc_block {
  unsigned char *memory;
  ipc_chunk *chunk;
} ipc_block;

/* Blocks up to this size share chunks. They are aligned to IPC_ALIGN, the size
 * of a cache line: processes do not slow down each other's neighbours. */
#define IPC_SMALL ((size_t)4096)
#define IPC_ALIGN ((size_t)64)

/* A block of 'size' > 0 zero bytes, at most IPC_SMALL. */
int ipc_arena_cut(ipc_arena *a, size_t size, ipc_block *b);

/* Makes a block of a whole segment, which becomes the arena's if that succeeds:
 * a large one is made without holding what guards the arena. */
int ipc_arena_adopt(ipc_arena *a, os_segment *s, ipc_block *b);

/* The block of 'size' bytes at 'offset' of a chunk that came from another
 * process as a descriptor, which stays the caller's. -EINVAL: it is none. */
int ipc_arena_open(ipc_arena *a, int fd, size_t offset, size_t size,
                   ipc_block *b);

/* What another process opens it by; the descriptor stays the block's. */
int ipc_block_fd(const ipc_block *b);
size_t ipc_block_offset(const ipc_block *b);

/* No block stays none. */
void ipc_block_free(ipc_block *b);

/* The arena is empty then; blocks may be freed later. */
void ipc_arena_destroy(ipc_arena *a);

#endif

/* segment.h - memory that processes share, without Lua.
 *
 * A segment is a file without a name (memfd_create): it lives as long as
 * somebody has its descriptor or its memory, so nothing is left behind by
 * whatever end of whatever process. A forked child has the same memory at the
 * same place; anybody else gets the descriptor and opens it. All of it is
 * allocated when it is made or grown and it cannot shrink: no access raises
 * SIGBUS. Functions return 0 or a negative errno. */
#ifndef TL_SEGMENT_H
#define TL_SEGMENT_H

#include <stddef.h>

/* Zeroed memory with fd = -1 is a closed one. */
typedef struct os_segment {
  int fd; /* closed on exec */
  void *memory;
  size_t size; /* bytes that are mapped */
} os_segment;

/* Makes one of 'size' > 0 zero bytes; 'name' is for /proc. -ENOMEM: more than
 * the machine has, or than it can give now. Takes time in proportion. */
int os_segment_create(os_segment *s, const char *name, size_t size);

/* Takes over 'fd' and maps all of it. -EINVAL: it is no segment, or is smaller
 * than 'least' bytes; fd is closed after any failure. */
int os_segment_open(os_segment *s, int fd, size_t least);

/* Unmaps and closes; a closed one stays so. */
void os_segment_close(os_segment *s);

/* The steps, for a file in memory that was made otherwise: makes it at least
 * 'size' bytes long and allocates them, so that an access cannot fail for lack
 * of memory; maps so many bytes of s->fd. */
int os_segment_allocate(int fd, size_t size);
int os_segment_map(os_segment *s, size_t size);

#endif

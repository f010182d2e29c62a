/* parcel.h - pickled values with handles in them, for a channel that carries
 * bytes alone: the receiver opens their descriptors by /proc/PID/fd while the
 * sender keeps them open.
 *
 * That works for memory, which is what locks, queues and shared values are; a
 * socket cannot be opened so. A parcel is a number of references, these, and
 * the pickled bytes. */
#ifndef TL_PARCEL_H
#define TL_PARCEL_H

#include "bind.h"
#include "pickle.h"

/* A descriptor of a process, and what it is of. */
typedef struct parcel_ref {
  uint64_t device, inode;
  int32_t pid, fd;
} parcel_ref;

/* Where descriptors are kept, on Lua's stack: 'held' is a table of all that
 * are, by what they are of, with weak values; the keys of 'keep' are those that
 * the sender must keep. */
typedef struct parcel_keeper {
  int held, keep;
} parcel_keeper;

typedef struct parcel {
  uint64_t count;         /* of the references */
  const parcel_ref *refs; /* in a userdata that is pushed, if there are any */
  const tl_pickled *pickled;
} parcel;

/* How values are pickled that parcels are made of. */
#define PARCEL_FLAGS ((unsigned)TL_PICKLE_HANDLES | (unsigned)TL_PICKLE_SHARED)

/* Makes one of a value that was pickled so; pushes what keeps it alive beside
 * that. Raises OSError. */
void parcel_make(lua_State *L, const tl_pickled *pickled, parcel_keeper k,
                 parcel *p) TL_GIL;

/* Keeps a copy of the descriptor, which is of memory, unless there is one, and
 * tells how it is referred to. */
void parcel_lend(lua_State *L, int fd, parcel_keeper k, parcel_ref *ref) TL_GIL;

/* Opens one; raises UnpicklingError if it is gone. */
int parcel_borrow(lua_State *L, const parcel_ref *ref) TL_GIL;

/* Pushes the value of a parcel of one's own family. */
void parcel_open(lua_State *L, const char *data, size_t size) TL_GIL;

void parcel_init(lua_State *L) TL_GIL; /* makes the class */

#endif

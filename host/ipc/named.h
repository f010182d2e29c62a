/* named.h - shared memory that has a name, which any process of the user may
 * open, without Lua.
 *
 * The names are those of shm_open: files in /dev/shm. A block gets its name
 * when it has its whole size, so nobody opens half a block. It is allocated in
 * full; only a process that makes the file shorter behind everybody's back can
 * make an access raise SIGBUS. Functions return 0 or a negative errno. */
#ifndef TL_NAMED_H
#define TL_NAMED_H

#include <stdbool.h>
#include <stdint.h>

#include "segment.h"

#define OS_NAMED_MAX 255 /* bytes of a name */

/* Whether it can be one: not empty, no '/', no control characters. */
bool os_named_valid(const char *name, size_t length);

/* A random name, as "psm_1b2e3d4c". */
#define OS_NAMED_RANDOM 13
int os_named_random(char name[OS_NAMED_RANDOM]);

/* A new block of 'size' > 0 zero bytes without a name: it is gone with the last
 * process that uses it. */
int os_named_make(os_segment *s, size_t size);

/* Gives it a name. -EEXIST: somebody has that. */
int os_named_publish(const os_segment *s, const char *name);

/* Opens the block of that name. -EINVAL: it is empty, or no file. */
int os_named_open(os_segment *s, const char *name);

/* What tells it from a later block of the same name; 0 if that fails. */
uint64_t os_named_id(const os_segment *s);

/* Takes the name away from the block with this id, which lives on as long as
 * somebody uses it. -ENOENT: it has not got it any more. */
int os_named_unlink(const char *name, uint64_t id);

#endif

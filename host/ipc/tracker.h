/* tracker.h - takes the names of shared memory away when all processes that
 * might have done so have ended, without Lua.
 *
 * No process can clean up behind itself when it is killed. So a small one of
 * its own watches: it reads a pipe which the process that started it writes
 * to, and the children that it forks; at the end of the file there is none of
 * them any more, and the names that are left are unlinked. It is a shell, for
 * it shall not keep the memory of the process that started it, and a library
 * has no program of its own to start. It is in a session of its own, and
 * nobody's child: no signal to a group of processes reaches it.
 *
 * Functions return 0 or a negative errno. */
#ifndef TL_TRACKER_H
#define TL_TRACKER_H

#include <stdbool.h>
#include <stdint.h>

/* fd -1: none; closed on exec. */
typedef struct ipc_tracker {
  int fd;
} ipc_tracker;

/* Starts one; waits for a moment. */
int ipc_tracker_start(ipc_tracker *t);

/* Tells it of a block, by its name and os_named_id, before it has that name;
 * and that it needs not care any more. -EPIPE: it has been killed; a new one
 * knows nothing of what that was told. May have to wait, for a few seconds at
 * most: -ETIMEDOUT. */
int ipc_tracker_add(const ipc_tracker *t, const char *name, uint64_t id);
int ipc_tracker_remove(const ipc_tracker *t, const char *name, uint64_t id);

/* Whether it is there. */
bool ipc_tracker_lives(const ipc_tracker *t);

/* This process needs it no more. */
void ipc_tracker_close(ipc_tracker *t);

#endif

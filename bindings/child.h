/* child.h - child processes of io.popen and os.execute: started with the
 * start-up signal mask, waited for with the GIL given up, and reaped later
 * when nobody waits for them any more. */
#ifndef TL_CHILD_H
#define TL_CHILD_H

#include "bind.h"
#include "proc.h"

typedef struct tl_child tl_child;

/* Makes the reaper of this interpreter, if there is none. Call it before
 * anything that may be collected with a child: it must be finalized last. */
void tl_child_open(lua_State *L) TL_GIL;

/* Starts a command of the shell. NULL, with a positive errno in '*err', if
 * that fails. It ends in tl_child_wait or tl_child_drop. */
tl_child *tl_child_shell(lua_State *L, const char *command, const int fds[3],
                         int *err) TL_GIL;

/* Waits for its end and frees c; returns the status as os_child_poll's. Gives
 * up the GIL. Whatever is raised meanwhile, the child goes to the reaper. A
 * patient wait goes on after the first Ctrl-C, which the child has got as well,
 * until the child has ended or the next one comes; the interrupt stays pending.
 * A finalizer does not wait: raises if the child still runs, unless the
 * interpreter is being closed. */
int tl_child_wait(lua_State *L, tl_child *c, bool patient) TL_GIL;

/* lua_close runs, and no other thread is left: even a finalizer may block. */
static inline TL_GIL bool tl_closes_alone(lua_State *L) {
  const tl_interp *in = tl_interp_of(L);
  return in->closing && in->thread_count == 1;
}

/* Leaves it to the reaper: never blocks or raises. */
void tl_child_drop(tl_child *c) TL_GIL;

/* A place with the reaper for a child that is known otherwise (handle.h), so
 * that leaving it there needs no memory; NULL without memory. It ends in
 * tl_child_leave, which takes the child with its pidfd, or in tl_child_free. */
tl_child *tl_child_place(lua_State *L) TL_GIL;
void tl_child_leave(tl_child *place, os_child *os) TL_GIL;
void tl_child_free(tl_child *place) TL_GIL; /* NULL: nothing */

/* Reaps those left to the reaper that have ended. */
void tl_child_reap(lua_State *L) TL_GIL;

/* Returns true or nil, "exit" or "signal", and the code (or nil, message,
 * errno), as os.execute and file:close do. */
int tl_child_result(lua_State *L, int status) TL_GIL;

#endif

/* turn.h - one thread at a time works on something, the others queue. A fork
 * leaves whoever works behind. */
#ifndef TL_TURN_H
#define TL_TURN_H

#include <sys/types.h>

#include "bind.h"

/* Zeroed memory is a valid one; waiters.what may be set. */
typedef struct Turn {
  bool taken;       /* GIL: by a thread, or handed to the first waiter */
  pid_t process;    /* GIL: whose thread took it */
  tl_waitq waiters; /* GIL */
} Turn;

/* Waits for the turn, calls 'work' with all arguments of the caller in
 * protected mode, gives the turn on, and returns or raises what it returned,
 * one value, or raised. 'again' is where a wait goes on: it calls turn_woken
 * with the same. */
int turn_take(lua_State *L, Turn *turn, lua_CFunction work, lua_KFunction again)
    TL_GIL;
int turn_woken(lua_State *L, Turn *turn, lua_CFunction work,
               lua_KFunction again) TL_GIL;

/* Whether a thread of this process is at work. */
bool turn_taken(const Turn *turn) TL_GIL;

#endif

/* lock.h - Lock and RLock as Condition needs them. */
#ifndef TL_LOCK_H
#define TL_LOCK_H

#include "bind.h"

typedef struct Lock {
  const void *tag;   /* const: see bind_checktagged */
  tl_waitq waiters;  /* GIL; a waiter's stack holds this userdata. Its owner
                        is who took it; an ident is never used again, so one
                        that ended stays itself */
  lua_Integer count; /* GIL: how often it is held, 0 when free */
  bool recursive;    /* const: an RLock */
} Lock;

/* How long a waiter may be overtaken before the lock, or a permit, is handed
 * to it: in ns. */
#define LOCK_PATIENCE 1000000

/* Argument 'arg' as a Lock or an RLock, or an argument error. */
Lock *lock_check(lua_State *L, int arg) TL_GIL;

/* Pushes a new one. */
Lock *lock_push(lua_State *L, bool recursive) TL_GIL;

/* An RLock: the caller holds it. A Lock, which has no owner: it is held. */
bool lock_held(const Lock *l) TL_GIL;

/* For guard and with, before they take it: raises OwnerDied, and has freed it,
 * if a fork has left the thread behind that held it. */
void lock_free_orphan(lua_State *L, Lock *l) TL_GIL;

/* Takes it, waiting until 'deadline', and goes on in 'k' with the tl_outcome
 * on the top of the stack. Raises OwnerDied, and has taken it, if a fork has
 * left the thread behind that held it. */
int lock_take(lua_State *L, Lock *l, int64_t deadline, lua_KContext ctx,
              lua_KFunction k) TL_GIL;

/* Gives it up once; raises if it is not held. */
void lock_give(lua_State *L, Lock *l) TL_GIL;

/* Gives it up however often it is held; returns how often that was. */
lua_Integer lock_give_wholly(Lock *l) TL_GIL;

/* Takes it again, whatever may interrupt; 'k' gets the count as ctx, and
 * TL_GRANTED on the top, and restores the count. */
int lock_retake(lua_State *L, Lock *l, lua_Integer count, lua_KFunction k)
    TL_GIL;

#endif

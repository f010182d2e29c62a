/* synchronize.h - what the bindings of objects between processes share. */
#ifndef TL_SYNCHRONIZE_H
#define TL_SYNCHRONIZE_H

#include "arena.h"
#include "bind.h"
#include "ipc/lock.h"
#include "ipc/wait.h"
#include "pickle.h"

/* How one kind of object is waited for: see ipc/wait.h. */
typedef struct sync_kind {
  const char *what; /* for reports, as "mp lock" */
  ipc_outcome (*try)(void *object, ipc_wait *w);
  void (*quit)(void *object);
  bool uninterruptible;
} sync_kind;

/* Tries until it gets it, or the deadline: then IPC_BUSY. Gives up the GIL
 * while it sleeps. Raises what is pending, after quit, unless the kind is
 * uninterruptible; and in a finalizer, if it had to wait. */
ipc_outcome sync_wait(lua_State *L, const sync_kind *k, void *object,
                      int64_t deadline) TL_GIL;

/* One sleep of a wait that was refused. False: something is to be raised now,
 * by sync_raise, after what has to be undone. */
bool sync_sleep(lua_State *L, const sync_kind *k, ipc_wait *w, int64_t deadline)
    TL_GIL;
void sync_raise(lua_State *L) TL_GIL;

/* Something is pending in a wait. What would raise is left to sync_raise, with
 * nil on the top; the rest is run now: false if that has raised as well, with
 * what it raised on the top. */
bool sync_serve(lua_State *L) TL_GIL;

/* Whether making a segment or a block that failed so may succeed now: objects
 * that nobody uses have been collected. */
bool sync_made_room(lua_State *L, int err) TL_GIL;

/* A finalizer may find an object that was finalized before: 'memory' is the
 * shared one, NULL then. */
static inline TL_GIL void sync_check_open(lua_State *L, const void *memory) {
  if (tl_unlikely(memory == NULL)) luaL_error(L, "the object is closed");
}

/* In unpack: raises if it was not opened; -EINVAL: that is something else. */
void sync_check_opened(lua_State *L, int err, const char *what) TL_GIL;

/* In unpack: the descriptor that came along, which the caller takes over. */
int sync_take_fd(lua_State *L, int *fds, int n) TL_GIL;

/* An object in the arena travels as where its block is: pack pushes that;
 * unpack pops it, and the descriptor is fds[0]. */
int sync_pack_block(lua_State *L, const ipc_block *b, int *fds) TL_GIL;
size_t sync_unpack_block(lua_State *L, int n) TL_GIL;

/* Raises OwnerDied for a lock. */
int sync_owner_died(lua_State *L) TL_GIL;

/* Lock and RLock as Condition needs them. */
typedef struct SyncLock {
  const void *tag; /* const: see bind_checktagged */
  ipc_lock os;
} SyncLock;

SyncLock *sync_lock_check(lua_State *L, int arg) TL_GIL;
SyncLock *sync_lock_push(lua_State *L, bool recursive) TL_GIL;

/* An RLock: the calling thread holds it. A Lock: it is held. */
bool sync_lock_held(SyncLock *l) TL_GIL;

/* acquire, release, guard and with, for the lock; argument 1 is what is to be
 * closed: the lock or its condition. */
int sync_lock_acquire(lua_State *L, SyncLock *l) TL_GIL;
int sync_lock_release(lua_State *L, SyncLock *l) TL_GIL;
int sync_lock_guard(lua_State *L, SyncLock *l) TL_GIL;
int sync_lock_with(lua_State *L, SyncLock *l) TL_GIL;

/* Gives it up wholly, and takes it again, whatever may interrupt; IPC_DIED if
 * somebody died with it meanwhile. */
uint64_t sync_lock_give_wholly(SyncLock *l) TL_GIL;
ipc_outcome sync_lock_retake(lua_State *L, SyncLock *l, uint64_t count) TL_GIL;

#endif

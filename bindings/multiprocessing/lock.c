/* lock.c - multiprocessing.Lock and multiprocessing.RLock.
 * Documented in types/multiprocessing.synchronize.lua. */
#include "modules.h"
#include "synchronize.h"

#define LOCK "multiprocessing.Lock"
#define RLOCK "multiprocessing.RLock"

static const char tag;

static bool is_recursive(const SyncLock *l) {
  return l->os.memory->recursive;
}

/* Names a thread in this process: its ident is the only one in its
 * interpreter, whose address is in the higher bits. */
static uint64_t key_of(const tl_thread *t) {
  return (uint64_t)t->ident ^ (uint64_t)(uintptr_t)t->interp << 16;
}

static TL_UNCHECKED ipc_outcome try_lock(void *object, ipc_wait *w) {
  return ipc_lock_try(object, w);
}

static TL_UNCHECKED ipc_outcome try_rlock(void *object, ipc_wait *w) {
  return ipc_rlock_try(object, w, key_of(tl_self()));
}

static void quit_lock(void *object) {
  ipc_lock_quit(object);
}

static const sync_kind taking = {"mp lock", try_lock, quit_lock, false};
static const sync_kind retaking = {"mp lock", try_lock, quit_lock, true};
static const sync_kind rtaking = {"mp rlock", try_rlock, quit_lock, false};
static const sync_kind rretaking = {"mp rlock", try_rlock, quit_lock, true};

SyncLock *sync_lock_check(lua_State *L, int arg) {
  SyncLock *l = luaL_testudata(L, arg, RLOCK);
  if (l == NULL) l = luaL_testudata(L, arg, LOCK);
  if (l == NULL)
    luaL_typeerror(L, arg, "multiprocessing.Lock or multiprocessing.RLock");
  else
    sync_check_open(L, l->os.memory);
  return l;
}

static TL_GIL SyncLock *new_lock(lua_State *L, bool recursive) {
  SyncLock *l = lua_newuserdatauv(L, sizeof *l, 0);
  *l = (SyncLock){.tag = NULL};
  luaL_setmetatable(L, recursive ? RLOCK : LOCK);
  return l;
}

SyncLock *sync_lock_push(lua_State *L, bool recursive) {
  SyncLock *l = new_lock(L, recursive);
  ipc_arena *arena = arena_of(L);
  int err = ipc_lock_create(&l->os, arena, recursive);
  if (sync_made_room(L, err)) err = ipc_lock_create(&l->os, arena, recursive);
  if (err) tl_error_os(L, -err, recursive ? "RLock" : "Lock");
  l->tag = &tag;
  return l;
}

bool sync_lock_held(SyncLock *l) {
  if (is_recursive(l)) return ipc_rlock_is_mine(&l->os, key_of(bind_thread()));
  return ipc_lock_owner(&l->os) != 0;
}

static inline TL_GIL bool give(SyncLock *l) {
  ipc_lock_memory *m = l->os.memory;
  if (!m->recursive)
    return tl_likely(ipc_lockword_release_own(&m->word)) ||
           ipc_lock_release(&l->os);
  return ipc_rlock_release(&l->os, key_of(bind_thread()));
}

int sync_lock_release(lua_State *L, SyncLock *l) {
  if (tl_likely(give(l))) return 0;
  return luaL_error(L, is_recursive(l)
                           ? "cannot release an RLock that this thread does "
                             "not hold"
                           : "cannot release an unlocked Lock");
}

static inline TL_GIL ipc_outcome take(lua_State *L, SyncLock *l,
                                      int64_t deadline) {
  ipc_lock_memory *m = l->os.memory;
  if (tl_likely(!m->recursive && ipc_lockword_take_free(&m->word)))
    return IPC_TAKEN;
  return sync_wait(L, is_recursive(l) ? &rtaking : &taking, &l->os, deadline);
}

int sync_owner_died(lua_State *L) {
  return tl_error(L, "OwnerDied", "the process that held the lock has died");
}

int sync_lock_acquire(lua_State *L, SyncLock *l) {
  int64_t deadline = TL_FOREVER;
  if (tl_unlikely(lua_gettop(L) > 1)) deadline = bind_blocking(L, 2);
  ipc_outcome outcome = take(L, l, deadline);
  if (tl_unlikely(outcome == IPC_DIED)) return sync_owner_died(L);
  lua_pushboolean(L, outcome == IPC_TAKEN);
  return 1;
}

/* For a scope: whoever gets OwnerDied has no scope that releases it. */
static TL_GIL void take_scoped(lua_State *L, SyncLock *l) {
  if (tl_likely(take(L, l, TL_FOREVER) != IPC_DIED)) return;
  give(l);
  sync_owner_died(L);
}

int sync_lock_guard(lua_State *L, SyncLock *l) {
  take_scoped(L, l);
  lua_pushinteger(L, TL_GRANTED);
  return bind_guarded(L, LUA_OK, 0);
}

int sync_lock_with(lua_State *L, SyncLock *l) {
  bind_checkcallable(L, 2);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  take_scoped(L, l);
  lua_pushinteger(L, TL_GRANTED);
  return bind_within(L, LUA_OK, 0);
}

uint64_t sync_lock_give_wholly(SyncLock *l) {
  uint64_t count = 1;
  if (is_recursive(l)) {
    count = atomic_load(&l->os.memory->count);
    atomic_store(&l->os.memory->count, 1);
  }
  give(l);
  return count;
}

ipc_outcome sync_lock_retake(lua_State *L, SyncLock *l, uint64_t count) {
  ipc_outcome outcome = sync_wait(L, is_recursive(l) ? &rretaking : &retaking,
                                  &l->os, TL_FOREVER);
  if (is_recursive(l)) atomic_store(&l->os.memory->count, count);
  return outcome;
}

/* --- The classes ---------------------------------------------------------- */

static inline TL_GIL SyncLock *check_self(lua_State *L) {
  SyncLock *l = bind_checktagged(L, &tag, sizeof(SyncLock));
  sync_check_open(L, l->os.memory);
  return l;
}

static TL_GIL int lock_acquire(lua_State *L) {
  return sync_lock_acquire(L, check_self(L));
}

static TL_GIL int lock_release(lua_State *L) {
  return sync_lock_release(L, check_self(L));
}

static TL_GIL int lock_guard(lua_State *L) {
  return sync_lock_guard(L, check_self(L));
}

static TL_GIL int lock_with(lua_State *L) {
  return sync_lock_with(L, check_self(L));
}

static TL_GIL int lock_locked(lua_State *L) {
  lua_pushboolean(L, ipc_lock_owner(&check_self(L)->os) != 0);
  return 1;
}

/* Pushes who holds the RLock: a thread of this interpreter has a name. */
static TL_GIL void push_owner(lua_State *L, SyncLock *l, ipc_id owner) {
  const tl_thread *me = bind_thread();
  uint64_t key = atomic_load(&l->os.memory->thread);
  lua_Integer ident = (lua_Integer)(key ^ key_of(me) ^ (uint64_t)me->ident);
  const tl_thread *t =
      owner == ipc_self() ? tl_thread_find(me->interp, ident) : NULL;
  if (t != NULL && t->name != NULL)
    lua_pushfstring(L, "\"%s\"", t->name);
  else if (owner == ipc_self())
    lua_pushfstring(L, "%I", (LUAI_UACINT)ident);
  else
    lua_pushfstring(L, "process %d", (int)ipc_pid(owner));
}

static TL_GIL int lock_tostring(lua_State *L) {
  SyncLock *l = check_self(L);
  ipc_id owner = ipc_lock_owner(&l->os);
  if (owner == 0 || !is_recursive(l)) {
    lua_pushfstring(L, "<%s %s>", is_recursive(l) ? "RLock" : "Lock",
                    owner != 0 ? "locked" : "unlocked");
    return 1;
  }
  push_owner(L, l, owner);
  lua_pushfstring(L, "<RLock locked owner=%s count=%I>", lua_tostring(L, -1),
                  (LUAI_UACINT)atomic_load(&l->os.memory->count));
  return 1;
}

static TL_GIL int lock_gc(lua_State *L) {
  SyncLock *l = bind_checkself(L, NULL);
  l->tag = NULL;
  ipc_lock_close(&l->os);
  return 0;
}

static TL_GIL int lock_new(lua_State *L) {
  bind_noargs(L);
  sync_lock_push(L, false);
  return 1;
}

static TL_GIL int rlock_new(lua_State *L) {
  bind_noargs(L);
  sync_lock_push(L, true);
  return 1;
}

/* --- To other processes --------------------------------------------------- */

static TL_UNCHECKED int lock_pack(lua_State *L, int idx, int *fds) {
  SyncLock *l = lua_touserdata(L, idx);
  sync_check_open(L, l->os.memory);
  return sync_pack_block(L, &l->os.block, fds);
}

static TL_GIL void unpack(lua_State *L, bool recursive, int *fds, int n) {
  size_t offset = sync_unpack_block(L, n);
  SyncLock *l = new_lock(L, recursive);
  int err = ipc_lock_open(&l->os, arena_of(L), fds[0], offset);
  sync_check_opened(L, err, "Lock");
  if (is_recursive(l) != recursive) luaL_error(L, "another kind of lock");
  l->tag = &tag;
}

static TL_UNCHECKED void lock_unpack(lua_State *L, int *fds, int n) {
  unpack(L, false, fds, n);
}

static TL_UNCHECKED void rlock_unpack(lua_State *L, int *fds, int n) {
  unpack(L, true, fds, n);
}

static const tl_portable portable_lock = {
    .name = "Lock", .pack = lock_pack, .unpack = lock_unpack, .memory = true};
static const tl_portable portable_rlock = {
    .name = "RLock", .pack = lock_pack, .unpack = rlock_unpack, .memory = true};

static const luaL_Reg methods[] = {
    {"acquire", lock_acquire}, {"release", lock_release},
    {"locked", lock_locked},   {"guard", lock_guard},
    {"with", lock_with},       {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__close", lock_release},
                                       {"__gc", lock_gc},
                                       {"__tostring", lock_tostring},
                                       {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"Lock", lock_new}, {"RLock", rlock_new}, {NULL, NULL}};

TL_GIL int luaopen_tl_sync_lock(lua_State *L) {
  bind_newclass(L, LOCK, methods, metamethods);
  bind_newclass(L, RLOCK, methods, metamethods);
  tl_portable_register(L, LOCK, "tidelock._synchronize", &portable_lock);
  tl_portable_register(L, RLOCK, "tidelock._synchronize", &portable_rlock);
  luaL_newlib(L, functions);
  return 1;
}

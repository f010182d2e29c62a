/* party.h - who the processes are that share an object, and which live.
 *
 * An ipc_id names a process for as long as the machine runs: its pid, and the
 * time of its start, so that a process that gets the pid of a dead one is not
 * taken for it. 0 is nobody. It fits into IPC_ID_BITS bits: one atomic word
 * can tell who owns something and what else is to be known of it, and a
 * compare-and-swap that expects a dead owner cannot hit a living one.
 * The processes must see each other's pids (one pid namespace). exec does not
 * change it: a process that holds something must not replace itself. */
#ifndef TL_IPC_PARTY_H
#define TL_IPC_PARTY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint64_t ipc_id;
#define IPC_ID_BITS 62
#define IPC_PID_BITS 22

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "words between processes need it");

/* This process's; a forked child has its own from the first look. */
extern _Atomic ipc_id ipc_own_id; /* 0: ask ipc_identify */
ipc_id ipc_identify(void);
static inline ipc_id ipc_self(void) {
  ipc_id id = atomic_load_explicit(&ipc_own_id, memory_order_relaxed);
  return __builtin_expect(id != 0, 1) ? id : ipc_identify();
}

/* Whether any thread of that process can still do something. Three system
 * calls; where /proc cannot tell, a pid that exists is taken for alive. */
bool ipc_alive(ipc_id id);

static inline pid_t ipc_pid(ipc_id id) {
  return (pid_t)(id & ((1 << IPC_PID_BITS) - 1));
}

/* --- Taking part -----------------------------------------------------------
 *
 * Some objects want to know whether a process that is gone has ended in order
 * or was killed. Their handles in a process are members; at its orderly end
 * each of them leaves. A forked child has none. */
typedef struct ipc_member {
  struct ipc_member *next, **link; /* the list's mutex; link NULL: in none */
  ipc_id who;                      /* the process that joined by this handle */
  void (*leave)(struct ipc_member *m); /* called with no mutex held */
} ipc_member;

static inline bool ipc_has_joined(const ipc_member *m) {
  return m->who != 0 && m->who == ipc_self();
}

/* Of one handle by one thread at a time. */
void ipc_join(ipc_member *m, void (*leave)(ipc_member *m));

/* Calls leave if this process has joined by this handle. */
void ipc_leave(ipc_member *m);

/* At the orderly end of this process: all of its members leave. */
void ipc_leave_all(void);

#endif

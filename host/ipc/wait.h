/* wait.h - how a process waits for an object in shared memory.
 *
 * Each object has a function that tries to get what is waited for and else
 * tells a word to sleep on. The kernel's queue of that word is the only list
 * of sleepers, so nothing is to be repaired when one of them dies. A wake-up
 * that goes to a process which dies before it has acted on it is lost: so
 * everybody looks again after a time that grows with the time it has waited,
 * from IPC_LOOK_FIRST to IPC_LOOK_LAST, and then examines also who has died.
 *
 *   ipc_wait w = ipc_wait_start(deadline);
 *   while ((r = TRY(object, &w)) == IPC_BUSY && !w.last) {
 *     int64_t until = ipc_wait_begin(&w, deadline);
 *     ... sleep until 'until' while *w.word == w.seen ...
 *     ipc_wait_end(&w, deadline);
 *   }
 *
 * Who gives up in between, or was refused the last time, calls QUIT(object): it
 * may have taken a wake-up away from somebody. */
#ifndef TL_IPC_WAIT_H
#define TL_IPC_WAIT_H

#include "os.h"

#define IPC_LOOK_FIRST INT64_C(1000000)   /* ns */
#define IPC_LOOK_LAST INT64_C(1000000000) /* ns */

typedef enum ipc_outcome {
  IPC_BUSY,   /* not yet: sleep on w->word */
  IPC_TAKEN,  /* it is the caller's */
  IPC_DIED,   /* the same, and the process that had it died */
  IPC_BROKEN, /* of a barrier */
  IPC_ACT,    /* of a barrier: run the action */
  IPC_FULL,   /* the table in the object has no room for another process */
} ipc_outcome;

typedef struct ipc_wait {
  int64_t since; /* ns: when it was refused first; 0: not yet */
  int64_t look_at;
  bool last;         /* it does not wait any longer: takes what is reserved */
  bool slept;        /* it may take what is reserved for who has waited */
  bool patient;      /* it has waited so long that the next turn is its own */
  bool look;         /* examine who has died */
  unsigned mark;     /* the object's */
  atomic_uint *word; /* set by the try that was refused */
  unsigned seen;
} ipc_wait;

static inline ipc_wait ipc_wait_start(int64_t deadline) {
  return (ipc_wait){.last = deadline == 0};
}

/* Before a sleep; returns when it is to end at the latest. */
static inline int64_t ipc_wait_begin(ipc_wait *w, int64_t deadline) {
  if (w->since == 0) {
    w->since = os_now();
    w->look_at = w->since + IPC_LOOK_FIRST;
  }
  return deadline < w->look_at ? deadline : w->look_at;
}

static inline void ipc_wait_end(ipc_wait *w, int64_t deadline) {
  int64_t now = os_now(), waited = now - w->since;
  w->slept = true;
  w->patient = waited >= IPC_LOOK_FIRST;
  w->last = now >= deadline;
  w->look = now >= w->look_at || w->last;
  if (!w->look) return;
  if (waited < IPC_LOOK_FIRST) waited = IPC_LOOK_FIRST;
  w->look_at = now + (waited < IPC_LOOK_LAST ? waited : IPC_LOOK_LAST);
}

/* By a try that is refused: whether to examine who has died. One that does not
 * wait at all examines it if none did so lately by this handle; '*looked' is
 * its own, in ns. */
static inline bool ipc_wait_looks(ipc_wait *w, int64_t *looked) {
  if (w->look || w->slept || !w->last) {
    bool look = w->look;
    w->look = false;
    return look;
  }
  int64_t now = os_now();
  if (*looked != 0 && now - *looked < IPC_LOOK_FIRST) return false;
  *looked = now;
  return true;
}

/* The half of a word of 64 bits that its lower bits are in. */
static inline atomic_uint *ipc_low_half(_Atomic uint64_t *word) {
  return (atomic_uint *)(void *)word +
         (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 1 : 0);
}

#endif

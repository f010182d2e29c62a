/* park.h - the one way to wait inside an interpreter.
 *
 * What can be waited for is plain data guarded by the GIL, plus a wait queue.
 * Who wakes hands over what is waited for (grants it) and unlinks the waiter,
 * so that nothing is lost when the waiter meanwhile timed out or was
 * cancelled, and nobody wakes in vain. */
#ifndef TL_PARK_H
#define TL_PARK_H

#include "luagil.h"
#include "os.h"

typedef struct tl_thread tl_thread;
typedef struct tl_waiter tl_waiter;

#define TL_FOREVER OS_FOREVER

/* Zeroed memory is a valid empty queue. */
typedef struct tl_waitq {
  tl_waiter *first, *last; /* GIL */
  const char *what;        /* const: for reports, as "lock"; may be NULL */
  lua_Integer owner;       /* GIL: ident of the thread that holds it, or 0 */
} tl_waitq;

struct tl_waiter {
  tl_waiter *next, *prev;      /* GIL */
  tl_waitq *q;                 /* GIL: NULL once granted */
  tl_thread *thread;           /* const */
  lua_State *L;                /* const: the waiting state, at rest: a grant may
                                  push values on it (LUA_MINSTACK is free) */
  bool (*ready)(tl_waiter *w); /* const: see tl_wait_kind */
  void *object;                /* const: the kind's */
  int64_t since;               /* const: ns, when it began to wait */
  bool granted;                /* GIL: by who woke it */
  bool nudged;          /* GIL: told to look; cleared when it sleeps on */
  bool observer;        /* const: told of changes, never granted */
  bool polls;           /* const: its thread sleeps in poll */
  bool uninterruptible; /* const: the kind's */
};

typedef enum tl_outcome {
  TL_TIMEDOUT,    /* the deadline passed */
  TL_GRANTED,     /* what was waited for is the caller's */
  TL_INTERRUPTED, /* cancel, kill or Ctrl-C: bind_woken raises it */
} tl_outcome;

/* A kind of wait beside the plain grant. */
typedef struct tl_wait_kind {
  /* Tried by the waiter, under the GIL, each time it wakes; true: it took
   * what it waits for. Does not raise. NULL: only grants end the wait. */
  bool (*ready)(tl_waiter *w);
  /* Ends only by its grant, its ready or its deadline. */
  bool uninterruptible;
} tl_wait_kind;

/* Parks the caller on 'q' until granted, interrupted or 'deadline' (absolute
 * ns; 0: do not wait), then goes on in 'k' with the tl_outcome as an integer
 * on the top of the stack (over what a granter pushed); its result is k's.
 * Gives up the GIL. Raises, before waiting, in a finalizer. */
int tl_wait(lua_State *L, tl_waitq *q, int64_t deadline, lua_KContext ctx,
            lua_KFunction k) TL_GIL;

/* The same for another kind of wait; 'object' is for 'ready'. */
int tl_wait_when(lua_State *L, tl_waitq *q, int64_t deadline,
                 const tl_wait_kind *kind, void *object, lua_KContext ctx,
                 lua_KFunction k) TL_GIL;

/* Grants up to n waiters, longest first, and tells the observers. Returns how
 * many were granted. */
int tl_wake(tl_waitq *q, int n) TL_GIL;

/* The first waiter that can be granted, or NULL. */
tl_waiter *tl_waitq_first(const tl_waitq *q) TL_GIL;

/* How many can be granted. */
int tl_waitq_count(const tl_waitq *q) TL_GIL;

/* Unlinks w and lets it go on as granted. Push what it gets on w->L before. */
void tl_grant(tl_waiter *w) TL_GIL;

/* Lets w look whether its 'ready' holds now; it keeps its place. */
void tl_nudge(tl_waiter *w) TL_GIL;

/* Several things that are watched at once, and nothing taken from them. */
typedef struct tl_observation {
  tl_waitq **queues;
  tl_waiter *observers; /* of the queues, in the caller's memory */
  int queue_count;
  struct pollfd *fds; /* filled in; with room for one more */
  int fd_count;
} tl_observation;

/* Waits until one of the queues is woken, one of the descriptors is ready or
 * something is pending (then 1), or until the deadline (0). Negative errno: a
 * descriptor for waking or poll failed. Does not raise. */
int tl_observe(lua_State *L, const tl_observation *o, int64_t deadline) TL_GIL;

/* The same for one queue. */
void tl_observe_queue(lua_State *L, tl_waitq *q, int64_t deadline) TL_GIL;

/* Sleeps without a queue until the deadline: the time module's sleep. */
int tl_sleep(lua_State *L, int64_t deadline, lua_KContext ctx, lua_KFunction k)
    TL_GIL;

/* Waits until fd is ready for 'events' (POLLIN, POLLOUT), trying first
 * without giving up the GIL; 'what' is for reports, as "read". Returns the
 * ready events, 0 when the deadline passed, negative errno; -EINTR: something
 * is pending, call tl_check. */
int tl_wait_fd(lua_State *L, int fd, short events, int64_t deadline,
               const char *what) TL_GIL;

/* Waits until 'word', in memory that processes share, is not 'seen', or it is
 * woken, once; 'what' is for reports, as "mp lock". Returns 1: look again; 0
 * when the deadline passed; -EINTR: something is pending, call tl_check. */
int tl_wait_word(lua_State *L, atomic_uint *word, unsigned seen,
                 int64_t deadline, const char *what) TL_GIL;

/* The same, but for the word or the deadline nothing ends it but a signal, and
 * it does not raise. */
void tl_sleep_word(atomic_uint *word, unsigned seen, int64_t deadline,
                   const char *what) TL_GIL;

/* In the child of a fork: t is gone, and with it what it waited on. */
void tl_park_forget(tl_thread *t) TL_GIL;

/* A finalizer is running: nothing may wait or raise a cancel. */
bool tl_in_finalizer(lua_State *L) TL_GIL;

#endif

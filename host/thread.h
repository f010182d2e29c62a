/* thread.h - one OS thread and its lua_State in an interpreter. */
#ifndef TL_THREAD_H
#define TL_THREAD_H

#include "gil.h"
#include "park.h"

typedef struct tl_interp tl_interp;

typedef enum tl_thread_state {
  TL_THREAD_NEW,
  TL_THREAD_STARTED,
  TL_THREAD_FINISHED
} tl_thread_state;

/* What a thread is asked to do at its next safe point (bits). */
enum {
  TL_PEND_CANCEL = 1,    /* raise Cancelled once */
  TL_PEND_KILL = 2,      /* raise Killed until it has unwound */
  TL_PEND_INTERRUPT = 4, /* raise KeyboardInterrupt; main thread */
  TL_PEND_CALLS = 8,     /* run the interpreter's pending calls; main */
};

/* Where the unwinding of a killed thread stands. */
typedef enum tl_kill_phase {
  TL_KILL_NONE,
  TL_KILL_RAISED,  /* raised; what runs next decides */
  TL_KILL_CLOSING, /* inside a Lua __close, which has its time */
} tl_kill_phase;

struct tl_thread {
  tl_member member;            /* its part in the GIL */
  tl_interp *interp;           /* const */
  tl_thread *next, *prev;      /* GIL: the interpreter's started threads */
  lua_State *L;                /* GIL: its base state, NULL when finished */
  lua_State *volatile running; /* owner: the innermost state, never NULL
                                  while attached; read by its handler */
  atomic_uint pending;    /* TL_PEND_*; set under the GIL or by a handler */
  tl_thread_state state;  /* GIL */
  bool daemon;            /* GIL */
  bool defer_raise;       /* owner: a value is about to be marked for
                             closing, so no raise at the next instruction */
  bool shielded;          /* owner: see tl_shield */
  atomic_int refs;        /* the handle's, the running thread's */
  lua_Integer ident;      /* GIL: 0 before start, never used again */
  char *name;             /* GIL: malloc'd, for reports */
  char *cancel_message;   /* GIL: malloc'd, NULL none */
  tl_waitq joiners;       /* GIL */
  tl_waiter *waiting;     /* GIL: its waiters while it is parked */
  int waiting_count;      /* GIL */
  const char *blocked_in; /* GIL: a call outside, as "read"; NULL none */
  int64_t blocked_since;  /* GIL: ns */
  int64_t waits_since;    /* GIL: ns: of one wait of several sleeps; or 0 */
  size_t stack_size;      /* const once started: bytes of C stack */
  const char *stack_end;  /* owner: lowest address of its C stack; NULL: the
                             main thread's */
  int wakefd;             /* owner: -1 until its first wait for I/O */
  struct tl_reap *reap;   /* GIL: how its OS thread is joined later */
  struct {                /* the preemption hook; owner, and its handler */
    lua_State *volatile armed; /* the state that has our hook */
    lua_Hook hook;             /* what the state had */
    int mask, count;
    volatile bool changing; /* owner: its handler leaves hooks alone */
  } preempt;
  tl_kill_phase kill_phase;  /* owner */
  lua_State *kill_state;     /* owner: where that __close runs */
  int kill_depth;            /* owner: call depth of the __close */
  int64_t kill_deadline;     /* owner: end of the closing time; 0 not begun */
  char table_key, state_key; /* their addresses are registry keys */
};

extern _Thread_local tl_thread *tl_current
    __attribute__((tls_model("initial-exec")));

/* This OS thread's, NULL when it is attached to no interpreter. */
static inline tl_thread *tl_self(void) {
  return tl_current;
}

/* A thread that has not started, with one reference for the caller; NULL
 * without memory. */
tl_thread *tl_thread_new(tl_interp *in) TL_GIL;
void tl_thread_ref(tl_thread *t);
void tl_thread_unref(tl_thread *t);

/* 0, or -ENOMEM with the old name kept. */
int tl_thread_setname(tl_thread *t, const char *name) TL_GIL;

/* Starts t: a new OS thread calls 'main' (a C function that does not raise
 * but for lack of memory) with the value at 'anchor' and the n values above
 * it; L loses the n values. The anchor is kept alive until the thread has
 * finished. 'stack': bytes of C stack. Raises or returns negative errno with
 * nothing started; the registry may keep a state then, for tl_thread_unanchor.
 */
int tl_thread_start(lua_State *L, tl_thread *t, lua_CFunction main, int anchor,
                    int n, size_t stack) TL_GIL;

/* The main thread of an interpreter that is being opened: the caller. */
void tl_thread_adopt(tl_thread *t, lua_State *L) TL_GIL;

/* Ends the calling thread's part in its interpreter; t->L may be gone. */
void tl_thread_leave(tl_thread *t) TL_GIL;

/* In the child of a fork: the thread with this ident ran when it was made, and
 * is not here. */
bool tl_thread_vanished(tl_interp *in, lua_Integer ident) TL_GIL;

/* The thread with this ident, or NULL: it has ended. */
tl_thread *tl_thread_find(tl_interp *in, lua_Integer ident) TL_GIL;

/* Pushes the anchor of a started thread, or nil. */
void tl_thread_pushanchor(lua_State *L, tl_thread *t) TL_GIL;
void tl_thread_setanchor(lua_State *L, tl_thread *t) TL_GIL; /* pops it */

/* Forgets what the registry has of t: it has finished, or will never start. */
void tl_thread_unanchor(lua_State *L, tl_thread *t) TL_GIL;

/* Pushes the table that belongs to t (weak keys): thread-local values. */
void tl_thread_pushtable(lua_State *L, tl_thread *t) TL_GIL;

/* Makes t raise at its next safe point or wait (TL_PEND_*). */
void tl_thread_interrupt(tl_thread *t, unsigned what) TL_GIL;

/* The same for a cancel with a message (NULL: none). False without memory. */
bool tl_thread_cancel(tl_thread *t, const char *message) TL_GIL;

/* The caller's target has returned or was unwound: what was to be raised in it
 * is forgotten. */
void tl_thread_unwound(tl_thread *t) TL_GIL;

/* Gives up the GIL around a call that may block and touches no Lua; 'what'
 * names it in reports (NULL: it does not block). Keeps errno. The call ends
 * early with EINTR when a signal comes; tl_check afterwards runs what is
 * pending. */
void tl_block_begin(tl_thread *t, const char *what) TL_GIL_LOSE;
void tl_block_end(tl_thread *t) TL_GIL_GAIN;

/* The descriptor that an interrupt of t makes readable, to be polled beside
 * others; opened at first use. Negative errno. */
int tl_thread_wakefd(tl_thread *t) TL_GIL;

/* The caller's name if 'address' lies about the end of its C stack, where its
 * guard page is, or NULL. Async-signal-safe. */
const char *tl_thread_overflowed(const void *address);

/* Joins the OS threads that have ended. */
void tl_thread_reap(tl_interp *in, bool wait) TL_GIL;

/* In the child of a fork: the calling thread is the only one. */
void tl_threads_after_fork(tl_thread *me) TL_GIL;

#endif

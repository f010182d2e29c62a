/* interp.h - one heap: its global state, GIL, allocator and threads. */
#ifndef TL_INTERP_H
#define TL_INTERP_H

#include "alloc.h"
#include "pending.h"
#include "thread.h"

#define TL_PENDING_CALLS 8

struct tl_interp {
  lua_State *L; /* const: the main state */
  tl_gil gil;
  tl_gil_stats past;      /* GIL: of the threads that have ended */
  tl_alloc alloc;         /* GIL */
  tl_thread *main;        /* GIL: changes in a fork's child only */
  tl_thread *threads;     /* GIL: started and attached ones, main first */
  tl_thread *vanished;    /* GIL: of a fork's child: those it does not have */
  int thread_count;       /* GIL: of that list */
  lua_Integer last_ident; /* GIL */
  lua_Integer last_thread_number; /* GIL: of a default name */
  tl_waitq ended;                 /* GIL: woken whenever a thread ends */
  struct tl_reap { /* GIL: OS threads that have ended or soon will */
    os_thread thread;
    struct tl_reap *next;
  } * reap;
  bool closing; /* GIL: no new threads */
  bool forked;  /* GIL: a fork's child; never closed */
  atomic_uintptr_t calls[TL_PENDING_CALLS]; /* tl_pending_call; set anywhere */
  lua_CFunction pcall, xpcall; /* const: Lua's; NULL before the libraries */
  size_t stack_size;           /* GIL: bytes of C stack for new threads */
};

/* The smallest and the usual C stack of a thread, in bytes. Lua's own limits
 * are reached only after up to 415 KiB of it. */
#define TL_STACK_MIN ((size_t)(OS_SANITIZED ? 4 : 1) * 512 * 1024)
#define TL_STACK_USUAL (2 * TL_STACK_MIN)

/* Opens an interpreter whose main thread is the caller, which holds its GIL
 * then. NULL without memory. No libraries are open yet. */
tl_interp *tl_interp_open(void) TL_GIL_GAIN;

/* Ends it: joins non-daemon threads, cancels and kills the others, closes the
 * state. Main thread. False if a thread could not be ended: nothing was
 * freed then and the process must end by _exit. */
bool tl_interp_close(tl_interp *in) TL_GIL_LOSE;

/* The first part of that, which may raise (Ctrl-C): waits for the non-daemon
 * threads. */
void tl_interp_join(lua_State *L) TL_GIL;

/* Pops a function; tl_interp_join calls it after the threads have ended, the
 * last one added first. */
void tl_interp_atexit(lua_State *L) TL_GIL;

/* Pops a function; tl_interp_leave calls it with the exit code. It is for what
 * is to be done whichever way the process ends by itself: after tl_interp_join,
 * or by os.exit. What it raises is dropped. */
void tl_interp_atleave(lua_State *L) TL_GIL;
void tl_interp_leave(lua_State *L, int code) TL_GIL;

static inline tl_interp *tl_interp_of(lua_State *L) {
  return *(tl_interp **)lua_getextraspace(L);
}

#endif

/* tidelock.h - Lua 5.4 with threads that share one heap behind a GIL: the
 * interface for programs that embed it.
 *
 * An interpreter is one Lua heap, its global interpreter lock and its threads.
 * Only the thread that holds the GIL may call Lua's API with one of its
 * states. Functions marked (GIL) are to be called by the holder. */
#ifndef TIDELOCK_H
#define TIDELOCK_H

#include <lua.h>

#include "tidelock/export.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tl_interp tl_interp;

/* Once per process, before the first tl_open, on a thread with the signal mask
 * that child processes shall have. Installs the handler of the preemption
 * signal, SIGURG. Returns 0 or a negative errno. */
TL_API int tl_init(void);

/* Allows multiprocessing to fork this process (0: forbids it, as at first). The
 * child has a copy of everything, but only the thread that forked; locks that
 * other threads of the program held stay locked in it, and it ends by _exit.
 * Without this processes are started by a fork server, which is the program
 * tidelock, found beside the library. From any thread. */
TL_API void tl_allow_fork(int allow);

/* Opens an interpreter. The caller is its main thread and holds its GIL. No
 * library is open yet. NULL: no memory. */
TL_API tl_interp *tl_open(void);

/* The main thread's state. */
TL_API lua_State *tl_state(tl_interp *in);

/* (GIL) Opens Lua's standard libraries, replaces what blocks or switches
 * coroutines, and makes tidelock's modules available to require. Raises for
 * lack of memory. */
TL_API void tl_openlibs(lua_State *L);

/* (GIL) Waits, the GIL given up, until no other non-daemon thread is left,
 * then runs the exit functions. Raises KeyboardInterrupt, and may be called
 * again then. Main thread. */
TL_API void tl_join(lua_State *L);

/* (GIL) Cancels the remaining threads, kills them after a second, and closes
 * the state; the caller holds no GIL then. Nonzero: a thread could not be
 * ended within another second. Nothing was freed then, and the process must
 * end by _exit. Main thread. */
TL_API int tl_close(tl_interp *in);

/* KeyboardInterrupt in the main thread, at its next safe point or in the call
 * that it is blocked in. From any thread or signal handler. Nonzero if the
 * interrupt before it is still pending. */
TL_API int tl_interrupt(tl_interp *in);

/* A report of all threads to stderr, by the main thread at its next safe
 * point. From any thread or signal handler. */
TL_API void tl_request_dump(tl_interp *in);

/* For a handler of SIGSEGV on the alternate stack (every thread that the
 * interpreter starts has one): the name of the calling thread if 'address',
 * where the fault was, lies about the end of its C stack; or NULL. */
TL_API const char *tl_overflowed(const void *address);

/* Around a call that may block and touches no Lua: tl_unlock gives the GIL up,
 * by its holder; tl_lock takes it again, waiting for it. Both keep errno. */
TL_API void tl_unlock(lua_State *L);
TL_API void tl_lock(lua_State *L);

/* (GIL) A safe point, for C functions that work long without calling Lua: runs
 * what is pending for the calling thread, and raises what is to be raised in
 * it, as KeyboardInterrupt. */
TL_API void tl_safepoint(lua_State *L);

/* (GIL) Waits, the GIL given up, until fd is readable. Returns 0 or a negative
 * errno; raises KeyboardInterrupt and the like. */
TL_API int tl_readline_fd(lua_State *L, int fd);

/* (GIL) Whether the value at idx is a KeyboardInterrupt. */
TL_API int tl_is_interrupt(lua_State *L, int idx);

/* (GIL) A message handler: a string gets its traceback appended, an error
 * value keeps it in its field "traceback". */
TL_API int tl_traceback(lua_State *L);

/* (GIL) 1 in the child of a fork by multiprocessing, which must end by _exit;
 * else 0. */
TL_API int tl_forked(lua_State *L);

#ifdef __cplusplus
}
#endif

#endif

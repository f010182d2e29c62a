/* thread_handle.h - threading.Thread, as the files about it share it.
 *
 * The handle is a userdata over a tl_thread, anchored in the registry while
 * the thread runs. */
#ifndef TL_THREAD_HANDLE_H
#define TL_THREAD_HANDLE_H

#include "bind.h"

#define THREAD "threading.Thread"

/* Its user values. */
enum {
  THREAD_FIELDS = 1, /* what a script stores in it */
  THREAD_WORK,       /* target and arguments, later the results or the error */
  THREAD_TRACE,      /* the error's traceback */
  THREAD_CLASS,      /* the table of a subclass */
  THREAD_VALUES = THREAD_CLASS
};

typedef enum thread_result_kind {
  THREAD_NO_RESULT,
  THREAD_RETURNED,
  THREAD_RAISED,
  THREAD_LOST, /* there was no memory for its result */
} thread_result_kind;

typedef struct Thread {
  tl_thread *t;              /* const; NULL only in a dead object */
  size_t stack_size;         /* const; 0: the interpreter's */
  thread_result_kind result; /* GIL: set by the thread before it finishes */
} Thread;

/* Argument 1 of a method. A finalizer may come across a handle that has been
 * finalized before. */
static inline TL_GIL Thread *thread_check(lua_State *L) {
  Thread *th = bind_checkself(L, THREAD);
  if (tl_unlikely(th->t == NULL)) luaL_error(L, "the thread was collected");
  return th;
}

/* Pushes the handle of a thread that has started. The main thread gets one
 * when it is first asked for. */
void thread_push(lua_State *L, tl_thread *t) TL_GIL;

/* The value at idx, of argument 'arg', as the size of a stack in bytes; 0: the
 * usual one. */
size_t thread_check_stack_size(lua_State *L, int idx, int arg) TL_GIL;

/* The methods of the class that thread_run.c has. */
int thread_start(lua_State *L) TL_GIL;
int thread_run(lua_State *L) TL_GIL;
int thread_join(lua_State *L) TL_GIL;
int thread_result(lua_State *L) TL_GIL;

/* Calls threading.excepthook for the error at idx, an absolute index, that has
 * ended the calling thread, whose handle is at 1; should the hook itself raise,
 * both errors are written to standard error. */
void thread_report(lua_State *L, int idx) TL_GIL;

#endif

/* handle.h - another process as Lua sees it: the class of multiprocessing's
 * and subprocess's handles.
 *
 * It is a child, forked or started, which is reaped through it; or the parent,
 * whose end can only be waited for, as can that of a child of the process that
 * has forked this one (its exit code is not told: 1); or a child of a fork
 * server, which tells the exit code. It is known by a pidfd, which is closed as
 * soon as the end has been noticed, unless it was handed out as a sentinel. A
 * handle of the parent travels to other processes. Lua calls wait, poll,
 * signal, sentinel, pid and close; it takes part in threading.wait_any. A child
 * that still runs when its handle is collected goes to the reaper of child.c.
 */
#ifndef TL_HANDLE_H
#define TL_HANDLE_H

#include "child.h"
#include "users.h"

#define TL_HANDLE "process.Handle"

typedef struct tl_handle {
  os_child os;
  tl_child *place; /* GIL: for when the reaper gets it; NULL: not a child */
  pid_t pid;       /* GIL: 0 not started */
  bool child;      /* GIL: to be reaped; otherwise it is another's child, or the
                      parent */
  bool ended;      /* GIL */
  bool given;      /* GIL: the descriptor is a sentinel */
  int exitcode;    /* GIL: once ended: of a child, minus a signal's number */
  tl_users users;  /* GIL: threads that poll the descriptor */
  int status;      /* GIL: where the fork server tells the code; -1: nowhere */
  bool untold;     /* GIL: it has gone without telling it */
} tl_handle;

/* Makes the class if there is none, and adds methods to it (NULL: none). */
void tl_handle_open(lua_State *L, const luaL_Reg *methods) TL_GIL;

/* Pushes a handle of no process yet: of a child, or of the parent. */
tl_handle *tl_handle_new(lua_State *L, bool child) TL_GIL;

/* Argument 1 of a method or of a function; raises unless it is a handle, and
 * if it has been started, or if there is no descriptor left with which this
 * thread could wait for the process. */
tl_handle *tl_handle_checknew(lua_State *L) TL_GIL;

/* The child that os_child_start or os_child_adopt has put into h->os, with
 * errno as they left it, is the handle's now. Raises OSError if it has no
 * pidfd: a child that cannot be watched is killed and reaped. */
void tl_handle_started(lua_State *L, tl_handle *h) TL_GIL;

/* The handle, which was not started, is from now on that of a process
 * that a fork server has made; it takes both descriptors over. */
void tl_handle_watch(tl_handle *h, pid_t pid, int pidfd, int status) TL_GIL;

/* Whether the process has ended, without waiting. Reaps a child. */
bool tl_handle_look(tl_handle *h) TL_GIL;

/* Closes what is no longer needed. */
void tl_handle_tidy(tl_handle *h) TL_GIL;

#endif

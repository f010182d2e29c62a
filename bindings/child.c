/* child.c - see child.h. Children that nobody waits for stand in a list of
 * the interpreter and are looked at whenever it opens a file or starts a
 * process, and once more when it closes. A process that still runs then is
 * left to init, as it would be by any parent that ends. */
#include "child.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "runtime.h"

typedef struct reaper {
  tl_child *left; /* GIL */
} reaper;

struct tl_child {
  os_child os;
  reaper *reaper; /* const */
  tl_child *next; /* GIL: in the reaper's list */
};

static const char reaper_key; /* its address is the registry's key */

static TL_GIL reaper *get_reaper(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &reaper_key);
  reaper *r = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return r;
}

void tl_child_free(tl_child *c) {
  if (c) os_child_forget(&c->os);
  free(c);
}

static TL_GIL void reap_ended(reaper *r) {
  for (tl_child **p = &r->left; *p;) {
    tl_child *c = *p;
    int status;
    if (os_child_poll(&c->os, &status)) {
      *p = c->next;
      tl_child_free(c);
    } else {
      p = &c->next;
    }
  }
}

static TL_GIL int reaper_gc(lua_State *L) {
  reaper *r = lua_touserdata(L, 1);
  reap_ended(r);
  while (r->left) {
    tl_child *c = r->left;
    r->left = c->next;
    tl_child_free(c);
  }
  return 0;
}

void tl_child_open(lua_State *L) {
  if (get_reaper(L)) return;
  reaper *r = lua_newuserdatauv(L, sizeof *r, 0);
  *r = (reaper){0};
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, reaper_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &reaper_key);
}

void tl_child_reap(lua_State *L) {
  reaper *r = get_reaper(L);
  if (tl_unlikely(r->left != NULL)) reap_ended(r);
}

tl_child *tl_child_place(lua_State *L) {
  tl_child *c = malloc(sizeof *c);
  if (c) *c = (tl_child){.reaper = get_reaper(L)};
  return c;
}

void tl_child_leave(tl_child *place, os_child *os) {
  place->os = *os;
  *os = (os_child){0};
  tl_child_drop(place);
}

tl_child *tl_child_shell(lua_State *L, const char *command, const int fds[3],
                         int *err) {
  tl_child_reap(L);
  tl_child *c = tl_child_place(L);
  *err = ENOMEM;
  if (!c) return NULL;
  *err = -os_child_shell(&c->os, command, fds, tl_runtime_sigmask());
  if (*err == 0) return c;
  free(c);
  return NULL;
}

void tl_child_drop(tl_child *c) {
  c->next = c->reaper->left;
  c->reaper->left = c;
  reap_ended(c->reaper);
}

/* Without a pidfd: not interruptible. */
static TL_GIL void wait_blind(tl_thread *t, tl_child *c, int *status) {
  tl_block_begin(t, "wait");
  os_child_wait(&c->os, status);
  tl_block_end(t);
}

static TL_GIL int run_pending(lua_State *L) {
  tl_check(L);
  return 0;
}

/* Something is pending. What it raises ends the wait. */
static TL_GIL void serve(lua_State *L, tl_child *c) {
  lua_pushcfunction(L, run_pending);
  if (lua_pcall(L, 0, 0, 0) == LUA_OK) return;
  tl_child_drop(c);
  lua_error(L);
}

/* Puts the first Ctrl-C by; a patient wait asks for it again in the end. */
static TL_GIL bool put_by(tl_thread *t) {
  if (atomic_load(&t->pending) != TL_PEND_INTERRUPT) return false;
  atomic_fetch_and(&t->pending, ~(unsigned)TL_PEND_INTERRUPT);
  return true;
}

static TL_GIL void wait_end(lua_State *L, tl_thread *t, tl_child *c,
                            int *status, bool patient) {
  bool interrupted = false;
  while (!os_child_poll(&c->os, status)) {
    int ready = tl_wait_fd(L, c->os.pidfd, POLLIN, TL_FOREVER, "process");
    if (ready == -EINTR) {
      if (patient && !interrupted && put_by(t))
        interrupted = true;
      else
        serve(L, c);
    } else if (ready < 0) {
      wait_blind(t, c, status);
      break;
    }
  }
  if (interrupted) tl_thread_interrupt(t, TL_PEND_INTERRUPT);
}

int tl_child_wait(lua_State *L, tl_child *c, bool patient) {
  tl_thread *t = tl_self();
  int status;
  bool alone = tl_closes_alone(L);
  if (tl_in_finalizer(L) && !alone) {
    if (!os_child_poll(&c->os, &status)) {
      tl_child_drop(c);
      return luaL_error(L, "cannot wait in a finalizer");
    }
  } else if (alone || c->os.pidfd < 0) {
    wait_blind(t, c, &status);
  } else {
    wait_end(L, t, c, &status, patient);
  }
  tl_child_free(c);
  return status;
}

int tl_child_result(lua_State *L, int status) {
  errno = status < 0 ? -status : 0;
  return luaL_execresult(L, status);
}

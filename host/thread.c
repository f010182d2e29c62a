/* thread.c - starts, finishes and interrupts threads. */
#include "thread.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "interp.h"
#include "pending.h"
#include "preempt.h"
#include "weak.h"

_Thread_local tl_thread *tl_current __attribute__((tls_model("initial-exec")));

tl_thread *tl_thread_new(tl_interp *in) {
  tl_thread *t = calloc(1, sizeof *t);
  if (!t) return NULL;
  tl_member_init(&t->member);
  t->interp = in;
  t->wakefd = -1;
  t->joiners.what = "thread";
  atomic_init(&t->refs, 1);
  return t;
}

void tl_thread_ref(tl_thread *t) {
  atomic_fetch_add(&t->refs, 1);
}

void tl_thread_unref(tl_thread *t) {
  if (atomic_fetch_sub(&t->refs, 1) > 1) return;
  os_close(t->wakefd);
  free(t->name);
  free(t->cancel_message);
  free(t);
}

int tl_thread_setname(tl_thread *t, const char *name) {
  char *copy = strdup(name);
  if (!copy) return -ENOMEM;
  free(t->name);
  t->name = copy;
  return 0;
}

/* --- the interpreter's list of threads -------------------------------------
 */

static TL_GIL void enlist(tl_thread *t) {
  tl_interp *in = t->interp;
  tl_thread *last = in->threads;
  t->ident = ++in->last_ident;
  t->state = TL_THREAD_STARTED;
  t->next = NULL;
  in->thread_count++;
  if (!last) {
    t->prev = t; /* the first one's 'prev' is the last of all */
    in->threads = t;
    return;
  }
  last = in->threads->prev;
  last->next = t;
  t->prev = last;
  in->threads->prev = t;
}

static TL_GIL void delist(tl_thread *t) {
  tl_interp *in = t->interp;
  tl_thread *first = in->threads;
  if (t->next)
    t->next->prev = t->prev;
  else
    first->prev = t->prev;
  if (t == first)
    in->threads = t->next;
  else
    t->prev->next = t->next;
  t->next = t->prev = NULL;
  t->state = TL_THREAD_FINISHED;
  in->thread_count--;
}

/* --- registry --------------------------------------------------------------
 */

void tl_thread_pushanchor(lua_State *L, tl_thread *t) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, t);
}

void tl_thread_setanchor(lua_State *L, tl_thread *t) {
  lua_rawsetp(L, LUA_REGISTRYINDEX, t);
}

void tl_thread_pushtable(lua_State *L, tl_thread *t) {
  tl_weak_push(L, &t->table_key);
}

void tl_thread_unanchor(lua_State *L, tl_thread *t) {
  const void *keys[] = {t, &t->table_key, &t->state_key};
  for (int i = 0; i < 3; i++) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, keys[i]) != LUA_TNIL) {
      lua_pushnil(L); /* the entry exists: this allocates nothing */
      lua_rawsetp(L, LUA_REGISTRYINDEX, keys[i]);
    }
    lua_pop(L, 1);
  }
}

/* --- a thread's life -------------------------------------------------------
 */

/* What a Lua thread does on its OS thread. The function at the bottom of its
 * stack runs inside a protected call: an error without a handler would jump
 * onto the main thread's C stack. */
static TL_UNCHECKED void *thread_body(void *arg) {
  tl_thread *t = arg;
  tl_interp *in = t->interp;
  t->stack_end = (char *)__builtin_frame_address(0) - t->stack_size;
  tl_current = t;
  tl_member_begin(&t->member);
  tl_gil_acquire(&in->gil, &t->member, TL_WOKEN);
  lua_State *L = t->L;
  if (t->name) os_thread_name(t->name);
  tl_preempt_running(t, L);
  if (tl_is_pending(t)) tl_preempt_arm(t);
  lua_pcall(L, lua_gettop(L) - 1, 0, 0);
  lua_settop(L, 0);
  tl_thread_leave(t);
  tl_gil_release(&in->gil, &t->member);
  tl_current = NULL;
  tl_thread_unref(t);
  return NULL;
}

void tl_thread_leave(tl_thread *t) {
  tl_interp *in = t->interp;
  delist(t);
  tl_gil_add_stats(&in->gil, &t->member, &in->past);
  struct tl_reap *reap = t->reap;
  t->reap = NULL;
  if (reap) {
    reap->next = in->reap;
    in->reap = reap;
  }
  os_close(t->wakefd);
  t->wakefd = -1;
  tl_thread_unanchor(t->L, t);
  t->L = NULL;
  tl_wake(&t->joiners, INT_MAX);
  tl_wake(&in->ended, INT_MAX);
}

void tl_thread_adopt(tl_thread *t, lua_State *L) {
  t->L = L;
  t->running = L;
  tl_current = t;
  enlist(t);
}

int tl_thread_start(lua_State *L, tl_thread *t, lua_CFunction main, int anchor,
                    int n, size_t stack) {
  tl_interp *in = t->interp;
  if (in->closing) return -ECANCELED;
  anchor = lua_absindex(L, anchor);
  int err = tl_gil_share(&in->gil);
  if (err) return err;
  tl_thread_reap(in, false);
  lua_State *co = lua_newthread(L);
  tl_preempt_newstate(NULL, co); /* hooks are the creator's */
  if (!lua_checkstack(co, n + LUA_MINSTACK))
    return luaL_error(L, "too many arguments to a thread");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &t->state_key);
  lua_pushvalue(L, anchor);
  lua_rawsetp(L, LUA_REGISTRYINDEX, t);
  lua_pushcfunction(co, main);
  lua_pushvalue(L, anchor);
  lua_xmove(L, co, 1);
  lua_xmove(L, co, n);
  t->L = co;
  t->running = co;
  t->stack_size = stack;
  struct tl_reap *reap = malloc(sizeof *reap);
  tl_thread_ref(t);
  enlist(t);
  err = -ENOMEM;
  if (reap) {
    err = os_thread_start(&reap->thread, stack, tl_preempt_signal(),
                          thread_body, t);
  }
  if (err) {
    free(reap);
    tl_thread_unanchor(L, t);
    delist(t);
    t->L = NULL;
    t->ident = 0;
    t->state = TL_THREAD_NEW;
    tl_thread_unref(t);
    return err;
  }
  t->reap = reap;
  return 0;
}

void tl_thread_reap(tl_interp *in, bool wait) {
  int tries = 4; /* each start joins more threads than it makes */
  for (struct tl_reap **p = &in->reap, *r; (r = *p) != NULL;) {
    if (wait) {
      *p = r->next;
      tl_thread *t = tl_self();
      tl_block_begin(t, "join");
      os_thread_join(r->thread);
      tl_block_end(t);
      p = &in->reap;
    } else if (os_thread_tryjoin(r->thread)) {
      *p = r->next;
    } else {
      if (--tries == 0) return;
      p = &r->next;
      continue;
    }
    free(r);
  }
}

bool tl_thread_vanished(tl_interp *in, lua_Integer ident) {
  tl_thread *t = in->vanished;
  while (t && t->ident != ident)
    t = t->next;
  return t != NULL;
}

tl_thread *tl_thread_find(tl_interp *in, lua_Integer ident) {
  tl_thread *t = in->threads;
  while (t && t->ident != ident)
    t = t->next;
  return t;
}

/* --- interruption and blocking calls ---------------------------------------
 */

void tl_thread_interrupt(tl_thread *t, unsigned what) {
  if (t->state != TL_THREAD_STARTED) return;
  atomic_fetch_or(&t->pending, what);
  tl_preempt_arm(t);
  if (t == tl_self()) return;
  if (t->member.asleep) tl_gil_nudge(&t->member);
  if (t->wakefd >= 0) os_wakefd_set(t->wakefd);
  if (t->blocked_in) tl_preempt_poke(t);
}

bool tl_thread_cancel(tl_thread *t, const char *message) {
  char *copy = message ? strdup(message) : NULL;
  if (message && !copy) return false;
  free(t->cancel_message);
  t->cancel_message = copy;
  tl_thread_interrupt(t, TL_PEND_CANCEL);
  return true;
}

void tl_thread_unwound(tl_thread *t) {
  atomic_store(&t->pending, 0);
  t->kill_phase = TL_KILL_NONE;
  t->running = t->L;
  tl_preempt_moved(t);
}

TL_UNCHECKED void tl_block_begin(tl_thread *t, const char *what) {
  t->blocked_in = what;
  t->blocked_since = t->waits_since ? t->waits_since : os_now();
  tl_gil_release(&t->interp->gil, &t->member);
}

TL_UNCHECKED void tl_block_end(tl_thread *t) {
  tl_gil_acquire(&t->interp->gil, &t->member, TL_OUTSIDE);
  t->blocked_in = NULL;
  if (tl_unlikely(tl_is_pending(t))) tl_preempt_arm(t);
}

const char *tl_thread_overflowed(const void *address) {
  const ptrdiff_t near = 64L * 1024;
  tl_thread *t = tl_current;
  if (!t || !t->stack_end) return NULL;
  ptrdiff_t above = (const char *)address - t->stack_end;
  return above < near && above > -near ? t->name : NULL;
}

int tl_thread_wakefd(tl_thread *t) {
  if (t->wakefd < 0) {
    int fd = os_wakefd_open();
    if (fd < 0) return fd;
    t->wakefd = fd;
  }
  return t->wakefd;
}

void tl_threads_after_fork(tl_thread *me) {
  tl_interp *in = me->interp;
  for (tl_thread *t = in->threads, *next; t; t = next) {
    next = t->next;
    if (t == me) continue;
    tl_park_forget(t);
    delist(t);
    os_close(t->wakefd);
    t->wakefd = -1;
    /* Its reference is never given back: its state may still be in use by
     * objects that name it. */
    t->next = in->vanished;
    in->vanished = t;
  }
  /* Stacks and descriptors of the others: the former are the C library's, the
   * latter must not be shared with the parent. */
  in->reap = NULL;
  os_close(me->wakefd);
  me->wakefd = -1;
  me->reap = NULL;
  atomic_store(&me->pending, 0);
  me->defer_raise = false;
  me->kill_phase = TL_KILL_NONE; /* it lives, whoever was killed */
  me->kill_deadline = 0;
  in->main = me;
  in->forked = true;
}

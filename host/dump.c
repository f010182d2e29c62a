/* dump.c - a report of every thread, in the way of faulthandler and jstack.
 * All other threads rest while the caller holds the GIL, so their stacks can
 * be read. */
#include "dump.h"

#include <stdio.h>
#include <unistd.h>

#include "interp.h"

static double seconds_since(int64_t then) {
  return (double)(os_now() - then) / 1e9;
}

/* Pushes who owns what is waited for: a thread that may have ended. */
static TL_GIL void push_owner(lua_State *L, tl_interp *in, lua_Integer owner) {
  const tl_thread *t = tl_thread_find(in, owner);
  if (t && t->name)
    lua_pushfstring(L, ", owned by \"%s\"", t->name);
  else
    lua_pushfstring(L, ", owned by thread %I, which has ended",
                    (LUAI_UACINT)owner);
}

/* Pushes "blocked on lock for 1.2 s, owned by worker-1", or another state. */
static TL_GIL void push_state(lua_State *L, tl_thread *t) {
  char since[32];
  if (t == tl_self()) {
    lua_pushliteral(L, "running");
  } else if (t->waiting && !t->waiting->granted && !t->blocked_in) {
    tl_waiter *w = t->waiting;
    const char *what = !w->q                  ? "sleep"
                       : t->waiting_count > 1 ? "several things"
                       : w->q->what           ? w->q->what
                                              : "something";
    snprintf(since, sizeof since, "%.3f", seconds_since(w->since));
    lua_pushfstring(L, "blocked on %s for %s s", what, since);
    if (w->q && w->q->owner) {
      push_owner(L, t->interp, w->q->owner);
      lua_concat(L, 2);
    }
  } else if (t->blocked_in) {
    snprintf(since, sizeof since, "%.3f", seconds_since(t->blocked_since));
    lua_pushfstring(L, "blocked in %s for %s s", t->blocked_in, since);
  } else {
    lua_pushliteral(L, "ready, waiting for the GIL");
  }
}

void tl_dump_push(lua_State *L) {
  tl_interp *in = tl_interp_of(L);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_pushfstring(L, "Threads of this interpreter: %d\n", in->thread_count);
  for (tl_thread *t = in->threads; t; t = t->next) {
    lua_pushfstring(L, "\nThread \"%s\" ident=%I%s: ", t->name ? t->name : "?",
                    (LUAI_UACINT)t->ident, t->daemon ? " daemon" : "");
    push_state(L, t);
    lua_pushliteral(L, "\n");
    lua_concat(L, 4);
    luaL_traceback(L, t->running, NULL, 0);
    lua_pushliteral(L, "\n");
    lua_concat(L, 3);
  }
}

void tl_dump_stderr(lua_State *L) {
  tl_dump_push(L);
  size_t left;
  const char *s = lua_tolstring(L, -1, &left);
  while (left > 0) {
    ssize_t n = write(STDERR_FILENO, s, left);
    if (n <= 0) break;
    s += n;
    left -= (size_t)n;
  }
  lua_pop(L, 1);
}

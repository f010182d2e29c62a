/* preempt.c - how a thread that runs Lua is made to look up.
 *
 * A standing count hook halves the VM's speed whatever its count, so there is
 * none. Whoever wants the holder of the GIL to look up sends it a signal; the
 * handler, on the holder's own thread, sets a line hook on the innermost
 * running state, the one thing that Lua's manual allows there; the VM calls the
 * hook at its next backward jump, line or call of a Lua function, and the hook
 * gives way and raises what is pending. SIGURG, as in Go: ignored by default,
 * let through by debuggers, meaningful to almost nobody.
 *
 * Not a count hook: right after a hook the VM still looks for hooks at each
 * instruction, so one that is set at that moment would be called in the middle
 * of an "n = n + 1". Without debug information there are no lines, but jumps
 * and calls all the same.
 *
 * Of lines it is not exact either. The VM looks for hooks also after what its
 * fast paths leave to a function (an absent key, a new one, a metamethod, a
 * step of the collector), and it has not noted which line it is on while there
 * was none: then it takes the middle of a line for its beginning.
 *
 * A request can be lost between two instructions of the VM's hook code, so
 * gil.c repeats it, and each change of the innermost state carries it along
 * (tl_preempt_moved). At most one state per thread is armed, and
 * t->preempt says what hook it had.
 *
 * The script's own hook (debug.sethook) shares the place: while armed, its
 * other events are passed on. Lua tells nobody how far a count hook has
 * counted, so re-arming one would start it afresh and a large count would
 * never be reached: states with a script's count hook are not armed; their
 * count is cut into chunks, and the hook looks up at each chunk.
 *
 * With TL_HOOK_COUNTING every state has a standing hook instead of signals:
 * ThreadSanitizer holds signals back from a thread that does not call libc. */
#include "preempt.h"

#include <errno.h>
#include <signal.h>

#include "interp.h"
#include "pending.h"
#include "watchdog.h"
#include "weak.h"

#define CHUNK 1000           /* instructions between looks, when counting */
#define KILL_CLOSE 100000000 /* ns for all Lua __close of a killed thread */

static const char hooks_key; /* registry: weak table, state -> script_hook */

/* What debug.sethook was asked for; user value 1 is the function. */
typedef struct ScriptHook {
  int mask, count; /* the script's */
  int left;        /* of count, when the current chunk began */
  int chunk;       /* what Lua counts down now */
} ScriptHook;

static void one_shot(lua_State *L, lua_Debug *ar) TL_GIL;
static void script_hook(lua_State *L, lua_Debug *ar) TL_GIL;

/* A new coroutine copies its creator's hook, but has no function of its own
 * yet: debug.sethook's hook does nothing there. */
static void inherited_hook(lua_State *L, lua_Debug *ar) {
  (void)L, (void)ar;
}

#ifdef TL_HOOK_COUNTING
static void counting_hook(lua_State *L, lua_Debug *ar) TL_GIL;
#define BASE_HOOK counting_hook, LUA_MASKCOUNT, CHUNK
#else
#define BASE_HOOK NULL, 0, 0
#endif

/* What a state has that nobody has hooked. */
static void set_base_hook(lua_State *L) {
  lua_sethook(L, BASE_HOOK);
}

/* --- arming --------------------------------------------------------------- */

/* Async-signal-safe; on t's own thread, or by the holder while t rests. */
static TL_UNCHECKED void arm(tl_thread *t) {
  lua_State *L = t->running;
  lua_Hook hook = lua_gethook(L);
  int mask = hook ? lua_gethookmask(L) : 0;
  if (hook == one_shot) {
    /* Again, because the VM, about to note that there is no hook any more,
     * may have missed that there is a new one. */
    lua_sethook(L, one_shot, mask, lua_gethookcount(L));
    return;
  }
  if (hook == script_hook && (mask & LUA_MASKCOUNT)) return;
#ifdef TL_HOOK_COUNTING
  if (hook == counting_hook) { /* it looks at the next instruction */
    lua_sethook(L, hook, mask, 1);
    return;
  }
#endif
  /* Who removed the hook will again, perhaps on each line: a return will do. */
  int also = t->preempt.armed == L ? LUA_MASKRET : 0;
  t->preempt.hook = hook;
  t->preempt.mask = mask;
  t->preempt.count = hook ? lua_gethookcount(L) : 0;
  t->preempt.armed = L;
  lua_sethook(L, one_shot, mask | LUA_MASKLINE | also, 0);
}

/* Gives the armed state its own hook back. A request that comes meanwhile is
 * seen by the caller, who looks at the flags afterwards: a handler in the
 * middle of lua_sethook would take half a hook for the state's own. */
static void disarm(tl_thread *t) {
  lua_State *L = t->preempt.armed;
  if (!L) return;
  t->preempt.changing = true;
  if (lua_gethook(L) == one_shot) {
    if (t->preempt.hook)
      lua_sethook(L, t->preempt.hook, t->preempt.mask, t->preempt.count);
    else
      set_base_hook(L);
  }
  t->preempt.armed = NULL;
  t->preempt.changing = false;
}

static bool is_wanted(tl_thread *t) {
  return tl_is_pending(t) || atomic_load(&t->member.drop_request);
}

void tl_preempt_arm(tl_thread *t) {
  if (t->running) arm(t);
}

/* L has calls on its stack and has not ended by an error. */
static TL_GIL bool is_active(lua_State *L) {
  lua_Debug ar;
  return lua_status(L) == LUA_OK && lua_getstack(L, 0, &ar);
}

void tl_preempt_moved(tl_thread *t) {
  disarm(t);
  if (t->kill_phase == TL_KILL_RAISED ||
      (t->kill_phase == TL_KILL_CLOSING && !is_active(t->kill_state)))
    t->kill_phase = TL_KILL_NONE;
  if (is_wanted(t)) arm(t);
}

static TL_UNCHECKED void on_signal(int signal) {
  (void)signal;
  tl_thread *t = tl_current;
  if (!t || !t->running) return;
  int saved = errno;
  bool pending = tl_is_pending(t);
  if (pending) {
    tl_gil_nudge(&t->member);
    if (t->wakefd >= 0) os_wakefd_set(t->wakefd);
  }
  if (!t->preempt.changing && tl_gil_held(&t->interp->gil, &t->member) &&
      (pending || atomic_load(&t->member.drop_request)))
    arm(t);
  errno = saved;
}

int tl_preempt_signal(void) {
  return SIGURG;
}

int tl_preempt_install(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  return sigaction(tl_preempt_signal(), &action, NULL) == 0 ? 0 : -errno;
}

void tl_preempt_poke(tl_thread *t) {
  if (t == tl_current)
    on_signal(tl_preempt_signal());
  else
    os_thread_signal(atomic_load(&t->member.thread), tl_preempt_signal());
}

void tl_preempt_ask(pid_t holder) {
#ifdef TL_HOOK_COUNTING
  (void)holder; /* its hook looks at drop_request */
#else
  os_thread_signal(holder, tl_preempt_signal());
#endif
}

/* --- the safe point ------------------------------------------------------- */

/* The number of calls on L's stack. */
static TL_GIL int depth_of(lua_State *L) {
  lua_Debug ar;
  int low = 0, high = 1;
  while (lua_getstack(L, high, &ar)) {
    low = high;
    high *= 2;
  }
  while (low < high) {
    int middle = (low + high) / 2;
    if (lua_getstack(L, middle, &ar))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

void tl_preempt_unwind(lua_State *L, tl_thread *t) {
  if (t->kill_deadline == 0) t->kill_deadline = os_deadline(KILL_CLOSE);
  t->kill_phase = TL_KILL_RAISED;
  disarm(t);
  /* Whatever is called before another instruction runs is a __close. */
  t->preempt.hook = NULL;
  t->preempt.mask = t->preempt.count = 0;
  t->preempt.armed = L;
  lua_sethook(L, one_shot, LUA_MASKCALL | LUA_MASKCOUNT, 1);
}

/* A Lua __close runs: left alone but for its end and its time. */
static TL_GIL bool is_still_closing(lua_State *L, tl_thread *t, lua_Debug *ar) {
  bool own = L == t->kill_state;
  if (ar->event == LUA_HOOKCALL) return true;
  if (ar->event == LUA_HOOKRET && own && depth_of(L) <= t->kill_depth) {
    t->kill_phase = TL_KILL_RAISED;
    lua_sethook(L, one_shot, LUA_MASKCALL | LUA_MASKCOUNT, 1);
    return true;
  }
  bool inside = !own || depth_of(L) >= t->kill_depth;
  if (inside && os_now() < t->kill_deadline) {
    tl_gil_yield(&t->interp->gil, &t->member);
    return true;
  }
  t->kill_phase = TL_KILL_NONE;
  return false;
}

/* An event in a thread that is being killed. True: nothing to be raised. */
static TL_GIL bool is_closing(lua_State *L, tl_thread *t, lua_Debug *ar) {
  if (t->kill_phase == TL_KILL_CLOSING) return is_still_closing(L, t, ar);
  if (ar->event != LUA_HOOKCALL) return false;
  t->kill_phase = TL_KILL_CLOSING;
  t->kill_state = L;
  t->kill_depth = depth_of(L);
  lua_sethook(L, one_shot, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, CHUNK);
  return true;
}

static TL_GIL ScriptHook *push_record(lua_State *L, lua_State *L1);

static TL_GIL void set_script_hook(lua_State *L1, ScriptHook *s) {
  int mask = s->mask;
#ifdef TL_HOOK_COUNTING
  if (!(mask & LUA_MASKCOUNT)) s->chunk = CHUNK;
  mask |= LUA_MASKCOUNT;
#endif
  lua_sethook(L1, script_hook, mask, s->chunk);
}

/* The C hook that a record needs, or its lack. A request that comes meanwhile
 * is the caller's to see, as in disarm. */
static TL_GIL void set_hook(tl_thread *me, lua_State *L1, ScriptHook *s) {
  me->preempt.changing = true;
  if (s)
    set_script_hook(L1, s);
  else
    set_base_hook(L1);
  me->preempt.changing = false;
}

/* Makes L look up at its next instruction, also if it has a hook that counts
 * and so is never armed. */
static TL_GIL void look_soon(lua_State *L, tl_thread *t) {
  lua_Hook hook = lua_gethook(L);
  int mask = lua_gethookmask(L);
  if (hook == script_hook && (mask & LUA_MASKCOUNT)) {
    ScriptHook *s = push_record(L, L);
    if (s) s->chunk = 1;
    lua_pop(L, 1);
    lua_sethook(L, hook, mask, 1);
  } else {
    arm(t);
    if (lua_gethook(L) == one_shot)
      lua_sethook(L, one_shot, lua_gethookmask(L) | LUA_MASKCOUNT, 1);
  }
}

/* Gives way if asked to, then raises what is pending; true if that is to be
 * done at the next instruction. */
static TL_GIL bool look_up(lua_State *L, tl_thread *t) {
  tl_watchdog(L, t);
  tl_gil_yield(&t->interp->gil, &t->member);
  if (tl_likely(!tl_is_pending(t))) return false;
  if (t->defer_raise) {
    t->defer_raise = false; /* a value to be closed is marked first */
    return true;
  }
  tl_check(L);
  return false;
}

/* Calls the hook that the armed state had, if it is for this event. */
static TL_GIL void pass_on(lua_State *L, tl_thread *t, lua_Debug *ar) {
  int event = ar->event == LUA_HOOKTAILCALL ? LUA_HOOKCALL : ar->event;
  if (t->preempt.hook && (t->preempt.mask & (1 << event)))
    t->preempt.hook(L, ar);
}

static void one_shot(lua_State *L, lua_Debug *ar) {
  tl_thread *t = tl_self();
  if (L != t->preempt.armed) {
    set_hook(t, L, push_record(L, L)); /* a stray: of a C module while armed */
    lua_pop(L, 1);
  } else {
    if (t->kill_phase != TL_KILL_NONE && is_closing(L, t, ar)) return;
    pass_on(L, t, ar);
    if (ar->event == LUA_HOOKRET && !(t->preempt.mask & LUA_MASKRET))
      look_soon(L, t);
    if (ar->event != LUA_HOOKLINE && ar->event != LUA_HOOKCOUNT) return;
    disarm(t);
  }
  bool put_off = look_up(L, t);
  disarm(t);
  if (put_off)
    look_soon(L, t);
  else if (tl_is_pending(t))
    arm(t);
}

/* --- the script's hook ---------------------------------------------------- */

/* Pushes the record of L1 and returns it, or pushes nil. */
static TL_GIL ScriptHook *push_record(lua_State *L, lua_State *L1) {
  tl_weak_push(L, &hooks_key);
  lua_pushthread(L1);
  lua_xmove(L1, L, 1);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  return lua_touserdata(L, -1);
}

static int next_chunk(const ScriptHook *s) {
  return s->left < CHUNK ? s->left : CHUNK;
}

static TL_GIL void call_script(lua_State *L, lua_Debug *ar) {
  static const char *const events[] = {"call", "return", "line", "count",
                                       "tail call"};
  lua_getiuservalue(L, -1, 1);
  lua_pushstring(L, events[ar->event]);
  if (ar->currentline >= 0)
    lua_pushinteger(L, ar->currentline);
  else
    lua_pushnil(L);
  lua_call(L, 2, 0);
}

/* True if the script's count is reached. */
static TL_GIL bool count_down(lua_State *L, ScriptHook *s) {
  bool counts = s->mask & LUA_MASKCOUNT; /* else it is for our sake only */
  if (counts) s->left -= s->chunk;
  bool reached = counts && s->left <= 0;
  if (reached) s->left = s->count;
  int chunk = counts ? next_chunk(s) : CHUNK;
  if (chunk != s->chunk) {
    s->chunk = chunk;
    lua_sethook(L, script_hook, lua_gethookmask(L), chunk);
  }
  return reached;
}

static void script_hook(lua_State *L, lua_Debug *ar) {
  ScriptHook *s = push_record(L, L);
  if (s && (ar->event != LUA_HOOKCOUNT || count_down(L, s))) call_script(L, ar);
  lua_pop(L, 1);
  tl_thread *t = tl_self();
  if (ar->event == LUA_HOOKCOUNT && is_wanted(t) && look_up(L, t))
    look_soon(L, t);
}

/* The thread that has armed L1, or NULL. */
static TL_GIL tl_thread *armed_by(lua_State *L1) {
  tl_thread *t = tl_interp_of(L1)->threads;
  while (t && t->preempt.armed != L1)
    t = t->next;
  return t;
}

void tl_sethook(lua_State *L, lua_State *L1, int mask, int count) {
  int function = lua_gettop(L);
  bool off = lua_isnil(L, function) || mask == 0;
  tl_weak_push(L, &hooks_key);
  lua_pushthread(L1);
  lua_xmove(L1, L, 1);
  ScriptHook *s = NULL;
  if (off) {
    lua_pushnil(L);
  } else {
    s = lua_newuserdatauv(L, sizeof *s, 1);
    *s = (ScriptHook){.mask = mask, .count = count, .left = count};
    s->chunk = next_chunk(s);
    lua_pushvalue(L, function);
    lua_setiuservalue(L, -2, 1);
  }
  lua_rawset(L, -3);
  tl_thread *me = tl_self(), *t = armed_by(L1);
  if (t) disarm(t);
  set_hook(me, L1, s);
  if (t && is_wanted(t)) arm(t);
  if (is_wanted(me)) arm(me);
  lua_settop(L, function - 1);
}

bool tl_gethook(lua_State *L, lua_State *L1, int *mask, int *count) {
  lua_Hook hook = lua_gethook(L1);
  *mask = lua_gethookmask(L1);
  *count = lua_gethookcount(L1);
  tl_thread *t = armed_by(L1);
  if (t && hook == one_shot) {
    hook = t->preempt.hook;
    *mask = t->preempt.mask;
    *count = t->preempt.count;
  }
#ifdef TL_HOOK_COUNTING
  if (hook == counting_hook) hook = NULL;
#endif
  if (!hook || hook == one_shot) return false;
  if (hook == script_hook) {
    ScriptHook *s = push_record(L, L1);
    if (!s) return true;
    *mask = s->mask;
    *count = s->count;
    lua_getiuservalue(L, -1, 1);
    lua_remove(L, -2);
  } else if (hook == inherited_hook) {
    lua_pushnil(L);
  } else {
    lua_pushliteral(L, "external hook");
  }
  return true;
}

void tl_preempt_newstate(lua_State *from, lua_State *made) {
  if (tl_likely(from && lua_gethook(made) == NULL)) return;
  int mask = 0, count = 0;
  if (from && tl_gethook(made, from, &mask, &count)) {
    lua_pop(made, 1);
    lua_sethook(made, inherited_hook, mask, count);
  } else {
    set_base_hook(made);
  }
}

#ifdef TL_HOOK_COUNTING
static void counting_hook(lua_State *L, lua_Debug *ar) {
  tl_thread *t = tl_self();
  if (lua_gethookcount(L) != CHUNK) set_base_hook(L); /* see arm */
  if (t->kill_phase != TL_KILL_NONE && is_closing(L, t, ar)) return;
  if (is_wanted(t) && look_up(L, t)) look_soon(L, t);
}
#endif

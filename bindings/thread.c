/* thread.c - threading.Thread and the functions about threads.
 * Documented in types/threading.lua.
 *
 * The handle is a userdata over a tl_thread, anchored in the registry while
 * the thread runs. Its user values: FIELDS, what a script stores in it; WORK,
 * the target and arguments, later the results or the error; TRACE, the error's
 * traceback; CLASS, the table of a subclass. */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "bind.h"
#include "dump.h"
#include "modules.h"
#include "waitable.h"

#define THREAD "threading.Thread"

enum { FIELDS = 1, WORK, TRACE, CLASS, USERVALUES = CLASS };

typedef enum Result { NO_RESULT, RETURNED, RAISED } Result;

typedef struct Thread {
  tl_thread *t;      /* const; NULL only in a dead object */
  size_t stack_size; /* const; 0: the interpreter's */
  Result result;     /* GIL: set by the thread before it finishes */
} Thread;

static const char module_key; /* registry: the module's table */

static TL_GIL Thread *check_thread(lua_State *L) {
  return bind_checkself(L, THREAD);
}

/* A new handle on the top of the stack, over t, whose reference it takes. */
static TL_GIL Thread *push_handle(lua_State *L, tl_thread *t) {
  Thread *th = lua_newuserdatauv(L, sizeof *th, USERVALUES);
  *th = (Thread){.t = NULL};
  luaL_setmetatable(L, THREAD);
  th->t = t;
  return th;
}

/* Pushes the handle of a thread that has started. The main thread gets one
 * when it is first asked for. */
static TL_GIL void push_thread(lua_State *L, tl_thread *t) {
  tl_thread_pushanchor(L, t);
  if (!lua_isnil(L, -1)) return;
  lua_pop(L, 1);
  Thread *th = push_handle(L, NULL);
  tl_thread_ref(t);
  th->t = t;
  lua_pushvalue(L, -1);
  tl_thread_setanchor(L, t);
}

/* --- making one ------------------------------------------------------------
 */

/* Pushes the name of the function at idx as its maker knows it, from the
 * locals of the calling function or the globals, or nil. */
static TL_GIL void push_target_name(lua_State *L, int idx) {
  lua_Debug ar;
  if (!lua_isfunction(L, idx)) {
    lua_pushnil(L);
    return;
  }
  for (int level = 1; level <= 2 && lua_getstack(L, level, &ar); level++) {
    const char *name;
    for (int i = 1; (name = lua_getlocal(L, &ar, i)) != NULL; i++) {
      bool same = name[0] != '(' && lua_rawequal(L, -1, idx);
      lua_pop(L, 1);
      if (same) {
        lua_pushstring(L, name);
        return;
      }
    }
    lua_getinfo(L, "f", &ar);
    for (int i = 1; (name = lua_getupvalue(L, -1, i)) != NULL; i++) {
      bool same = name[0] != '\0' && lua_rawequal(L, -1, idx);
      lua_pop(L, 1);
      if (same) {
        lua_pop(L, 1);
        lua_pushstring(L, name);
        return;
      }
    }
    lua_pop(L, 1);
  }
  lua_pushglobaltable(L);
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING && lua_rawequal(L, -1, idx)) {
      lua_pop(L, 1);
      lua_remove(L, -2);
      return;
    }
  }
  lua_pop(L, 1);
  lua_pushnil(L);
}

static TL_GIL void set_default_name(lua_State *L, Thread *th, int target) {
  lua_Integer n = ++th->t->interp->last_thread_number;
  push_target_name(L, target);
  if (lua_isnil(L, -1))
    lua_pushfstring(L, "Thread-%I", (LUAI_UACINT)n);
  else
    lua_pushfstring(L, "Thread-%I (%s)", (LUAI_UACINT)n, lua_tostring(L, -1));
  if (tl_thread_setname(th->t, lua_tostring(L, -1)) < 0)
    luaL_error(L, "not enough memory");
  lua_pop(L, 2);
}

static TL_GIL void set_name(lua_State *L, Thread *th, int arg) {
  const char *name = luaL_tolstring(L, arg, NULL);
  if (tl_thread_setname(th->t, name) < 0) luaL_error(L, "not enough memory");
  lua_pop(L, 1);
}

static TL_GIL size_t check_stack_size(lua_State *L, int arg) {
  lua_Integer size = luaL_checkinteger(L, arg);
  luaL_argcheck(L, size == 0 || size >= (lua_Integer)TL_STACK_MIN, arg,
                "stack size too small");
  luaL_argcheck(L, size <= (lua_Integer)1 << 40, arg, "stack size too large");
  return (size_t)size;
}

/* Thread(class, target, ...) or Thread(class, {target, args, name, daemon,
 * stack_size}); class is nil or a table with 'run' and 'init'. */
static TL_GIL int thread_new(lua_State *L) {
  static const char *const options[] = {"target", "args",       "name",
                                        "daemon", "stack_size", NULL};
  enum { CLASS_ARG = 1, TARGET, ARGS, NAME, DAEMON, STACK };
  if (bind_options(L, TARGET, options)) {
    if (!lua_isnil(L, TARGET)) bind_checkcallable(L, TARGET);
    if (lua_isnil(L, ARGS)) {
      lua_newtable(L);
      lua_replace(L, ARGS);
    }
    luaL_checktype(L, ARGS, LUA_TTABLE);
  } else {
    if (lua_isnone(L, TARGET)) lua_settop(L, TARGET);
    if (!lua_isnil(L, TARGET)) bind_checkcallable(L, TARGET);
    int n = lua_gettop(L) - TARGET;
    lua_createtable(L, n, 1);
    lua_insert(L, ARGS);
    for (int i = n; i >= 1; i--)
      lua_rawseti(L, ARGS, i);
    lua_pushinteger(L, n);
    lua_setfield(L, ARGS, "n");
    lua_settop(L, STACK);
  }
  size_t stack = lua_isnil(L, STACK) ? 0 : check_stack_size(L, STACK);
  tl_interp *in = tl_interp_of(L);
  /* Lua would not run the finalizer of an object made in its last collection.
   */
  if (in->closing)
    return luaL_error(L, "can't create a thread: the interpreter is closing");
  Thread *th = push_handle(L, NULL);
  th->t = tl_thread_new(in);
  if (!th->t) return luaL_error(L, "not enough memory");
  th->stack_size = stack;
  th->t->daemon =
      lua_isnil(L, DAEMON) ? tl_self()->daemon : lua_toboolean(L, DAEMON);
  if (lua_isnil(L, NAME))
    set_default_name(L, th, TARGET);
  else
    set_name(L, th, NAME);
  lua_pushvalue(L, TARGET);
  lua_rawseti(L, ARGS, 0); /* the target stays beside its arguments */
  if (!lua_isnil(L, CLASS_ARG)) {
    lua_pushvalue(L, CLASS_ARG);
    lua_setiuservalue(L, -2, CLASS);
  }
  lua_pushvalue(L, ARGS);
  lua_setiuservalue(L, -2, WORK);
  return 1;
}

/* --- running it ------------------------------------------------------------
 */

/* The message handler of a thread: leaves the error as it is and keeps its
 * traceback in the handle. */
static TL_GIL int keep_traceback(lua_State *L) {
  tl_thread_pushanchor(L, tl_self());
  luaL_traceback(L, L, NULL, 1);
  if (tl_error_isvalue(L, 1)) {
    lua_settop(L, 3);
    lua_pushcfunction(L, tl_error_traceback);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 0);
  }
  lua_setiuservalue(L, 2, TRACE);
  lua_settop(L, 1);
  return 1;
}

/* Calls threading.excepthook with {thread, value, traceback}. */
static TL_GIL int call_excepthook(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key);
  lua_getfield(L, -1, "excepthook");
  lua_createtable(L, 0, 3);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "thread");
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "value");
  lua_getiuservalue(L, 1, TRACE);
  lua_setfield(L, -2, "traceback");
  lua_call(L, 1, 0);
  return 0;
}

static TL_GIL int to_text(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

/* Pushes the text of a value, or its type if its __tostring fails. */
static TL_GIL const char *push_text(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  lua_pushcfunction(L, to_text);
  lua_pushvalue(L, idx);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, idx));
    lua_remove(L, -2);
  }
  return lua_tostring(L, -1);
}

/* An error that ended a thread: handle at 1, error at 'value'. */
static TL_GIL void report(lua_State *L, int value) {
  lua_pushcfunction(L, call_excepthook);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, value);
  if (lua_pcall(L, 2, 0, 0) == LUA_OK) return;
  fprintf(stderr, "Exception in threading.excepthook: %s\n", push_text(L, -1));
  fprintf(stderr, "Original exception, in thread %s: %s\n", tl_self()->name,
          push_text(L, value));
}

/* The bottom of a thread's stack: handle, function, arguments. */
static TL_GIL int thread_main(lua_State *L) {
  Thread *th = lua_touserdata(L, 1);
  lua_pushcfunction(L, keep_traceback);
  lua_insert(L, 2);
  int status = lua_pcall(L, lua_gettop(L) - 3, LUA_MULTRET, 2);
  tl_thread_unwound(th->t);
  int n = lua_gettop(L) - 2;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_createtable(L, n, 1);
  lua_insert(L, 3);
  for (int i = n; i >= 1; i--)
    lua_rawseti(L, 3, i);
  lua_pushinteger(L, n);
  lua_setfield(L, 3, "n");
  lua_pushvalue(L, 3);
  lua_setiuservalue(L, 1, WORK);
  th->result = status == LUA_OK ? RETURNED : RAISED;
  if (status != LUA_OK) {
    lua_rawgeti(L, 3, 1);
    if (!tl_error_is(L, -1, "Cancelled")) report(L, lua_gettop(L));
  }
  return 0;
}

/* Pushes what the thread is to call: the method 'run' of a subclass with the
 * handle, or the target with its arguments. Returns the number of values. */
static TL_GIL int push_work(lua_State *L, int handle) {
  if (lua_getiuservalue(L, handle, CLASS) == LUA_TTABLE &&
      lua_getfield(L, -1, "run") != LUA_TNIL) {
    lua_remove(L, -2);
    lua_pushvalue(L, handle);
    return 2;
  }
  lua_settop(L, handle);
  lua_getiuservalue(L, handle, WORK);
  int work = lua_gettop(L);
  lua_Integer n = lua_getfield(L, work, "n") == LUA_TNUMBER
                      ? lua_tointeger(L, -1)
                      : (lua_Integer)lua_rawlen(L, work);
  lua_pop(L, 1);
  luaL_argcheck(L, n >= 0 && n < INT_MAX / 2, handle, "bad field 'n' of args");
  luaL_checkstack(L, (int)n + LUA_MINSTACK, "too many arguments to a thread");
  lua_rawgeti(L, work, 0);
  for (int i = 1; i <= (int)n; i++)
    lua_rawgeti(L, work, i);
  lua_remove(L, work);
  return (int)n + 1;
}

static TL_GIL int do_nothing(lua_State *L) {
  (void)L;
  return 0;
}

static TL_GIL int thread_start(lua_State *L) {
  Thread *th = check_thread(L);
  if (th->t->state != TL_THREAD_NEW)
    return luaL_error(L, "threads can only be started once");
  lua_settop(L, 1);
  int n = push_work(L, 1);
  if (lua_isnil(L, 2)) {
    lua_pushcfunction(L, do_nothing);
    lua_replace(L, 2);
  }
  size_t stack = th->stack_size ? th->stack_size : th->t->interp->stack_size;
  int err = tl_thread_start(L, th->t, thread_main, 1, n, stack);
  if (err == -ECANCELED)
    return luaL_error(L, "can't start a thread: the interpreter is closing");
  if (err < 0)
    return luaL_error(L, "can't start a new thread: %s", strerror(-err));
  lua_pushnil(L); /* the thread has them now */
  lua_setiuservalue(L, 1, WORK);
  lua_settop(L, 1);
  return 1;
}

/* What a thread without a subclass does; a subclass may call it. */
static TL_GIL int thread_run(lua_State *L) {
  check_thread(L);
  lua_settop(L, 1);
  int n = push_work(L, 1);
  if (lua_isnil(L, 2)) return 0;
  lua_call(L, n - 1, 0);
  return 0;
}

/* --- waiting for it --------------------------------------------------------
 */

static TL_GIL void check_joinable(lua_State *L, Thread *th) {
  if (th->t->state == TL_THREAD_NEW)
    luaL_error(L, "cannot join a thread before it is started");
  if (th->t == tl_self()) luaL_error(L, "cannot join the current thread");
}

static TL_GIL int joined(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  lua_pushboolean(L, bind_woken(L));
  return 1;
}

static TL_GIL int thread_join(lua_State *L) {
  Thread *th = check_thread(L);
  int64_t deadline = bind_deadline(L, 2);
  check_joinable(L, th);
  if (th->t->state != TL_THREAD_FINISHED)
    return tl_wait(L, &th->t->joiners, deadline, 0, joined);
  lua_pushboolean(L, true);
  return 1;
}

static TL_GIL int give_result(lua_State *L, Thread *th) {
  lua_getiuservalue(L, 1, WORK);
  int work = lua_gettop(L);
  if (th->result == RAISED) {
    lua_rawgeti(L, work, 1);
    return lua_error(L);
  }
  if (th->result == NO_RESULT) return 0;
  lua_getfield(L, work, "n");
  int n = (int)lua_tointeger(L, -1);
  luaL_checkstack(L, n, "too many results");
  for (int i = 1; i <= n; i++)
    lua_rawgeti(L, work, i);
  return n;
}

static TL_GIL int result_awaited(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  if (!bind_woken(L))
    return tl_error(L, "TimeoutError", "the thread has not finished in time");
  return give_result(L, lua_touserdata(L, 1));
}

static TL_GIL int thread_result(lua_State *L) {
  Thread *th = check_thread(L);
  int64_t deadline = bind_deadline(L, 2);
  check_joinable(L, th);
  if (th->t->state != TL_THREAD_FINISHED)
    return tl_wait(L, &th->t->joiners, deadline, 0, result_awaited);
  return give_result(L, th);
}

/* --- ending it -------------------------------------------------------------
 */

static TL_GIL int thread_cancel(lua_State *L) {
  Thread *th = check_thread(L);
  const char *message = luaL_optstring(L, 2, NULL);
  bool alive = th->t->state == TL_THREAD_STARTED;
  if (alive && !tl_thread_cancel(th->t, message))
    return luaL_error(L, "not enough memory");
  lua_pushboolean(L, alive);
  return 1;
}

static TL_GIL int thread_kill(lua_State *L) {
  Thread *th = check_thread(L);
  bool alive = th->t->state == TL_THREAD_STARTED;
  if (alive) tl_thread_interrupt(th->t, TL_PEND_KILL);
  lua_pushboolean(L, alive);
  return 1;
}

static TL_GIL int thread_gc(lua_State *L) {
  Thread *th = lua_touserdata(L, 1);
  tl_thread *t = th->t;
  th->t = NULL;
  if (t) tl_thread_unref(t);
  return 0;
}

/* --- attributes ------------------------------------------------------------
 */

static TL_GIL int thread_is_alive(lua_State *L) {
  lua_pushboolean(L, check_thread(L)->t->state == TL_THREAD_STARTED);
  return 1;
}

static TL_GIL int thread_tostring(lua_State *L) {
  static const char *const states[] = {"initial", "started", "stopped"};
  tl_thread *t = check_thread(L)->t;
  lua_pushfstring(L, "<Thread \"%s\" %s%s", t->name, states[t->state],
                  t->daemon ? " daemon" : "");
  if (t->ident)
    lua_pushfstring(L, " ident=%I>", (LUAI_UACINT)t->ident);
  else
    lua_pushliteral(L, ">");
  lua_concat(L, 2);
  return 1;
}

/* The new thread tells its id when it first runs: a moment at most. */
static TL_GIL int32_t native_id(tl_thread *t) {
  while (t->state == TL_THREAD_STARTED && !atomic_load(&t->member.thread)) {
    tl_block_begin(tl_self(), "start");
    sched_yield();
    tl_block_end(tl_self());
  }
  return atomic_load(&t->member.thread);
}

static TL_GIL void push_id(lua_State *L, lua_Integer id) {
  if (id)
    lua_pushinteger(L, id);
  else
    lua_pushnil(L);
}

/* Pushes an attribute; false if there is none of that name. */
static TL_GIL bool push_attribute(lua_State *L, Thread *th, const char *key) {
  if (strcmp(key, "name") == 0)
    lua_pushstring(L, th->t->name);
  else if (strcmp(key, "daemon") == 0)
    lua_pushboolean(L, th->t->daemon);
  else if (strcmp(key, "ident") == 0)
    push_id(L, th->t->ident);
  else if (strcmp(key, "native_id") == 0)
    push_id(L, native_id(th->t));
  else
    return false;
  return true;
}

/* handle[key]: the script's fields, its class, methods, attributes. Upvalue 2
 * is the table of methods. */
static TL_GIL int thread_index(lua_State *L) {
  Thread *th = check_thread(L);
  for (int from = FIELDS; from <= CLASS; from += CLASS - FIELDS) {
    if (lua_getiuservalue(L, 1, from) == LUA_TTABLE) {
      lua_pushvalue(L, 2);
      if (lua_gettable(L, -2) != LUA_TNIL) return 1;
    }
    lua_settop(L, 2);
  }
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) return 1;
  if (lua_type(L, 2) == LUA_TSTRING &&
      push_attribute(L, th, lua_tostring(L, 2)))
    return 1;
  lua_pushnil(L);
  return 1;
}

static TL_GIL int thread_newindex(lua_State *L) {
  Thread *th = check_thread(L);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "name") == 0) {
    set_name(L, th, 3);
  } else if (strcmp(key, "daemon") == 0) {
    if (th->t->state == TL_THREAD_STARTED)
      return luaL_error(L, "cannot set daemon status of an active thread");
    th->t->daemon = lua_toboolean(L, 3);
  } else if (strcmp(key, "ident") == 0 || strcmp(key, "native_id") == 0) {
    return luaL_error(L, "attribute '%s' of a thread is read-only", key);
  } else {
    if (lua_getiuservalue(L, 1, FIELDS) != LUA_TTABLE) {
      lua_newtable(L);
      lua_pushvalue(L, -1);
      lua_setiuservalue(L, 1, FIELDS);
      lua_replace(L, -2);
    }
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_settable(L, -3);
  }
  return 0;
}

/* --- functions of the module ------------------------------------------------
 */

static TL_GIL int current_thread(lua_State *L) {
  push_thread(L, tl_self());
  return 1;
}

static TL_GIL int main_thread(lua_State *L) {
  push_thread(L, tl_interp_of(L)->main);
  return 1;
}

static TL_GIL int get_ident(lua_State *L) {
  lua_pushinteger(L, tl_self()->ident);
  return 1;
}

static TL_GIL int get_native_id(lua_State *L) {
  lua_pushinteger(L, os_thread_id());
  return 1;
}

static TL_GIL int active_count(lua_State *L) {
  lua_pushinteger(L, tl_interp_of(L)->thread_count);
  return 1;
}

/* Allocating may let another thread end only if a finalizer runs Lua for long
 * enough to be preempted; finalizers are not. */
static TL_GIL int enumerate(lua_State *L) {
  tl_interp *in = tl_interp_of(L);
  lua_createtable(L, in->thread_count, 0);
  lua_Integer n = 0;
  for (tl_thread *t = in->threads; t; t = t->next) {
    push_thread(L, t);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

static TL_GIL int stack_size(lua_State *L) {
  tl_interp *in = tl_interp_of(L);
  size_t before = in->stack_size;
  if (!lua_isnoneornil(L, 1)) {
    size_t size = check_stack_size(L, 1);
    in->stack_size = size ? size : TL_STACK_USUAL;
  }
  lua_pushinteger(L, (lua_Integer)before);
  return 1;
}

static TL_GIL int dump_string(lua_State *L) {
  tl_dump_push(L);
  return 1;
}

/* Tells the C side which table's excepthook to call. */
static TL_GIL int set_module(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &module_key);
  return 0;
}

static const luaL_Reg methods[] = {
    {"cancel", thread_cancel}, {"is_alive", thread_is_alive},
    {"join", thread_join},     {"kill", thread_kill},
    {"result", thread_result}, {"run", thread_run},
    {"start", thread_start},   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__gc", thread_gc},
                                       {"__newindex", thread_newindex},
                                       {"__tostring", thread_tostring},
                                       {NULL, NULL}};
static const luaL_Reg functions[] = {{"Thread", thread_new},
                                     {"active_count", active_count},
                                     {"current_thread", current_thread},
                                     {"dump_string", dump_string},
                                     {"enumerate", enumerate},
                                     {"get_ident", get_ident},
                                     {"get_native_id", get_native_id},
                                     {"main_thread", main_thread},
                                     {"set_module", set_module},
                                     {"stack_size", stack_size},
                                     {NULL, NULL}};

static bool is_ready(lua_State *L, int idx) TL_GIL;
static bool is_ready(lua_State *L, int idx) {
  return ((Thread *)lua_touserdata(L, idx))->t->state == TL_THREAD_FINISHED;
}

static tl_waitq *queue_of(lua_State *L, int idx) TL_GIL;
static tl_waitq *queue_of(lua_State *L, int idx) {
  return &((Thread *)lua_touserdata(L, idx))->t->joiners;
}

static const tl_waitable waitable = {.ready = is_ready, .queue = queue_of};

int luaopen_tl_thread(lua_State *L) {
  bind_newclass(L, THREAD, methods, metamethods);
  waitable_register(L, THREAD, &waitable);
  /* Its own __index: what bind_newclass made of the methods serves it. */
  luaL_getmetatable(L, THREAD);
  lua_pushvalue(L, -1);
  lua_getfield(L, -1, "__index");
  lua_remove(L, -2);
  lua_pushvalue(L, -2);
  lua_insert(L, -2);
  lua_pushcclosure(L, thread_index, 2);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}

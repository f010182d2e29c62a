/* thread.c - threading.Thread: the class, and its attributes.
 * Documented in types/threading.lua. */
#include <sched.h>
#include <string.h>

#include "modules.h"
#include "thread_handle.h"
#include "waitable.h"

/* A new handle on the top of the stack, over t, whose reference it takes. */
static TL_GIL Thread *push_handle(lua_State *L, tl_thread *t) {
  Thread *th = lua_newuserdatauv(L, sizeof *th, THREAD_VALUES);
  *th = (Thread){.t = NULL};
  luaL_setmetatable(L, THREAD);
  th->t = t;
  return th;
}

void thread_push(lua_State *L, tl_thread *t) {
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

size_t thread_check_stack_size(lua_State *L, int idx, int arg) {
  int is_integer;
  lua_Integer size = lua_tointegerx(L, idx, &is_integer);
  luaL_argcheck(L, is_integer, arg, "stack size must be an integer");
  luaL_argcheck(L, size == 0 || size >= (lua_Integer)TL_STACK_MIN, arg,
                "stack size too small");
  luaL_argcheck(L, size <= (lua_Integer)1 << 40, arg, "stack size too large");
  return (size_t)size;
}

/* The values of Thread's options, in this order at the bottom of the stack. */
enum { TARGET = 1, ARGS, NAME, DAEMON, STACK };

/* Raises unless the option is nil or of this type. */
static TL_GIL void check_option(lua_State *L, int option, const char *name,
                                int type) {
  if (lua_isnil(L, option) || lua_type(L, option) == type) return;
  luaL_argerror(L, 1,
                lua_pushfstring(L, "%s: %s expected, got %s", name,
                                lua_typename(L, type),
                                luaL_typename(L, option)));
}

/* The table at ARGS, which is the script's, or nil, becomes one of our own. */
static TL_GIL void own_args(lua_State *L) {
  if (!bind_copyargs(L, ARGS))
    luaL_argerror(L, 1, "args: too many, or field 'n' is no number of them");
  lua_replace(L, ARGS);
}

/* Pushes a thread with the options at the bottom of the stack. */
static TL_GIL void push_new(lua_State *L) {
  size_t stack = lua_isnil(L, STACK) ? 0 : thread_check_stack_size(L, STACK, 1);
  tl_interp *in = tl_interp_of(L);
  lua_pushvalue(L, TARGET);
  lua_rawseti(L, ARGS, 0); /* the target stays beside its arguments */
  /* Lua would not run the finalizer of an object made in its last collection.
   */
  if (in->closing)
    luaL_error(L, "can't create a thread: the interpreter is closing");
  Thread *th = push_handle(L, NULL);
  th->t = tl_thread_new(in);
  if (!th->t) luaL_error(L, "not enough memory");
  th->stack_size = stack;
  th->t->daemon =
      lua_isnil(L, DAEMON) ? tl_self()->daemon : lua_toboolean(L, DAEMON);
  if (lua_isnil(L, NAME))
    set_default_name(L, th, TARGET);
  else
    set_name(L, th, NAME);
  lua_pushvalue(L, ARGS);
  lua_setiuservalue(L, -2, THREAD_WORK);
}

/* threading.Thread, a table, called with (target, ...), with a table of options
 * or with nothing. */
static TL_GIL int thread_new(lua_State *L) {
  static const char *const options[] = {"target", "args",       "name",
                                        "daemon", "stack_size", NULL};
  lua_remove(L, 1);
  if (bind_options(L, TARGET, options)) {
    if (!lua_isnil(L, TARGET) && !bind_iscallable(L, TARGET))
      check_option(L, TARGET, "target", LUA_TFUNCTION);
    check_option(L, ARGS, "args", LUA_TTABLE);
    check_option(L, DAEMON, "daemon", LUA_TBOOLEAN);
    own_args(L);
  } else {
    if (lua_isnone(L, TARGET))
      lua_settop(L, TARGET);
    else
      bind_checkcallable(L, TARGET);
    int n = lua_gettop(L) - TARGET;
    lua_createtable(L, n, 1);
    lua_insert(L, ARGS);
    for (int i = n; i >= 1; i--)
      lua_rawseti(L, ARGS, i);
    lua_pushinteger(L, n);
    lua_setfield(L, ARGS, "n");
    lua_settop(L, STACK);
  }
  push_new(L);
  return 1;
}

/* A thread of the subclass that is argument 1. */
static TL_GIL int thread_of(lua_State *L) {
  lua_settop(L, 1);
  for (int i = TARGET; i <= STACK; i++)
    lua_pushnil(L);
  lua_rotate(L, 1, -1); /* the class, above the options */
  own_args(L);
  push_new(L);
  lua_pushvalue(L, STACK + 1);
  lua_setiuservalue(L, -2, THREAD_CLASS);
  return 1;
}

/* --- ending it -------------------------------------------------------------
 */

static TL_GIL int thread_cancel(lua_State *L) {
  Thread *th = thread_check(L);
  const char *message = luaL_optstring(L, 2, NULL);
  bool alive = th->t->state == TL_THREAD_STARTED;
  if (alive && !tl_thread_cancel(th->t, message))
    return luaL_error(L, "not enough memory");
  lua_pushboolean(L, alive);
  return 1;
}

static TL_GIL int thread_kill(lua_State *L) {
  Thread *th = thread_check(L);
  bool alive = th->t->state == TL_THREAD_STARTED;
  if (alive) tl_thread_interrupt(th->t, TL_PEND_KILL);
  lua_pushboolean(L, alive);
  return 1;
}

static TL_GIL int thread_gc(lua_State *L) {
  Thread *th = lua_touserdata(L, 1);
  tl_thread *t = th->t;
  th->t = NULL;
  if (!t) return 0;
  if (t->state == TL_THREAD_NEW) tl_thread_unanchor(L, t);
  tl_thread_unref(t);
  return 0;
}

/* --- attributes ------------------------------------------------------------
 */

static TL_GIL int thread_is_alive(lua_State *L) {
  lua_pushboolean(L, thread_check(L)->t->state == TL_THREAD_STARTED);
  return 1;
}

static TL_GIL int thread_tostring(lua_State *L) {
  static const char *const states[] = {"initial", "started", "stopped"};
  tl_thread *t = thread_check(L)->t;
  const char *class = "Thread";
  if (lua_getiuservalue(L, 1, THREAD_CLASS) == LUA_TTABLE &&
      lua_getfield(L, -1, "__name") == LUA_TSTRING)
    class = lua_tostring(L, -1);
  lua_pushfstring(L, "<%s \"%s\" %s%s", class, t->name, states[t->state],
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

/* Pushes what the table that is this user value has at the key, argument 2, if
 * that is not nil. */
static TL_GIL bool push_field(lua_State *L, int value) {
  if (lua_getiuservalue(L, 1, value) == LUA_TTABLE) {
    lua_pushvalue(L, 2);
    if (lua_gettable(L, -2) != LUA_TNIL) return true;
  }
  lua_settop(L, 2);
  return false;
}

/* handle[key]: the script's fields, its class, methods, attributes. Upvalue 2
 * is the table of methods. */
static TL_GIL int thread_index(lua_State *L) {
  Thread *th = thread_check(L);
  if (push_field(L, THREAD_FIELDS) || push_field(L, THREAD_CLASS)) return 1;
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) return 1;
  if (lua_type(L, 2) == LUA_TSTRING &&
      push_attribute(L, th, lua_tostring(L, 2)))
    return 1;
  lua_pushnil(L);
  return 1;
}

static TL_GIL int thread_newindex(lua_State *L) {
  Thread *th = thread_check(L);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "name") == 0) {
    set_name(L, th, 3);
  } else if (strcmp(key, "daemon") == 0) {
    if (th->t->state != TL_THREAD_NEW)
      return luaL_error(L, "cannot set daemon of a thread that was started");
    if (!lua_isboolean(L, 3))
      return luaL_error(L, "daemon must be a boolean, not %s",
                        luaL_typename(L, 3));
    th->t->daemon = lua_toboolean(L, 3);
  } else if (strcmp(key, "ident") == 0 || strcmp(key, "native_id") == 0) {
    return luaL_error(L, "attribute '%s' of a thread is read-only", key);
  } else {
    if (lua_getiuservalue(L, 1, THREAD_FIELDS) != LUA_TTABLE) {
      lua_newtable(L);
      lua_pushvalue(L, -1);
      lua_setiuservalue(L, 1, THREAD_FIELDS);
      lua_replace(L, -2);
    }
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_settable(L, -3);
  }
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
static const luaL_Reg functions[] = {
    {"Thread", thread_new}, {"thread_of", thread_of}, {NULL, NULL}};

static bool is_ready(lua_State *L, int idx) TL_GIL;
static bool is_ready(lua_State *L, int idx) {
  const Thread *th = lua_touserdata(L, idx);
  return th->t == NULL || th->t->state == TL_THREAD_FINISHED;
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

/* errors.c - error values and their classes.
 *
 * A class is a table {name, message} that serves as an error value itself:
 * queue.Empty is what get returns, and compares equal to itself. Its entry in
 * the registry table CLASSES maps the short name to it. An error of the class
 * is a table whose metatable is the class's "instances"; the metatable knows
 * the class, the class its parent, under keys that are addresses here. */
#include "errors.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

static const char classes_key, parent_key, class_key, instances_key;
static const char short_key;   /* in a class of ours: its short name */
static const char ordinal_key; /* in another: which of those of its name */
static const char known_key;   /* registry: name, NUL, ordinal to such a class;
                                  name, NUL to the last ordinal that was given;
                                  weak values, among which numbers stay */

/* Each class below its parent; module: the part of the name before the dot. */
static const struct {
  const char *name, *parent, *module, *message;
} classes[] = {
    {"Error", NULL, NULL, "error"},
    {"TimeoutError", "Error", NULL, "timed out"},
    {"Cancelled", "Error", "threading", "cancelled"},
    {"Killed", "Cancelled", "threading", "killed"},
    {"KeyboardInterrupt", "Error", NULL, "interrupted!"},
    {"InvalidStateError", "Error", "futures", "invalid state"},
    {"BrokenBarrierError", "Error", "threading", "the barrier is broken"},
    {"Deadlock", "Error", "threading", "deadlock"},
    {"OwnerDied", "Error", NULL, "the owner of the lock died"},
    {"EOFError", "Error", NULL, "end of file"},
    {"OSError", "Error", NULL, "system error"},
    {"ShutDown", "Error", "queue", "the queue is shut down"},
    {"Empty", "Error", "queue", "the queue is empty"},
    {"Full", "Error", "queue", "the queue is full"},
    {"BrokenExecutor", "Error", "futures", "the executor is broken"},
    {"BrokenThreadPool", "BrokenExecutor", "futures", "the pool is broken"},
    {"BrokenProcessPool", "BrokenExecutor", "futures", "the pool is broken"},
    {"BrokenInterpreterPool", "BrokenExecutor", "futures",
     "the pool is broken"},
    {"WorkerLost", "Error", "multiprocessing", "the worker died"},
    {"CalledProcessError", "Error", "subprocess", "the command failed"},
    {"TimeoutExpired", "TimeoutError", "subprocess", "timed out"},
    {"AuthenticationError", "Error", NULL, "authentication failed"},
    {"BufferTooShort", "Error", NULL, "buffer too short"},
    {"PicklingError", "Error", "pickle", "cannot pickle"},
    {"UnpicklingError", "Error", "pickle", "cannot unpickle"},
    {"ExecutionFailed", "Error", "interpreters", "execution failed"},
    {"ExceptionGroup", "Error", NULL, "several errors"},
    {"RequestException", "Error", "requests", "request failed"},
    {"ConnectionError", "RequestException", "requests", "connection failed"},
    {"Timeout", "RequestException", "requests", "timed out"},
    {"HTTPError", "RequestException", "requests", "HTTP error"},
    {"TooManyRedirects", "RequestException", "requests", "too many redirects"},
    {"InvalidURL", "RequestException", "requests", "invalid URL"},
    {"SSLError", "RequestException", "requests", "TLS error"},
};

void tl_error_pushclassof(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  if (lua_istable(L, idx) && lua_getmetatable(L, idx)) {
    lua_rawgetp(L, -1, &class_key);
    lua_remove(L, -2);
    if (lua_istable(L, -1)) return;
    lua_pop(L, 1);
  }
  lua_pushnil(L);
}

/* "name: message"; an interrupt says what Lua's own says. */
static TL_GIL int error_tostring(lua_State *L) {
  lua_getfield(L, 1, "name");
  lua_getfield(L, 1, "message");
  const char *name = lua_tostring(L, -2);
  const char *message = luaL_tolstring(L, -1, NULL);
  if (name && strcmp(name, "KeyboardInterrupt") == 0) return 1;
  lua_pushfstring(L, "%s: %s", name ? name : "error", message);
  return 1;
}

/* Makes a class and pushes it: one of ours, or one that is known yet to be. */
static TL_GIL void new_class(lua_State *L, const char *name, int parent) {
  if (parent) parent = lua_absindex(L, parent);
  lua_createtable(L, 0, 4); /* the class */
  lua_pushstring(L, name);
  lua_setfield(L, -2, "name");
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "message");
  if (parent) {
    lua_pushvalue(L, parent);
    lua_rawsetp(L, -2, &parent_key);
  }
  lua_createtable(L, 0, 4); /* the metatable of its errors, and its own */
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, error_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, &class_key);
  lua_pushstring(L, name);
  lua_rawsetp(L, -2, &short_key);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, -3, &instances_key);
  lua_createtable(L, 0, 3);
  lua_pushcfunction(L, error_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  lua_pushvalue(L, -3);
  lua_rawsetp(L, -2, &class_key);
  if (parent) {
    lua_pushvalue(L, parent);
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, -3);
  lua_pop(L, 1);
}

/* Pushes the table of the classes that are not ours. */
static TL_GIL void push_known(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &known_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &known_key);
}

/* Pushes the key of the class with the name at idx. */
static TL_GIL void push_key(lua_State *L, int name, lua_Integer ordinal) {
  lua_pushvalue(L, name);
  lua_pushlstring(L, "", 1);
  lua_pushinteger(L, ordinal);
  lua_concat(L, 3);
}

/* The class on the top becomes known. 'name' is an absolute index. */
static TL_GIL void make_known(lua_State *L, int name, lua_Integer ordinal) {
  push_known(L);
  push_key(L, name, ordinal);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  lua_pushinteger(L, ordinal);
  lua_rawsetp(L, -2, &ordinal_key);
}

/* The ordinal of a new class: none that another one had, even one that is gone,
 * for its bytes may be on their way. 'name' is an absolute index. */
static TL_GIL lua_Integer next_ordinal(lua_State *L, int name) {
  push_known(L);
  lua_pushvalue(L, name);
  lua_pushlstring(L, "", 1);
  lua_concat(L, 2);
  lua_pushvalue(L, -1);
  lua_rawget(L, -3);
  lua_Integer ordinal = lua_tointeger(L, -1) + 1;
  lua_pop(L, 1);
  /* One that another process has given is not taken, either. */
  for (; tl_error_findclass(L, name, ordinal); ordinal++)
    lua_pop(L, 1);
  lua_pushinteger(L, ordinal);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  return ordinal;
}

void tl_error_newclass(lua_State *L, const char *name, int parent) {
  luaL_checkstack(L, 10, NULL);
  if (parent) parent = lua_absindex(L, parent);
  lua_pushstring(L, name);
  int at = lua_gettop(L);
  lua_Integer ordinal = next_ordinal(L, at);
  new_class(L, name, parent);
  make_known(L, at, ordinal);
  lua_remove(L, at);
}

bool tl_error_findclass(lua_State *L, int name, lua_Integer ordinal) {
  name = lua_absindex(L, name);
  if (ordinal == 0) {
    tl_error_pushclasses(L);
    lua_pushvalue(L, name);
  } else {
    push_known(L);
    push_key(L, name, ordinal);
  }
  int type = lua_rawget(L, -2);
  lua_remove(L, -2);
  if (type != LUA_TNIL) return true;
  lua_pop(L, 1);
  return false;
}

void tl_error_remake(lua_State *L, lua_Integer ordinal) {
  int name = lua_absindex(L, -2);
  new_class(L, lua_tostring(L, name), name + 1);
  make_known(L, name, ordinal);
  lua_replace(L, name);
  lua_settop(L, name);
}

lua_Integer tl_error_pushname(lua_State *L, int class) {
  class = lua_absindex(L, class);
  if (lua_rawgetp(L, class, &short_key) == LUA_TSTRING) return 0;
  lua_rawgetp(L, class, &instances_key); /* 'name' may have been changed */
  lua_rawgetp(L, -1, &short_key);
  lua_replace(L, -3);
  lua_rawgetp(L, class, &ordinal_key);
  lua_Integer ordinal = lua_tointeger(L, -1);
  lua_pop(L, 2);
  return ordinal;
}

tl_error_kind tl_error_what(lua_State *L) {
  tl_error_kind kind = TL_ERROR_NOT;
  if (lua_rawgetp(L, -1, &class_key) == LUA_TTABLE) {
    lua_rawgetp(L, -1, &instances_key);
    if (lua_rawequal(L, -1, -3)) kind = TL_ERROR_INSTANCE;
    lua_pop(L, 1);
    if (lua_rawequal(L, -1, -3)) kind = TL_ERROR_CLASS;
  }
  lua_pop(L, 1);
  return kind;
}

void tl_error_pushparent(lua_State *L, int class) {
  lua_rawgetp(L, class, &parent_key);
}

void tl_error_setclass(lua_State *L) {
  lua_rawgetp(L, -1, &instances_key);
  lua_remove(L, -2);
  lua_setmetatable(L, -2);
}

void tl_errors_open(lua_State *L) {
  lua_newtable(L);
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
    int parent = 0;
    if (classes[i].parent) {
      lua_getfield(L, -1, classes[i].parent);
      parent = lua_gettop(L);
    }
    if (classes[i].module)
      lua_pushfstring(L, "%s.%s", classes[i].module, classes[i].name);
    else
      lua_pushstring(L, classes[i].name);
    new_class(L, lua_tostring(L, -1), parent);
    lua_pushstring(L, classes[i].message);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, classes[i].name);
    lua_rawsetp(L, -2, &short_key);
    lua_setfield(L, parent ? -4 : -3, classes[i].name);
    lua_pop(L, parent ? 2 : 1);
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &classes_key);
}

void tl_error_pushclasses(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &classes_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  tl_errors_open(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &classes_key);
}

void tl_error_pushclass(lua_State *L, const char *name) {
  tl_error_pushclasses(L);
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

void tl_error_instance(lua_State *L, int class) {
  class = lua_absindex(L, class);
  lua_createtable(L, 0, 2);
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, "message");
  lua_rawgetp(L, class, &instances_key);
  lua_setmetatable(L, -2);
  lua_remove(L, -2);
}

static TL_GIL void push_formatted(lua_State *L, const char *name,
                                  const char *fmt, va_list args) {
  luaL_checkstack(L, 8, NULL);
  tl_error_pushclass(L, name);
  lua_pushvfstring(L, fmt, args);
  tl_error_instance(L, -2);
  lua_remove(L, -2);
}

void tl_error_push(lua_State *L, const char *name, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  push_formatted(L, name, fmt, args);
  va_end(args);
}

int tl_error(lua_State *L, const char *name, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  push_formatted(L, name, fmt, args);
  va_end(args);
  return lua_error(L);
}

const char *tl_errno_name(int err) {
  const char *name = strerrorname_np(err);
  return name ? name : "EUNKNOWN";
}

void tl_error_pushos(lua_State *L, int err, const char *what) {
  if (what)
    tl_error_push(L, "OSError", "%s: %s", what, strerror(err));
  else
    tl_error_push(L, "OSError", "%s", strerror(err));
  lua_pushinteger(L, err);
  lua_setfield(L, -2, "errno");
  lua_pushstring(L, tl_errno_name(err));
  lua_setfield(L, -2, "code");
}

int tl_error_os(lua_State *L, int err, const char *what) {
  tl_error_pushos(L, err, what);
  return lua_error(L);
}

bool tl_error_isclass(lua_State *L, int idx, int class) {
  class = lua_absindex(L, class);
  tl_error_pushclassof(L, idx);
  while (lua_istable(L, -1)) {
    if (lua_rawequal(L, -1, class)) {
      lua_pop(L, 1);
      return true;
    }
    lua_rawgetp(L, -1, &parent_key);
    lua_remove(L, -2);
  }
  lua_pop(L, 1);
  return false;
}

bool tl_error_is(lua_State *L, int idx, const char *name) {
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 5, NULL);
  tl_error_pushclass(L, name);
  bool is = tl_error_isclass(L, idx, -1);
  lua_pop(L, 1);
  return is;
}

bool tl_error_passes(lua_State *L, int idx) {
  return tl_error_is(L, idx, "Cancelled") ||
         tl_error_is(L, idx, "KeyboardInterrupt");
}

bool tl_error_isvalue(lua_State *L, int idx) {
  tl_error_pushclassof(L, idx);
  bool is = lua_istable(L, -1);
  lua_pop(L, 1);
  return is;
}

int tl_error_traceback(lua_State *L) {
  if (lua_type(L, 1) == LUA_TSTRING || lua_type(L, 1) == LUA_TNUMBER) {
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
  }
  if (!tl_error_isvalue(L, 1)) return 1;
  lua_getfield(L, 1, "traceback");
  lua_rawgetp(L, 1, &instances_key); /* a class is shared: it gets none */
  if (lua_isnil(L, -1) && lua_isnil(L, -2)) {
    luaL_traceback(L, L, NULL, 1);
    lua_setfield(L, 1, "traceback");
  }
  lua_settop(L, 1);
  return 1;
}

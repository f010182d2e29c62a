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

/* Pushes the class of the value at idx, or nil. */
static TL_GIL void push_class_of(lua_State *L, int idx) {
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

void tl_error_newclass(lua_State *L, const char *name, int parent) {
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
    tl_error_newclass(L, lua_tostring(L, -1), parent);
    lua_pushstring(L, classes[i].message);
    lua_setfield(L, -2, "message");
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
  push_class_of(L, idx);
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

bool tl_error_isvalue(lua_State *L, int idx) {
  push_class_of(L, idx);
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

/* pickle_build.c - makes what is more than data from a pickle: functions, what
 * travels by name, reduced and portable objects, error classes. */
#include <limits.h>

#include "errors.h"
#include "pickle_reader.h"

static TL_GIL void check_family(lua_State *L, const tl_reader *r,
                                const char *what) {
  if (!(r->flags & TL_PICKLE_FAMILY))
    tl_error(L, "UnpicklingError",
             "%s is loaded only from one's own family of processes, or with "
             "functions = true",
             what);
}

/* Pushes a function from the code that is next. */
static TL_GIL void read_code(lua_State *L, tl_reader *r) {
  uint32_t n = tl_read_u32(L, r);
  const unsigned char *code = r->at;
  if (n & TL_PICKLE_AGAIN) {
    size_t at = n & ~TL_PICKLE_AGAIN;
    if (at + 4 > (size_t)(r->at - r->start))
      tl_read_damaged(L, r, "code is missing");
    memcpy(&n, r->start + at, 4);
    code = r->start + at + 4;
    if (n > (size_t)(r->at - code)) tl_read_damaged(L, r, "code is missing");
  } else {
    tl_read_need(L, r, n);
    r->at += n;
  }
  if (luaL_loadbufferx(L, (const char *)code, n, "=pickle", "b") != LUA_OK)
    tl_read_damaged(L, r, lua_tostring(L, -1));
}

static TL_GIL unsigned upvalue_count(lua_State *L, int idx) {
  lua_Debug ar;
  lua_pushvalue(L, idx);
  lua_getinfo(L, ">u", &ar);
  return ar.nups;
}

void tl_build_function(lua_State *L, tl_reader *r, bool shared) {
  check_family(L, r, "a function");
  uint32_t object = tl_read_object(L, r);
  luaL_checkstack(L, 12, NULL);
  read_code(L, r);
  unsigned n = tl_read_byte(L, r);
  if (n != upvalue_count(L, -1))
    tl_read_damaged(L, r, "other upvalues than promised");
  tl_read_owe(L, r, n);
  if (shared) tl_read_remember(L, r, object);
  tl_read_frame *f = tl_read_openframe(L, r, OP_FUNCTION, false);
  f->state = TL_READ_UPVALUE;
  f->n = n;
}

void tl_build_join(lua_State *L, tl_reader *r) {
  tl_read_frame *f = r->depth ? &r->frames[r->depth - 1] : NULL;
  if (!f || f->state != TL_READ_UPVALUE || f->done == f->n)
    tl_read_damaged(L, r, "an upvalue out of place");
  tl_read_pushobject(L, r, tl_read_varint(L, r));
  unsigned i = tl_read_byte(L, r);
  if (!lua_isfunction(L, -1) || lua_iscfunction(L, -1) || i == 0 ||
      i > upvalue_count(L, -1))
    tl_read_damaged(L, r, "no such upvalue");
  lua_upvaluejoin(L, -2, (int)++f->done, -1, (int)i);
  lua_pop(L, 1);
}

/* Pushes a name, or nil. */
static TL_GIL void read_name_or_nil(lua_State *L, tl_reader *r) {
  tl_read_need(L, r, 1);
  if (*r->at != OP_NIL) {
    tl_read_name(L, r);
    return;
  }
  r->at++;
  lua_pushnil(L);
}

void tl_build_named(lua_State *L, tl_reader *r, bool shared) {
  check_family(L, r, "what travels by name");
  uint32_t object = tl_read_object(L, r);
  luaL_checkstack(L, 12, NULL);
  tl_read_name(L, r);
  read_name_or_nil(L, r);
  tl_names_resolve(L);
  if (shared) tl_read_remember(L, r, object);
}

void tl_build_reduced(lua_State *L, tl_reader *r, bool shared) {
  uint32_t object = tl_read_object(L, r);
  luaL_checkstack(L, 12, NULL);
  tl_read_name(L, r);
  if (!tl_classes_find(L, -1))
    tl_error(L, "UnpicklingError", "the class '%s' is not registered here",
             lua_tostring(L, -1));
  if (lua_rawgeti(L, -1, TL_CLASS_RESTORE) == LUA_TNIL)
    tl_error(L, "UnpicklingError", "the class '%s' has no restore here",
             lua_tostring(L, -3));
  uint64_t n = tl_read_varint(L, r);
  if (n >= INT_MAX) tl_read_damaged(L, r, "a count is too large");
  tl_read_owe(L, r, n);
  lua_createtable(L, (int)n + 1, 0); /* the values, and restore behind them */
  lua_insert(L, -2);
  lua_rawseti(L, -2, (lua_Integer)n + 1);
  lua_replace(L, -3);
  lua_pop(L, 1);
  tl_read_frame *f = tl_read_openframe(L, r, OP_REDUCED, shared);
  f->object = object;
  f->n = (size_t)n;
}

/* How many descriptors an object has, or TL_PICKLE_MEMORY, and the first: those
 * of the objects in its value come behind it. */
static TL_GIL unsigned read_fds(lua_State *L, tl_reader *r, int *first) {
  unsigned n = tl_read_byte(L, r);
  if (n == TL_PICKLE_MEMORY) {
    uint64_t which = tl_read_varint(L, r);
    /* It was added just now, or before. */
    if (which > (uint64_t)r->fd_used || which >= (uint64_t)r->fd_count)
      tl_read_damaged(L, r, "descriptors are missing");
    *first = (int)which;
    if (*first == r->fd_used) r->fd_used++;
  } else {
    if (n > TL_PORTABLE_FDS || (int)n > r->fd_count - r->fd_used)
      tl_read_damaged(L, r, "descriptors are missing");
    *first = r->fd_used;
    r->fd_used += (int)n;
  }
  return n;
}

void tl_build_portable(lua_State *L, tl_reader *r, bool shared) {
  static const char ours[] = "tidelock.";
  if (!(r->flags & TL_PICKLE_HANDLES))
    tl_error(
        L, "UnpicklingError",
        "a handle travels only to a child process or through a connection");
  uint32_t object = tl_read_object(L, r);
  luaL_checkstack(L, 12, NULL);
  tl_read_name(L, r);
  tl_read_name(L, r);
  int first;
  unsigned n = read_fds(L, r, &first);
  bool memory = n == TL_PICKLE_MEMORY;
  tl_read_owe(L, r, 1);
  const tl_portable *q = tl_portable_find(L, -2);
  if (!q && strncmp(lua_tostring(L, -1), ours, sizeof ours - 1) == 0) {
    tl_names_require(L);
    q = tl_portable_find(L, -2);
  }
  if (!q) {
    tl_error(L, "UnpicklingError", "the class '%s' is unknown here",
             lua_tostring(L, -2));
    return;
  }
  if (q->memory != memory && n > 0)
    tl_read_damaged(L, r, "descriptors are missing");
  lua_pop(L, 1); /* a name keeps the place of the frame's object */
  tl_read_frame *f = tl_read_openframe(L, r, OP_PORTABLE, shared);
  f->object = object;
  f->n = 1;
  f->portable = q;
  f->fds = memory ? 1 : (uint8_t)n;
  f->fd = first;
}

/* (module, field) -> what they name */
static TL_GIL int resolve(lua_State *L) {
  tl_names_resolve(L);
  return 1;
}

/* Reads where an error class is at home, and pushes the class that is there:
 * for one's own family only. False with nothing pushed if there is none, for
 * whatever reason: an error shall arrive also where its module does not load.
 */
static TL_GIL bool read_home(lua_State *L, tl_reader *r) {
  int top = lua_gettop(L);
  read_name_or_nil(L, r);
  if (lua_isnil(L, -1)) return lua_pop(L, 1), false;
  read_name_or_nil(L, r);
  if (r->flags & TL_PICKLE_FAMILY) {
    lua_pushcfunction(L, resolve);
    lua_insert(L, top + 1);
    int status = lua_pcall(L, 2, 1, 0);
    if (status == LUA_OK && tl_error_isclass(L, -1, -1)) return true;
    if (status == LUA_ERRMEM || (status != LUA_OK && tl_error_passes(L, -1)))
      lua_error(L);
  }
  lua_settop(L, top);
  return false;
}

bool tl_build_error(lua_State *L, tl_reader *r, bool shared) {
  uint32_t object = tl_read_object(L, r);
  luaL_checkstack(L, 16, NULL);
  tl_read_name(L, r);
  uint64_t ordinal = tl_read_varint(L, r);
  if (ordinal > INT64_MAX) tl_read_damaged(L, r, "a number is too large");
  bool known = (ordinal > 0 && read_home(L, r)) ||
               tl_error_findclass(L, -1, (lua_Integer)ordinal);
  if (ordinal == 0) {
    if (!known)
      tl_error(L, "UnpicklingError", "there is no error class '%s' here",
               lua_tostring(L, -1));
    lua_remove(L, -2);
    if (shared) tl_read_remember(L, r, object);
    return true;
  }
  if (known) lua_remove(L, -2);
  tl_read_owe(L, r, 1);
  tl_read_frame *f = tl_read_openframe(L, r, OP_ERROR, shared);
  f->object = object;
  f->state = TL_READ_PARENT;
  f->known = known;
  f->pairs = (size_t)ordinal;
  return false;
}

void tl_build_setclass(lua_State *L, const tl_reader *r) {
  luaL_checkstack(L, 8, NULL);
  if (lua_type(L, -1) == LUA_TSTRING) {
    if (!tl_classes_find(L, -1))
      tl_error(L, "UnpicklingError", "the class '%s' is not registered here",
               lua_tostring(L, -1));
    if (lua_rawgeti(L, -1, TL_CLASS_RESTORE) != LUA_TNIL)
      tl_read_damaged(L, r, "an object without what restores it");
    lua_pop(L, 1);
    lua_rawgeti(L, -1, TL_CLASS_META);
    lua_setmetatable(L, -4);
    lua_pop(L, 2);
  } else if (tl_error_isclass(L, -1, -1)) {
    tl_error_setclass(L);
  } else {
    tl_read_damaged(L, r, "a class is no class");
  }
}

void tl_build_restore(lua_State *L, const tl_read_frame *f) {
  int list = lua_gettop(L), n = (int)f->n;
  if (!lua_checkstack(L, n + 12))
    tl_error(L, "UnpicklingError",
             "stack overflow: there is no room for the values of an object");
  lua_rawgeti(L, list, (lua_Integer)n + 1);
  for (int i = 1; i <= n; i++)
    lua_rawgeti(L, list, i);
  lua_call(L, n, 1);
  if (lua_isnil(L, -1))
    tl_error(L, "UnpicklingError", "a restore function has returned nothing");
  lua_replace(L, list);
}

/* (what describes the object, frame, descriptors) -> the object */
static TL_GIL int call_unpack(lua_State *L) {
  const tl_read_frame *f = lua_touserdata(L, 2);
  int *fds = lua_touserdata(L, 3);
  lua_settop(L, 1);
  f->portable->unpack(L, fds, f->fds);
  return lua_gettop(L);
}

void tl_build_unpack(lua_State *L, tl_reader *r, const tl_read_frame *f) {
  int at = lua_gettop(L) - 1;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  int *fds = r->fds + f->fd;
  if (f->portable->memory && f->fds > 0 && *fds < 0) /* somebody took it */
    tl_read_damaged(L, r, "descriptors are missing");
  lua_pushcfunction(L, call_unpack);
  lua_insert(L, -2);
  lua_pushlightuserdata(L, (void *)f);
  lua_pushlightuserdata(L, fds);
  int status = lua_pcall(L, 3, 1, 0);
  if (status == LUA_ERRRUN && lua_isstring(L, -1))
    tl_read_damaged(L, r, lua_tostring(L, -1));
  if (status != LUA_OK) lua_error(L);
  lua_replace(L, at);
}

void tl_build_errorclass(lua_State *L, tl_reader *r, tl_read_frame *f) {
  luaL_checkstack(L, 12, NULL);
  if (!tl_error_isclass(L, -1, -1))
    tl_read_damaged(L, r, "a parent is no class");
  if (f->known)
    lua_pop(L, 1);
  else
    tl_error_remake(L, (lua_Integer)f->pairs);
  if (f->shared) tl_read_remember(L, r, f->object);
  f->state = TL_READ_KEY;
  tl_read_count(L, r, f);
}

void tl_build_globals(lua_State *L, const tl_reader *r) {
  check_family(L, r, "the table of globals");
  lua_pushglobaltable(L);
}

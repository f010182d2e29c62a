/* pickle_classed.c - writes what has a metatable: objects of registered
 * classes, portable ones, error classes. */
#include <sys/stat.h>

#include "errors.h"
#include "pickle_put.h"

/* The value on the top is sent as what its reduce function, above it, makes of
 * it. */
static TL_GIL int open_reduced(lua_State *L, tl_pickler *p, int name) {
  int object = lua_absindex(L, -2);
  const void *ptr = lua_topointer(L, object);
  lua_pushvalue(L, object);
  p->in_user_code = true;
  lua_call(L, 1, LUA_MULTRET);
  p->in_user_code = false;
  int n = lua_gettop(L) - object;
  luaL_checkstack(L, 10, NULL);
  lua_createtable(L, n, 0);
  lua_insert(L, object + 1);
  for (int i = n; i > 0; i--)
    lua_rawseti(L, object + 1, i);

  tl_put_room(L, p, 16);
  size_t at = p->size;
  uint32_t index =
      tl_put_object(L, p, tl_met_find(L, p, ptr), ptr, object, TL_MET_PENDING);
  tl_put_op(p, OP_REDUCED, tl_put_pos(p));
  tl_put_string(L, p, name);
  tl_put_room(L, p, 16);
  tl_put_varint(p, (uint64_t)n);
  lua_remove(L, object);
  lua_remove(L, name);
  tl_frame *f = tl_open_frame(L, p, TL_FRAME_REDUCED);
  f->phase = TL_PHASE_ARRAY;
  f->n = n;
  f->object = index;
  f->at = at;
  f->ptr = ptr;
  return TL_PUT_OPENED;
}

static bool all_memory(const int *fds, int n) {
  struct stat st;
  for (int i = 0; i < n; i++)
    if (fstat(fds[i], &st) < 0 || !S_ISREG(st.st_mode)) return false;
  return true;
}

typedef struct packing {
  const tl_portable *portable;
  int fds[TL_PORTABLE_FDS], n;
} packing;

/* (object, packing) -> what describes it */
static TL_GIL int call_pack(lua_State *L) {
  packing *k = lua_touserdata(L, 2);
  k->n = k->portable->pack(L, 1, k->fds);
  return 1;
}

/* Calls pack for the portable object on the top and pushes what that pushes.
 * False if it cannot travel: the reason is on the top. */
static TL_GIL bool pack(lua_State *L, packing *k) {
  lua_pushcfunction(L, call_pack);
  lua_pushvalue(L, -2);
  lua_pushlightuserdata(L, k);
  int status = lua_pcall(L, 2, 1, 0);
  if (status == LUA_OK) return true;
  if (status != LUA_ERRRUN || !lua_isstring(L, -1)) lua_error(L);
  return false;
}

/* The value on the top is a portable object. */
static TL_GIL int open_portable(lua_State *L, tl_pickler *p,
                                const tl_portable *q) {
  if (!(p->flags & TL_PICKLE_HANDLES))
    return tl_pickler_refuse(
        L, p, "it travels only to a child process or through a connection");
  const void *ptr = lua_topointer(L, -1);
  packing k = {.portable = q};
  int object = lua_gettop(L), which = 0;
  if (!pack(L, &k)) {
    lua_pushvalue(L, object);
    return tl_pickler_refuse(L, p, lua_tostring(L, -2));
  }
  if ((p->flags & TL_PICKLE_SHARED) && !all_memory(k.fds, k.n)) {
    lua_settop(L, object);
    return tl_pickler_refuse(L, p,
                             "what is no shared memory travels only to a "
                             "child process or through a connection");
  }
  lua_createtable(L, 1, 0);
  lua_insert(L, -2);
  bool memory = q->memory && k.n > 0;
  if (memory) which = tl_pickler_addmemory(L, p, k.fds[0]);
  for (int i = 0; i < k.n && !memory; i++)
    tl_pickler_addfd(L, p, k.fds[i]);
  lua_rawseti(L, object + 1, 1);

  tl_put_room(L, p, 16);
  size_t at = p->size;
  uint32_t index =
      tl_put_object(L, p, tl_met_find(L, p, ptr), ptr, object, TL_MET_PENDING);
  tl_put_op(p, OP_PORTABLE, tl_put_pos(p));
  tl_portable_pushnames(L, q);
  tl_put_string(L, p, -2);
  tl_put_string(L, p, -1);
  lua_pop(L, 2);
  tl_put_room(L, p, 16);
  tl_put_byte(p, memory ? TL_PICKLE_MEMORY : (unsigned)k.n);
  if (memory) tl_put_varint(p, (uint64_t)which);
  lua_remove(L, object);
  tl_frame *f = tl_open_frame(L, p, TL_FRAME_PORTABLE);
  f->phase = TL_PHASE_ARRAY;
  f->n = 1;
  f->object = index;
  f->at = at;
  f->ptr = ptr;
  return TL_PUT_OPENED;
}

/* Pops the metatable on the top and pushes its field "__portable", if that
 * makes the value below it travel. */
static TL_GIL bool push_portable(lua_State *L) {
  lua_pushliteral(L, "__portable");
  int type = lua_rawget(L, -2);
  lua_remove(L, -2);
  if (type == LUA_TLIGHTUSERDATA || type == LUA_TFUNCTION) return true;
  lua_pop(L, 1);
  return false;
}

/* Whether what has the metatable on the top may have a name: the standard
 * streams do, and tables in modules; what is registered or portable needs none.
 */
static TL_GIL bool may_be_named(lua_State *L) {
  if (lua_istable(L, -2)) return true;
  lua_pushvalue(L, -1);
  if (!push_portable(L)) return true;
  lua_pop(L, 1);
  return false;
}

/* The value on the top is sent as another, which the function on top of it
 * returns, and which is not replaced once more. */
static TL_GIL int put_substitute(lua_State *L, tl_pickler *p) {
  int object = lua_absindex(L, -2);
  const void *ptr = lua_topointer(L, object);
  lua_pushvalue(L, object);
  p->in_user_code = true;
  lua_call(L, 1, 1);
  p->in_user_code = false;
  if (!lua_getmetatable(L, -1) || !push_portable(L) ||
      !lua_islightuserdata(L, -1)) {
    lua_settop(L, object);
    return tl_pickler_refuse(L, p, "its __portable returns nothing portable");
  }
  const tl_portable *q = lua_touserdata(L, -1);
  lua_pop(L, 1);
  /* Both are one object from here on; the first stays anchored as well. */
  const void *other = lua_topointer(L, -1);
  tl_met *m = tl_met_find(L, p, other);
  uint32_t index = m->ptr ? m->index : p->objects;
  uint32_t pos = m->ptr ? m->pos : tl_put_pos(p);
  lua_pushvalue(L, object);
  lua_rawsetp(L, p->base + TL_SLOT_ANCHOR, ptr);
  lua_remove(L, object);
  int result = m->ptr ? tl_put_met(L, p, m) : open_portable(L, p, q);
  m = tl_met_find(L, p, ptr);
  tl_met_set(p, m, ptr, index, pos);
  return result;
}

/* The value on the top, a userdata or a table, has a metatable, on top of it:
 * by the rules of its class. */
int tl_put_classed(lua_State *L, tl_pickler *p, tl_met *m, const void *ptr) {
  luaL_checkstack(L, 12, NULL);
  int object = lua_absindex(L, -2);
  if (tl_classes_find(L, -1)) {
    bool reduces = lua_rawgeti(L, -1, TL_CLASS_REDUCE) != LUA_TNIL;
    if (reduces && !p->careful) return tl_begin_carefully(p);
    if (reduces) {
      lua_rawgeti(L, -2, TL_CLASS_NAME); /* object meta entry reduce name */
      lua_replace(L, object + 1);
      lua_remove(L, object + 2);
      lua_rotate(L, object, -1);
      lua_insert(L, -2); /* name object reduce */
      return open_reduced(L, p, object);
    }
    lua_settop(L, object);
    if (lua_istable(L, -1)) return tl_open_table(L, p, m, ptr, true);
    return tl_pickler_refuse(L, p, "its class was registered without reduce");
  }
  if (!p->named && may_be_named(L)) return tl_begin_with_names(p);
  if (!p->careful) return tl_begin_carefully(p);
  if (push_portable(L)) {
    if (lua_isfunction(L, -1)) return put_substitute(L, p);
    const tl_portable *q = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return open_portable(L, p, q);
  }
  return tl_pickler_refuse(
      L, p, lua_istable(L, -1) ? "its class is not registered" : NULL);
}

/* The value on the top is an error class. If what is in modules is known, this
 * is in none. */
int tl_put_error_class(lua_State *L, tl_pickler *p, tl_met *m,
                       const void *ptr) {
  luaL_checkstack(L, 20, NULL);
  int class = lua_gettop(L);
  lua_Integer ordinal = tl_error_pushname(L, class);
  bool looks = ordinal > 0 && !p->named;
  if (looks && !tl_names_ask(L, p)) return tl_begin_carefully(p);
  lua_pushvalue(L, class);
  bool has_home = looks && tl_names_push(L);
  tl_put_room(L, p, 1);
  uint32_t pos = tl_put_pos(p);
  tl_put_object(L, p, m, ptr, class, pos);
  tl_put_op(p, OP_ERROR, pos);
  tl_put_string(L, p, class + 1);
  tl_put_room(L, p, 16);
  tl_put_varint(p, (uint64_t)ordinal);
  if (has_home) {
    tl_put_string(L, p, class + 3);
    tl_put_plain(L, p, class + 4, lua_type(L, class + 4));
  } else if (ordinal > 0) {
    tl_put_byte(p, OP_NIL);
  }
  lua_settop(L, class);
  if (ordinal == 0) {
    lua_pop(L, 1);
    return TL_PUT_DONE;
  }
  tl_frame *f = tl_open_frame(L, p, TL_FRAME_ERROR);
  f->phase = TL_PHASE_PARENT;
  return TL_PUT_OPENED;
}

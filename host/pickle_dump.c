/* pickle_dump.c - writes a value as a pickle.
 *
 * A depth-first walk with a stack of frames of its own. It is quick because
 * nothing can change while it goes on: it makes no Lua object and so gives the
 * collector no turn, and calls nothing that is Lua. The first object that
 * needs such a call, a reduce function or a portable's, makes it begin anew,
 * carefully: all that it meets is then kept alive, so that an address stands
 * for one object, and a table that changes under it is noticed. The first
 * function makes it begin anew, too, with all names of modules' contents known
 * from the beginning. */
#include "errors.h"
#include "pickle_put.h"

int tl_begin_carefully(tl_pickler *p) {
  p->careful = true;
  return TL_PUT_ANEW;
}

int tl_begin_with_names(tl_pickler *p) {
  p->named = true;
  return TL_PUT_ANEW;
}

/* What travels by name: the value on the top, which is known so. */
static TL_GIL int put_named(lua_State *L, tl_pickler *p, tl_met *m) {
  const void *ptr = m->ptr;
  luaL_checkstack(L, 10, NULL);
  if (!tl_names_push(L)) return tl_pickler_refuse(L, p, "it has lost its name");
  tl_put_room(L, p, 1);
  uint32_t pos = tl_put_pos(p);
  tl_put_object(L, p, m, ptr, -3, pos);
  tl_put_op(p, OP_NAMED, pos);
  tl_put_string(L, p, -2);
  tl_put_plain(L, p, -1, lua_type(L, -1));
  lua_pop(L, 3);
  return TL_PUT_DONE;
}

/* What was met before: a reference, or a name. A module that is an error class
 * travels as such, unless there is something by name anyhow. */
int tl_put_met(lua_State *L, tl_pickler *p, tl_met *m) {
  if (m->index == TL_MET_NAMED) {
    if (!p->named && tl_error_isclass(L, -1, -1))
      return tl_put_error_class(L, p, m, m->ptr);
    return put_named(L, p, m);
  }
  if (m->pos == TL_MET_PENDING)
    return tl_pickler_refuse(L, p, "what it is reduced to contains it");
  tl_put_room(L, p, 8);
  tl_put_ref(p, m);
  lua_pop(L, 1);
  return TL_PUT_DONE;
}

static TL_GIL int put_table(lua_State *L, tl_pickler *p) {
  const void *ptr = lua_topointer(L, -1);
  if (tl_unlikely(!p->knows_modules)) {
    luaL_checkstack(L, 10, NULL);
    tl_names_modules(L, p);
  }
  tl_met *m = tl_met_find(L, p, ptr);
  if (m->ptr) return tl_put_met(L, p, m);
  if (ptr == p->globals) {
    tl_put_room(L, p, 1);
    tl_put_byte(p, OP_GLOBALS);
    lua_pop(L, 1);
    return TL_PUT_DONE;
  }
  if (tl_likely(!lua_getmetatable(L, -1)))
    return tl_open_table(L, p, m, ptr, false);
  switch (tl_error_what(L)) {
  case TL_ERROR_INSTANCE:
    lua_pop(L, 1);
    return tl_open_table(L, p, m, ptr, true);
  case TL_ERROR_CLASS:
    lua_pop(L, 1);
    return tl_put_error_class(L, p, m, ptr);
  default:
    return tl_put_classed(L, p, m, ptr);
  }
}

static TL_GIL int put_userdata(lua_State *L, tl_pickler *p) {
  const void *ptr = lua_topointer(L, -1);
  tl_met *m = tl_met_find(L, p, ptr);
  if (m->ptr) return tl_put_met(L, p, m);
  if (!lua_getmetatable(L, -1)) return tl_pickler_refuse(L, p, NULL);
  return tl_put_classed(L, p, m, ptr);
}

/* The value on the top is written and popped, or becomes the last frame. */
int tl_put_value(lua_State *L, tl_pickler *p) {
  int type = lua_type(L, -1);
  if (tl_put_plain(L, p, -1, type)) {
    lua_pop(L, 1);
    return TL_PUT_DONE;
  }
  switch (type) {
  case LUA_TTABLE:
    return put_table(L, p);
  case LUA_TFUNCTION:
    return tl_put_function(L, p);
  case LUA_TUSERDATA:
    return put_userdata(L, p);
  default:
    return tl_pickler_refuse(L, p, NULL);
  }
}

/* The walk ---------------------------------------------------------------- */

/* Writes the value on the top. False if it must begin anew. */
static TL_GIL bool put_all(lua_State *L, tl_pickler *p) {
  tl_put_room(L, p, TL_PICKLE_HEADER);
  tl_put_raw(p, TL_PICKLE_MAGIC, TL_PICKLE_HEADER - 1);
  tl_put_byte(p, TL_PICKLE_VERSION);
  int result;
  if (p->named && !tl_names_all(L, p))
    result = tl_begin_carefully(p);
  else if (p->first > 0)
    result = tl_open_items(L, p);
  else
    result = tl_put_value(L, p);
  while (result != TL_PUT_ANEW && p->depth > 0) {
    bool function = p->frames[p->depth - 1].kind == TL_FRAME_FUNCTION;
    result = function ? tl_put_upvalues(L, p) : tl_put_parts(L, p);
  }
  if (p->shared > 0) {
    p->buf[TL_PICKLE_HEADER - 1] |= (char)TL_PICKLE_SHARES;
    tl_put_room(L, p, 4);
    tl_put_raw(p, &p->shared, 4);
  }
  return result != TL_PUT_ANEW;
}

/* Tries it with the pickler at the index 'base' of this function's stack, the
 * top, and the value at idx. */
static TL_GIL bool try(lua_State *L, tl_pickler *p, int base, int idx) {
  lua_settop(L, base);
  p->base = base;
  lua_createtable(L, 0, 0);
  if (p->careful)
    lua_createtable(L, 0, 0);
  else
    lua_pushnil(L);
  tl_pickler_pushmeta(L);
  lua_pushvalue(L, idx);
  return put_all(L, p);
}

/* (value, pickler) */
static TL_GIL int try_carefully(lua_State *L) {
  tl_pickler *p = lua_touserdata(L, 2);
  luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
  do {
    tl_pickler_reset(p);
  } while (!try(L, p, 2, 1));
  return 0;
}

/* What the traversal of a table that was changed says. */
static TL_GIL bool is_about_next(lua_State *L, const tl_pickler *p) {
  return !p->in_user_code && lua_type(L, -1) == LUA_TSTRING &&
         strstr(lua_tostring(L, -1), "invalid key to 'next'");
}

/* Pickles the value at idx with the pickler on the top. */
static TL_GIL void dump(lua_State *L, tl_pickler *p, int idx) {
  luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
  int base = lua_gettop(L);
  bool done = try(L, p, base, idx);
  if (!done && !p->careful) {
    tl_pickler_reset(p);
    done = try(L, p, base, idx);
  }
  lua_settop(L, base);
  if (done) return;
  lua_pushcfunction(L, try_carefully);
  lua_pushvalue(L, idx);
  lua_pushvalue(L, base);
  if (lua_pcall(L, 2, 0, 0) == LUA_OK) return;
  tl_pickler_free(L, p); /* now: others may wait until its descriptors close */
  if (is_about_next(L, p)) tl_pickler_changed(L);
  lua_error(L);
}

#define LARGE ((size_t)64 * 1024)

static TL_GIL const tl_pickled *finish(lua_State *L, tl_pickler *p) {
  tl_pickled *result = &p->result;
  result->data = p->buf;
  result->size = p->size;
  result->fds = p->fds;
  if (p->size < LARGE) return result;
  /* Memory that the collector knows of, in the place of what it does not. */
  char *bytes = lua_newuserdatauv(L, p->size, 0);
  memcpy(bytes, p->buf, p->size);
  lua_setiuservalue(L, -2, 1);
  tl_pickler_free_buffers(L, p);
  result->data = bytes;
  return result;
}

const tl_pickled *tl_pickle_dump(lua_State *L, int idx, unsigned flags,
                                 const char *root) {
  idx = lua_absindex(L, idx);
  tl_pickler *p = tl_pickler_push(L, flags, root);
  dump(L, p, idx);
  return finish(L, p);
}

const tl_pickled *tl_pickle_dump_items(lua_State *L, int idx, lua_Integer first,
                                       lua_Integer n, unsigned flags,
                                       const char *root) {
  idx = lua_absindex(L, idx);
  tl_pickler *p = tl_pickler_push(L, flags, root);
  p->first = first;
  p->items = n;
  dump(L, p, idx);
  return finish(L, p);
}

void tl_pickle_free(lua_State *L, const tl_pickled *pickled) {
  tl_pickler *p = (tl_pickler *)pickled;
  tl_pickler_free(L, p);
  *(tl_pickled *)p = (tl_pickled){.data = NULL};
}

void tl_pickle_dumps(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  tl_pickler *p = tl_pickler_push(L, 0, NULL);
  dump(L, p, idx);
  lua_pushlstring(L, p->buf, p->size);
  tl_pickler_free(L, p);
  lua_remove(L, -2);
}

/* pickle_table.c - writes tables; the frames of a pickler. */
#include "errors.h"
#include "pickle_put.h"

/* Frames --------------------------------------------------------------------*/

/* The value on the top becomes the last frame. Moves the frame before it out
 * of Lua's stack if there are many. */
tl_frame *tl_open_frame(lua_State *L, tl_pickler *p, int kind) {
  if (p->depth <= TL_FRAMES_ON_STACK) {
    if (p->depth > p->deepest) {
      luaL_checkstack(L, LUA_MINSTACK, NULL);
      p->deepest = p->depth;
    }
  } else { /* the value and key of the frame before, this one */
    lua_Integer at = 2 * ((lua_Integer)p->depth - TL_FRAMES_ON_STACK);
    lua_rotate(L, -3, 1);
    lua_rawseti(L, p->base + TL_SLOT_SPILL, at);
    lua_rawseti(L, p->base + TL_SLOT_SPILL, at - 1);
  }
  lua_pushnil(L); /* before the first key */
  tl_frame *f = tl_pickler_frame(L, p);
  *f = (tl_frame){.kind = (uint8_t)kind};
  return f;
}

/* The last frame is written: what is on the stack is that before it. */
void tl_close_frame(lua_State *L, tl_pickler *p) {
  lua_pop(L, 2);
  p->depth--;
  if (p->depth <= TL_FRAMES_ON_STACK) return;
  lua_Integer at = 2 * ((lua_Integer)p->depth - TL_FRAMES_ON_STACK);
  lua_rawgeti(L, p->base + TL_SLOT_SPILL, at - 1);
  lua_rawgeti(L, p->base + TL_SLOT_SPILL, at);
}

/* Tables --------------------------------------------------------------------
 */

/* A table with an optional class, by its metatable. */
int tl_open_table(lua_State *L, tl_pickler *p, tl_met *m, const void *ptr,
                  bool classed) {
  lua_Unsigned n = lua_rawlen(L, -1);
  tl_put_room(L, p, 24);
  if (classed) tl_put_byte(p, OP_CLASSED);
  uint32_t pos = tl_put_pos(p);
  tl_put_object(L, p, m, ptr, -1, pos);
  tl_put_op(p, n ? OP_LIST : OP_MAP, pos);
  tl_frame *f = tl_open_frame(L, p, TL_FRAME_TABLE);
  f->phase = n ? TL_PHASE_SEQUENCE : TL_PHASE_PAIRS;
  f->classed = classed;
  f->n = (lua_Integer)n;
  f->at = p->size;
  tl_put_byte(p, 0); /* the count of pairs */
  if (n) tl_put_varint(p, n);
  return TL_PUT_OPENED;
}

/* Items of the list on the top. They are an object that nothing refers to. */
int tl_open_items(lua_State *L, tl_pickler *p) {
  tl_put_room(L, p, 24);
  uint32_t pos = tl_put_pos(p);
  tl_put_object(L, p, tl_met_find(L, p, p), p, -1, pos);
  tl_put_op(p, OP_LIST, pos);
  tl_put_byte(p, 1);
  tl_put_varint(p, (uint64_t)p->items);
  tl_frame *f = tl_open_frame(L, p, TL_FRAME_ITEMS);
  f->phase = TL_PHASE_ARRAY;
  f->n = p->items;
  f->offset = p->first - 1;
  return TL_PUT_OPENED;
}

/* Whether the pair of the key at idx is not among the pairs. */
static TL_GIL bool is_skipped(lua_State *L, const tl_frame *f, int idx) {
  if (f->kind == TL_FRAME_ERROR) return lua_type(L, idx) == LUA_TLIGHTUSERDATA;
  if (f->sequence == f->n || !lua_isinteger(L, idx)) return false;
  lua_Integer key = lua_tointeger(L, idx);
  return key > f->sequence && key <= f->n;
}

int tl_pickler_changed(lua_State *L) {
  return tl_error(L, "PicklingError", "a table changed while it was pickled");
}

/* The pairs from the one on the top (table, key, value) on, to the end. */
static TL_GIL size_t count_pairs(lua_State *L, const tl_frame *f) {
  size_t n = 1;
  lua_pushvalue(L, -2);
  while (lua_next(L, -4)) {
    lua_pop(L, 1);
    n += !is_skipped(L, f, -1);
  }
  return n;
}

/* One more pair, on the top, is written. */
static TL_GIL void count_pair(lua_State *L, tl_pickler *p, tl_frame *f) {
  if (f->exact) {
    f->pairs--; /* below 0 when it has grown meanwhile */
  } else if (tl_unlikely(++f->pairs > TL_PICKLE_PAIRS)) {
    size_t rest = count_pairs(L, f);
    p->buf[f->at] = (char)TL_PICKLE_PAIRS;
    tl_put_room(L, p, 16);
    tl_put_varint(p, rest);
    f->exact = true;
    f->pairs = rest - 1;
  }
}

static TL_GIL void end_pairs(lua_State *L, tl_pickler *p, tl_frame *f) {
  if (f->exact) {
    if (f->pairs != 0) tl_pickler_changed(L);
    return;
  }
  p->buf[f->at] = (char)f->pairs;
  if (f->pairs < TL_PICKLE_PAIRS) return;
  tl_put_room(L, p, 1);
  tl_put_varint(p, 0);
}

/* The elements 1, 2, ... as long as the traversal gives them in this order:
 * then no other key comes before them, and it is gone through once. */
static TL_GIL int put_sequence(lua_State *L, tl_pickler *p, tl_frame *f) {
  while (f->done < f->n) {
    if (!lua_next(L, -2)) {
      lua_pushnil(L);
      break;
    }
    if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) != f->done + 1) {
      lua_pop(L, 2); /* the traversal will go on behind the sequence */
      if (f->done)
        lua_pushinteger(L, f->done);
      else
        lua_pushnil(L);
      break;
    }
    f->done++;
    if (lua_isinteger(L, -1)) {
      tl_put_room(L, p, 16);
      tl_put_integer(p, lua_tointeger(L, -1));
      lua_pop(L, 1);
      continue;
    }
    int result = tl_put_value(L, p);
    if (result != TL_PUT_DONE) return result;
  }
  f->sequence = f->done;
  f->phase = TL_PHASE_ARRAY;
  return TL_PUT_DONE;
}

/* The elements from an integer on, which is on the top, as long as they are
 * integers. Many at a time: so they are popped by one call. */
static TL_GIL void put_integers(lua_State *L, tl_pickler *p, tl_frame *f) {
  enum { RUN = 8 };
  int i = 1, got = 1, first = lua_gettop(L), list = first - 2;
  for (;;) {
    tl_put_room(L, p, (size_t)RUN * 16);
    for (i = 0; i < got && lua_isinteger(L, first + i); i++)
      tl_put_integer(p, lua_tointeger(L, first + i));
    lua_settop(L, first - 1);
    if (i < got || f->done == f->n) break;
    got = f->n - f->done < RUN ? (int)(f->n - f->done) : RUN;
    for (int k = 1; k <= got; k++)
      lua_rawgeti(L, list, f->offset + f->done + k);
    f->done += got;
  }
  f->done -= got - i;
}

/* The list ends before the element that was met last. Its length has as many
 * bytes as before. */
static void end_list_early(tl_pickler *p, tl_frame *f) {
  unsigned char *byte = (unsigned char *)p->buf + f->at + 1;
  f->n = --f->done;
  uint64_t n = (uint64_t)f->n;
  for (; *byte & 0x80; n >>= 7)
    *byte++ = (unsigned char)(n | 0x80);
  *byte = (unsigned char)n;
}

/* The element that was met last is nil. The length of a table is any border,
 * maybe one far beyond most of what it has: before a wide gap the list ends,
 * and what is behind that are pairs. */
static TL_GIL void put_gap(lua_State *L, tl_pickler *p, tl_frame *f) {
  enum { WIDE = 100 };
  lua_Integer gap = 1, most = f->n - f->done + 1;
  if (most > WIDE) most = WIDE;
  for (; gap < most; gap++) {
    bool is_nil = lua_rawgeti(L, -2, f->done + gap) == LUA_TNIL;
    lua_pop(L, 1);
    if (!is_nil) break;
  }
  if (gap == most) {
    end_list_early(p, f);
    return;
  }
  tl_put_room(L, p, WIDE);
  memset(p->buf + p->size, OP_NIL, (size_t)gap);
  p->size += (size_t)gap;
  f->done += gap - 1;
}

/* The elements that were out of order; all of items. */
static TL_GIL int put_array(lua_State *L, tl_pickler *p, tl_frame *f) {
  while (f->done < f->n) {
    lua_rawgeti(L, -2, f->offset + ++f->done);
    if (lua_isinteger(L, -1)) {
      put_integers(L, p, f);
      continue;
    }
    if (lua_isnil(L, -1) && f->kind == TL_FRAME_TABLE) {
      lua_pop(L, 1);
      put_gap(L, p, f);
      continue;
    }
    int result = tl_put_value(L, p);
    if (result != TL_PUT_DONE) return result;
  }
  f->phase = TL_PHASE_PAIRS;
  return TL_PUT_DONE;
}

static TL_GIL int put_pairs(lua_State *L, tl_pickler *p, tl_frame *f) {
  if (f->phase == TL_PHASE_VALUE) goto value;
  while (lua_next(L, -2)) {
    int type = lua_type(L, -2), result;
    if (type != LUA_TSTRING && is_skipped(L, f, -2)) {
      lua_pop(L, 1);
      continue;
    }
    count_pair(L, p, f);
    if (!tl_put_plain(L, p, -2, type)) {
      lua_pop(L, 1);
      f->phase = TL_PHASE_VALUE;
      lua_pushvalue(L, -1);
      result = tl_put_value(L, p);
      if (result != TL_PUT_DONE) return result;
    value:
      f->phase = TL_PHASE_PAIRS;
      lua_pushvalue(L, -1);
      lua_rawget(L, -3);
    }
    type = lua_type(L, -1);
    if (tl_put_plain(L, p, -1, type)) {
      lua_pop(L, 1);
      continue;
    }
    result = tl_put_value(L, p);
    if (result != TL_PUT_DONE) return result;
  }
  lua_pushnil(L); /* in the place of the key */
  end_pairs(L, p, f);
  f->phase = f->classed ? TL_PHASE_CLASS : TL_PHASE_END;
  return TL_PUT_DONE;
}

/* The class of the table: the name of a registered one, or an error class. */
static TL_GIL int put_class(lua_State *L, tl_pickler *p, tl_frame *f) {
  f->phase = TL_PHASE_END;
  luaL_checkstack(L, 10, NULL);
  if (!lua_getmetatable(L, -2)) return tl_pickler_changed(L);
  if (tl_error_what(L) == TL_ERROR_INSTANCE) {
    lua_pop(L, 1);
    tl_error_pushclassof(L, -2);
  } else if (tl_classes_find(L, -1)) {
    lua_remove(L, -2);
    lua_rawgeti(L, -1, TL_CLASS_NAME);
    lua_remove(L, -2);
  } else {
    return tl_pickler_changed(L);
  }
  return tl_put_value(L, p);
}

static TL_GIL int put_parent(lua_State *L, tl_pickler *p, tl_frame *f) {
  f->phase = TL_PHASE_COUNT;
  tl_error_pushparent(L, -2);
  return tl_put_value(L, p);
}

/* The list is written; the object that it stands for is one from now on. Items
 * have a field 'n'. */
static TL_GIL void end_list(lua_State *L, tl_pickler *p, const tl_frame *f) {
  if (f->kind == TL_FRAME_ITEMS) {
    tl_put_room(L, p, 16);
    tl_put_raw(p, (char[]){(char)(OP_SHORT + 1), 'n'}, 2);
    tl_put_integer(p, f->n);
    tl_close_frame(L, p);
    return;
  }
  uint32_t pos = f->at < TL_MET_SHARED ? (uint32_t)f->at : TL_MET_SHARED;
  tl_met_set(p, tl_met_find(L, p, f->ptr), f->ptr, f->object, pos);
  tl_close_frame(L, p);
}

/* Goes on with the last frame, a table or list. */
int tl_put_parts(lua_State *L, tl_pickler *p) {
  for (;;) {
    tl_frame *f = &p->frames[p->depth - 1];
    int result = TL_PUT_DONE;
    switch (f->phase) {
    case TL_PHASE_PARENT:
      result = put_parent(L, p, f);
      break;
    case TL_PHASE_COUNT:
      tl_put_room(L, p, 1);
      f->at = p->size;
      tl_put_byte(p, 0);
      f->phase = TL_PHASE_PAIRS;
      break;
    case TL_PHASE_SEQUENCE:
      result = put_sequence(L, p, f);
      break;
    case TL_PHASE_ARRAY:
      result = put_array(L, p, f);
      if (result == TL_PUT_DONE && f->kind != TL_FRAME_TABLE) {
        end_list(L, p, f);
        return TL_PUT_DONE;
      }
      break;
    case TL_PHASE_PAIRS:
    case TL_PHASE_VALUE:
      result = put_pairs(L, p, f);
      break;
    case TL_PHASE_CLASS:
      result = put_class(L, p, f);
      break;
    default:
      tl_close_frame(L, p);
      return TL_PUT_DONE;
    }
    if (result != TL_PUT_DONE) return result;
  }
}

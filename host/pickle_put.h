/* pickle_put.h - writes plain values and references; inline, since they are
 * most of what is written: a tenth fewer instructions for a list of records. */
#ifndef TL_PICKLE_PUT_H
#define TL_PICKLE_PUT_H

#include "pickler.h"

/* Counts the object at idx, whose opcode is written next. */
static inline TL_GIL uint32_t tl_put_object(lua_State *L, tl_pickler *p,
                                            tl_met *m, const void *ptr, int idx,
                                            uint32_t pos) {
  if (tl_unlikely(p->careful)) {
    lua_pushvalue(L, idx);
    lua_rawseti(L, p->base + TL_SLOT_ANCHOR, (lua_Integer)p->objects + 1);
  }
  if (p->objects == TL_MET_NAMED) luaL_error(L, "too many objects to pickle");
  tl_met_set(p, m, ptr, p->objects, pos);
  return p->objects++;
}

/* Where the next opcode will be. Beyond what fits it is marked at once. */
static inline uint32_t tl_put_pos(const tl_pickler *p) {
  return p->size < TL_MET_SHARED ? (uint32_t)p->size : TL_MET_SHARED;
}

static inline unsigned tl_shared_op(unsigned op) {
  return op < OP_REF ? op | 0x20 : op | 1;
}

/* Writes the opcode of an object, which is marked already if it cannot be
 * later. */
static inline void tl_put_op(tl_pickler *p, unsigned op, uint32_t pos) {
  bool shared = pos == TL_MET_SHARED;
  tl_put_byte(p, shared ? tl_shared_op(op) : op);
  p->shared += shared;
}

/* Refers to an object that was written before. Needs room for 5 bytes. */
static inline void tl_put_ref(tl_pickler *p, tl_met *m) {
  if (tl_unlikely(m->pos != TL_MET_SHARED)) {
    unsigned char *op = (unsigned char *)p->buf + m->pos;
    unsigned shared = tl_shared_op(*op);
    p->shared += *op != shared; /* it may have two addresses */
    *op = (unsigned char)shared;
    m->pos = TL_MET_SHARED;
  }
  uint32_t index = m->index;
  if (index < 32) {
    tl_put_byte(p, OP_REF + index);
  } else if (index <= UINT8_MAX) {
    tl_put_byte(p, OP_REF8);
    tl_put_byte(p, index);
  } else if (index <= UINT16_MAX) {
    tl_put_byte(p, OP_REF16);
    tl_put_raw(p, &(uint16_t){(uint16_t)index}, 2);
  } else {
    tl_put_byte(p, OP_REF32);
    tl_put_raw(p, &index, 4);
  }
}

static tl_inline TL_GIL void tl_put_string(lua_State *L, tl_pickler *p,
                                           int idx) {
  size_t n;
  const char *s = lua_tolstring(L, idx, &n);
  tl_put_room(L, p, n + 16);
  tl_met *m = tl_met_find(L, p, s);
  if (m->ptr) {
    tl_put_ref(p, m);
    return;
  }
  uint32_t pos = tl_put_pos(p);
  tl_put_object(L, p, m, s, idx, pos);
  if (n < TL_PICKLE_SHORTEST) {
    tl_put_op(p, OP_SHORT + (unsigned)n, pos);
  } else {
    tl_put_op(p, OP_STRING, pos);
    tl_put_varint(p, n);
  }
  tl_put_raw(p, s, n);
}

/* Needs room for 9 bytes, as the next. */
static inline void tl_put_integer(tl_pickler *p, lua_Integer i) {
  if (i >= 0 && i <= 127) {
    tl_put_byte(p, OP_INT + (unsigned)i);
  } else if (i == (int32_t)i) {
    if (i == (int8_t)i) {
      tl_put_byte(p, OP_INT8);
      tl_put_byte(p, (unsigned)i & 0xFF);
    } else if (i == (int16_t)i) {
      tl_put_byte(p, OP_INT16);
      tl_put_raw(p, &(int16_t){(int16_t)i}, 2);
    } else {
      tl_put_byte(p, OP_INT32);
      tl_put_raw(p, &(int32_t){(int32_t)i}, 4);
    }
  } else {
    tl_put_byte(p, OP_INT64);
    tl_put_raw(p, &i, 8);
  }
}

/* Bit by bit: the sign of zero, what a NaN carries; that is never short. */
static inline void tl_put_float(tl_pickler *p, lua_Number x) {
  bool fits = x >= -3e38 && x <= 3e38; /* not NaN either */
  float small = fits ? (float)x : 0;
  double back = small;
  if (fits && back == x) { /* zeros of different signs cannot come of this */
    tl_put_byte(p, OP_FLOAT32);
    tl_put_raw(p, &small, 4);
  } else {
    tl_put_byte(p, OP_FLOAT64);
    tl_put_raw(p, &x, 8);
  }
}

/* Writes the value at idx, and leaves it, if it has no parts. */
static tl_inline TL_GIL bool tl_put_plain(lua_State *L, tl_pickler *p, int idx,
                                          int type) {
  switch (type) {
  case LUA_TSTRING:
    tl_put_string(L, p, idx);
    return true;
  case LUA_TNUMBER: {
    tl_put_room(L, p, 16);
    if (lua_isinteger(L, idx))
      tl_put_integer(p, lua_tointeger(L, idx));
    else
      tl_put_float(p, lua_tonumber(L, idx));
    return true;
  }
  case LUA_TNIL:
    tl_put_room(L, p, 1);
    tl_put_byte(p, OP_NIL);
    return true;
  case LUA_TBOOLEAN:
    tl_put_room(L, p, 1);
    tl_put_byte(p, lua_toboolean(L, idx) ? OP_TRUE : OP_FALSE);
    return true;
  case LUA_TLIGHTUSERDATA:
    if (lua_touserdata(L, idx)) return false;
    tl_put_room(L, p, 1);
    tl_put_byte(p, OP_NULL);
    return true;
  default:
    return false;
  }
}

#endif

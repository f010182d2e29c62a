/* pickle_values.c - reads strings, references and numbers. */
#include "pickle_reader.h"

void tl_read_string(lua_State *L, tl_reader *r, uint64_t n, bool shared) {
  tl_read_need(L, r, n);
  uint32_t object = tl_read_object(L, r);
  lua_pushlstring(L, (const char *)r->at, (size_t)n);
  r->at += n;
  if (!shared) return;
  tl_read_remember(L, r, object);
  if (object < TL_READ_OBJECTS_ON_STACK) r->strings |= UINT32_C(1) << object;
}

void tl_read_ref(lua_State *L, tl_reader *r, unsigned op) {
  uint32_t object = op - OP_REF;
  if (op >= OP_NIL) {
    if (op < OP_REF8 || op > OP_REF32)
      tl_read_damaged(L, r, "a reference is missing");
    size_t n = (size_t)1 << (op - OP_REF8);
    tl_read_need(L, r, n);
    object = 0;
    memcpy(&object, r->at, n);
    r->at += n;
  }
  tl_read_pushobject(L, r, object);
}

void tl_read_name(lua_State *L, tl_reader *r) {
  unsigned op = tl_read_byte(L, r);
  if (op >= OP_SHORT && op < OP_REF) {
    tl_read_string(L, r, op & 0x1F, op & 0x20);
  } else if ((op & ~1u) == OP_STRING) {
    tl_read_string(L, r, tl_read_varint(L, r), op & 1);
  } else if (op < OP_REF) {
    tl_read_damaged(L, r, "a name is missing");
  } else {
    tl_read_ref(L, r, op);
  }
  if (lua_type(L, -1) != LUA_TSTRING)
    tl_read_damaged(L, r, "a name is no string");
}

void tl_read_number(lua_State *L, tl_reader *r, unsigned op) {
  union {
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    float f32;
    double f64;
  } v;
  size_t n = op == OP_FLOAT32   ? 4
             : op == OP_FLOAT64 ? 8
                                : (size_t)1 << (op - OP_INT8);
  tl_read_need(L, r, n);
  memcpy(&v, r->at, n);
  r->at += n;
  switch (op) {
  case OP_INT8:
    lua_pushinteger(L, v.i8);
    break;
  case OP_INT16:
    lua_pushinteger(L, v.i16);
    break;
  case OP_INT32:
    lua_pushinteger(L, v.i32);
    break;
  case OP_INT64:
    lua_pushinteger(L, v.i64);
    break;
  case OP_FLOAT32:
    lua_pushnumber(L, (lua_Number)v.f32);
    break;
  default:
    lua_pushnumber(L, v.f64);
  }
}

/* Reads an integer, unless something else is next. */
static inline bool read_integer(tl_reader *r, lua_Integer *i) {
  const unsigned char *at = r->at;
  size_t left = tl_read_left(r);
  int16_t i16;
  int32_t i32;
  if (left == 0) return false;
  unsigned op = *at++;
  if (op < OP_SHORT) {
    *i = op;
  } else if (op == OP_INT8 && left > 1) {
    *i = (*at++ ^ 0x80) - 0x80; /* its sign */
  } else if (op == OP_INT16 && left > sizeof i16) {
    memcpy(&i16, at, sizeof i16);
    *i = i16;
    at += sizeof i16;
  } else if (op == OP_INT32 && left > sizeof i32) {
    memcpy(&i32, at, sizeof i32);
    *i = i32;
    at += sizeof i32;
  } else if (op == OP_INT64 && left > sizeof *i) {
    memcpy(i, at, sizeof *i);
    at += sizeof *i;
  } else {
    return false;
  }
  r->at = at;
  r->owed--;
  return true;
}

void tl_read_integers(lua_State *L, tl_reader *r, tl_read_frame *f) {
  lua_Integer i, at = f->offset + (lua_Integer)f->done;
  lua_Integer last = f->offset + (lua_Integer)f->n - 1;
  while (at < last && read_integer(r, &i)) {
    lua_pushinteger(L, i);
    lua_rawseti(L, -2, ++at);
  }
  f->done = (size_t)(at - f->offset);
}

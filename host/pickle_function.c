/* pickle_function.c - writes Lua functions: code and upvalues. */
#include "pickle_put.h"

static TL_GIL int write_code(lua_State *L, const void *data, size_t n,
                             void *ud) {
  tl_pickler *p = ud;
  if (p->room - p->size < n && !tl_pickler_try_grow(L, p, n)) return 1;
  tl_put_raw(p, data, n);
  return 0;
}

/* A digest of bytes, eight at a time (the multiplication and folding of
 * wyhash). It is odd: no address is. */
static uint64_t digest(const char *data, size_t n) {
  uint64_t h = n;
  while (n > 0) {
    uint64_t word = 0;
    size_t step = n < 8 ? n : 8;
    memcpy(&word, data, step);
    h = (h ^ word) * UINT64_C(0xA0761D6478BD642F);
    h ^= h >> 32;
    data += step;
    n -= step;
  }
  return h | 1;
}

/* Writes the code of the function on the top, or where the same is. */
static TL_GIL void put_code(lua_State *L, tl_pickler *p) {
  tl_pickler_own(L, p);
  tl_put_room(L, p, 16);
  size_t at = p->size, start = at + 4;
  p->size = start;
  if (lua_dump(L, write_code, p, 0) != 0) luaL_error(L, "not enough memory");
  size_t n = p->size - start;
  if (n >= TL_PICKLE_AGAIN) luaL_error(L, "a function too large to pickle");
  memcpy(p->buf + at, &(uint32_t){(uint32_t)n}, 4);
  if (at >= TL_PICKLE_AGAIN) return;
  const void *key = (const void *)(uintptr_t)digest(p->buf + start, n);
  tl_met *m = tl_met_find(L, p, key);
  if (!m->ptr) {
    tl_met_set(p, m, key, 0, (uint32_t)at);
  } else if (memcmp(p->buf + m->pos, p->buf + at, n + 4) == 0) {
    uint32_t again = TL_PICKLE_AGAIN | m->pos;
    p->size = at;
    tl_put_raw(p, &again, 4);
  }
}

int tl_put_function(lua_State *L, tl_pickler *p) {
  const void *ptr = lua_topointer(L, -1);
  luaL_checkstack(L, 12, NULL);
  tl_met *m = tl_met_find(L, p, ptr);
  if (m->ptr) return tl_put_met(L, p, m);
  if (!p->named) return tl_begin_with_names(p);
  if (lua_iscfunction(L, -1))
    return tl_pickler_refuse(L, p, "no module has it");
  lua_Debug ar;
  lua_pushvalue(L, -1);
  lua_getinfo(L, ">u", &ar);
  tl_put_room(L, p, 16);
  /* One with upvalues may be referred to by those that share them. */
  uint32_t pos = ar.nups ? TL_MET_SHARED : tl_put_pos(p);
  uint32_t index = tl_put_object(L, p, m, ptr, -1, pos);
  tl_put_op(p, OP_FUNCTION, pos);
  put_code(L, p);
  tl_put_room(L, p, 1);
  tl_put_byte(p, ar.nups);
  tl_frame *f = tl_open_frame(L, p, TL_FRAME_FUNCTION);
  f->n = ar.nups;
  f->object = index;
  return TL_PUT_OPENED;
}

/* The next upvalues of the last frame. */
int tl_put_upvalues(lua_State *L, tl_pickler *p) {
  for (;;) {
    tl_frame *f = &p->frames[p->depth - 1];
    if (f->done == f->n) break;
    int i = (int)++f->done;
    void *id = lua_upvalueid(L, -2, i);
    tl_met *m = tl_met_find(L, p, id);
    if (m->ptr) {
      tl_put_room(L, p, 16);
      tl_put_byte(p, OP_JOIN);
      tl_put_varint(p, m->index);
      tl_put_byte(p, m->pos);
      continue;
    }
    tl_met_set(p, m, id, f->object, (uint32_t)i);
    lua_getupvalue(L, -2, i);
    int result = tl_put_value(L, p);
    if (result != TL_PUT_DONE) return result;
  }
  tl_close_frame(L, p);
  return TL_PUT_DONE;
}

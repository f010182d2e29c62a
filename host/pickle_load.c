/* pickle_load.c - makes the value that a pickle stands for.
 *
 * The bytes may be anything. What they promise is believed only as far as
 * bytes are left for it: each open table still owes so many values, and each
 * value takes a byte at least, so the sum of what is owed never exceeds what
 * is left, and memory is bounded by the size of the input. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "errors.h"
#include "pickle_reader.h"

_Noreturn void tl_read_damaged(lua_State *L, const tl_reader *r,
                               const char *what) {
  tl_error(L, "UnpicklingError", "damaged data at byte %d: %s",
           (int)(r->at - r->start), what);
  abort(); /* that has raised */
}

static TL_GIL tl_read_frame *grow_frames(lua_State *L, tl_reader *r) {
  size_t room = 2 * r->room;
  tl_read_frame *frames = lua_newuserdatauv(L, room * sizeof *frames, 0);
  memcpy(frames, r->frames, r->depth * sizeof *frames);
  lua_replace(L, r->base + TL_READ_SLOT_FRAMES);
  r->frames = frames;
  r->room = room;
  return frames;
}

tl_read_frame *tl_read_openframe(lua_State *L, tl_reader *r, unsigned kind,
                                 bool shared) {
  if (r->depth <= TL_FRAMES_ON_STACK) {
    luaL_checkstack(L, 12, NULL);
  } else {
    lua_Integer at = 2 * ((lua_Integer)r->depth - TL_FRAMES_ON_STACK);
    if (r->frames[r->depth - 1].state == TL_READ_VALUE) {
      lua_insert(L, -2);
      lua_rawseti(L, r->base + TL_READ_SLOT_SPILL, at);
    }
    lua_insert(L, -2);
    lua_rawseti(L, r->base + TL_READ_SLOT_SPILL, at - 1);
  }
  if (r->depth == r->room) grow_frames(L, r);
  tl_read_frame *f = &r->frames[r->depth++];
  *f = (tl_read_frame){.kind = (uint8_t)kind, .shared = shared};
  return f;
}

/* The object on the top is done; below it is the frame before its own. */
static TL_GIL void close_frame(lua_State *L, tl_reader *r) {
  r->depth--;
  if (r->depth <= TL_FRAMES_ON_STACK) return;
  lua_Integer at = 2 * ((lua_Integer)r->depth - TL_FRAMES_ON_STACK);
  lua_rawgeti(L, r->base + TL_READ_SLOT_SPILL, at - 1);
  lua_insert(L, -2);
  if (r->frames[r->depth - 1].state != TL_READ_VALUE) return;
  lua_rawgeti(L, r->base + TL_READ_SLOT_SPILL, at);
  lua_insert(L, -2);
}

/* Values --------------------------------------------------------------------
 */

static TL_GIL void open_table(lua_State *L, tl_reader *r, unsigned op) {
  bool classed = r->classed;
  r->classed = false;
  uint32_t object = tl_read_object(L, r);
  unsigned pairs = tl_read_byte(L, r);
  uint64_t n = (op & ~1u) == OP_LIST ? tl_read_varint(L, r) : 0;
  if (n > INT_MAX) tl_read_damaged(L, r, "a count is too large");
  tl_read_owe(L, r, n);
  tl_read_owe(L, r, 2 * pairs + classed);
  bool items = r->list && r->depth == 0;
  if (items)
    lua_pushvalue(L, r->list);
  else
    lua_createtable(L, (int)n, (int)pairs);
  if (op & 1) tl_read_remember(L, r, object);
  tl_read_frame *f = tl_read_openframe(L, r, op & ~1u, false);
  f->classed = classed;
  f->n = (size_t)n;
  f->pairs = pairs;
  f->chunk = pairs == TL_PICKLE_PAIRS;
  f->known = items;
  f->offset = items ? r->behind : 0;
  if (items) r->behind += (lua_Integer)n;
}

/* Reads what is not a plain value: true if it is pushed, false if it has
 * become the last frame or is a mark. */
static TL_GIL bool read_object(lua_State *L, tl_reader *r, unsigned op) {
  switch (op & ~1u) {
  case OP_STRING:
    tl_read_string(L, r, tl_read_varint(L, r), op & 1);
    return true;
  case OP_MAP:
  case OP_LIST:
    open_table(L, r, op);
    return false;
  case OP_FUNCTION:
    tl_build_function(L, r, op & 1);
    return false;
  case OP_NAMED:
    tl_build_named(L, r, op & 1);
    return true;
  case OP_REDUCED:
    tl_build_reduced(L, r, op & 1);
    return false;
  case OP_PORTABLE:
    tl_build_portable(L, r, op & 1);
    return false;
  default:
    return tl_build_error(L, r, op & 1);
  }
}

/* The same for opcodes from OP_NIL on. */
static TL_GIL bool read_special(lua_State *L, tl_reader *r, unsigned op) {
  switch (op) {
  case OP_NIL:
    lua_pushnil(L);
    return true;
  case OP_FALSE:
  case OP_TRUE:
    lua_pushboolean(L, op == OP_TRUE);
    return true;
  case OP_NULL:
    lua_pushlightuserdata(L, NULL);
    return true;
  case OP_REF8:
  case OP_REF16:
  case OP_REF32:
    tl_read_ref(L, r, op);
    return true;
  case OP_GLOBALS:
    tl_build_globals(L, r);
    return true;
  case OP_JOIN:
    tl_build_join(L, r);
    return false;
  case OP_CLASSED:
    tl_read_need(L, r, 1);
    if ((*r->at & ~1u) != OP_MAP && (*r->at & ~1u) != OP_LIST)
      tl_read_damaged(L, r, "a class of nothing");
    r->classed = true;
    open_table(L, r, *r->at++);
    return false;
  default:
    if (op >= OP_STRING) return read_object(L, r, op);
    tl_read_number(L, r, op);
    return true;
  }
}

/* What reading a value comes to. */
typedef enum value_read {
  VALUE_AWAITED, /* it has become the last frame, or it was a mark */
  VALUE_PUSHED,
  VALUE_STRING, /* pushed, and known to be a string */
} value_read;

/* Reads one value. */
static inline TL_GIL value_read read_value(lua_State *L, tl_reader *r) {
  if (tl_unlikely(r->at == r->end)) tl_read_damaged(L, r, "it ends too early");
  unsigned op = *r->at++;
  r->owed--;
  if (op < OP_SHORT) {
    lua_pushinteger(L, op);
    return VALUE_PUSHED;
  }
  if (op < OP_REF) {
    tl_read_string(L, r, op & 0x1F, op & 0x20);
    return VALUE_STRING;
  }
  if (op < OP_NIL) {
    unsigned object = op - OP_REF;
    if (r->strings & UINT32_C(1) << object) {
      lua_pushvalue(L, r->base + TL_READ_SLOT_OBJECTS + (int)object);
      return VALUE_STRING;
    }
    tl_read_pushobject(L, r, object);
    return VALUE_PUSHED;
  }
  return read_special(L, r, op) ? VALUE_PUSHED : VALUE_AWAITED;
}

/* Frames ------------------------------------------------------------------- */

static TL_GIL void set_pair(lua_State *L, const tl_read_frame *f) {
  if (f->known)
    lua_pop(L, 2);
  else
    lua_rawset(L, -3);
}

/* What may be a key: not nil, not NaN. */
static TL_GIL void check_key(lua_State *L, const tl_reader *r) {
  int type = lua_type(L, -1);
  if (tl_unlikely(type == LUA_TNIL)) tl_read_damaged(L, r, "a key is nil");
  if (type == LUA_TNUMBER && !lua_isinteger(L, -1) &&
      isnan(lua_tonumber(L, -1)))
    tl_read_damaged(L, r, "a key is NaN");
}

/* The value on the top belongs to the last frame. */
static TL_GIL void take(lua_State *L, tl_reader *r, tl_read_frame *f) {
  switch (f->state) {
  case TL_READ_ELEMENT:
    if (f->kind == OP_PORTABLE) {
      f->done++;
      tl_build_unpack(L, r, f);
    } else {
      lua_rawseti(L, -2, f->offset + (lua_Integer)++f->done);
    }
    break;
  case TL_READ_KEY:
    check_key(L, r);
    f->state = TL_READ_VALUE;
    break;
  case TL_READ_VALUE:
    set_pair(L, f);
    f->pairs--;
    f->state = TL_READ_KEY;
    break;
  case TL_READ_CLASS:
    tl_build_setclass(L, r);
    f->classed = false;
    break;
  case TL_READ_UPVALUE:
    lua_setupvalue(L, -2, (int)++f->done);
    break;
  default:
    tl_build_errorclass(L, r, f);
  }
}

/* Whether the last frame is complete; sets what it wants next. */
static TL_GIL bool is_complete(lua_State *L, tl_reader *r, tl_read_frame *f) {
  if (f->done < f->n || f->state == TL_READ_VALUE || f->state == TL_READ_PARENT)
    return false;
  if (f->pairs > 0) {
    f->state = TL_READ_KEY;
    return false;
  }
  if (f->chunk) {
    f->chunk = false;
    uint64_t rest = tl_read_varint(L, r);
    if (rest > tl_read_left(r)) tl_read_damaged(L, r, "a count is too large");
    tl_read_owe(L, r, 2 * rest);
    f->pairs = (size_t)rest;
    f->state = TL_READ_KEY;
    if (rest > 0) return false;
  }
  if (f->classed) {
    f->state = TL_READ_CLASS;
    return false;
  }
  return true;
}

/* The last frame is complete: its value is on the top, in the frame before. */
static TL_GIL void finish(lua_State *L, tl_reader *r, tl_read_frame *f) {
  if (f->kind == OP_REDUCED) tl_build_restore(L, f);
  if (f->shared && f->kind != OP_ERROR) tl_read_remember(L, r, f->object);
  close_frame(L, r);
}

/* As take and is_complete, for what is most of the values: true if the last
 * frame has the value and wants another. */
static inline TL_GIL bool take_quickly(lua_State *L, tl_reader *r,
                                       tl_read_frame *f, value_read got) {
  switch (f->state) {
  case TL_READ_ELEMENT:
    if (f->done + 1 >= f->n || f->kind != OP_LIST) return false;
    lua_rawseti(L, -2, f->offset + (lua_Integer)++f->done);
    tl_read_integers(L, r, f);
    return true;
  case TL_READ_KEY:
    if (got != VALUE_STRING && lua_type(L, -1) != LUA_TSTRING) return false;
    f->state = TL_READ_VALUE;
    return true;
  case TL_READ_VALUE:
    if (f->pairs == 1 || f->known) return false;
    lua_rawset(L, -3);
    f->pairs--;
    f->state = TL_READ_KEY;
    return true;
  default:
    return false;
  }
}

static TL_GIL void read_all(lua_State *L, tl_reader *r) {
  for (;;) {
    value_read got = read_value(L, r);
    bool pushed = got != VALUE_AWAITED;
    if (pushed && r->depth > 0 &&
        take_quickly(L, r, &r->frames[r->depth - 1], got))
      continue;
    for (;;) {
      if (r->depth == 0) return;
      tl_read_frame *f = &r->frames[r->depth - 1];
      if (pushed) take(L, r, f);
      if (!is_complete(L, r, f)) break;
      finish(L, r, f);
      pushed = true;
    }
  }
}

/* Checks header and trailer; says how many objects are shared. */
static TL_GIL uint32_t read_ends(lua_State *L, tl_reader *r) {
  if (tl_read_left(r) < TL_PICKLE_HEADER ||
      memcmp(r->at, TL_PICKLE_MAGIC, TL_PICKLE_HEADER - 1) != 0)
    tl_error(L, "UnpicklingError", "this is not a pickle");
  unsigned version = r->at[TL_PICKLE_HEADER - 1];
  r->at += TL_PICKLE_HEADER;
  r->shares = version & TL_PICKLE_SHARES;
  version &= ~(unsigned)TL_PICKLE_SHARES;
  if (version != TL_PICKLE_VERSION)
    tl_error(L, "UnpicklingError", "a pickle of version %d; this reads %d",
             (int)version, TL_PICKLE_VERSION);
  if (!r->shares) return 0;
  uint32_t shared;
  tl_read_need(L, r, 4);
  r->end -= 4;
  memcpy(&shared, r->end, 4);
  if (shared > tl_read_left(r) / 2)
    tl_read_damaged(L, r, "a count is too large");
  return shared;
}

/* Pushes the value. */
static TL_GIL void load(lua_State *L, tl_reader *r) {
  luaL_checkstack(L, 2 * LUA_MINSTACK + TL_READ_OBJECTS_ON_STACK, NULL);
  uint32_t shared = read_ends(L, r);
  r->base = lua_gettop(L) + 1;
  lua_createtable(L, 0, shared < INT_MAX ? (int)shared : INT_MAX);
  lua_createtable(L, 0, 0);
  lua_settop(L, r->base + TL_READ_SLOT_OBJECTS +
                    (r->shares ? TL_READ_OBJECTS_ON_STACK : 0));
  lua_settop(L, -2);
  read_all(L, r);
  if (r->at != r->end) tl_read_damaged(L, r, "something follows");
  lua_replace(L, r->base);
  lua_settop(L, r->base);
}

/* (reader, list of items or nil) */
static TL_GIL int load_protected(lua_State *L) {
  tl_reader *r = lua_touserdata(L, 1);
  if (r->list) r->list = 2;
  load(L, r);
  return 1;
}

/* All of a large value is reachable while it grows, so that what the collector
 * did meanwhile would be in vain: it is granted so many KiB before its next
 * step, which are taken back when the value is there. */
#define LARGE ((size_t)16 * 1024)
#define GROWS 32 /* a value's size is seldom more than so often its bytes' */

static TL_GIL void load_large(lua_State *L, tl_reader *r, size_t size) {
  size_t most = (size_t)INT_MAX / GROWS * 1024;
  int kib = (int)((size < most ? size : most) / 1024 * GROWS);
  lua_pushcfunction(L, load_protected);
  lua_pushlightuserdata(L, r);
  if (r->list)
    lua_pushvalue(L, r->list);
  else
    lua_pushnil(L);
  lua_gc(L, LUA_GCSTEP, -kib);
  int status = lua_pcall(L, 2, 1, 0);
  lua_gc(L, LUA_GCSTEP, kib);
  if (status != LUA_OK) lua_error(L);
}

static void start(tl_reader *r, const char *data, size_t size, unsigned flags) {
  memset(r, 0, offsetof(tl_reader, first));
  r->start = r->at = (const unsigned char *)data;
  r->end = r->start + size;
  r->flags = flags;
  r->owed = 1;
  r->frames = r->first;
  r->room = sizeof r->first / sizeof *r->first;
}

static TL_GIL void load_all(lua_State *L, tl_reader *r) {
  size_t size = tl_read_left(r);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (size < LARGE || lua_gc(L, LUA_GCISRUNNING) != 1)
    load(L, r);
  else
    load_large(L, r, size);
}

void tl_pickle_load(lua_State *L, const char *data, size_t size, int *fds,
                    int fd_count, unsigned flags) {
  tl_reader r;
  start(&r, data, size, flags);
  r.fds = fds;
  r.fd_count = fd_count;
  load_all(L, &r);
}

lua_Integer tl_pickle_load_items(lua_State *L, int idx, lua_Integer n,
                                 const char *data, size_t size,
                                 unsigned flags) {
  tl_reader r;
  start(&r, data, size, flags);
  idx = lua_absindex(L, idx);
  r.list = idx;
  r.behind = n;
  load_all(L, &r);
  if (!lua_rawequal(L, -1, idx)) tl_read_damaged(L, &r, "no items");
  lua_pop(L, 1);
  return r.behind - n;
}

/* pickle_reader.h - a pickle that is being read: the parts of pickle_load.c and
 * pickle_build.c. */
#ifndef TL_PICKLE_READER_H
#define TL_PICKLE_READER_H

#include "pickler.h"

typedef enum tl_read_state {
  TL_READ_ELEMENT, /* of a table's array, or a list */
  TL_READ_KEY,
  TL_READ_VALUE,
  TL_READ_CLASS,
  TL_READ_UPVALUE,
  TL_READ_PARENT,
} tl_read_state;

typedef struct tl_read_frame { /* an object whose parts are being read */
  uint8_t kind;                /* opcode, not shared */
  uint8_t state;
  bool shared;  /* it is remembered, once it exists */
  bool classed; /* a class comes last */
  bool chunk;   /* of pairs; more may follow */
  bool known;  /* pairs are dropped: of an error class that is here, of items */
  uint8_t fds; /* of a portable object: so many, from 'fd' on */
  int fd;
  uint32_t object;    /* its number */
  size_t done, n;     /* elements, upvalues */
  lua_Integer offset; /* of the first element */
  size_t pairs;       /* to be read */
  const tl_portable *portable;
} tl_read_frame;

typedef struct tl_reader {
  const unsigned char *start, *at, *end;
  unsigned flags;
  int *fds;
  int fd_count, fd_used;
  uint32_t objects;      /* counted so far */
  uint32_t strings;      /* a bit for each of those on the stack that is one */
  size_t owed;           /* values that are awaited, at least a byte each */
  bool shares;           /* there are shared objects */
  bool classed;          /* the next table has a class */
  int base;              /* of the slots on Lua's stack */
  int list;              /* that the items are added to, or 0 */
  lua_Integer behind;    /* how many of its own */
  tl_read_frame *frames; /* the last one is the innermost */
  size_t depth, room;
  tl_read_frame first[16];
} tl_reader;

/* On Lua's stack from 'base' on; the first shared objects are there, too, if
 * there are any. */
enum {
  TL_READ_SLOT_MEMO,
  TL_READ_SLOT_SPILL,
  TL_READ_SLOT_FRAMES,
  TL_READ_SLOT_OBJECTS
};
#define TL_READ_OBJECTS_ON_STACK 32

/* Raises UnpicklingError that says what is wrong, and where. */
_Noreturn void tl_read_damaged(lua_State *L, const tl_reader *r,
                               const char *what) TL_GIL;

/* pickle_values.c. These push what they read. */

/* A string of n bytes. */
void tl_read_string(lua_State *L, tl_reader *r, uint64_t n, bool shared) TL_GIL;

/* A string, which is the name of something. */
void tl_read_name(lua_State *L, tl_reader *r) TL_GIL;

/* The object that an opcode from OP_REF on refers to. */
void tl_read_ref(lua_State *L, tl_reader *r, unsigned op) TL_GIL;

/* What an opcode from OP_INT8 to OP_FLOAT64 announces. */
void tl_read_number(lua_State *L, tl_reader *r, unsigned op) TL_GIL;

/* Sets the integers that are next in the list on the top, but for its last
 * element. */
void tl_read_integers(lua_State *L, tl_reader *r, tl_read_frame *f) TL_GIL;

/* pickle_load.c */

/* The object on the top becomes the last frame. Lua's stack has it, and above
 * it the key while its value is read; those of frames far out are moved to a
 * table. */
tl_read_frame *tl_read_openframe(lua_State *L, tl_reader *r, unsigned kind,
                                 bool shared) TL_GIL;

/* pickle_build.c: what is more than data. The first ones read what follows an
 * opcode, and push the object or open a frame. */
void tl_build_function(lua_State *L, tl_reader *r, bool shared) TL_GIL;
void tl_build_named(lua_State *L, tl_reader *r, bool shared) TL_GIL;
void tl_build_globals(lua_State *L, const tl_reader *r) TL_GIL;
void tl_build_reduced(lua_State *L, tl_reader *r, bool shared) TL_GIL;
void tl_build_portable(lua_State *L, tl_reader *r, bool shared) TL_GIL;

/* An error class: true if it is complete. */
bool tl_build_error(lua_State *L, tl_reader *r, bool shared) TL_GIL;

/* The upvalue that is next is that of another function. */
void tl_build_join(lua_State *L, tl_reader *r) TL_GIL;

/* Pops the class of the table below it. */
void tl_build_setclass(lua_State *L, const tl_reader *r) TL_GIL;

/* Replaces the list on the top, whose values are all there, by the object. */
void tl_build_restore(lua_State *L, const tl_read_frame *f) TL_GIL;

/* Makes a portable object of the packed value on the top, in the place below
 * it; it takes over its descriptors. */
void tl_build_unpack(lua_State *L, tl_reader *r, const tl_read_frame *f) TL_GIL;

/* The parent of an error class is on the top, its name below it: the class is
 * made, unless it is known. */
void tl_build_errorclass(lua_State *L, tl_reader *r, tl_read_frame *f) TL_GIL;

static inline size_t tl_read_left(const tl_reader *r) {
  return (size_t)(r->end - r->at);
}

static inline TL_GIL void tl_read_need(lua_State *L, const tl_reader *r,
                                       size_t n) {
  if (tl_unlikely(tl_read_left(r) < n))
    tl_read_damaged(L, r, "it ends too early");
}

static inline TL_GIL unsigned tl_read_byte(lua_State *L, tl_reader *r) {
  tl_read_need(L, r, 1);
  return *r->at++;
}

static inline TL_GIL uint32_t tl_read_u32(lua_State *L, tl_reader *r) {
  uint32_t n;
  tl_read_need(L, r, 4);
  memcpy(&n, r->at, 4);
  r->at += 4;
  return n;
}

static inline TL_GIL uint64_t tl_read_varint(lua_State *L, tl_reader *r) {
  uint64_t n = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    unsigned byte = tl_read_byte(L, r);
    n |= (uint64_t)(byte & 0x7F) << shift;
    if (byte < 0x80) return n;
  }
  tl_read_damaged(L, r, "a number is too large");
}

/* A frame will read that many values more. */
static inline TL_GIL void tl_read_owe(lua_State *L, tl_reader *r, uint64_t n) {
  size_t left = tl_read_left(r);
  if (r->owed > left || n > left - r->owed)
    tl_read_damaged(L, r, "a count is too large");
  r->owed += (size_t)n;
}

static inline TL_GIL uint32_t tl_read_object(lua_State *L, tl_reader *r) {
  if (r->objects == TL_MET_NAMED) tl_read_damaged(L, r, "too many objects");
  return r->objects++;
}

/* Remembers the value on the top. */
static inline TL_GIL void tl_read_remember(lua_State *L, const tl_reader *r,
                                           uint32_t object) {
  if (!r->shares) tl_read_damaged(L, r, "a shared object is unexpected");
  if (object < TL_READ_OBJECTS_ON_STACK) {
    lua_copy(L, -1, r->base + TL_READ_SLOT_OBJECTS + (int)object);
  } else {
    lua_pushvalue(L, -1);
    lua_rawseti(L, r->base + TL_READ_SLOT_MEMO, object);
  }
}

static inline TL_GIL void tl_read_pushobject(lua_State *L, const tl_reader *r,
                                             uint64_t object) {
  if (tl_unlikely(object >= r->objects || !r->shares))
    tl_read_damaged(L, r, "a reference to nothing");
  if (object < TL_READ_OBJECTS_ON_STACK)
    lua_pushvalue(L, r->base + TL_READ_SLOT_OBJECTS + (int)object);
  else
    lua_rawgeti(L, r->base + TL_READ_SLOT_MEMO, (lua_Integer)object);
  if (tl_unlikely(lua_isnil(L, -1)))
    tl_read_damaged(L, r, "a reference to nothing");
}

/* The first count of pairs of the frame. */
static inline TL_GIL void tl_read_count(lua_State *L, tl_reader *r,
                                        tl_read_frame *f) {
  f->pairs = tl_read_byte(L, r);
  f->chunk = f->pairs == TL_PICKLE_PAIRS;
  tl_read_owe(L, r, 2 * (uint64_t)f->pairs);
}

#endif

/* pickler.h - one value that is being pickled: the parts of pickle_*.c.
 *
 * The memory of a pickler comes from Lua's allocator, but not as Lua's: asking
 * for it never lets the collector take a step, so no finalizer runs in the
 * middle and what has been met stays as it was. */
#ifndef TL_PICKLER_H
#define TL_PICKLER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "pickle.h"
#include "pickle_format.h"

/* What has been met, by its address: objects, upvalues, modules and what is in
 * them, and the code of functions (by a digest that is an odd number). */
typedef struct tl_met {
  const void *ptr; /* NULL: a free place */
  uint32_t index;  /* of the object; or TL_MET_NAMED */
  uint32_t pos;    /* of its opcode; or TL_MET_PENDING, TL_MET_SHARED */
} tl_met;

#define TL_MET_NAMED UINT32_MAX        /* travels by name, not yet written */
#define TL_MET_PENDING UINT32_MAX      /* is being reduced */
#define TL_MET_SHARED (UINT32_MAX - 1) /* was marked when it was written */

/* A value whose parts are being written. Lua's stack holds it and the key that
 * its traversal is at; beyond TL_FRAMES_ON_STACK both are in a Lua table. */
typedef enum tl_frame_kind {
  TL_FRAME_TABLE,
  TL_FRAME_FUNCTION, /* n upvalues */
  TL_FRAME_REDUCED,  /* a list of n values that stand for an object */
  TL_FRAME_PORTABLE, /* likewise */
  TL_FRAME_ERROR,    /* an error class: the parent, then as a table */
  TL_FRAME_ITEMS,    /* n values of a list, the first behind 'offset' */
} tl_frame_kind;

typedef enum tl_phase {
  TL_PHASE_PARENT,   /* of an error class */
  TL_PHASE_COUNT,    /* then the count of its pairs */
  TL_PHASE_SEQUENCE, /* the traversal gives 1, 2, 3 ... */
  TL_PHASE_ARRAY,    /* it did not; up to n by number */
  TL_PHASE_PAIRS,    /* a pair is next */
  TL_PHASE_VALUE,    /* the value of the key is next */
  TL_PHASE_CLASS,
  TL_PHASE_END,
} tl_phase;

typedef struct tl_frame {
  uint8_t kind;     /* tl_frame_kind */
  uint8_t phase;    /* tl_phase */
  bool classed;     /* the class is to follow */
  bool exact;       /* 'pairs' counts down to 0; else up to a chunk */
  uint32_t object;  /* number of it, of a function or a reduced object */
  lua_Integer done; /* parts written: elements, upvalues */
  lua_Integer n, offset;
  lua_Integer sequence; /* elements that the traversal gave in order */
  size_t pairs;
  size_t at;       /* where the count of pairs, or the opcode, is in buf */
  const void *ptr; /* of what is reduced */
} tl_frame;

#define TL_FRAMES_ON_STACK 50

/* Absolute indices on Lua's stack, from 'base' on. */
enum { TL_SLOT_SPILL = 1, TL_SLOT_ANCHOR, TL_SLOT_META, TL_SLOTS };

/* Of a descriptor that may be referred to again; else zero. */
typedef struct tl_file {
  dev_t device;
  ino_t inode;
} tl_file;

typedef struct tl_pickler {
  tl_pickled result; /* first: what tl_pickle_dump returns */
  unsigned flags;    /* TL_PICKLE_* */
  const char *root;  /* begins paths */
  bool careful;      /* user code may run: everything met is kept alive */
  bool named;        /* what is in modules is known from the beginning */
  bool in_user_code;
  bool owns;          /* has memory of its own: its metatable is set */
  bool knows_modules; /* the modules are among what was met */
  int base;
  lua_Integer first, items; /* which of a list, 0 for all of the value */
  const void *globals;
  char *buf;
  size_t size, room;
  tl_met *met; /* open addressing, by powers of two */
  size_t met_count, met_limit, met_room;
  unsigned met_shift;
  uint32_t objects, shared;
  tl_frame *frames;
  size_t depth, frame_room;
  size_t deepest; /* depth for which Lua's stack has room */
  tl_file *files; /* what the descriptors are; in one block with 'fds' */
  int *fds;
  size_t fd_room;
  char buf_first[256];
  tl_met met_first[64];
  tl_frame frames_first[4];
} tl_pickler;

/* pickle_memory.c */

/* Pushes a new pickler. */
tl_pickler *tl_pickler_push(lua_State *L, unsigned flags, const char *root)
    TL_GIL;

/* Pushes the metatable of those that have memory to give back. */
void tl_pickler_pushmeta(lua_State *L) TL_GIL;

/* Begins anew, with the memory it has. */
void tl_pickler_reset(tl_pickler *p);

/* Gives the memory back, all but the descriptors; closes these, too. */
void tl_pickler_free_buffers(lua_State *L, tl_pickler *p) TL_GIL;
void tl_pickler_free(lua_State *L, tl_pickler *p) TL_GIL;

/* Makes sure that it will be given back; before the first call of alloc. */
void tl_pickler_own(lua_State *L, tl_pickler *p) TL_GIL;

/* Room for 'more' bytes behind what is written; raises "not enough memory". */
void tl_pickler_grow(lua_State *L, tl_pickler *p, size_t more) TL_GIL;
void tl_pickler_grow_met(lua_State *L, tl_pickler *p) TL_GIL;
/* The same without raising, for one that is owned. */
bool tl_pickler_try_grow(lua_State *L, tl_pickler *p, size_t more) TL_GIL;

/* A new frame at the end of the array. */
tl_frame *tl_pickler_frame(lua_State *L, tl_pickler *p) TL_GIL;

/* Duplicates a descriptor that goes along. */
void tl_pickler_addfd(lua_State *L, tl_pickler *p, int fd) TL_GIL;

/* The same for a descriptor of memory, unless that has been added. Which of the
 * descriptors it is, from 0. */
int tl_pickler_addmemory(lua_State *L, tl_pickler *p, int fd) TL_GIL;

static inline TL_GIL void tl_put_room(lua_State *L, tl_pickler *p, size_t n) {
  if (tl_unlikely(p->room - p->size < n)) tl_pickler_grow(L, p, n);
}

/* Each needs room. */
static inline void tl_put_byte(tl_pickler *p, unsigned byte) {
  p->buf[p->size++] = (char)byte;
}

static inline void tl_put_raw(tl_pickler *p, const void *data, size_t n) {
  memcpy(p->buf + p->size, data, n);
  p->size += n;
}

/* At most 10 bytes. */
static inline void tl_put_varint(tl_pickler *p, uint64_t n) {
  for (; n >= 0x80; n >>= 7)
    tl_put_byte(p, (n & 0x7F) | 0x80);
  tl_put_byte(p, (unsigned)n);
}

/* The place of an address: that where it is, or a free one for it. */
static inline TL_GIL tl_met *tl_met_find(lua_State *L, tl_pickler *p,
                                         const void *ptr) {
  if (tl_unlikely(p->met_count >= p->met_limit)) tl_pickler_grow_met(L, p);
  size_t i =
      ((uint64_t)(uintptr_t)ptr * UINT64_C(0x9E3779B97F4A7C15)) >> p->met_shift;
  while (p->met[i].ptr && p->met[i].ptr != ptr)
    i = (i + 1) & (p->met_room - 1);
  return &p->met[i];
}

static inline void tl_met_set(tl_pickler *p, tl_met *m, const void *ptr,
                              uint32_t index, uint32_t pos) {
  p->met_count += m->ptr == NULL;
  *m = (tl_met){ptr, index, pos};
}

/* pickle_names.c: what travels by name. */

/* Makes sure that it is known which modules require finds. False if that means
 * to run its searchers, and the pickler is not careful. */
bool tl_names_ask(lua_State *L, const tl_pickler *p) TL_GIL;

/* Makes the modules, or also what is in them, known as TL_MET_NAMED. False if
 * require must be asked first, carefully. */
void tl_names_modules(lua_State *L, tl_pickler *p) TL_GIL;
bool tl_names_all(lua_State *L, tl_pickler *p) TL_GIL;

/* Pushes the name of the module and of the field, or nil, of the value on the
 * top. False with nothing pushed if it has none (any more). */
bool tl_names_push(lua_State *L) TL_GIL;

/* Pops the name of a module and pushes what require returns for it. */
void tl_names_require(lua_State *L) TL_GIL;

/* Pops a module's name and a field's, or nil, and pushes what they name. */
void tl_names_resolve(lua_State *L) TL_GIL;

/* pickle_classes.c: registered classes, portable objects. */

/* The fields of a registered class, and the module where its metatable can be
 * found by its name. */
#define TL_CLASSES_MODULE "tidelock._classes"
enum { TL_CLASS_NAME = 1, TL_CLASS_META, TL_CLASS_REDUCE, TL_CLASS_RESTORE };

/* Pushes the name and the module of a portable class. */
void tl_portable_pushnames(lua_State *L, const tl_portable *q) TL_GIL;

/* The portable class whose name is at idx, NULL if it is not known. */
const tl_portable *tl_portable_find(lua_State *L, int idx) TL_GIL;

/* pickle_path.c */

/* Raises PicklingError about the value on the top, which belongs to the last
 * frame: "cannot pickle WHAT at PATH"; then ": why", if not NULL. */
int tl_pickler_refuse(lua_State *L, tl_pickler *p, const char *why) TL_GIL;

/* Pushes what is at the place that the frames stand at: "args[2].log". */
void tl_pickler_pushpath(lua_State *L, tl_pickler *p) TL_GIL;

/* What writing a value comes to. */
enum {
  TL_PUT_DONE,   /* it is written and popped */
  TL_PUT_OPENED, /* it has become the last frame */
  TL_PUT_ANEW,   /* begin anew, in the way that the pickler was set to */
};

/* pickle_dump.c */

/* Writes the value on the top. */
int tl_put_value(lua_State *L, tl_pickler *p) TL_GIL;

/* The same for one that was met: a reference, or a name. */
int tl_put_met(lua_State *L, tl_pickler *p, tl_met *m) TL_GIL;

/* Each sets how, and returns TL_PUT_ANEW. */
int tl_begin_carefully(tl_pickler *p);
int tl_begin_with_names(tl_pickler *p);

/* pickle_table.c */

/* The value on the top becomes the last frame; ends that frame. Moves those
 * before out of Lua's stack, and back, if there are many. */
tl_frame *tl_open_frame(lua_State *L, tl_pickler *p, int kind) TL_GIL;
void tl_close_frame(lua_State *L, tl_pickler *p) TL_GIL;

/* Writes the beginning of the table on the top, which goes into m. */
int tl_open_table(lua_State *L, tl_pickler *p, tl_met *m, const void *ptr,
                  bool classed) TL_GIL;
int tl_open_items(lua_State *L, tl_pickler *p) TL_GIL;

/* Goes on with the last frame, which is no function. */
int tl_put_parts(lua_State *L, tl_pickler *p) TL_GIL;

/* Raises that a table has changed. */
int tl_pickler_changed(lua_State *L) TL_GIL;

/* pickle_classed.c */

/* Writes the table or userdata below its metatable, by its class's rules. */
int tl_put_classed(lua_State *L, tl_pickler *p, tl_met *m, const void *ptr)
    TL_GIL;

/* Writes the error class on the top. */
int tl_put_error_class(lua_State *L, tl_pickler *p, tl_met *m, const void *ptr)
    TL_GIL;

/* pickle_function.c */

/* Writes the function on the top; goes on with the last frame, which is one. */
int tl_put_function(lua_State *L, tl_pickler *p) TL_GIL;
int tl_put_upvalues(lua_State *L, tl_pickler *p) TL_GIL;

#endif

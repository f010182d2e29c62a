/* array.h - the classes of shared memory with elements: RawArray and RawValue,
 * and Array and Value, which have a lock. */
#ifndef TL_ARRAY_H
#define TL_ARRAY_H

#include "arena.h"
#include "typed.h"

/* Which of the four classes an object is of. */
typedef enum array_class {
  RAW_ARRAY = 0,
  RAW_VALUE = 1,
  ARRAY = 2,
  VALUE = 3,
  ARRAY_SINGLE = 1, /* bits: one element; with a lock that each access takes */
  ARRAY_LOCKED = 2
} array_class;

typedef struct Array {
  const void *tag;            /* bind_checktagged */
  array_class class;          /* const */
  unsigned char *const *base; /* GIL: where the memory is; NULL there: closed */
  size_t offset;              /* const: the first element's, in bytes */
  lua_Integer count;          /* const: elements */
  const typed_kind *kind;     /* const */
  ipc_block block;            /* GIL: its own memory; none: it is a view */
} Array;

/* Its user values: */
enum {
  ARRAY_OWNER = 1, /* what it is a view of */
  ARRAY_LOCK,      /* the lock, and its methods */
  ARRAY_ACQUIRE,
  ARRAY_RELEASE,
  ARRAY_VALUES = ARRAY_RELEASE
};

/* Makes the classes, if they are not there yet. */
void array_open(lua_State *L) TL_GIL;

/* Pushes an object without memory. */
Array *array_push(lua_State *L, array_class class, const typed_kind *k,
                  lua_Integer count) TL_GIL;

/* Makes that a view of memory which belongs to the object at 'owner', and lies
 * at *base as long as that is not closed. */
void array_view(lua_State *L, Array *a, unsigned char *const *base,
                size_t offset, int owner) TL_GIL;

/* The object at 'arg' if it is of one of the four classes, or NULL. */
Array *array_test(lua_State *L, int arg) TL_GIL;

/* Its memory; raises if that has been closed. What allocates memory may run
 * finalizers, which may close: to be asked for again afterwards. */
unsigned char *array_memory(lua_State *L, const Array *a) TL_GIL;

/* Pushes the elements of the table at 'idx' as a string of bytes; their number
 * is n. Element by element an argument error of 'arg'. */
void array_pushbytes(lua_State *L, int idx, lua_Integer n, const typed_kind *k,
                     int arg) TL_GIL;

/* Self, argument 1 of a method or metamethod. */
Array *array_check(lua_State *L) TL_GIL;

/* --- synchronized.c ------------------------------------------------------ */

#define ARRAY_ARGS 4 /* most arguments of a method, self included */

/* Calls 'work' with the arguments, which have been checked, and returns what it
 * returns; with the lock held if there is one. */
int array_access(lua_State *L, lua_CFunction work) TL_GIL;

/* Gives the object on the top, of a class with a lock, the lock at 'lock'. */
void array_set_lock(lua_State *L, int lock) TL_GIL;

/* The methods that only those with a lock have. */
extern const luaL_Reg array_lock_methods[];

/* --- array_pickle.c ------------------------------------------------------- */

/* They travel to other processes: classes with these names. */
void array_portable(lua_State *L, const char *name) TL_GIL;

#endif

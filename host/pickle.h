/* pickle.h - values as bytes and back: between processes, for pickle.dumps.
 *
 * What travels is told in API.md. The bytes are for one version of the
 * library; damaged ones raise UnpicklingError, and take memory and time only
 * in proportion to their size; but Lua's tables take longer, as CPython's dicts
 * do, for integer keys that were chosen to collide. Nothing here recurs on the
 * C stack. */
#ifndef TL_PICKLE_H
#define TL_PICKLE_H

#include <stdbool.h>
#include <stddef.h>

#include "luagil.h"

/* How an object that is more than its value, a lock or a connection, travels
 * to another process: as a plain value and descriptors. The field
 * "__portable" of its metatable is a light userdata of one of these, or a
 * function that is called with the object and returns another object to send
 * in its place. */
typedef struct tl_portable {
  const char *name; /* of the class, for reports, as "Lock" */
  /* Pushes what describes the object at idx: a value that can be pickled. Puts
   * its descriptors, which stay the object's, into fds and returns how many
   * there are, at most TL_PORTABLE_FDS. May raise: a string, as luaL_error's,
   * says why it cannot travel, which PicklingError tells with its path. */
  int (*pack)(lua_State *L, int idx, int *fds);
  /* Pops that value and pushes an object like the first one. The descriptors
   * become the object's: each that has been taken over is set to -1 in fds, the
   * others are closed by the caller, also when this raises, as it does for what
   * pack has not made: a string, which UnpicklingError tells. */
  void (*unpack)(lua_State *L, int *fds, int n);
  /* It has at most one descriptor, of memory that may hold many objects: sent
   * once, for all of them. It stays the caller's when it has been unpacked. */
  bool memory;
} tl_portable;

#define TL_PORTABLE_FDS 4

/* Sets the field in the metatable of class 'name', and makes the class known
 * to the receiver: 'module' is what is required there before it is asked for,
 * as "tidelock._connection". */
void tl_portable_register(lua_State *L, const char *name, const char *module,
                          const tl_portable *p) TL_GIL;

/* What the bytes may do. Without TL_PICKLE_FAMILY they are data from anybody,
 * and only data is made of them: nil, booleans, numbers, strings, tables, error
 * values and their classes (not looked for in modules; an unknown class is
 * made), objects of registered classes; the only code that runs is the restore
 * functions of these, and what their metatables do to any object. Functions,
 * and all that travels by name (modules and what is in them, the standard
 * streams, the table of globals), raise UnpicklingError then; so nothing is
 * required, and nothing of the receiver's own gets into the value. */
enum {
  TL_PICKLE_FAMILY = 1,  /* load: all of that too, from one's own family */
  TL_PICKLE_HANDLES = 2, /* portable objects: descriptors go along */
  TL_PICKLE_SHARED = 4,  /* dump: only those whose descriptors are memory's */
};

/* A pickled value: the bytes, and the descriptors that go along. */
typedef struct tl_pickled {
  const char *data;
  size_t size;
  const int *fds; /* duplicates, which stay open as long as this */
  int fd_count;
} tl_pickled;

/* Pickles the value at idx; pushes one value that keeps the result alive. If it
 * has descriptors, it may be marked by lua_toclose: then they are closed
 * however the caller ends. Raises PicklingError, with the path to what cannot
 * travel: 'root' begins it, as "args" (NULL: "value"); it must live as long as
 * the call.
 *
 * No other thread runs meanwhile and no finalizer, except while a reduce
 * function, pack or a function in __portable does: a table that these change
 * may raise PicklingError. An object that is met again while it is reduced
 * raises it, too: what it is reduced to may not contain it. */
const tl_pickled *tl_pickle_dump(lua_State *L, int idx, unsigned flags,
                                 const char *root) TL_GIL;

/* Pickles part of the list at idx, as a table of so many items from 'first' on,
 * at 1, 2, ..., with their number as the field 'n'; no metamethods. As
 * tl_pickle_dump otherwise. */
const tl_pickled *tl_pickle_dump_items(lua_State *L, int idx, lua_Integer first,
                                       lua_Integer n, unsigned flags,
                                       const char *root) TL_GIL;

/* Gives its memory back and closes its descriptors, now and not only when it
 * is collected. It is not to be used afterwards. */
void tl_pickle_free(lua_State *L, const tl_pickled *pickled) TL_GIL;

/* Pushes the bytes as a string; no portable objects. */
void tl_pickle_dumps(lua_State *L, int idx) TL_GIL;

/* Pushes the value that the bytes stand for. Each descriptor that an object
 * took over is set to -1 in fds, the others stay the caller's, also when this
 * raises UnpicklingError, or what a restore function raises. The bytes must
 * stay where they are meanwhile. */
void tl_pickle_load(lua_State *L, const char *data, size_t size, int *fds,
                    int fd_count, unsigned flags) TL_GIL;

/* Sets the items of such a table behind the first n of the list at idx; returns
 * how many they are. As tl_pickle_load otherwise. */
lua_Integer tl_pickle_load_items(lua_State *L, int idx, lua_Integer n,
                                 const char *data, size_t size, unsigned flags)
    TL_GIL;

/* Pops a name, a metatable, and two functions or two nils, reduce and restore:
 * the objects with this metatable travel under this name from now on. What
 * restore raises is passed on; nil, for values that reduce has not returned,
 * raises UnpicklingError. An
 * argument error #2 if the metatable has another name. */
void tl_pickle_register(lua_State *L) TL_GIL;

/* Pushes the table of all registered classes, which is not to be changed: each
 * is {name, metatable, reduce, restore} (the last two may be missing), under
 * its name and under its metatables. */
void tl_classes_push(lua_State *L) TL_GIL;

/* Pushes that of the class whose name or metatable is at idx. False with
 * nothing pushed if there is none. */
bool tl_classes_find(lua_State *L, int idx) TL_GIL;

#endif

/* errors.h - error values: tables with a class, a name and a message. */
#ifndef TL_ERRORS_H
#define TL_ERRORS_H

#include <stdbool.h>

#include "luagil.h"

/* Pushes the class by its short name, as "Empty" or "Cancelled". The class is
 * itself an error value: queue.Empty is what get returns. */
void tl_error_pushclass(lua_State *L, const char *name) TL_GIL;

/* Pushes a new error of that class with a formatted message. */
void tl_error_push(lua_State *L, const char *name, const char *fmt, ...) TL_GIL;

/* Pops a message and pushes an error of the class at idx with it. */
void tl_error_instance(lua_State *L, int class) TL_GIL;

/* Pushes the table of all classes by their short names. */
void tl_error_pushclasses(lua_State *L) TL_GIL;

/* Raises one. */
int tl_error(lua_State *L, const char *name, const char *fmt, ...) TL_GIL;

/* Pushes an OSError for a positive errno; fields errno, code. */
void tl_error_pushos(lua_State *L, int err, const char *what) TL_GIL;
int tl_error_os(lua_State *L, int err, const char *what) TL_GIL;

/* Whether the value at idx is of the class or of a class under it. */
bool tl_error_is(lua_State *L, int idx, const char *name) TL_GIL;

/* The same for a class that is a value; whether it is an error value. */
bool tl_error_isclass(lua_State *L, int idx, int class) TL_GIL;
bool tl_error_isvalue(lua_State *L, int idx) TL_GIL;

/* Whether who catches errors in order to go on in another way lets that at idx
 * through: Cancelled, KeyboardInterrupt. */
bool tl_error_passes(lua_State *L, int idx) TL_GIL;

/* Makes a class and pushes it: errors.class. 'parent' is an index or 0. */
void tl_error_newclass(lua_State *L, const char *name, int parent) TL_GIL;

/* What a table is by its metatable, which is on the top, above it. */
typedef enum tl_error_kind {
  TL_ERROR_NOT,
  TL_ERROR_INSTANCE,
  TL_ERROR_CLASS
} tl_error_kind;
tl_error_kind tl_error_what(lua_State *L) TL_GIL;

/* The name under which a class travels to another process, and back, where it
 * is not known as what a module has. Pushes the name and returns its ordinal: 0
 * for a class of ours, whose name is the short one; else which one it is of
 * those of that name. */
lua_Integer tl_error_pushname(lua_State *L, int class) TL_GIL;

/* Pushes the class that has them; false with nothing pushed if there is none
 * (any more). 'name' is the index of a string. */
bool tl_error_findclass(lua_State *L, int name, lua_Integer ordinal) TL_GIL;

/* Pops name and parent and pushes a class that gets the ordinal. */
void tl_error_remake(lua_State *L, lua_Integer ordinal) TL_GIL;

/* Pushes the class of the error value at idx, or nil; the parent of a class, or
 * nil. */
void tl_error_pushclassof(lua_State *L, int idx) TL_GIL;
void tl_error_pushparent(lua_State *L, int class) TL_GIL;

/* Makes the table below the class on the top, which is popped, an error of it.
 */
void tl_error_setclass(lua_State *L) TL_GIL;

/* The symbol of an errno, as "ENOENT". */
const char *tl_errno_name(int err);

/* A message handler: appends the traceback to a string, and puts it into the
 * field 'traceback' of an error value. */
int tl_error_traceback(lua_State *L) TL_GIL;

/* Creates the classes. */
void tl_errors_open(lua_State *L) TL_GIL;

#endif

/* bind.h - what the bindings share: classes, arguments, waiting. */
#ifndef TL_BIND_H
#define TL_BIND_H

#include "errors.h"
#include "interp.h"
#include "park.h"
#include "pending.h"
#include "thread.h"

/* Makes the metatable 'name' in the registry with __name, the methods (each
 * has the metatable as its first upvalue) and the metamethods (likewise). */
void bind_newclass(lua_State *L, const char *name, const luaL_Reg *methods,
                   const luaL_Reg *metamethods) TL_GIL;

/* The same with attributes: a getter is called with (self) and returns one
 * value; a setter with (self, value). Reading another name gives nil, writing
 * one raises "no attribute". Either list may be NULL. */
void bind_newclass_attrs(lua_State *L, const char *name,
                         const luaL_Reg *methods, const luaL_Reg *metamethods,
                         const luaL_Reg *getters, const luaL_Reg *setters)
    TL_GIL;

/* Argument 1 as a userdata whose metatable is upvalue 1 (of class 'name';
 * NULL: as the metatable says), or an argument error. */
void *bind_checkself(lua_State *L, const char *name) TL_GIL;

/* The same in two calls of Lua's API instead of four, for methods that do next
 * to nothing: the userdata has this size and begins with 'tag', the address of
 * a static object that stands for the class. */
static inline TL_GIL void *bind_checktagged(lua_State *L, const void *tag,
                                            size_t size) {
  const void **self = lua_touserdata(L, 1);
  if (tl_likely(self != NULL && lua_rawlen(L, 1) == size && *self == tag))
    return self;
  return bind_checkself(L, NULL);
}

/* A timeout argument, in seconds: nil or none and math.huge are TL_FOREVER, 0
 * is 0 (do not wait), otherwise the absolute deadline in ns. Negative or NaN:
 * an argument error. */
int64_t bind_deadline(lua_State *L, int arg) TL_GIL;

/* The same with 'usual' seconds when it is absent; negative: for ever. */
int64_t bind_deadline_or(lua_State *L, int arg, lua_Number usual) TL_GIL;

/* Barrier's arguments (parties [, action [, timeout]]), or a table of them:
 * checked and left at 1 to 3. Returns the parties, 'most' at most. */
lua_Integer bind_parties(lua_State *L, lua_Integer most) TL_GIL;

/* The arguments (blocking = true, timeout = -1) of acquire at 'arg' and
 * 'arg + 1', as a deadline. A timeout of -1 waits for ever; with blocking false
 * a timeout is an error. */
int64_t bind_blocking(lua_State *L, int arg) TL_GIL;

/* The same for (block = true [, timeout]) of put and get: with block false the
 * timeout means nothing. */
int64_t bind_block(lua_State *L, int arg) TL_GIL;

/* Pops the tl_outcome on the top: true if granted, false if timed out; runs
 * or raises what is pending if interrupted. */
bool bind_woken(lua_State *L) TL_GIL;

/* Where the wait of guard() and of with(fn, ...) goes on: tl_wait's outcome is
 * on the top, what is held now is argument 1, and its __close lets go of it.
 * The first returns it, to be closed by the caller; the second calls fn. */
int bind_guarded(lua_State *L, int status, lua_KContext ctx) TL_GIL;
int bind_within(lua_State *L, int status, lua_KContext ctx) TL_GIL;

/* condition:wait_for(pred [, timeout]), with the condition checked and its lock
 * held: the rest of the method. 'wait' is the class's method of that name. */
int bind_wait_for(lua_State *L, lua_CFunction wait) TL_GIL;

/* An option table at 'arg' (a table without __call) is replaced by the values
 * of its fields, in the order of 'names' (NULL ends them); an unknown field
 * is an argument error. Anything else stays. True if it was one. */
bool bind_options(lua_State *L, int arg, const char *const *names) TL_GIL;

/* Raises if there is an argument, of a function that has none. */
void bind_noargs(lua_State *L) TL_GIL;

/* An integer argument of at least 'least', 'usual' when absent. */
lua_Integer bind_count(lua_State *L, int arg, lua_Integer usual,
                       lua_Integer least) TL_GIL;

/* Pushes a new table of the arguments that are in the table at idx (nil: none),
 * with their number in its field 'n': the field 'n' of that table, or its
 * length. False, with nothing pushed, if that is negative, no integer, or
 * more than a stack holds. */
bool bind_copyargs(lua_State *L, int idx) TL_GIL;

/* An argument that can be called. */
void bind_checkcallable(lua_State *L, int arg) TL_GIL;
bool bind_iscallable(lua_State *L, int idx) TL_GIL;

/* The calling thread. */
static inline tl_thread *bind_thread(void) {
  return tl_self();
}

/* Pushes one table of all that n openers return; returns 1. */
int bind_openparts(lua_State *L, const lua_CFunction *parts, size_t n) TL_GIL;

/* Pushes a table of the globals as they were when bind_openall was done. */
void bind_pushbaseline(lua_State *L) TL_GIL;

/* What this module's "tidelock.NAME" and short name load: all C modules and
 * Lua modules of this library. Adds the searchers to package.searchers and
 * replaces what the standard libraries need replaced. */
void bind_openall(lua_State *L) TL_GIL;

#endif

/* luauser.h - Lua's LUA_USER_H in the strict build: whenever a thread enters
 * or leaves Lua's core, it is asserted to hold that interpreter's GIL. Static
 * analysis cannot see calls through pointers and jumps; this does. */
#ifndef TL_LUAUSER_H
#define TL_LUAUSER_H

/* Set by the host once the interpreter can be checked; NULL: no check. */
extern void (*tl_strict_check)(lua_State *L);

#define tl_strict_assert(L) ((void)(tl_strict_check && (tl_strict_check(L), 0)))
#define lua_lock(L) tl_strict_assert(L)
#define lua_unlock(L) tl_strict_assert(L)

#endif

/* check.c - compiled into the Lua that is built here: what the host sets to be
 * called at each entry into Lua's core. See luauser.h. */
#include <lua.h>

extern void (*tl_strict_check)(lua_State *L);
void (*tl_strict_check)(lua_State *L);

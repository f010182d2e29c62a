/* luagil.h - Lua's headers, with its API re-declared as needing the GIL, so
 * that clang's analysis rejects a Lua call made without it. */
#ifndef TL_LUAGIL_H
#define TL_LUAGIL_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "annot.h"

#if defined(__clang__)
#define TL_REDECLARE(f) extern __typeof(f) f TL_GIL;
#include "luagil_api.h"
#undef TL_REDECLARE
/* What the analyzer has to know to see no paths beyond an error. */
extern __typeof(lua_error) lua_error __attribute__((noreturn));
extern __typeof(luaL_error) luaL_error __attribute__((noreturn));
#endif

/* 5.4.4 has lua_resetthread only; 5.4.6 renamed it. */
#if LUA_VERSION_RELEASE_NUM >= 50406
#define tl_lua_closethread(co, from) lua_closethread(co, from)
#else
#define tl_lua_closethread(co, from) lua_resetthread(co)
#endif

#endif

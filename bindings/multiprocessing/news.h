/* news.h - what the threads that use a pool wait for. */
#ifndef TL_NEWS_H
#define TL_NEWS_H

#include "bind.h"

int news_new(lua_State *L) TL_GIL;                /* Lua: pushes a new one */
void news_announce(lua_State *L, int idx) TL_GIL; /* lets all waiters look */
void news_init(lua_State *L) TL_GIL;              /* makes the class */

#endif

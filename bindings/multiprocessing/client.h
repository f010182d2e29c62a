/* client.h - connecting to a listener. */
#ifndef TL_CLIENT_H
#define TL_CLIENT_H

#include "luagil.h"

/* connect(family, host or path, port) -> Connection, of "tidelock._listener" */
int client_connect(lua_State *L) TL_GIL;

#endif

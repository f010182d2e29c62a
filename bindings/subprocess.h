/* subprocess.h - the parts of "tidelock._subprocess". */
#ifndef TL_SUBPROCESS_H
#define TL_SUBPROCESS_H

#include "luagil.h"

/* Makes the class Exchange and adds its constructor to the module on the
 * top. */
void subprocess_open_exchange(lua_State *L) TL_GIL;

#endif

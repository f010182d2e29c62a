/* io.h - the parts of the io library: opening files, and their methods. */
#ifndef TL_IO_H
#define TL_IO_H

#include "file.h"

/* Where the file of a call is: its continuations know it by this. */
typedef enum tl_io_how {
  TL_IO_METHOD,   /* argument 1 */
  TL_IO_DEFAULT,  /* pushed on top of the arguments */
  TL_IO_ITERATOR, /* upvalue 1 */
} tl_io_how;

#define TL_IO_INPUT "_IO_input" /* registry: the default files */
#define TL_IO_OUTPUT "_IO_output"

/* Argument 1 as an open stream; closed: raises. */
tl_file *tl_io_tofile(lua_State *L) TL_GIL;

/* The calls whose file has been found: see tl_io_how. Writing wants it on the
 * top in any case. */
int tl_io_read(lua_State *L, lua_KContext how) TL_GIL;
int tl_io_write(lua_State *L, lua_KContext how) TL_GIL;
int tl_io_flush(lua_State *L, lua_KContext how) TL_GIL;

/* Closes the stream at argument 1, as its method does. */
int tl_io_close(lua_State *L) TL_GIL;

/* Pushes the iterator over the file at argument 1; the other arguments are
 * its formats. */
void tl_io_pushlines(lua_State *L, bool toclose) TL_GIL;

/* The closing functions of files of ours. */
int tl_io_close_file(lua_State *L) TL_GIL;
int tl_io_close_popen(lua_State *L) TL_GIL;

/* Gives the metatable of all files its methods. */
void tl_io_open_methods(lua_State *L) TL_GIL;

#endif

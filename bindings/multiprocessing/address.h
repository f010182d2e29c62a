/* address.h - addresses of sockets, as connection.lua gives and gets them: a
 * family, and a path or a host and a port. */
#ifndef TL_ADDRESS_H
#define TL_ADDRESS_H

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "luagil.h"

typedef union Address {
  struct sockaddr any;
  struct sockaddr_un unix;
  struct sockaddr_storage room;
} Address;

/* The family of the name at 'arg': "AF_UNIX", "AF_INET", "AF_INET6", or
 * "AF_UNSPEC": any that the host has. */
int address_family(lua_State *L, int arg) TL_GIL;

/* The path at 'arg' as an address; returns its length. One that begins with a
 * zero byte names no file (Linux's abstract sockets). */
socklen_t address_unix(lua_State *L, int arg, Address *a) TL_GIL;

/* The addresses of the host at 'arg' (nil: of this machine, or with AI_PASSIVE
 * all of it) and the port at 'arg + 1'; pushes what keeps them. Waits, and
 * raises OSError if there are none. */
const struct addrinfo *address_look_up(lua_State *L, int arg, int family,
                                       int flags) TL_GIL;

/* Pushes a path, or {host, port}. */
void address_push(lua_State *L, const Address *a, socklen_t n) TL_GIL;

void address_init(lua_State *L) TL_GIL; /* makes the class of lookups */

#endif

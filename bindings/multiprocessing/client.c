/* client.c - see client.h. */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "address.h"
#include "connection.h"

/* What connecting to a Unix socket waits at once, when its queue is full: that
 * cannot be polled. */
enum { PATIENCE = 50000 }; /* microseconds */

/* One attempt to connect c; 0 or a negative errno, with c closed. Raises only
 * what is pending. */
static TL_GIL int connect_inet(lua_State *L, Connection *c,
                               const struct addrinfo *a) {
  int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  connection_opened(c, fd);
  int err = connect(fd, a->ai_addr, a->ai_addrlen) < 0 ? -errno : 0;
  bool waits = err == -EINPROGRESS || err == -EINTR;
  while (waits) {
    err = connection_wait(L, c, POLLOUT, TL_FOREVER);
    waits = err == -EINTR;
    if (waits) tl_check(L);
    socklen_t n = sizeof err;
    if (!err && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0) err = errno;
    if (err > 0) err = -err;
  }
  if (!err && fcntl(fd, F_SETFL, 0) < 0) err = -errno;
  if (!err) return 0;
  connection_close_now(c);
  return err;
}

/* The same of a Unix socket, whose connecting cannot be polled: it goes on in
 * several attempts. */
static TL_GIL int connect_unix(lua_State *L, Connection *c, const Address *a,
                               socklen_t n) {
  struct timeval patience = {.tv_usec = PATIENCE}, forever = {0};
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  connection_opened(c, fd);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  for (;;) {
    tl_users_enter(&c->users);
    tl_block_begin(bind_thread(), "connect");
    int err = connect(fd, &a->any, n) < 0 ? errno : 0;
    tl_block_end(bind_thread());
    tl_users_leave(&c->users);
    if (err == EAGAIN || err == EINTR) {
      tl_check(L);
      continue;
    }
    if (err)
      connection_close_now(c);
    else
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof forever);
    return -err;
  }
}

static TL_GIL void connect_to_path(lua_State *L, Connection *c) {
  Address a;
  socklen_t n = address_unix(L, 2, &a);
  if (tl_in_finalizer(L)) luaL_error(L, "cannot wait in a finalizer");
  int err = connect_unix(L, c, &a, n);
  const char *path = a.unix.sun_path;
  if (err) tl_error_os(L, -err, path[0] ? path : "connect");
}

static TL_GIL void connect_to_host(lua_State *L, Connection *c, int family) {
  const struct addrinfo *a = address_look_up(L, 2, family, 0);
  int err = -EADDRNOTAVAIL;
  for (; a && err; a = a->ai_next)
    err = connect_inet(L, c, a);
  const char *host = luaL_optstring(L, 2, "connect");
  if (err == -ETIMEDOUT) tl_error_os(L, ETIMEDOUT, host); /* the network's */
  connection_raise(L, err, host);
}

int client_connect(lua_State *L) {
  int family = address_family(L, 1);
  lua_settop(L, 3);
  Connection *c = connection_new(L);
  if (family == AF_UNIX)
    connect_to_path(L, c);
  else
    connect_to_host(L, c, family);
  lua_settop(L, 4);
  return 1;
}

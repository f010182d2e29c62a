/* listener.c - "tidelock._listener": sockets that listen; connecting to them is
 * in client.c. multiprocessing/connection.lua makes Listener and Client of it.
 *
 *   listen(family, host or path, port, backlog) -> Socket
 *   connect(family, host or path, port) -> Connection
 *
 * The family is "AF_UNIX", "AF_INET", "AF_INET6", or "AF_UNSPEC": any that the
 * host has. A path of nil is one in a new folder, which only this user can
 * enter. Unix sockets are of the kind that keeps the boundaries of messages.
 *
 * The file of a Unix socket is removed by the process that made it; but one
 * that was sent to others, by whichever closes it last. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "client.h"
#include "connection.h"
#include "modules.h"
#include "pickle.h"
#include "waitable.h"

#define SOCKET "multiprocessing.Socket"

typedef struct Socket {
  int fd;         /* GIL: -1 closed */
  tl_users users; /* GIL: threads that wait for the descriptor */
  pid_t process;  /* const: that made or received it; not its forks */
  bool shared;    /* GIL: was sent, or received */
  char *path;     /* GIL: of the file; malloc'd, NULL: there is none */
  bool folder;    /* GIL: was made for it */
} Socket;

/* --- listening ---------------------------------------------------------- */

static TL_GIL Socket *check_socket(lua_State *L) {
  return bind_checkself(L, SOCKET);
}

static TL_GIL Socket *check_open(lua_State *L) {
  Socket *s = check_socket(L);
  if (s->fd < 0) tl_error_os(L, EBADF, "the listener is closed");
  return s;
}

static TL_GIL Socket *new_socket(lua_State *L) {
  Socket *s = lua_newuserdatauv(L, sizeof *s, 0);
  *s = (Socket){.fd = -1, .process = getpid()};
  luaL_setmetatable(L, SOCKET);
  return s;
}

/* Whether no process has the socket of this file any more. One of another type
 * is told so by the kernel, and otherwise that the types differ: whoever
 * listens does not notice. */
static bool is_abandoned(const char *path) {
  Address a = {.unix = {.sun_family = AF_UNIX}};
  size_t n = strlen(path) + 1;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  if (n <= sizeof a.unix.sun_path) memcpy(a.unix.sun_path, path, n);
  int err = connect(fd, &a.any, sizeof a.unix) < 0 ? errno : 0;
  os_close(fd);
  return err == ECONNREFUSED;
}

/* The socket has been closed. */
static void remove_files(Socket *s) {
  char *path = s->path;
  s->path = NULL;
  if (!path) return;
  if ((s->process == getpid() && !s->shared) || is_abandoned(path)) {
    unlink(path);
    char *slash = strrchr(path, '/');
    if (s->folder && slash) {
      *slash = '\0';
      rmdir(path);
    }
  }
  free(path);
}

static void close_now(Socket *s) {
  os_close(s->fd);
  s->fd = -1;
  remove_files(s);
}

/* Opens, binds, listens; a failure leaves it closed. Negative errno. Whoever
 * accepts may find that another process was faster, so it shall not block. */
static TL_GIL int open_socket(Socket *s, int type, const struct sockaddr *a,
                              socklen_t n, int backlog) {
  int on = 1;
  s->fd = socket(a->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (s->fd < 0) return -errno;
  if (a->sa_family != AF_UNIX)
    setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  int err = bind(s->fd, a, n) < 0 ? -errno : 0;
  if (!err && listen(s->fd, backlog) < 0) err = -errno;
  if (err) {
    os_close(s->fd);
    s->fd = -1;
  }
  return err;
}

/* A path in a new folder: malloc'd, NULL with errno. */
static char *new_path(void) {
  static const char folder[] = "/tidelock-XXXXXX", name[] = "/listener";
  const char *where = getenv("TMPDIR");
  if (!where || *where != '/') where = "/tmp";
  size_t n = strlen(where) + sizeof folder + sizeof name;
  char *path = malloc(n);
  if (!path) return NULL;
  snprintf(path, n, "%s%s", where, folder);
  if (!mkdtemp(path)) {
    int err = errno;
    free(path);
    errno = err;
    return NULL;
  }
  size_t made = strlen(path);
  snprintf(path + made, n - made, "%s", name);
  return path;
}

/* Puts such a path at 2. */
static TL_GIL void make_path(lua_State *L, Socket *s) {
  s->path = new_path();
  if (!s->path) tl_error_os(L, errno, "a folder for the listener");
  s->folder = true;
  lua_pushstring(L, s->path);
  lua_replace(L, 2);
}

static TL_GIL void listen_unix(lua_State *L, Socket *s, int backlog) {
  if (lua_isnoneornil(L, 2)) make_path(L, s);
  Address a;
  socklen_t n = address_unix(L, 2, &a);
  char *path = NULL;
  if (!s->path && a.unix.sun_path[0] != '\0') {
    path = strdup(a.unix.sun_path);
    if (!path) tl_error_os(L, ENOMEM, "listen");
  }
  int err = open_socket(s, SOCK_SEQPACKET, &a.any, n, backlog);
  if (!err && path) s->path = path, path = NULL;
  free(path);
  if (!err) return;
  remove_files(s);
  tl_error_os(L, -err, a.unix.sun_path[0] ? a.unix.sun_path : "listen");
}

static TL_GIL void listen_inet(lua_State *L, Socket *s, int family,
                               int backlog) {
  const struct addrinfo *a = address_look_up(L, 2, family, AI_PASSIVE);
  int err = -EADDRNOTAVAIL;
  for (; a && err; a = a->ai_next)
    err = open_socket(s, SOCK_STREAM, a->ai_addr, a->ai_addrlen, backlog);
  if (err) tl_error_os(L, -err, luaL_optstring(L, 2, "listen"));
}

static TL_GIL int listener_listen(lua_State *L) {
  int family = address_family(L, 1);
  int backlog = (int)bind_count(L, 4, 1, 0);
  lua_settop(L, 4);
  Socket *s = new_socket(L);
  if (family == AF_UNIX)
    listen_unix(L, s, backlog);
  else
    listen_inet(L, s, family, backlog);
  lua_settop(L, 5);
  return 1;
}

/* Waits until somebody wants to connect. */
static TL_GIL void await_client(lua_State *L, Socket *s) {
  if (tl_in_finalizer(L)) luaL_error(L, "cannot wait in a finalizer");
  tl_users_enter(&s->users);
  int ready = tl_wait_fd(L, s->fd, POLLIN, TL_FOREVER, "accept");
  tl_users_leave(&s->users);
  connection_raise(L, ready < 0 ? ready : 0, "accept");
}

/* Whether accept's error is that of a connection which is gone already: of the
 * network, as accept(2) tells. */
static bool is_gone(int err) {
  static const int gone[] = {
      EINTR,  ECONNABORTED, EPROTO,       ENETDOWN,    EHOSTDOWN,
      ENONET, EOPNOTSUPP,   EHOSTUNREACH, ENETUNREACH, ENOPROTOOPT};
  for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
    if (err == gone[i]) return true;
  return false;
}

/* socket:accept() -> Connection, the address of the other side */
static TL_GIL int socket_accept(lua_State *L) {
  check_open(L);
  lua_settop(L, 1);
  Connection *c = connection_new(L);
  Address peer = {0};
  socklen_t n;
  int fd;
  for (;;) {
    Socket *s = check_open(L);
    n = sizeof peer;
    fd = accept4(s->fd, &peer.any, &n, SOCK_CLOEXEC);
    if (fd >= 0) break;
    if (errno == EAGAIN)
      await_client(L, s);
    else if (!is_gone(errno))
      return tl_error_os(L, errno, "accept");
  }
  connection_opened(c, fd);
  address_push(L, &peer, n);
  return 2;
}

static TL_GIL int socket_close(lua_State *L) {
  Socket *s = check_socket(L);
  if (tl_users_any(&s->users))
    return tl_error_os(L, EBUSY, "another thread uses the listener");
  close_now(s);
  return 0;
}

/* socket:_leave(): the process ends, whoever may use it. */
static TL_GIL int socket_leave(lua_State *L) {
  close_now(check_socket(L));
  return 0;
}

static TL_GIL int socket_gc(lua_State *L) {
  close_now(check_socket(L));
  return 0;
}

static TL_GIL int socket_fileno(lua_State *L) {
  lua_pushinteger(L, check_open(L)->fd);
  return 1;
}

static TL_GIL int socket_get_closed(lua_State *L) {
  lua_pushboolean(L, check_socket(L)->fd < 0);
  return 1;
}

/* The address that it is bound to. */
static TL_GIL int socket_address(lua_State *L) {
  Address a = {0};
  socklen_t n = sizeof a;
  if (getsockname(check_open(L)->fd, &a.any, &n) < 0)
    return tl_error_os(L, errno, "address");
  address_push(L, &a, n);
  return 1;
}

static TL_GIL bool is_ready(lua_State *L, int idx) {
  const Socket *s = lua_touserdata(L, idx);
  return os_ready(s->fd, POLLIN) > 0;
}

static TL_GIL const char *is_dead(lua_State *L, int idx) {
  const Socket *s = lua_touserdata(L, idx);
  return s->fd < 0 ? "the listener is closed" : NULL;
}

static TL_GIL int hold(lua_State *L, int idx) {
  Socket *s = lua_touserdata(L, idx);
  tl_users_enter(&s->users);
  return s->fd;
}

static TL_GIL void let_go(lua_State *L, int idx) {
  tl_users_leave(&((Socket *)lua_touserdata(L, idx))->users);
}

static const tl_waitable waitable = {
    .ready = is_ready, .dead = is_dead, .hold = hold, .let_go = let_go};

static TL_GIL int pack(lua_State *L, int idx, int *fds) {
  Socket *s = lua_touserdata(L, idx);
  if (s->fd < 0) luaL_error(L, "the listener is closed");
  s->shared = true;
  fds[0] = s->fd;
  lua_pushboolean(L, s->folder);
  return 1;
}

/* The path that it is bound to: malloc'd, or NULL. */
static char *path_of(int fd) {
  Address a = {0};
  socklen_t n = sizeof a;
  if (getsockname(fd, &a.any, &n) < 0 || a.any.sa_family != AF_UNIX ||
      n <= offsetof(struct sockaddr_un, sun_path) || !a.unix.sun_path[0])
    return NULL;
  return strndup(a.unix.sun_path, sizeof a.unix.sun_path);
}

static TL_GIL void unpack(lua_State *L, int *fds, int n) {
  int listens = 0;
  bool folder = lua_toboolean(L, -1);
  socklen_t size = sizeof listens;
  if (n != 1 ||
      getsockopt(fds[0], SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) ||
      !listens)
    luaL_error(L, "this is no listener");
  lua_pop(L, 1);
  Socket *s = new_socket(L);
  s->fd = fds[0];
  fds[0] = -1;
  s->path = path_of(s->fd);
  s->folder = folder;
  s->shared = true;
}

static const tl_portable portable = {
    .name = "Listener", .pack = pack, .unpack = unpack};

static const luaL_Reg methods[] = {
    {"accept", socket_accept}, {"address", socket_address},
    {"close", socket_close},   {"fileno", socket_fileno},
    {"_leave", socket_leave},  {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__gc", socket_gc}, {"__close", socket_close}, {NULL, NULL}};
static const luaL_Reg getters[] = {{"closed", socket_get_closed}, {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"connect", client_connect}, {"listen", listener_listen}, {NULL, NULL}};

TL_GIL int luaopen_tl_listener(lua_State *L) {
  luaL_requiref(L, "tidelock._connection", luaopen_tl_connection, 0);
  bind_newclass_attrs(L, SOCKET, methods, metamethods, getters, NULL);
  waitable_register(L, SOCKET, &waitable);
  tl_portable_register(L, SOCKET, "tidelock._listener", &portable);
  address_init(L);
  luaL_newlib(L, functions);
  return 1;
}

/* connection.c - "tidelock._connection": multiprocessing's Connection and
 * Pipe. Documented in types/multiprocessing.lua.
 *
 * A message is its length, four bytes in network order, and its bytes. One
 * thread at a time sends, one receives; the others queue. What a receiver has
 * got of a message when it is interrupted stays for the next one. A sender
 * that is interrupted in the middle of a message ends the stream, for nothing
 * that follows could be understood. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bind.h"
#include "modules.h"
#include "waitable.h"

#define CONNECTION "multiprocessing.Connection"
#define LONGEST ((size_t)INT32_MAX) /* bytes of a message */

/* Who may work on one direction. */
typedef struct Turn {
  bool taken;       /* GIL: by a thread, or handed to the first waiter */
  pid_t process;    /* GIL: whose thread took it: a fork leaves it behind */
  tl_waitq waiters; /* GIL */
} Turn;

typedef struct Connection {
  int fd;                  /* GIL: -1 closed */
  bool readable, writable; /* GIL */
  Turn sending, receiving; /* GIL */
  bool halfway;            /* sender: inside a message */
  uint32_t header;         /* receiver: the length as it came */
  size_t got;              /* receiver: bytes, header included */
  int polling;             /* GIL: threads in poll or wait_any */
} Connection;              /* user value: memory for the message's bytes */

#define HEADER sizeof(uint32_t)

static TL_GIL Connection *check_connection(lua_State *L) {
  return bind_checkself(L, CONNECTION);
}

static TL_GIL void check_open(lua_State *L, const Connection *c) {
  if (c->fd < 0) tl_error_os(L, EBADF, "the connection is closed");
}

static TL_GIL void check_readable(lua_State *L, const Connection *c) {
  check_open(L, c);
  if (!c->readable) tl_error_os(L, EBADF, "the connection is write-only");
}

static TL_GIL void check_writable(lua_State *L, const Connection *c) {
  check_open(L, c);
  if (!c->writable) tl_error_os(L, EBADF, "the connection is read-only");
}

static TL_GIL Connection *new_connection(lua_State *L) {
  Connection *c = lua_newuserdatauv(L, sizeof *c, 1);
  *c = (Connection){.fd = -1, .readable = true, .writable = true};
  c->sending.waiters.what = "connection to be sent on";
  c->receiving.waiters.what = "connection to be received from";
  luaL_setmetatable(L, CONNECTION);
  return c;
}

/* Waits until fd is ready for 'events'. May raise. */
static TL_GIL void await(lua_State *L, const Connection *c, short events) {
  const char *what = events & POLLIN ? "read" : "write";
  int ready = tl_wait_fd(L, c->fd, events, TL_FOREVER, what);
  if (ready == -EINTR)
    tl_check(L);
  else if (ready < 0)
    tl_error_os(L, -ready, "connection");
}

/* --- Turns -------------------------------------------------------------- */

/* Does the work, whose arguments are the caller's, and gives the turn on:
 * nothing outside the protected call may need memory. */
static TL_GIL int run(lua_State *L, Turn *turn, lua_CFunction work) {
  int n = lua_gettop(L);
  lua_pushcfunction(L, work);
  for (int i = 1; i <= n; i++)
    lua_pushvalue(L, i);
  int status = lua_pcall(L, n, 1, 0);
  turn->taken = tl_wake(&turn->waiters, 1) > 0;
  return status == LUA_OK ? 1 : lua_error(L);
}

static TL_GIL int take_turn(lua_State *L, Turn *turn, lua_CFunction work,
                            lua_KFunction again) {
  pid_t self = getpid();
  if (turn->taken && turn->process == self)
    return tl_wait(L, &turn->waiters, TL_FOREVER, 0, again);
  turn->taken = true;
  turn->process = self;
  return run(L, turn, work);
}

/* What 'again' does: the turn has come, or the wait goes on. */
static TL_GIL int woken(lua_State *L, Turn *turn, lua_CFunction work,
                        lua_KFunction again) {
  if (bind_woken(L)) return run(L, turn, work);
  return take_turn(L, turn, work, again);
}

/* --- Sending ------------------------------------------------------------ */

/* Sends what comes after 'done' bytes of header and text; as sendmsg. */
static ssize_t send_rest(int fd, size_t done, uint32_t *header,
                         const char *text, size_t length) {
  struct iovec parts[2];
  size_t n = 0;
  if (done < HEADER)
    parts[n++] = (struct iovec){(char *)header + done, HEADER - done};
  size_t sent = done > HEADER ? done - HEADER : 0;
  parts[n++] = (struct iovec){(char *)text + sent, length - sent};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = n};
  return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static TL_GIL int send_whole(lua_State *L) {
  Connection *c = lua_touserdata(L, 1);
  size_t length;
  const char *text = lua_tolstring(L, 2, &length);
  uint32_t header = htonl((uint32_t)length);
  check_writable(L, c); /* it may have ended while this thread queued */
  for (size_t done = 0; done < HEADER + length;) {
    ssize_t n = send_rest(c->fd, done, &header, text, length);
    if (n >= 0) {
      done += (size_t)n;
      c->halfway = done < HEADER + length;
    } else if (errno == EAGAIN) {
      await(L, c, POLLOUT);
    } else if (errno != EINTR) {
      return tl_error_os(L, errno, "send_bytes");
    }
  }
  return 0;
}

/* A message that was cut short ends the stream. */
static TL_GIL int send_or_end(lua_State *L) {
  Connection *c = lua_touserdata(L, 1);
  lua_pushcfunction(L, send_whole);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  if (lua_pcall(L, 2, 0, 0) == LUA_OK) return 0;
  if (c->halfway) {
    shutdown(c->fd, SHUT_WR);
    c->writable = c->halfway = false;
  }
  return lua_error(L);
}

static TL_GIL int sending_woken(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  return woken(L, &check_connection(L)->sending, send_or_end, sending_woken);
}

static TL_GIL int connection_send_bytes(lua_State *L) {
  Connection *c = check_connection(L);
  size_t length;
  luaL_checklstring(L, 2, &length);
  luaL_argcheck(L, length <= LONGEST, 2, "message too long");
  check_writable(L, c);
  lua_settop(L, 2);
  return take_turn(L, &c->sending, send_or_end, sending_woken);
}

/* --- Receiving ---------------------------------------------------------- */

/* Receives up to n bytes into p; raises at the end. 0: none are there yet. */
static TL_GIL size_t receive_some(lua_State *L, Connection *c, char *p,
                                  size_t n) {
  ssize_t got = recv(c->fd, p, n, MSG_DONTWAIT);
  if (got > 0) return (size_t)got;
  if (got == 0 || errno == ECONNRESET) {
    const char *where = c->got > 0 ? "the connection ended inside a message"
                                   : "the connection has ended";
    tl_error(L, "EOFError", "%s", where);
  }
  if (errno == EAGAIN)
    await(L, c, POLLIN);
  else if (errno != EINTR)
    tl_error_os(L, errno, "recv_bytes");
  return 0;
}

static TL_GIL size_t receive_header(lua_State *L, Connection *c) {
  while (c->got < HEADER)
    c->got += receive_some(L, c, (char *)&c->header + c->got, HEADER - c->got);
  return ntohl(c->header);
}

/* The memory for the message, kept beside it until it is whole. */
static TL_GIL char *get_memory(lua_State *L, size_t length) {
  if (lua_getiuservalue(L, 1, 1) != LUA_TUSERDATA) {
    lua_newuserdatauv(L, length, 0);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
  }
  return lua_touserdata(L, -1);
}

static TL_GIL int receive_whole(lua_State *L) {
  Connection *c = lua_touserdata(L, 1);
  lua_Integer most = luaL_optinteger(L, 2, (lua_Integer)LONGEST);
  check_readable(L, c);
  size_t length = receive_header(L, c);
  if (length > LONGEST) return tl_error_os(L, EBADMSG, "recv_bytes");
  if ((lua_Integer)length > most)
    return tl_error(L, "BufferTooShort", "the message has %d bytes",
                    (int)length);
  char *text = get_memory(L, length);
  while (c->got < HEADER + length) {
    size_t done = c->got - HEADER;
    c->got += receive_some(L, c, text + done, length - done);
  }
  lua_pushlstring(L, text, length);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, 1);
  c->got = 0;
  return 1;
}

static TL_GIL int receiving_woken(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  return woken(L, &check_connection(L)->receiving, receive_whole,
               receiving_woken);
}

static TL_GIL int connection_recv_bytes(lua_State *L) {
  Connection *c = check_connection(L);
  bind_count(L, 2, 0, 0);
  check_readable(L, c);
  lua_settop(L, 2);
  return take_turn(L, &c->receiving, receive_whole, receiving_woken);
}

/* Whether all of the next message has come: it may be empty, or there was no
 * memory for whoever was to get it. */
static TL_GIL bool holds_message(const Connection *c) {
  return c->got >= HEADER && c->got == HEADER + ntohl(c->header);
}

/* A whole message, or the end, or the beginning of a message that is on its
 * way. */
static TL_GIL int connection_poll(lua_State *L) {
  Connection *c = check_connection(L);
  int64_t deadline = lua_isnone(L, 2) ? 0 : bind_deadline(L, 2);
  check_readable(L, c);
  int ready = holds_message(c) ? POLLIN : -EINTR;
  while (ready == -EINTR) {
    c->polling++;
    ready = tl_wait_fd(L, c->fd, POLLIN, deadline, "read");
    c->polling--;
    if (ready == -EINTR) tl_check(L);
  }
  if (ready < 0) return tl_error_os(L, -ready, "poll");
  lua_pushboolean(L, ready > 0);
  return 1;
}

/* For threading.wait_any: as poll(0). */
static TL_GIL bool is_ready(lua_State *L, int idx) {
  Connection *c = lua_touserdata(L, idx);
  check_readable(L, c);
  return holds_message(c) || os_ready(c->fd, POLLIN) > 0;
}

static TL_GIL int hold(lua_State *L, int idx) {
  Connection *c = lua_touserdata(L, idx);
  c->polling++;
  return c->fd;
}

static TL_GIL void let_go(lua_State *L, int idx) {
  Connection *c = lua_touserdata(L, idx);
  c->polling--;
}

static const tl_waitable waitable = {
    .ready = is_ready, .hold = hold, .let_go = let_go};

/* --- The rest ----------------------------------------------------------- */

static TL_GIL int connection_fileno(lua_State *L) {
  Connection *c = check_connection(L);
  check_open(L, c);
  lua_pushinteger(L, c->fd);
  return 1;
}

static TL_GIL int connection_close(lua_State *L) {
  Connection *c = check_connection(L);
  if (c->sending.taken || c->receiving.taken || c->polling > 0)
    return tl_error_os(L, EBUSY, "another thread uses the connection");
  os_close(c->fd);
  c->fd = -1;
  return 0;
}

/* Nobody is inside a call: its stack would keep the connection. */
static TL_GIL int connection_gc(lua_State *L) {
  Connection *c = check_connection(L);
  os_close(c->fd);
  c->fd = -1;
  return 0;
}

static TL_GIL int connection_tostring(lua_State *L) {
  Connection *c = check_connection(L);
  if (c->fd < 0)
    lua_pushliteral(L, "<Connection closed>");
  else
    lua_pushfstring(L, "<Connection fd=%d>", c->fd);
  return 1;
}

static TL_GIL int connection_get_closed(lua_State *L) {
  lua_pushboolean(L, check_connection(L)->fd < 0);
  return 1;
}

static TL_GIL int connection_get_readable(lua_State *L) {
  lua_pushboolean(L, check_connection(L)->readable);
  return 1;
}

static TL_GIL int connection_get_writable(lua_State *L) {
  lua_pushboolean(L, check_connection(L)->writable);
  return 1;
}

/* Pipe([duplex=true]): two connections; one-way: a receiver and a sender. */
static TL_GIL int connection_pipe(lua_State *L) {
  static const char *const options[] = {"duplex", NULL};
  bool duplex = true;
  bind_options(L, 1, options);
  if (!lua_isnoneornil(L, 1)) {
    luaL_checktype(L, 1, LUA_TBOOLEAN);
    duplex = lua_toboolean(L, 1);
  }
  lua_settop(L, 0);
  int fds[2];
  Connection *a = new_connection(L), *b = new_connection(L);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
    return tl_error_os(L, errno, "Pipe");
  a->fd = fds[0];
  b->fd = fds[1];
  if (!duplex) {
    shutdown(a->fd, SHUT_WR);
    a->writable = b->readable = false;
  }
  return 2;
}

static const luaL_Reg methods[] = {{"close", connection_close},
                                   {"fileno", connection_fileno},
                                   {"poll", connection_poll},
                                   {"recv_bytes", connection_recv_bytes},
                                   {"send_bytes", connection_send_bytes},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__gc", connection_gc},
                                       {"__close", connection_close},
                                       {"__tostring", connection_tostring},
                                       {NULL, NULL}};
static const luaL_Reg getters[] = {{"closed", connection_get_closed},
                                   {"readable", connection_get_readable},
                                   {"writable", connection_get_writable},
                                   {NULL, NULL}};
static const luaL_Reg functions[] = {{"Pipe", connection_pipe}, {NULL, NULL}};

TL_GIL int luaopen_tl_connection(lua_State *L) {
  bind_newclass_attrs(L, CONNECTION, methods, metamethods, getters, NULL);
  waitable_register(L, CONNECTION, &waitable);
  luaL_newlib(L, functions);
  return 1;
}

/* connection.c - "tidelock._connection": multiprocessing's Connection and
 * Pipe. Documented in types/multiprocessing.connection.lua. How messages travel
 * is told in connection.h; one thread at a time receives, the others queue. */
#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "modules.h"
#include "pickle.h"
#include "waitable.h"

static TL_GIL Connection *check_connection(lua_State *L) {
  return bind_checkself(L, CONNECTION);
}

static TL_GIL void check_open(lua_State *L, const Connection *c) {
  if (c->fd < 0) tl_error_os(L, EBADF, "the connection is closed");
}

/* Why nothing can be received; NULL: it can. */
static const char *unreadable(const Connection *c) {
  if (c->fd < 0) return "the connection is closed";
  return c->readable ? NULL : "the connection is write-only";
}

static TL_GIL void check_readable(lua_State *L, const Connection *c) {
  const char *why = unreadable(c);
  if (why) tl_error_os(L, EBADF, why);
}

void connection_check_writable(lua_State *L, const Connection *c) {
  check_open(L, c);
  if (!c->writable) tl_error_os(L, EBADF, "the connection is read-only");
}

Connection *connection_new(lua_State *L) {
  Connection *c = lua_newuserdatauv(L, sizeof *c, 1);
  *c = (Connection){.fd = -1, .readable = true, .writable = true};
  c->sending.waiters.what = "connection to be sent on";
  c->receiving.waiters.what = "connection to be received from";
  c->placing.what = "connection to be sent on";
  luaL_setmetatable(L, CONNECTION);
  return c;
}

void connection_opened(Connection *c, int fd) {
  int type = SOCK_STREAM;
  socklen_t size = sizeof type;
  getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
  c->how = type == SOCK_SEQPACKET ? &connection_records : &connection_stream;
  c->fd = fd;
  int on = 1; /* a message does not wait for the next one */
  if (c->how == &connection_stream)
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* --- waiting ------------------------------------------------------------ */

static bool has_input(const void *fd) {
  return os_ready(*(const int *)fd, POLLIN) != 0;
}

int connection_wait(lua_State *L, Connection *c, short events,
                    int64_t deadline) {
  if (tl_in_finalizer(L) && deadline != 0) {
    int now = os_ready(c->fd, events);
    return now == 0 ? -EDEADLK : now < 0 ? now : 0;
  }
  const char *what = events & POLLIN ? "read" : "write";
  tl_users_enter(&c->users);
  if (events & POLLIN && deadline != 0)
    spin_until(&c->spinner, deadline, has_input, &c->fd);
  int ready = tl_wait_fd(L, c->fd, events, deadline, what);
  tl_users_leave(&c->users);
  if (ready == 0) return -ETIMEDOUT;
  return ready < 0 ? ready : 0;
}

void connection_raise(lua_State *L, int err, const char *what) {
  if (err == -EINTR)
    tl_check(L);
  else if (err == -EDEADLK)
    luaL_error(L, "cannot wait in a finalizer");
  else if (err == -ETIMEDOUT)
    tl_error(L, "TimeoutError", "nothing was received in time");
  else if (err < 0)
    tl_error_os(L, -err, what);
}

void connection_ended(lua_State *L, bool inside) {
  tl_error(L, "EOFError", "%s",
           inside ? "the connection ended inside a message"
                  : "the connection has ended");
}

/* --- sending ------------------------------------------------------------ */

/* A message that may have to queue. */
typedef struct Outgoing {
  ipc_message message;
  const tl_pickled *pickled; /* what it is of, or NULL */
} Outgoing;

static TL_GIL void send_now(lua_State *L, Connection *c, Outgoing *o) {
  c->how->send(L, c, &o->message);
  if (o->pickled) tl_pickle_free(L, o->pickled);
}

/* Sends the Outgoing at 2. */
static TL_GIL int send_message(lua_State *L) {
  Connection *c = lua_touserdata(L, 1);
  connection_check_writable(L, c); /* it may have ended while this queued */
  send_now(L, c, lua_touserdata(L, 2));
  return 0;
}

static TL_GIL int sending_woken(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  return turn_woken(L, &check_connection(L)->sending, send_message,
                    sending_woken);
}

/* Sends the message, which the value at 2 keeps. */
static TL_GIL int pass(lua_State *L, Connection *c, Outgoing o) {
  if (!c->how->in_turn) {
    send_now(L, c, &o);
    return 0;
  }
  lua_settop(L, 2);
  Outgoing *kept = lua_newuserdatauv(L, sizeof *kept, 0);
  *kept = o;
  lua_insert(L, 2);
  return turn_take(L, &c->sending, send_message, sending_woken);
}

/* Handles travel to one's own family, with descriptors, which are for Unix
 * sockets alone. */
static TL_GIL unsigned pickle_flags(const Connection *c) {
  if (!c->family) return 0;
  bool handles = c->how == &connection_records;
  return TL_PICKLE_FAMILY | (handles ? TL_PICKLE_HANDLES : 0u);
}

static TL_GIL int connection_send(lua_State *L) {
  Connection *c = check_connection(L);
  luaL_checkany(L, 2);
  connection_check_writable(L, c);
  lua_settop(L, 2);
  const tl_pickled *p = tl_pickle_dump(L, 2, pickle_flags(c), NULL);
  lua_replace(L, 2);
  if (p->fd_count > 0) lua_toclose(L, 2);
  if (p->size > CONNECTION_LONGEST)
    return tl_error(L, "PicklingError", "the message would be too long");
  if (p->fd_count > IPC_FDS)
    return tl_error(L, "PicklingError", "too many descriptors: %d",
                    p->fd_count);
  connection_check_writable(L, c); /* pickling may run Lua */
  return pass(L, c,
              (Outgoing){.pickled = p,
                         .message = {.text = p->data,
                                     .size = p->size,
                                     .fds = p->fds,
                                     .fd_count = p->fd_count}});
}

/* send_bytes(bytes [, offset = 0 [, size]]) */
static TL_GIL int connection_send_bytes(lua_State *L) {
  Connection *c = check_connection(L);
  size_t length;
  const char *text = luaL_checklstring(L, 2, &length);
  lua_Integer offset = bind_count(L, 3, 0, 0);
  luaL_argcheck(L, (lua_Unsigned)offset <= length, 3, "beyond the end");
  length -= (size_t)offset;
  lua_Integer size = bind_count(L, 4, (lua_Integer)length, 0);
  luaL_argcheck(L, (lua_Unsigned)size <= length, 4, "beyond the end");
  luaL_argcheck(L, (size_t)size <= CONNECTION_LONGEST, 2, "message too long");
  connection_check_writable(L, c);
  ipc_message m = {.text = text + offset, .size = (size_t)size};
  return pass(L, c, (Outgoing){.message = m});
}

/* --- receiving ---------------------------------------------------------- */

/* Receives a message of at most the bytes at 2 until the deadline at 3. */
static TL_GIL int receive_bytes(lua_State *L) {
  Connection *c = lua_touserdata(L, 1);
  lua_Integer most = luaL_optinteger(L, 2, (lua_Integer)CONNECTION_LONGEST);
  int64_t deadline = luaL_optinteger(L, 3, TL_FOREVER);
  check_readable(L, c);
  size_t size = c->how->begin(L, c, deadline);
  if ((lua_Unsigned)most < size)
    return tl_error(L, "BufferTooShort",
                    "the message has %d bytes, more than the %d asked for",
                    (int)size, (int)most);
  lua_pushlstring(L, c->how->text(L, c, deadline), size);
  c->how->done(L, c);
  return 1;
}

static TL_GIL int receiving_woken(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  return turn_woken(L, &check_connection(L)->receiving, receive_bytes,
                    receiving_woken);
}

static TL_GIL int connection_recv_bytes(lua_State *L) {
  Connection *c = check_connection(L);
  bind_count(L, 2, 0, 0);
  check_readable(L, c);
  lua_settop(L, 2);
  return turn_take(L, &c->receiving, receive_bytes, receiving_woken);
}

/* Slots of the stack that most values need to be read. Lack of memory for them
 * is told by an error like others, after which a message would not stay. */
enum { ROOM = 200 };

/* Pushes what the message that was received stands for. */
static TL_GIL int load_value(lua_State *L) {
  Connection *c = lua_touserdata(L, 1);
  const char *text = lua_touserdata(L, 2);
  size_t size = (size_t)lua_tointeger(L, 3);
  bool records = c->how == &connection_records;
  tl_pickle_load(L, text, size, records ? c->in.fds : NULL,
                 records ? c->in.fd_count : 0, pickle_flags(c));
  return 1;
}

/* The message is gone, also when it cannot be understood; but it stays when
 * there was no memory, unless some of its descriptors have been used. */
static TL_GIL int receive_value(lua_State *L) {
  Connection *c = lua_touserdata(L, 1);
  check_readable(L, c);
  size_t size = c->how->begin(L, c, TL_FOREVER);
  const char *text = c->how->text(L, c, TL_FOREVER);
  luaL_checkstack(L, ROOM, NULL);
  lua_pushcfunction(L, load_value);
  lua_pushvalue(L, 1);
  lua_pushlightuserdata(L, (void *)text);
  lua_pushinteger(L, (lua_Integer)size);
  int status = lua_pcall(L, 3, 1, 0);
  bool stays = status == LUA_ERRMEM && c->in.fd_count == 0;
  if (!stays) c->how->done(L, c);
  return status == LUA_OK ? 1 : lua_error(L);
}

static TL_GIL int value_woken(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  return turn_woken(L, &check_connection(L)->receiving, receive_value,
                    value_woken);
}

static TL_GIL int connection_recv(lua_State *L) {
  Connection *c = check_connection(L);
  check_readable(L, c);
  lua_settop(L, 1);
  return turn_take(L, &c->receiving, receive_value, value_woken);
}

/* connection:_receive(max, timeout): as recv_bytes(max), but raises
 * TimeoutError when the message is not there in time. */
static TL_GIL int connection_receive(lua_State *L) {
  Connection *c = check_connection(L);
  bind_count(L, 2, 0, 0);
  int64_t deadline = bind_deadline(L, 3);
  check_readable(L, c);
  lua_settop(L, 2);
  lua_pushinteger(L, deadline);
  return turn_take(L, &c->receiving, receive_bytes, receiving_woken);
}

/* --- looking ------------------------------------------------------------ */

/* A whole message, or the end, or the beginning of a message that is on its
 * way. */
static TL_GIL int connection_poll(lua_State *L) {
  Connection *c = check_connection(L);
  int64_t deadline = lua_isnone(L, 2) ? 0 : bind_deadline(L, 2);
  check_readable(L, c);
  int err = c->how->holds(c) ? 0 : -EINTR;
  while (err == -EINTR) {
    check_readable(L, c);
    err = connection_wait(L, c, POLLIN, deadline);
    if (err == -EINTR) tl_check(L);
  }
  if (err != -ETIMEDOUT) connection_raise(L, err, "poll");
  lua_pushboolean(L, err == 0);
  return 1;
}

/* For threading.wait_any: as poll(0). */
static TL_GIL bool is_ready(lua_State *L, int idx) {
  Connection *c = lua_touserdata(L, idx);
  return c->how->holds(c) || os_ready(c->fd, POLLIN) > 0;
}

static TL_GIL int hold(lua_State *L, int idx) {
  Connection *c = lua_touserdata(L, idx);
  tl_users_enter(&c->users);
  return c->fd;
}

static TL_GIL void let_go(lua_State *L, int idx) {
  tl_users_leave(&((Connection *)lua_touserdata(L, idx))->users);
}

static TL_GIL const char *is_dead(lua_State *L, int idx) {
  return unreadable(lua_touserdata(L, idx));
}

static const tl_waitable waitable = {
    .ready = is_ready, .dead = is_dead, .hold = hold, .let_go = let_go};

/* --- travelling ---------------------------------------------------------- */

enum { READABLE = 1, WRITABLE = 2, FAMILY = 4 };

static TL_GIL int pack(lua_State *L, int idx, int *fds) {
  const Connection *c = lua_touserdata(L, idx);
  if (c->fd < 0) luaL_error(L, "the connection is closed");
  if (c->in.full || c->stream.got > 0 || c->stream.halfway)
    luaL_error(L, "the connection is inside a message");
  fds[0] = c->fd;
  lua_pushinteger(L, (c->readable ? READABLE : 0) |
                         (c->writable ? WRITABLE : 0) |
                         (c->family ? FAMILY : 0));
  return 1;
}

static TL_GIL void unpack(lua_State *L, int *fds, int n) {
  lua_Integer what = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
  int type;
  socklen_t size = sizeof type;
  if (n != 1 || what < 0 || what > (READABLE | WRITABLE | FAMILY) ||
      getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &type, &size) < 0)
    luaL_error(L, "this is no connection");
  lua_pop(L, 1);
  Connection *c = connection_new(L);
  c->readable = what & READABLE;
  c->writable = what & WRITABLE;
  c->family = what & FAMILY;
  connection_opened(c, fds[0]);
  fds[0] = -1;
}

static const tl_portable portable = {
    .name = "Connection", .pack = pack, .unpack = unpack};

/* --- the rest ----------------------------------------------------------- */

static TL_GIL int connection_fileno(lua_State *L) {
  Connection *c = check_connection(L);
  check_open(L, c);
  lua_pushinteger(L, c->fd);
  return 1;
}

void connection_close_now(Connection *c) {
  if (c->fd < 0) return;
  c->how->close(c);
  os_close(c->fd);
  c->fd = -1;
}

static TL_GIL int connection_close(lua_State *L) {
  Connection *c = check_connection(L);
  if (tl_users_any(&c->users) || turn_taken(&c->sending) ||
      turn_taken(&c->receiving))
    return tl_error_os(L, EBUSY, "another thread uses the connection");
  connection_close_now(c);
  return 0;
}

/* Nobody is inside a call: its stack would keep the connection. */
static TL_GIL int connection_gc(lua_State *L) {
  connection_close_now(check_connection(L));
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

/* connection:_trust(): the other side has proved that it is of the family. */
static TL_GIL int connection_trust(lua_State *L) {
  check_connection(L)->family = true;
  return 0;
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
  Connection *a = connection_new(L), *b = connection_new(L);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
    return tl_error_os(L, errno, "Pipe");
  connection_opened(a, fds[0]);
  connection_opened(b, fds[1]);
  a->family = b->family = true;
  if (!duplex) {
    shutdown(a->fd, SHUT_WR);
    a->writable = b->readable = false;
  }
  return 2;
}

/* inherited(fd): one end of a pipe that this process was started with. */
static TL_GIL int connection_inherited(lua_State *L) {
  lua_Integer fd = luaL_checkinteger(L, 1);
  luaL_argcheck(L, fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0, 1,
                "no open descriptor");
  Connection *c = connection_new(L);
  connection_opened(c, (int)fd);
  c->family = true;
  return 1;
}

static const luaL_Reg methods[] = {{"close", connection_close},
                                   {"fileno", connection_fileno},
                                   {"poll", connection_poll},
                                   {"recv", connection_recv},
                                   {"recv_bytes", connection_recv_bytes},
                                   {"send", connection_send},
                                   {"send_bytes", connection_send_bytes},
                                   {"_receive", connection_receive},
                                   {"_trust", connection_trust},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__gc", connection_gc},
                                       {"__close", connection_close},
                                       {"__tostring", connection_tostring},
                                       {NULL, NULL}};
static const luaL_Reg getters[] = {{"closed", connection_get_closed},
                                   {"readable", connection_get_readable},
                                   {"writable", connection_get_writable},
                                   {NULL, NULL}};
static const luaL_Reg functions[] = {{"Pipe", connection_pipe},
                                     {"inherited", connection_inherited},
                                     {NULL, NULL}};

TL_GIL int luaopen_tl_connection(lua_State *L) {
  bind_newclass_attrs(L, CONNECTION, methods, metamethods, getters, NULL);
  waitable_register(L, CONNECTION, &waitable);
  tl_portable_register(L, CONNECTION, "tidelock._connection", &portable);
  luaL_newlib(L, functions);
  return 1;
}

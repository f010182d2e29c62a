/* stream.c - messages over a stream, as of TCP. See connection.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "connection.h"

#define HEADER sizeof(uint32_t)

/* --- sending ------------------------------------------------------------ */

/* Sends what comes after 'done' bytes of header and text; as sendmsg. */
static ssize_t send_rest(int fd, size_t done, uint32_t *header,
                         const ipc_message *m) {
  struct iovec parts[2];
  size_t n = 0;
  if (done < HEADER)
    parts[n++] = (struct iovec){(char *)header + done, HEADER - done};
  size_t sent = done > HEADER ? done - HEADER : 0;
  parts[n++] = (struct iovec){(char *)m->text + sent, m->size - sent};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = n};
  return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static TL_GIL int send_whole(lua_State *L) {
  Connection *c = lua_touserdata(L, 1);
  const ipc_message *m = lua_touserdata(L, 2);
  uint32_t header = htonl((uint32_t)m->size);
  for (size_t done = 0; done < HEADER + m->size;) {
    ssize_t n = send_rest(c->fd, done, &header, m);
    if (n >= 0) {
      done += (size_t)n;
      c->stream.halfway = done < HEADER + m->size;
    } else if (errno == EAGAIN) {
      connection_raise(L, connection_wait(L, c, POLLOUT, TL_FOREVER), "send");
    } else if (errno != EINTR) {
      return tl_error_os(L, errno, "send");
    }
  }
  return 0;
}

static TL_GIL void stream_send(lua_State *L, Connection *c, ipc_message *m) {
  lua_pushcfunction(L, send_whole);
  lua_pushvalue(L, 1);
  lua_pushlightuserdata(L, m);
  if (lua_pcall(L, 2, 0, 0) == LUA_OK) return;
  if (c->stream.halfway) {
    shutdown(c->fd, SHUT_WR);
    c->writable = c->stream.halfway = false;
  }
  lua_error(L);
}

/* --- receiving ---------------------------------------------------------- */

/* Receives up to n bytes into p; raises at the end. 0: none are there yet. */
static TL_GIL size_t receive_some(lua_State *L, Connection *c, char *p,
                                  size_t n, int64_t deadline) {
  ssize_t got = recv(c->fd, p, n, MSG_DONTWAIT);
  if (got > 0) return (size_t)got;
  if (got == 0 || errno == ECONNRESET)
    connection_ended(L, c->stream.got > 0);
  else if (errno == EAGAIN)
    connection_raise(L, connection_wait(L, c, POLLIN, deadline), "recv");
  else if (errno != EINTR)
    tl_error_os(L, errno, "recv");
  return 0;
}

static TL_GIL size_t stream_begin(lua_State *L, Connection *c,
                                  int64_t deadline) {
  char *header = (char *)&c->stream.header;
  size_t *got = &c->stream.got;
  while (*got < HEADER)
    *got += receive_some(L, c, header + *got, HEADER - *got, deadline);
  size_t size = ntohl(c->stream.header);
  if (size > CONNECTION_LONGEST) tl_error_os(L, EBADMSG, "recv");
  return size;
}

/* What a message gets before anything of it is there. */
#define FIRST_ROOM ((size_t)1024 * 1024)

/* The memory for the text, of which 'got' bytes are there, and in 'room' its
 * size; kept beside the connection until the text is whole. The length is what
 * the other side says: the memory grows with what has come. */
static TL_GIL char *get_memory(lua_State *L, size_t got, size_t size,
                               size_t *room) {
  bool any = lua_getiuservalue(L, 1, 1) == LUA_TUSERDATA;
  *room = any ? lua_rawlen(L, -1) : 0;
  if (!any || (got == *room && got < size)) {
    size_t more = any ? 2 * got : FIRST_ROOM;
    const char *text = lua_touserdata(L, -1);
    *room = more < size ? more : size;
    char *p = lua_newuserdatauv(L, *room, 0);
    if (got > 0) memcpy(p, text, got);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, 1);
    lua_remove(L, -2);
  }
  char *p = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return p;
}

static TL_GIL const char *stream_text(lua_State *L, Connection *c,
                                      int64_t deadline) {
  size_t size = ntohl(c->stream.header), room;
  for (;;) {
    size_t got = c->stream.got - HEADER;
    char *text = get_memory(L, got, size, &room);
    if (got == size) return text;
    c->stream.got += receive_some(L, c, text + got, room - got, deadline);
  }
}

static TL_GIL void stream_done(lua_State *L, Connection *c) {
  lua_pushnil(L);
  lua_setiuservalue(L, 1, 1);
  c->stream.got = 0;
}

/* It may be empty, or there was no memory for whoever was to get it. */
static TL_GIL bool stream_holds(Connection *c) {
  size_t got = c->stream.got;
  return got >= HEADER && got == HEADER + ntohl(c->stream.header);
}

static void stream_close(Connection *c) {
  (void)c;
}

const Transport connection_stream = {.send = stream_send,
                                     .in_turn = true,
                                     .begin = stream_begin,
                                     .text = stream_text,
                                     .done = stream_done,
                                     .holds = stream_holds,
                                     .close = stream_close};

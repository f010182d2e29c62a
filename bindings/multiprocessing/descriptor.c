/* descriptor.c - "tidelock._descriptor": descriptors that travel to other
 * processes, and the end of a process that another one waits for. */
#include "descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "modules.h"
#include "pickle.h"

#define DESCRIPTOR "multiprocessing.Descriptor"

typedef struct Descriptor {
  int fd; /* GIL: -1 closed, or given away */
} Descriptor;

static TL_GIL Descriptor *check_open(lua_State *L, int arg) {
  Descriptor *d = luaL_checkudata(L, arg, DESCRIPTOR);
  luaL_argcheck(L, d->fd >= 0, arg, "the descriptor is closed");
  return d;
}

static TL_GIL Descriptor *new_descriptor(lua_State *L) {
  Descriptor *d = lua_newuserdatauv(L, sizeof *d, 0);
  d->fd = -1;
  luaL_setmetatable(L, DESCRIPTOR);
  return d;
}

int descriptor_take(lua_State *L, int arg) {
  Descriptor *d = check_open(L, arg);
  int fd = d->fd;
  d->fd = -1;
  return fd;
}

void descriptor_copy(lua_State *L, int fd) {
  Descriptor *d = new_descriptor(L);
  d->fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (d->fd < 0) tl_error_os(L, errno, "dup");
}

int descriptor_get(lua_State *L, int arg) {
  return check_open(L, arg)->fd;
}

/* copy(fd): a descriptor of its own for what fd is, and none of the standard
 * streams, should these be closed. */
static TL_GIL int descriptor_new(lua_State *L) {
  descriptor_copy(L, (int)luaL_checkinteger(L, 1));
  return 1;
}

/* pair(): two connected ones. */
static TL_GIL int descriptor_pair(lua_State *L) {
  int fds[2];
  Descriptor *a = new_descriptor(L), *b = new_descriptor(L);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
    return tl_error_os(L, errno, "socketpair");
  a->fd = fds[0];
  b->fd = fds[1];
  return 2;
}

static TL_GIL int descriptor_fileno(lua_State *L) {
  lua_pushinteger(L, check_open(L, 1)->fd);
  return 1;
}

/* tell(code): to the handle that has the other end of the pair, if there still
 * is one. */
static TL_GIL int descriptor_tell(lua_State *L) {
  Descriptor *d = check_open(L, 1);
  int32_t code = (int32_t)luaL_checkinteger(L, 2);
  send(d->fd, &code, sizeof code, MSG_DONTWAIT | MSG_NOSIGNAL);
  return 0;
}

/* await_go(): waits for the word of the handle that has the other end
 * (tl_handle_watch); false if there is none any more. */
static TL_GIL int descriptor_await(lua_State *L) {
  Descriptor *d = check_open(L, 1);
  for (;;) {
    char go;
    ssize_t n = recv(d->fd, &go, sizeof go, MSG_DONTWAIT);
    if (n >= 0) return lua_pushboolean(L, n > 0), 1;
    if (errno == EAGAIN) {
      int ready = tl_wait_fd(L, d->fd, POLLIN, TL_FOREVER, "process");
      if (ready == -EINTR)
        tl_check(L);
      else if (ready < 0)
        return tl_error_os(L, -ready, "wait");
    } else if (errno != EINTR) {
      return lua_pushboolean(L, false), 1;
    }
  }
}

static TL_GIL int descriptor_close(lua_State *L) {
  Descriptor *d = luaL_checkudata(L, 1, DESCRIPTOR);
  os_close(d->fd);
  d->fd = -1;
  return 0;
}

static TL_GIL int pack(lua_State *L, int idx, int *fds) {
  fds[0] = check_open(L, idx)->fd;
  lua_pushnil(L);
  return 1;
}

static TL_GIL void unpack(lua_State *L, int *fds, int n) {
  lua_pop(L, 1);
  if (n != 1) luaL_error(L, "no descriptor");
  new_descriptor(L)->fd = fds[0];
  fds[0] = -1;
}

static const tl_portable portable = {
    .name = "descriptor", .pack = pack, .unpack = unpack};

static const luaL_Reg methods[] = {{"await_go", descriptor_await},
                                   {"close", descriptor_close},
                                   {"fileno", descriptor_fileno},
                                   {"tell", descriptor_tell},
                                   {NULL, NULL}};
static const luaL_Reg metamethods[] = {
    {"__close", descriptor_close}, {"__gc", descriptor_close}, {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"copy", descriptor_new}, {"pair", descriptor_pair}, {NULL, NULL}};

int luaopen_tl_descriptor(lua_State *L) {
  bind_newclass(L, DESCRIPTOR, methods, metamethods);
  tl_portable_register(L, DESCRIPTOR, "tidelock._descriptor", &portable);
  luaL_newlib(L, functions);
  return 1;
}

/* address.c - see address.h. */
#include "address.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "bind.h"
#include "connection.h"
#include "lookup.h"

#define LOOKUP "multiprocessing.Lookup"

int address_family(lua_State *L, int arg) {
  static const char *const names[] = {"AF_UNIX", "AF_INET", "AF_INET6",
                                      "AF_UNSPEC", NULL};
  static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_UNSPEC};
  return families[luaL_checkoption(L, arg, NULL, names)];
}

socklen_t address_unix(lua_State *L, int arg, Address *a) {
  size_t n;
  const char *path = luaL_checklstring(L, arg, &n);
  bool named = n > 0 && path[0] != '\0';
  luaL_argcheck(L, n > 0 && !(named && strlen(path) != n), arg,
                "path expected");
  *a = (Address){.unix = {.sun_family = AF_UNIX}};
  if (n + named > sizeof a->unix.sun_path)
    tl_error_os(L, ENAMETOOLONG, "the path of a Unix socket");
  memcpy(a->unix.sun_path, path, n);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + named);
}

void address_push(lua_State *L, const Address *a, socklen_t n) {
  if (a->any.sa_family == AF_UNIX || n == 0) {
    size_t start = offsetof(struct sockaddr_un, sun_path);
    const char *path = a->unix.sun_path;
    size_t length = n > start ? n - start : 0;
    if (length > 0 && path[0] != '\0') length = strnlen(path, length);
    lua_pushlstring(L, path, length);
    return;
  }
  char host[NI_MAXHOST], port[NI_MAXSERV];
  int err = getnameinfo(&a->any, n, host, sizeof host, port, sizeof port,
                        NI_NUMERICHOST | NI_NUMERICSERV);
  if (err) tl_error(L, "OSError", "address: %s", gai_strerror(err));
  lua_createtable(L, 2, 0);
  lua_pushstring(L, host);
  lua_rawseti(L, -2, 1);
  lua_pushinteger(L, strtol(port, NULL, 10));
  lua_rawseti(L, -2, 2);
}

typedef struct Lookup { /* keeps the answer */
  os_lookup *os;
} Lookup;

static TL_GIL int lookup_gc(lua_State *L) {
  Lookup *l = lua_touserdata(L, 1);
  os_lookup_drop(l->os);
  l->os = NULL;
  return 0;
}

const struct addrinfo *address_look_up(lua_State *L, int arg, int family,
                                       int flags) {
  const char *host = luaL_optstring(L, arg, NULL);
  lua_Integer port = luaL_checkinteger(L, arg + 1);
  luaL_argcheck(L, port >= 0 && port <= 65535, arg + 1, "no port");
  Lookup *l = lua_newuserdatauv(L, sizeof *l, 0);
  l->os = NULL;
  luaL_setmetatable(L, LOOKUP);
  int err = os_lookup_start(&l->os, host, (int)port, family, flags);
  if (err) tl_error_os(L, -err, "looking for an address");
  for (int ready = 0; os_lookup_fd(l->os) >= 0 && ready <= 0;) {
    ready = tl_wait_fd(L, os_lookup_fd(l->os), POLLIN, TL_FOREVER, "address");
    connection_raise(L, ready < 0 ? ready : 0, "looking for an address");
  }
  const struct addrinfo *list;
  int error = os_lookup_answer(l->os, &list, &err);
  if (!host) host = "(any host)";
  if (error == EAI_SYSTEM) tl_error_os(L, err, host);
  if (error) tl_error(L, "OSError", "%s: %s", host, gai_strerror(error));
  return list;
}

void address_init(lua_State *L) {
  static const luaL_Reg metamethods[] = {{"__gc", lookup_gc}, {NULL, NULL}};
  bind_newclass(L, LOOKUP, NULL, metamethods);
}

/* leak.c - a C module for the specs: a library that leaves descriptors open
 * without close-on-exec.
 *
 *   leak.open(n)    opens /dev/null as descriptor n or the next free one
 *   leak.close(fd) */
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <unistd.h>

int luaopen_leak(lua_State *L);

static int leak_open(lua_State *L) {
  int least = (int)luaL_checkinteger(L, 1);
  int fd = open("/dev/null", O_RDONLY);
  lua_pushinteger(L, fcntl(fd, F_DUPFD, least));
  close(fd);
  return 1;
}

static int leak_close(lua_State *L) {
  close((int)luaL_checkinteger(L, 1));
  return 0;
}

static const luaL_Reg functions[] = {
    {"open", leak_open}, {"close", leak_close}, {NULL, NULL}};

int luaopen_leak(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}

/* consumer.c - a program that embeds tidelock as installed: runs a script with
 * two threads, a module that is a file of its own and a process, which runs the
 * installed program, and prints what it returns, 42. */
#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>
#include <tidelock/tidelock.h>

static const char script[] = "local threading = require 'threading'\n"
                             "local hmac = require 'tidelock._hmac'\n"
                             "local mp = require 'multiprocessing'\n"
                             "local n = #hmac.digest('key', 'text')\n"
                             "local function add() n = n + 1 end\n"
                             "local a = threading.Thread(add):start()\n"
                             "local b = threading.Thread(add):start()\n"
                             "a:join() b:join()\n"
                             "local p = mp.Process(os.exit, 8)\n"
                             "p:start() p:join()\n"
                             "n = n + p.exitcode\n"
                             "return n";

static int run(lua_State *L) {
  tl_openlibs(L);
  if (luaL_dostring(L, script) != LUA_OK) return lua_error(L);
  printf("%d\n", (int)lua_tointeger(L, -1));
  tl_join(L);
  return 0;
}

int main(void) {
  if (tl_init() != 0) return 1;
  tl_interp *in = tl_open();
  if (in == NULL) return 1;
  lua_State *L = tl_state(in);
  lua_pushcfunction(L, run);
  int failed = lua_pcall(L, 0, 0, 0);
  if (failed) fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
  return tl_close(in) || failed;
}

/* chunk.c - see chunk.h. */
#include "chunk.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "tidelock/tidelock.h"

/* Pushes what the error value at idx says of itself, if it does. The traceback
 * of one of our error values travels in its field. */
static bool push_description(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  if (!luaL_callmeta(L, idx, "__tostring")) return false;
  if (lua_type(L, -1) != LUA_TSTRING) return lua_pop(L, 1), false;
  if (!lua_istable(L, idx)) return true;
  lua_pushliteral(L, "traceback");
  if (lua_rawget(L, idx) == LUA_TSTRING) {
    lua_pushfstring(L, "%s\n%s", lua_tostring(L, -2), lua_tostring(L, -1));
    lua_replace(L, -3);
  }
  lua_pop(L, 1);
  return true;
}

/* Message handler; its upvalue is where the caller learns of a Ctrl-C. */
static int on_error(lua_State *L) {
  bool *interrupted = lua_touserdata(L, lua_upvalueindex(1));
  *interrupted = tl_is_interrupt(L, 1);
  tl_traceback(L);
  if (lua_isstring(L, -1) || push_description(L, -1)) return 1;
  lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  luaL_traceback(L, L, lua_tostring(L, -1), 1);
  return 1;
}

int chunk_call(lua_State *L, int nargs, int nresults) {
  bool interrupted = false;
  int handler = lua_gettop(L) - nargs;
  lua_pushlightuserdata(L, &interrupted);
  lua_pushcclosure(L, on_error, 1);
  lua_insert(L, handler);
  int status = lua_pcall(L, nargs, nresults, handler);
  lua_remove(L, handler);
  if (status == LUA_OK) return 0;
  return interrupted ? CHUNK_INTERRUPTED : CHUNK_FAILED;
}

int chunk_report(lua_State *L, int code, const char *name) {
  if (code == 0) return 0;
  const char *message = lua_tostring(L, -1);
  if (name != NULL) lua_writestringerror("%s: ", name);
  lua_writestringerror("%s\n", message != NULL ? message : "(null)");
  lua_pop(L, 1);
  return code;
}

/* Pushes all of standard input. */
static int read_stdin(lua_State *L) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (;;) {
    char *space = luaL_prepbuffer(&b);
    tl_readline_fd(L, STDIN_FILENO);
    ssize_t n = read(STDIN_FILENO, space, LUAL_BUFFERSIZE);
    if (n > 0) luaL_addsize(&b, (size_t)n);
    if (n == 0) break;
    if (n < 0 && errno != EINTR && errno != EAGAIN)
      return lua_pushfstring(L, "cannot read stdin: %s", strerror(errno)),
             lua_error(L);
  }
  luaL_pushresult(&b);
  return 1;
}

/* How much of the text a loader of files skips: a byte order mark, and a
 * first line that starts with '#' up to its end, which keeps line numbers. */
static size_t prefix_length(const char *text, size_t length) {
  static const char mark[] = "\xEF\xBB\xBF";
  size_t skipped = length >= 3 && memcmp(text, mark, 3) == 0 ? 3 : 0;
  if (skipped < length && text[skipped] == '#') {
    const char *end = memchr(text + skipped, '\n', length - skipped);
    skipped = end != NULL ? (size_t)(end - text) : length;
  }
  return skipped;
}

int chunk_load_stdin(lua_State *L) {
  lua_pushcfunction(L, read_stdin);
  if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
    bool interrupted = tl_is_interrupt(L, -1);
    if (!lua_isstring(L, -1)) push_description(L, -1);
    return interrupted ? CHUNK_INTERRUPTED : CHUNK_FAILED;
  }
  size_t length;
  const char *text = lua_tolstring(L, -1, &length);
  size_t skipped = prefix_length(text, length);
  int status = luaL_loadbuffer(L, text + skipped, length - skipped, "=stdin");
  lua_remove(L, -2);
  return status == LUA_OK ? 0 : CHUNK_FAILED;
}

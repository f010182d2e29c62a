/* repl.c - the read-eval-print loop, without line editing.
 *
 * Lines are read from the descriptor byte by byte, as readline does, so that
 * what follows a line is there for io.read; and the GIL is not held while
 * the user types. */
#include "repl.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chunk.h"
#include "tidelock/tidelock.h"

#define CHUNK_NAME "=stdin"

static void show_prompt(lua_State *L, bool first) {
  bool usual = lua_getglobal(L, first ? "_PROMPT" : "_PROMPT2") == LUA_TNIL;
  const char *prompt = first ? "> " : ">> ";
  if (!usual) prompt = luaL_tolstring(L, -1, NULL);
  fputs(prompt, stdout);
  fflush(stdout);
  lua_pop(L, usual ? 1 : 2);
}

/* Pushes the next line without its newline; false at the end of input. */
static bool read_line(lua_State *L) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (bool any = false;;) {
    char c;
    tl_readline_fd(L, STDIN_FILENO);
    ssize_t n = read(STDIN_FILENO, &c, 1);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    bool end = n <= 0;
    if (!end && c != '\n') {
      luaL_addchar(&b, c);
      any = true;
      continue;
    }
    luaL_pushresult(&b);
    if (end && !any) lua_pop(L, 1);
    return any || !end;
  }
}

static bool ask(lua_State *L, bool first) {
  show_prompt(L, first);
  return read_line(L);
}

/* The line at 1 as an expression: pushes a function, or nothing. */
static bool load_expression(lua_State *L) {
  size_t length;
  lua_pushliteral(L, "return ");
  lua_pushvalue(L, 1);
  lua_pushliteral(L, ";");
  lua_concat(L, 3);
  const char *text = lua_tolstring(L, -1, &length);
  int status = luaL_loadbuffer(L, text, length, CHUNK_NAME);
  lua_remove(L, -2);
  if (status != LUA_OK) lua_pop(L, 1);
  return status == LUA_OK;
}

/* Whether the message on the top says that the statement goes on. */
static bool is_incomplete(lua_State *L, int status) {
  static const char mark[] = "<eof>";
  const size_t mark_length = sizeof mark - 1;
  size_t length;
  const char *message = lua_tolstring(L, -1, &length);
  return status == LUA_ERRSYNTAX && length >= mark_length &&
         strcmp(message + length - mark_length, mark) == 0;
}

/* The line at 1, and as many more as it takes, as a statement: pushes a
 * function or a message. */
static bool load_statement(lua_State *L) {
  for (;;) {
    size_t length;
    const char *text = lua_tolstring(L, 1, &length);
    int status = luaL_loadbuffer(L, text, length, CHUNK_NAME);
    if (!is_incomplete(L, status)) return status == LUA_OK;
    if (!ask(L, false)) return false;
    lua_remove(L, -2);
    lua_pushvalue(L, 1);
    lua_pushliteral(L, "\n");
    lua_rotate(L, -3, 2);
    lua_concat(L, 3);
    lua_replace(L, 1);
  }
}

/* Lua 5.2's "=expression" is an expression still. */
static void replace_equals(lua_State *L) {
  const char *line = lua_tostring(L, 1);
  if (line[0] != '=') return;
  lua_pushfstring(L, "return %s", line + 1);
  lua_replace(L, 1);
}

/* Returns a function; or nil and a message; or nothing at the end. */
static int read_statement(lua_State *L) {
  if (!ask(L, true)) return 0;
  replace_equals(L);
  if (load_expression(L) || load_statement(L)) return 1;
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* Calls print with the values from 'base' on, if there are any. */
static void print_results(lua_State *L, int base) {
  int n = lua_gettop(L) - base + 1;
  if (n == 0) return;
  luaL_checkstack(L, LUA_MINSTACK, "too many results to print");
  lua_getglobal(L, "print");
  lua_insert(L, base);
  if (lua_pcall(L, n, 0, 0) == LUA_OK) return;
  if (tl_is_interrupt(L, -1)) luaL_tolstring(L, -1, NULL);
  lua_pushfstring(L, "error calling 'print' (%s)", lua_tostring(L, -1));
  chunk_report(L, CHUNK_FAILED, NULL);
}

/* One turn of the loop: false at the end of input. */
static bool turn(lua_State *L) {
  int base = lua_gettop(L) + 1;
  lua_pushcfunction(L, read_statement);
  if (lua_pcall(L, 0, LUA_MULTRET, 0) != LUA_OK) {
    if (!tl_is_interrupt(L, -1)) lua_error(L);
    lua_writeline();
  } else if (lua_gettop(L) < base) {
    return false;
  } else if (lua_isnil(L, base)) {
    chunk_report(L, CHUNK_FAILED, NULL);
  } else {
    int code = chunk_call(L, 0, LUA_MULTRET);
    if (code == 0)
      print_results(L, base);
    else
      chunk_report(L, code, NULL);
  }
  lua_settop(L, base - 1);
  return true;
}

void repl_run(lua_State *L) {
  while (turn(L))
    continue;
  lua_writeline();
}

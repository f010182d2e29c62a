/* io.c - the io library, in place of Lua's.
 *
 * Lua's own cannot be wrapped: its readers call Lua while they hold the lock
 * of the stream. This one has its functions, values and messages, over the
 * same streams, metatable and registry keys. */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "modules.h"

/* --- opening ------------------------------------------------------------- */

/* fopen's mode for a mode of Lua, [rwa]%+?b*, with close-on-exec. */
static bool get_mode(const char *mode, char out[5]) {
  int n = 0;
  if (*mode == '\0' || !strchr("rwa", *mode)) return false;
  out[n++] = *mode++;
  if (*mode == '+') out[n++] = *mode++;
  out[n++] = 'e';
  out[n] = '\0';
  return strspn(mode, "b") == strlen(mode);
}

/* Opening a FIFO waits for its other end; any file's folder may be far away. */
static TL_GIL FILE *open_away(const char *name, const char *mode) {
  tl_thread *t = tl_self();
  tl_block_begin(t, "open");
  FILE *f = fopen(name, mode);
  tl_block_end(t);
  return f;
}

/* Pushes a file and opens it; false: errno says why. */
static TL_GIL bool open_file(lua_State *L, const char *name, const char *mode) {
  tl_file *file = tl_file_new(L);
  FILE *f;
  tl_child_reap(L);
  for (;;) {
    f = tl_in_finalizer(L) ? fopen(name, mode) : open_away(name, mode);
    if (f || errno != EINTR) break;
    tl_check(L);
  }
  if (f) tl_file_opened(L, file, f, tl_io_close_file);
  return f != NULL;
}

static TL_GIL void open_or_raise(lua_State *L, const char *name,
                                 const char *mode) {
  if (!open_file(L, name, mode))
    luaL_error(L, "cannot open file '%s' (%s)", name, strerror(errno));
}

static TL_GIL int io_open(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  char mode[5];
  luaL_argcheck(L, get_mode(luaL_optstring(L, 2, "r"), mode), 2,
                "invalid mode");
  return open_file(L, name, mode) ? 1 : luaL_fileresult(L, 0, name);
}

static TL_GIL int io_tmpfile(lua_State *L) {
  tl_file *file = tl_file_new(L);
  FILE *f = tmpfile();
  if (!f) return luaL_fileresult(L, 0, NULL);
  fcntl(fileno(f), F_SETFD, FD_CLOEXEC);
  tl_file_opened(L, file, f, tl_io_close_file);
  return 1;
}

/* Starts the command with its standard output ('r') or input as a pipe, whose
 * other end is opened as the file. Returns errno. */
static TL_GIL int start(lua_State *L, tl_file *file, const char *command,
                        bool reads) {
  int ends[2], err = -os_pipe(ends);
  if (err) return err;
  int ours = ends[!reads], theirs = ends[reads];
  int fds[3] = {-1, -1, -1};
  fds[reads] = theirs;
  FILE *f = fdopen(ours, reads ? "r" : "w");
  if (f)
    file->child = tl_child_shell(L, command, fds, &err);
  else
    err = errno;
  os_close(theirs);
  if (file->child)
    tl_file_opened(L, file, f, tl_io_close_popen);
  else if (f)
    fclose(f);
  else
    os_close(ours);
  return err;
}

static TL_GIL int io_popen(lua_State *L) {
  const char *command = luaL_checkstring(L, 1);
  const char *mode = luaL_optstring(L, 2, "r");
  bool reads = strcmp(mode, "r") == 0;
  luaL_argcheck(L, reads || strcmp(mode, "w") == 0, 2, "invalid mode");
  tl_file *file = tl_file_new(L);
  tl_files_flush(L, false); /* so that its output comes after ours */
  errno = start(L, file, command, reads);
  return errno == 0 ? 1 : luaL_fileresult(L, 0, command);
}

/* --- the default files --------------------------------------------------- */

static TL_GIL int default_file(lua_State *L, const char *key,
                               const char *mode) {
  if (!lua_isnoneornil(L, 1)) {
    const char *name = lua_tostring(L, 1);
    if (name) {
      open_or_raise(L, name, mode);
    } else {
      tl_io_tofile(L);
      lua_pushvalue(L, 1);
    }
    lua_setfield(L, LUA_REGISTRYINDEX, key);
  }
  lua_getfield(L, LUA_REGISTRYINDEX, key);
  return 1;
}

static TL_GIL int io_input(lua_State *L) {
  return default_file(L, TL_IO_INPUT, "re");
}

static TL_GIL int io_output(lua_State *L) {
  return default_file(L, TL_IO_OUTPUT, "we");
}

static TL_GIL int io_read(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, TL_IO_INPUT);
  return tl_io_read(L, TL_IO_DEFAULT);
}

static TL_GIL int io_write(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, TL_IO_OUTPUT);
  return tl_io_write(L, TL_IO_DEFAULT);
}

static TL_GIL int io_flush(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, TL_IO_OUTPUT);
  return tl_io_flush(L, TL_IO_DEFAULT);
}

static TL_GIL int io_close(lua_State *L) {
  if (lua_isnone(L, 1)) lua_getfield(L, LUA_REGISTRYINDEX, TL_IO_OUTPUT);
  tl_io_tofile(L);
  return tl_io_close(L);
}

/* --- lines, type --------------------------------------------------------- */

static TL_GIL int io_lines(lua_State *L) {
  if (lua_isnone(L, 1)) lua_pushnil(L);
  bool toclose = !lua_isnil(L, 1);
  if (toclose) {
    open_or_raise(L, luaL_checkstring(L, 1), "re");
    lua_replace(L, 1);
  } else {
    lua_getfield(L, LUA_REGISTRYINDEX, TL_IO_INPUT);
    lua_replace(L, 1);
    tl_io_tofile(L);
  }
  tl_io_pushlines(L, toclose);
  if (!toclose) return 1;
  lua_pushnil(L);
  lua_pushnil(L);
  lua_pushvalue(L, 1);
  return 4;
}

static TL_GIL int io_type(lua_State *L) {
  luaL_checkany(L, 1);
  luaL_Stream *p = luaL_testudata(L, 1, LUA_FILEHANDLE);
  if (p == NULL)
    luaL_pushfail(L);
  else
    lua_pushstring(L, p->closef == NULL ? "closed file" : "file");
  return 1;
}

static const luaL_Reg functions[] = {
    {"close", io_close}, {"flush", io_flush}, {"input", io_input},
    {"lines", io_lines}, {"open", io_open},   {"output", io_output},
    {"popen", io_popen}, {"read", io_read},   {"tmpfile", io_tmpfile},
    {"type", io_type},   {"write", io_write}, {NULL, NULL}};

/* Sets field 'name' of the library on the top, and the default file 'key'. */
static TL_GIL void add_standard(lua_State *L, FILE *f, const char *name,
                                const char *key) {
  if (f == stdout) {
    tl_files_push(L);
    lua_getiuservalue(L, -1, 1);
    lua_remove(L, -2);
  } else {
    tl_file_opened(L, tl_file_new(L), f, tl_file_noclose);
  }
  if (key) {
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, key);
  }
  lua_setfield(L, -2, name);
}

TL_GIL int luaopen_tl_io(lua_State *L) {
  tl_io_open_methods(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  luaL_getsubtable(L, -1, LUA_IOLIBNAME);
  luaL_setfuncs(L, functions, 0);
  add_standard(L, stdin, "stdin", TL_IO_INPUT);
  add_standard(L, stdout, "stdout", TL_IO_OUTPUT);
  add_standard(L, stderr, "stderr", NULL);
  return 1;
}

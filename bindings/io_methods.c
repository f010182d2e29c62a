/* io_methods.c - what can be done with an open file. */
#include <errno.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>

#include "io.h"

/* --- finding the file ---------------------------------------------------- */

tl_file *tl_io_tofile(lua_State *L) {
  luaL_Stream *p = luaL_checkudata(L, 1, LUA_FILEHANDLE);
  if (tl_unlikely(p->closef == NULL))
    luaL_error(L, "attempt to use a closed file");
  return tl_file_of(L, 1);
}

/* A method's self: its metatable is upvalue 1. */
static TL_GIL tl_file *check_self(lua_State *L) {
  luaL_Stream *p = bind_checkself(L, LUA_FILEHANDLE);
  if (tl_unlikely(p->closef == NULL))
    luaL_error(L, "attempt to use a closed file");
  return tl_file_of(L, 1);
}

static TL_GIL int reading_index(lua_State *L, lua_KContext how) {
  if (how == TL_IO_METHOD) return 1;
  return how == TL_IO_DEFAULT ? lua_gettop(L) : lua_upvalueindex(1);
}

static bool is_closed(const tl_file *file) {
  return file->stream.closef == NULL;
}

/* --- read ---------------------------------------------------------------- */

static TL_GIL int raise_closed(lua_State *L, lua_KContext how,
                               const char *what) {
  if (how == TL_IO_DEFAULT)
    return luaL_error(L, "default %s file is closed", what);
  return luaL_error(L, how == TL_IO_METHOD ? "attempt to use a closed file"
                                           : "file is already closed");
}

/* The iterator's n results are on the top: nothing read ends the loop. */
static TL_GIL int iterated(lua_State *L, int n) {
  if (lua_toboolean(L, -n)) return n;
  if (n > 1) return luaL_error(L, "%s", lua_tostring(L, -n + 1));
  if (lua_toboolean(L, lua_upvalueindex(3))) {
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    if (!is_closed(tl_file_of(L, 1))) tl_io_close(L);
  }
  return 0;
}

static TL_GIL int read_inside(lua_State *L, tl_file *file, lua_KContext how) {
  int top = lua_gettop(L);
  int n = tl_file_read(L, file, how == TL_IO_DEFAULT ? 1 : 2, top - 1);
  if (n < 0) {
    lua_settop(L, top);
    return tl_io_read(L, how);
  }
  return how == TL_IO_ITERATOR ? iterated(L, n) : n;
}

static TL_GIL int read_entered(lua_State *L, int status, lua_KContext how) {
  (void)status;
  int idx = how == TL_IO_DEFAULT ? -2 : reading_index(L, how);
  tl_file *file = tl_file_of(L, idx); /* -2: under the outcome */
  if (!tl_file_entered(L, file)) return tl_io_read(L, how);
  if (!is_closed(file)) return read_inside(L, file, how);
  tl_file_leave(file);
  return tl_io_read(L, how); /* raises */
}

/* The file, where it is on the top, is not an argument. */
static TL_GIL bool quick(lua_State *L, tl_file *file, lua_KContext how, int n) {
  int arg = n == 0 ? lua_gettop(L) + 1 : how == TL_IO_DEFAULT ? 1 : 2;
  return tl_file_quick(L, file, arg);
}

int tl_io_read(lua_State *L, lua_KContext how) {
  tl_file *file = tl_file_of(L, reading_index(L, how));
  if (tl_unlikely(is_closed(file))) return raise_closed(L, how, "input");
  int n = lua_gettop(L) - 1;
  if (tl_unlikely(tl_file_busy(file)))
    return tl_file_wait(L, file, how, read_entered);
  if (n <= 1 && quick(L, file, how, n)) return 1;
  if (n > TL_FILE_FORMATS) return luaL_error(L, "too many arguments");
  luaL_checkstack(L, n + LUA_MINSTACK, "too many arguments");
  tl_file_enter(file);
  return read_inside(L, file, how);
}

static TL_GIL int file_read(lua_State *L) {
  check_self(L);
  return tl_io_read(L, TL_IO_METHOD);
}

/* Upvalues: file, number of formats, whether to close it, formats. */
static TL_GIL int lines_next(lua_State *L) {
  int n = (int)lua_tointeger(L, lua_upvalueindex(2));
  lua_settop(L, 1);
  luaL_checkstack(L, n + LUA_MINSTACK, "too many arguments");
  for (int i = 1; i <= n; i++)
    lua_pushvalue(L, lua_upvalueindex(3 + i));
  return tl_io_read(L, TL_IO_ITERATOR);
}

void tl_io_pushlines(lua_State *L, bool toclose) {
  int n = lua_gettop(L) - 1;
  luaL_argcheck(L, n <= TL_FILE_FORMATS, TL_FILE_FORMATS + 2,
                "too many arguments");
  lua_pushvalue(L, 1);
  lua_pushinteger(L, n);
  lua_pushboolean(L, toclose);
  lua_rotate(L, 2, 3);
  lua_pushcclosure(L, lines_next, 3 + n);
}

static TL_GIL int file_lines(lua_State *L) {
  check_self(L);
  tl_io_pushlines(L, false);
  return 1;
}

/* --- write --------------------------------------------------------------- */

/* Pieces are put together here, so that most calls come down to one. */
typedef struct gather {
  lua_State *L;
  tl_file *file;
  bool late; /* a finalizer's, while another thread is inside */
  size_t n;
  char text[512];
} gather;

static TL_GIL int put(gather *g, const char *s, size_t n) {
  if (g->late) return tl_file_write_late(g->L, g->file, s, n);
  return tl_file_write(g->L, g->file, s, n, false);
}

static TL_GIL int put_gathered(gather *g) {
  size_t n = g->n;
  g->n = 0;
  return n > 0 ? put(g, g->text, n) : 0;
}

static TL_GIL int add(gather *g, const char *s, size_t n) {
  if (n > sizeof g->text - g->n) {
    int err = put_gathered(g);
    if (err || n > sizeof g->text) return err ? err : put(g, s, n);
  }
  memcpy(g->text + g->n, s, n);
  g->n += n;
  return 0;
}

static size_t format_integer(char *out, lua_Integer value) {
  char digits[24];
  size_t n = sizeof digits, negative = value < 0;
  lua_Unsigned u = negative ? 0 - (lua_Unsigned)value : (lua_Unsigned)value;
  do
    digits[--n] = (char)('0' + u % 10);
  while (u /= 10);
  if (negative) digits[--n] = '-';
  memcpy(out, digits + n, sizeof digits - n);
  return sizeof digits - n;
}

/* Adds the value at 'arg'. -1: it is neither a string nor a number. */
static TL_GIL int add_value(gather *g, int arg) {
  lua_State *L = g->L;
  char text[64];
  size_t n;
  switch (lua_type(L, arg)) {
  case LUA_TNUMBER:
    if (lua_isinteger(L, arg))
      n = format_integer(text, lua_tointeger(L, arg));
    else
      n = (size_t)snprintf(text, sizeof text, LUA_NUMBER_FMT,
                           (LUAI_UACNUMBER)lua_tonumber(L, arg));
    return add(g, text, n);
  case LUA_TSTRING: {
    const char *s = lua_tolstring(L, arg, &n);
    return add(g, s, n);
  }
  default:
    return -1;
  }
}

/* The arguments up to the file on the top, or to one that is none. */
static TL_GIL int write_values(lua_State *L, tl_file *file, lua_KContext how,
                               bool late) {
  gather g = {.L = L, .file = file, .late = late};
  int top = lua_gettop(L), err = 0;
  int arg = how == TL_IO_DEFAULT ? 1 : 2;
  while (arg < top && err == 0)
    err = add_value(&g, arg++);
  if (err <= 0) {
    int failed = put_gathered(&g);
    if (failed) err = failed;
  }
  if (!late) tl_file_leave(file);
  if (err == 0) return 1;
  if (err < 0) luaL_checkstring(L, arg - 1);
  errno = err;
  return luaL_fileresult(L, 0, NULL);
}

static TL_GIL int write_entered(lua_State *L, int status, lua_KContext how) {
  (void)status;
  tl_file *file = tl_file_of(L, -2); /* under the outcome */
  if (!tl_file_entered(L, file)) return tl_io_write(L, how);
  if (!is_closed(file)) return write_values(L, file, how, false);
  tl_file_leave(file);
  return tl_io_write(L, how);
}

int tl_io_write(lua_State *L, lua_KContext how) {
  tl_file *file = tl_file_of(L, -1);
  if (tl_unlikely(is_closed(file))) return raise_closed(L, how, "output");
  if (tl_unlikely(tl_file_busy(file))) {
    if (!file->lost && tl_in_finalizer(L))
      return write_values(L, file, how, true);
    return tl_file_wait(L, file, how, write_entered);
  }
  tl_file_enter(file);
  return write_values(L, file, how, false);
}

static TL_GIL int file_write(lua_State *L) {
  check_self(L);
  lua_pushvalue(L, 1);
  return tl_io_write(L, TL_IO_METHOD);
}

/* --- flush --------------------------------------------------------------- */

static TL_GIL int flush_inside(lua_State *L, tl_file *file) {
  int err = tl_file_write(L, file, "", 0, true);
  tl_file_leave(file);
  errno = err;
  return luaL_fileresult(L, err == 0, NULL);
}

static TL_GIL int flush_entered(lua_State *L, int status, lua_KContext how) {
  (void)status;
  tl_file *file = tl_file_of(L, -2); /* under the outcome */
  if (!tl_file_entered(L, file)) return tl_io_flush(L, how);
  if (!is_closed(file)) return flush_inside(L, file);
  tl_file_leave(file);
  return tl_io_flush(L, how);
}

int tl_io_flush(lua_State *L, lua_KContext how) {
  tl_file *file = tl_file_of(L, -1);
  if (tl_unlikely(is_closed(file))) return raise_closed(L, how, "output");
  if (tl_unlikely(tl_file_busy(file)))
    return tl_file_wait(L, file, how, flush_entered);
  tl_file_enter(file);
  return flush_inside(L, file);
}

static TL_GIL int file_flush(lua_State *L) {
  check_self(L);
  lua_pushvalue(L, 1);
  return tl_io_flush(L, TL_IO_METHOD);
}

/* --- seek, setvbuf ------------------------------------------------------- */

/* Calls that are short once nobody is inside the file. What a pipe's buffer
 * holds is written before stdio can try to. */
typedef int (*short_call)(lua_State *L, tl_file *file);

static TL_UNCHECKED int call_inside(lua_State *L, tl_file *file,
                                    short_call call) {
  if (file->kind >= TL_FILE_PIPE && __fwriting(file->stream.f))
    tl_file_write(L, file, "", 0, true);
  tl_file_leave(file);
  if (is_closed(file)) return raise_closed(L, TL_IO_METHOD, NULL);
  return call(L, file);
}

static TL_GIL int enter_to(lua_State *L, short_call call, lua_KFunction k) {
  tl_file *file = check_self(L);
  if (tl_unlikely(tl_file_busy(file))) return tl_file_wait(L, file, 0, k);
  tl_file_enter(file);
  return call_inside(L, file, call);
}

static TL_GIL int entered_to(lua_State *L, short_call call, lua_KFunction k) {
  tl_file *file = tl_file_of(L, 1);
  if (!tl_file_entered(L, file)) return enter_to(L, call, k);
  if (!is_closed(file)) return call_inside(L, file, call);
  tl_file_leave(file);
  return enter_to(L, call, k);
}

static TL_GIL int seek(lua_State *L, tl_file *file) {
  static const int whences[] = {SEEK_SET, SEEK_CUR, SEEK_END};
  static const char *const names[] = {"set", "cur", "end", NULL};
  FILE *f = file->stream.f;
  int whence = whences[luaL_checkoption(L, 2, "cur", names)];
  off_t offset = (off_t)luaL_optinteger(L, 3, 0);
  if (whence == SEEK_CUR) offset -= (off_t)(file->in.n - file->in_at);
  if (fseeko(f, offset, whence) != 0) return luaL_fileresult(L, 0, NULL);
  file->in.n = file->in_at = 0;
  lua_pushinteger(L, (lua_Integer)ftello(f));
  return 1;
}

static TL_GIL int seek_entered(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  return entered_to(L, seek, seek_entered);
}

static TL_GIL int file_seek(lua_State *L) {
  static const char *const names[] = {"set", "cur", "end", NULL};
  check_self(L);
  luaL_checkoption(L, 2, "cur", names);
  luaL_optinteger(L, 3, 0);
  return enter_to(L, seek, seek_entered);
}

static const char *const buffer_modes[] = {"no", "full", "line", NULL};

static TL_GIL int set_buffer(lua_State *L, tl_file *file) {
  static const int modes[] = {_IONBF, _IOFBF, _IOLBF};
  int mode = modes[luaL_checkoption(L, 2, NULL, buffer_modes)];
  size_t size = (size_t)luaL_optinteger(L, 3, LUAL_BUFFERSIZE);
  int failed = setvbuf(file->stream.f, NULL, mode, size);
  return luaL_fileresult(L, !failed, NULL);
}

static TL_GIL int set_buffer_entered(lua_State *L, int status,
                                     lua_KContext ctx) {
  (void)status, (void)ctx;
  return entered_to(L, set_buffer, set_buffer_entered);
}

static TL_GIL int file_setvbuf(lua_State *L) {
  check_self(L);
  luaL_checkoption(L, 2, NULL, buffer_modes);
  luaL_optinteger(L, 3, LUAL_BUFFERSIZE);
  return enter_to(L, set_buffer, set_buffer_entered);
}

/* --- close --------------------------------------------------------------- */

/* Marks it closed and lets its own function close it, which may be another
 * module's. */
int tl_io_close(lua_State *L) {
  luaL_Stream *p = lua_touserdata(L, 1);
  tl_file *file = tl_file_of(L, 1);
  if (tl_file_busy(file) && !file->lost) return luaL_error(L, "file is in use");
  lua_CFunction closef = p->closef;
  p->closef = NULL;
  return closef(L);
}

/* Writes what is left; an interrupt leaves the file open, and a pending call
 * may have closed it. Returns errno. */
static TL_GIL int drain(lua_State *L, tl_file *file, lua_CFunction closef) {
  if (file->lost || file->kind < TL_FILE_PIPE) return 0;
  if (!__fwriting(file->stream.f)) return 0;
  file->stream.closef = closef;
  tl_file_enter(file);
  int err = tl_file_write(L, file, "", 0, true);
  tl_file_leave(file);
  if (is_closed(file)) raise_closed(L, TL_IO_METHOD, NULL);
  file->stream.closef = NULL;
  return err;
}

/* Closes the FILE; a lost one may not be touched, only its descriptor is
 * closed. Returns errno. */
static TL_GIL int finish(lua_State *L, tl_file *file) {
  FILE *f = file->stream.f;
  tl_file_closed(L, file);
  if (file->lost) {
    os_close(fileno(f));
    return 0;
  }
  errno = 0;
  return fclose(f) == 0 ? 0 : errno ? errno : EIO;
}

int tl_io_close_file(lua_State *L) {
  tl_file *file = lua_touserdata(L, 1);
  int err = drain(L, file, tl_io_close_file);
  int failed = finish(L, file);
  errno = err ? err : failed;
  return luaL_fileresult(L, errno == 0, NULL);
}

int tl_io_close_popen(lua_State *L) {
  tl_file *file = lua_touserdata(L, 1);
  int err = drain(L, file, tl_io_close_popen);
  finish(L, file);
  tl_child *child = file->child;
  file->child = NULL;
  int status = tl_child_wait(L, child, false);
  return tl_child_result(L, status == 0 ? -err : status);
}

static TL_GIL int file_close(lua_State *L) {
  check_self(L);
  return tl_io_close(L);
}

/* Never waits: what a pipe does not take at once is lost, and a process goes to
 * the reaper. Only lua_close, which nobody runs beside, waits for both as
 * Lua's own library does. */
static TL_GIL void collect(lua_State *L, tl_file *file) {
  bool wait = tl_closes_alone(L);
  if (file->stream.closef == tl_file_noclose) {
    if (!file->lost) tl_file_flush_now(L, file, true);
    tl_file_closed(L, file);
    return;
  }
  if (!file->lost) {
    tl_file_flush_now(L, file, wait);
    if (file->kind >= TL_FILE_PIPE) __fpurge(file->stream.f);
  }
  file->stream.closef = NULL;
  finish(L, file);
  tl_child *child = file->child;
  file->child = NULL;
  if (child && wait)
    tl_child_wait(L, child, false);
  else if (child)
    tl_child_drop(child);
}

static TL_GIL int file_gc(lua_State *L) {
  luaL_Stream *p = lua_touserdata(L, 1);
  tl_file *file = lua_touserdata(L, 1);
  if (p->closef == NULL || p->f == NULL) return 0;
  if (lua_rawlen(L, 1) == sizeof *file && file->mark == &tl_file_mark) {
    collect(L, file);
  } else {
    lua_CFunction closef = p->closef;
    p->closef = NULL;
    closef(L);
  }
  return 0;
}

static TL_GIL int file_leave_scope(lua_State *L) {
  luaL_Stream *p = bind_checkself(L, LUA_FILEHANDLE);
  if (p->closef != NULL && p->f != NULL) tl_io_close(L);
  return 0;
}

static TL_GIL int file_tostring(lua_State *L) {
  luaL_Stream *p = bind_checkself(L, LUA_FILEHANDLE);
  if (p->closef == NULL)
    lua_pushliteral(L, "file (closed)");
  else
    lua_pushfstring(L, "file (%p)", p->f);
  return 1;
}

/* --- the metatable ------------------------------------------------------- */

static const luaL_Reg methods[] = {
    {"read", file_read},       {"write", file_write}, {"lines", file_lines},
    {"flush", file_flush},     {"seek", file_seek},   {"close", file_close},
    {"setvbuf", file_setvbuf}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__gc", file_gc},
                                       {"__close", file_leave_scope},
                                       {"__tostring", file_tostring},
                                       {NULL, NULL}};

/* Lua's own functions are replaced where they are: scripts and C modules may
 * know the tables already. */
void tl_io_open_methods(lua_State *L) {
  luaL_newmetatable(L, LUA_FILEHANDLE);
  luaL_getsubtable(L, -1, "__index");
  lua_pushvalue(L, -2);
  luaL_setfuncs(L, methods, 1);
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  luaL_setfuncs(L, metamethods, 1);
  lua_pop(L, 1);
}

/* subprocess.c - "tidelock._subprocess": starts programs. What is talked with
 * them is exchange.c's; subprocess.lua makes Popen of both.
 *
 * start(handle, options) -> stdin, stdout, stderr starts a program as the
 * handle's child. The fields of the options have been checked: argv, env (each
 * an array of strings; env may be nil), cwd, search, close_fds, keep (an array
 * of descriptors in ascending order), new_session, group, and stdin, stdout,
 * stderr: a file, a descriptor, one of the constants below, or nil. What is a
 * pipe is returned as a file, the rest as nil. The table is the caller's alone:
 * it is read while other threads run. */
#include "subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "handle.h"
#include "io.h"
#include "modules.h"
#include "runtime.h"

enum { PIPE = -1, STREAM_OF_STDOUT = -2, DEVNULL = -3 }; /* as CPython's */

static const char *const stream_names[3] = {"stdin", "stdout", "stderr"};

typedef struct Start {
  os_child_options o;
  int fds[3];       /* the child's streams; -1: this process's */
  bool owned[3];    /* they are to be closed once it has them */
  int given[3];     /* a descriptor or one of the constants; INT_MIN: none */
  tl_file *file[3]; /* for our end of a pipe, NULL: there is none */
  FILE *ours[3];    /* that end */
} Start;

/* --- Options: may raise --------------------------------------------------- */

/* The strings of the array in field 'name', which keeps them; NULL: there is
 * none. Pushes what the pointers lie in. */
static TL_GIL char **get_strings(lua_State *L, const char *name) {
  if (lua_getfield(L, 2, name) == LUA_TNIL) return NULL;
  int list = lua_gettop(L);
  lua_Unsigned n = lua_rawlen(L, list);
  char **strings = lua_newuserdatauv(L, (n + 1) * sizeof *strings, 0);
  for (lua_Unsigned i = 0; i < n; i++) {
    lua_rawgeti(L, list, (lua_Integer)i + 1);
    strings[i] = (char *)luaL_checkstring(L, -1);
    lua_pop(L, 1);
  }
  strings[n] = NULL;
  return strings;
}

static TL_GIL const int *get_integers(lua_State *L, const char *name,
                                      size_t *n) {
  *n = 0;
  if (lua_getfield(L, 2, name) == LUA_TNIL) return NULL;
  int list = lua_gettop(L);
  *n = lua_rawlen(L, list);
  int *numbers = lua_newuserdatauv(L, (*n + 1) * sizeof *numbers, 0);
  for (size_t i = 0; i < *n; i++) {
    lua_rawgeti(L, list, (lua_Integer)i + 1);
    numbers[i] = (int)luaL_checkinteger(L, -1);
    lua_pop(L, 1);
  }
  return numbers;
}

static TL_GIL bool get_boolean(lua_State *L, const char *name) {
  lua_getfield(L, 2, name);
  bool set = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return set;
}

static TL_GIL void get_options(lua_State *L, Start *s) {
  os_child_options *o = &s->o;
  o->argv = get_strings(L, "argv");
  o->env = get_strings(L, "env");
  o->keep = get_integers(L, "keep", &o->keep_count);
  o->search = true;
  o->close_fds = get_boolean(L, "close_fds");
  o->new_session = get_boolean(L, "new_session");
  o->new_group = lua_getfield(L, 2, "group") != LUA_TNIL;
  o->group = (pid_t)lua_tointeger(L, -1);
  lua_getfield(L, 2, "cwd");
  o->cwd = lua_tostring(L, -1);
  o->path = o->argv[0];
  o->mask = tl_runtime_sigmask();
  o->fds = s->fds;
}

/* What stream i shall be; the file of a pipe is pushed, anything else is not
 * kept by the stack but by the options. */
static TL_GIL void get_stream(lua_State *L, Start *s, int i) {
  int type = lua_getfield(L, 2, stream_names[i]);
  s->given[i] = INT_MIN;
  if (type == LUA_TNUMBER) {
    s->given[i] = (int)lua_tointeger(L, -1);
  } else if (type != LUA_TNIL) {
    luaL_Stream *p = luaL_checkudata(L, -1, LUA_FILEHANDLE);
    if (p->closef == NULL)
      luaL_error(L, "%s: the file is closed", stream_names[i]);
    s->given[i] = fileno(p->f);
  }
  lua_pop(L, 1);
  if (s->given[i] == PIPE)
    s->file[i] = tl_file_new(L);
  else
    lua_pushnil(L);
}

/* --- Descriptors: nothing raises ------------------------------------------ */

static int open_pipe(Start *s, int i) {
  int ends[2], err = -os_pipe(ends);
  if (err) return err;
  s->fds[i] = ends[i != 0];
  s->owned[i] = true;
  s->ours[i] = fdopen(ends[i == 0], i == 0 ? "w" : "r");
  if (s->ours[i]) return 0;
  err = errno;
  os_close(ends[i == 0]);
  return err;
}

/* A copy of what was given, so that another thread may close it meanwhile. */
static int open_stream(Start *s, int i) {
  switch (s->given[i]) {
  case INT_MIN:
    return 0;
  case PIPE:
    return open_pipe(s, i);
  case STREAM_OF_STDOUT:
    s->fds[i] = s->fds[1] >= 0 ? s->fds[1] : 1;
    return 0;
  case DEVNULL:
    s->fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    break;
  default:
    s->fds[i] = fcntl(s->given[i], F_DUPFD_CLOEXEC, 3);
    break;
  }
  s->owned[i] = s->fds[i] >= 0;
  return s->owned[i] ? 0 : errno;
}

/* A number that is not open must not become that of something else's copy. */
static int check_kept(const os_child_options *o) {
  for (size_t i = 0; i < o->keep_count; i++)
    if (fcntl(o->keep[i], F_GETFD) < 0) return errno;
  return 0;
}

static int open_streams(Start *s) {
  int err = check_kept(&s->o);
  for (int i = 0; i < 3; i++)
    s->fds[i] = -1;
  for (int i = 0; i < 3 && !err; i++)
    err = open_stream(s, i);
  return err;
}

static void close_streams(Start *s, bool failed) {
  for (int i = 0; i < 3; i++) {
    if (s->owned[i]) os_close(s->fds[i]);
    if (failed && s->ours[i]) fclose(s->ours[i]);
  }
}

static int start_child(tl_handle *h, Start *s) {
  int err = open_streams(s);
  /* With the GIL held: a process that another thread forks meanwhile would
   * have the other ends of the pipes, too. */
  if (!err) err = -os_child_start(&h->os, &s->o);
  int no_pidfd = errno;
  close_streams(s, err != 0);
  errno = no_pidfd;
  return err;
}

/* --- The module ----------------------------------------------------------- */

/* 0, or why no process can be in the folder. */
static int try_folder(const char *path) {
  int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  int err = faccessat(fd, ".", X_OK, 0) == 0 ? 0 : errno;
  os_close(fd);
  return err;
}

/* The start does not tell which of the two it was that is not there. */
static TL_GIL int raise_failure(lua_State *L, const os_child_options *o,
                                int err) {
  int wrong = o->cwd ? try_folder(o->cwd) : 0;
  if (wrong)
    return tl_error_os(L, wrong,
                       lua_pushfstring(L, "cannot start in '%s'", o->cwd));
  return tl_error_os(L, err, lua_pushfstring(L, "cannot start '%s'", o->path));
}

static TL_GIL int subprocess_start(lua_State *L) {
  Start s = {0};
  tl_handle *h = tl_handle_checknew(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  get_options(L, &s);
  for (int i = 0; i < 3; i++)
    get_stream(L, &s, i);
  int files = lua_gettop(L) - 2;
  tl_child_reap(L);
  tl_files_flush(L, false); /* so that its output comes after ours */
  int err = start_child(h, &s);
  if (err) return raise_failure(L, &s.o, err);
  int no_pidfd = errno;
  for (int i = 0; i < 3; i++)
    if (s.file[i]) tl_file_opened(L, s.file[i], s.ours[i], tl_io_close_file);
  errno = no_pidfd;
  tl_handle_started(L, h);
  lua_settop(L, files + 2);
  return 3;
}

static TL_GIL int subprocess_handle(lua_State *L) {
  tl_handle_new(L, true);
  return 1;
}

static const luaL_Reg functions[] = {
    {"Handle", subprocess_handle}, {"start", subprocess_start}, {NULL, NULL}};

TL_GIL int luaopen_tl_subprocess(lua_State *L) {
  static const struct {
    const char *name;
    int value;
  } constants[] = {
      {"PIPE", PIPE}, {"STDOUT", STREAM_OF_STDOUT}, {"DEVNULL", DEVNULL}};
  tl_handle_open(L, NULL);
  luaL_newlib(L, functions);
  for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
    lua_pushinteger(L, constants[i].value);
    lua_setfield(L, -2, constants[i].name);
  }
  subprocess_open_exchange(L);
  return 1;
}

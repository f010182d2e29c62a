/* process.c - "tidelock._multiprocessing": forks, and what is done with the
 * other process, which is known by a handle (handle.h). multiprocessing.lua
 * makes Process of it. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"
#include "file.h"
#include "handle.h"
#include "modules.h"
#include "pickle.h"
#include "place.h"
#include "preempt.h"
#include "runtime.h"
#include "steps.h"

/* n bytes that nobody can foretell. */
static TL_GIL void read_random(lua_State *L, void *to, size_t n) {
  for (size_t got = 0; got < n;) {
    ssize_t more = getrandom((char *)to + got, n - got, 0);
    if (more < 0 && errno != EINTR) tl_error_os(L, errno, "getrandom");
    if (more > 0) got += (size_t)more;
  }
}

/* --- The child ---------------------------------------------------------- */

/* Pushes what is to be said of the error value at 1: with its traceback, if it
 * is of those that carry one. */
static TL_GIL int describe(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  if (!lua_istable(L, 1)) return 1;
  lua_pushliteral(L, "traceback");
  if (lua_rawget(L, 1) != LUA_TSTRING) return lua_pop(L, 1), 1;
  lua_pushfstring(L, "%s\n%s", lua_tostring(L, -2), lua_tostring(L, -1));
  return 1;
}

/* Pushes what the function at 'name' returns, the name of this process. */
static TL_GIL const char *push_name(lua_State *L, int name) {
  lua_pushvalue(L, name);
  bool ok = lua_pcall(L, 0, 1, 0) == LUA_OK && lua_isstring(L, -1);
  return ok ? lua_tostring(L, -1) : "?";
}

/* Calls the function below n arguments; what it raises is written to stderr,
 * under the name that the function at index 1 tells. Returns whether it raised
 * nothing. */
static TL_GIL bool call_reported(lua_State *L, int n) {
  int handler = lua_gettop(L) - n;
  lua_pushcfunction(L, tl_error_traceback);
  lua_insert(L, handler);
  bool ok = lua_pcall(L, n, 0, handler) == LUA_OK;
  if (!ok) {
    lua_pushcfunction(L, describe);
    lua_insert(L, -2);
    lua_pcall(L, 1, 1, 0);
    const char *text = lua_tostring(L, -1), *name = push_name(L, 1);
    fprintf(stderr, "Process %s:\n%s\n", name, text ? text : "(no message)");
  }
  lua_settop(L, handler - 1);
  return ok;
}

static TL_GIL int join(lua_State *L) {
  tl_interp_join(L);
  return 0;
}

/* What a child has not of its parent: its input, and its random numbers. */
static TL_GIL int part(lua_State *L) {
  const lua_Integer *seed = lua_touserdata(L, 1);
  tl_files_nostdin(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, LUA_MATHLIBNAME);
  lua_getfield(L, -1, "randomseed");
  lua_pushinteger(L, seed[0]);
  lua_pushinteger(L, seed[1]);
  lua_call(L, 2, 0);
  return 0;
}

/* Pushes the state of a child, and on that a function that tells its name, and
 * the target, which are at these indices. What the parent does here no child
 * has to: it would have to copy the memory that is written. */
static TL_GIL lua_State *push_life(lua_State *L, int name, int target) {
  lua_State *co = lua_newthread(L);
  tl_preempt_newstate(NULL, co); /* hooks are the parent's */
  luaL_checkstack(co, 200, NULL);
  lua_pushvalue(L, name);
  lua_pushvalue(L, target);
  lua_xmove(L, co, 2);
  return co;
}

/* The life of the child, on a state of its own: the frames of the parent's
 * states are never returned to. 'co' has what push_life pushes, and an
 * argument of the target. */
static TL_GIL _Noreturn void live(lua_State *co, const lua_Integer *seed) {
  tl_preempt_running(bind_thread(), co);
  lua_pushcfunction(co, part);
  lua_pushlightuserdata(co, (void *)seed);
  bool ok = call_reported(co, 1);
  ok = call_reported(co, 1) && ok;
  lua_pushcfunction(co, join);
  ok = call_reported(co, 0) && ok;
  int code = ok ? EXIT_SUCCESS : EXIT_FAILURE;
  tl_interp_leave(co, code);
  tl_files_flush(co, true);
  fflush(NULL); /* the files of C modules */
  _exit(code);
}

/* --- The parent --------------------------------------------------------- */

/* handle:fork(f, name): a process that calls f(handle of the parent) and ends;
 * name() is for the report of an error. Everything that may raise is done
 * before there is a child, and nothing after: it is not lost. */
static TL_GIL int handle_fork(lua_State *L) {
  tl_handle *h = tl_handle_checknew(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  /* The child's collector would never run again. */
  if (tl_in_finalizer(L)) return luaL_error(L, "cannot fork in a finalizer");
  lua_settop(L, 3);
  lua_Integer seed[2];
  read_random(L, seed, sizeof seed);
  lua_State *co = push_life(L, 3, 2);
  tl_handle *parent = tl_handle_new(L, false);
  lua_xmove(L, co, 1);
  os_child_adopt(&parent->os, getpid());
  if (parent->os.pidfd < 0) return tl_error_os(L, errno, "pidfd_open");
  parent->pid = getpid();
  pid_t pid = tl_runtime_fork(L);
  if (pid == 0) live(co, seed);
  parent->ended = true;
  tl_handle_tidy(parent);
  if (pid < 0) return tl_error_os(L, -pid, "fork");
  os_child_adopt(&h->os, pid);
  tl_handle_started(L, h);
  return 0;
}

/* handle:spawn(program, arguments, fd): starts the program with these arguments
 * and, beside the standard streams, the descriptor fd. */
static TL_GIL int handle_spawn(lua_State *L) {
  tl_handle *h = tl_handle_checknew(L);
  const char *path = luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  int fd = (int)luaL_checkinteger(L, 4);
  char *argv[8] = {(char *)path};
  lua_Integer n = luaL_len(L, 3);
  luaL_argcheck(L, n < 7, 3, "too many");
  for (lua_Integer i = 1; i <= n; i++) {
    lua_geti(L, 3, i);
    argv[i] = (char *)luaL_checkstring(L, -1);
  }
  os_child_options o = {.path = path,
                        .search = true,
                        .argv = argv,
                        .mask = tl_runtime_sigmask(),
                        .close_fds = true,
                        .keep = &fd,
                        .keep_count = 1};
  tl_files_flush(L, false); /* so that its output comes after ours */
  int err = os_child_start(&h->os, &o);
  if (err) return tl_error_os(L, -err, path);
  tl_handle_started(L, h);
  return 0;
}

/* handle:watch(pid, pidfd, status): the process of that pid, which a fork
 * server has made; it tells the exit code by the other end of 'status'. There
 * the process itself waits for the word to go, and gets it: whoever is
 * interrupted before this call has no process. */
static TL_GIL int handle_watch(lua_State *L) {
  tl_handle *h = tl_handle_checknew(L);
  lua_Integer pid = luaL_checkinteger(L, 2);
  luaL_argcheck(L, pid > 0, 2, "no process id");
  int pidfd = descriptor_take(L, 3), status = descriptor_take(L, 4);
  tl_handle_watch(h, (pid_t)pid, pidfd, status);
  tl_files_flush(L, false); /* so that its output comes after ours */
  send(status, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  return 0;
}

/* live(f, name): what a process does that was started for it: calls f and ends;
 * name() is for the report of an error. Does not return. */
static TL_GIL int process_live(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_Integer seed[2];
  read_random(L, seed, sizeof seed);
  lua_State *co = push_life(L, 2, 1);
  lua_pushnil(co);
  live(co, seed);
}

/* self(): a handle of this very process, to be sent to a child. */
static TL_GIL int process_self(lua_State *L) {
  tl_handle *h = tl_handle_new(L, false);
  os_child_adopt(&h->os, getpid());
  if (h->os.pidfd < 0) return tl_error_os(L, errno, "pidfd_open");
  h->pid = getpid();
  return 1;
}

static TL_GIL int process_getcwd(lua_State *L) {
  char path[PATH_MAX];
  if (!getcwd(path, sizeof path)) return tl_error_os(L, errno, "getcwd");
  lua_pushstring(L, path);
  return 1;
}

static TL_GIL int process_chdir(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  if (chdir(path) < 0) return tl_error_os(L, errno, path);
  return 0;
}

/* The library's folder of modules has the program's name, too. */
static bool is_program(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* executable(): the program tidelock: this very one; or, when the library is
 * part of another program, what is installed beside it. */
static TL_GIL int process_executable(lua_State *L) {
  static const char here;
  static const char *const places[] = {
      "tidelock",             /* in a build tree */
      TL_PROGRAM_FROM_LIBDIR, /* of an installed library */
  };
  char self[PATH_MAX], file[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n < 0) return tl_error_os(L, errno, "/proc/self/exe");
  self[n] = '\0';
  int err = os_file_of(&here, file, sizeof file);
  if (err) return tl_error_os(L, -err, "executable");
  if (strcmp(self, file) == 0) return lua_pushliteral(L, "/proc/self/exe"), 1;
  *strrchr(file, '/') = '\0';
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    const char *path = lua_pushfstring(L, "%s/%s", file, places[i]);
    if (is_program(path)) return 1;
  }
  return luaL_error(L,
                    "there is no program tidelock beside %s: name one with "
                    "set_executable",
                    file);
}

static TL_GIL int process_handle(lua_State *L) {
  tl_handle_new(L, true);
  return 1;
}

static TL_GIL int process_getpid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

static TL_GIL int process_cpu_count(lua_State *L) {
  lua_pushinteger(L, os_cpu_count());
  return 1;
}

/* ignore_interrupts(ignore): whether this process ignores SIGINT, as workers do
 * whose parent answers it; false: as it was before. */
static TL_GIL int process_ignore_interrupts(lua_State *L) {
  static struct sigaction before; /* GIL of the process's first interpreter */
  static bool ignoring;
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  bool want = lua_toboolean(L, 1);
  if (want != ignoring) {
    sigaction(SIGINT, want ? &ignore : &before, want ? &before : NULL);
    ignoring = want;
  }
  return 0;
}

/* random(n): n bytes that nobody can foretell. */
static TL_GIL int process_random(lua_State *L) {
  size_t n = (size_t)bind_count(L, 1, 0, 1);
  luaL_Buffer b;
  read_random(L, luaL_buffinitsize(L, &b, n), n);
  luaL_pushresultsize(&b, n);
  return 1;
}

/* atexit(f): calls f when the interpreter's threads have ended. */
static TL_GIL int process_atexit(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  tl_interp_atexit(L);
  return 0;
}

/* atleave(f): calls f(exit code) last of all, or when os.exit is called. */
static TL_GIL int process_atleave(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  tl_interp_atleave(L);
  return 0;
}

/* fork_allowed(): whether this program may be forked. */
static TL_GIL int process_fork_allowed(lua_State *L) {
  lua_pushboolean(L, tl_runtime_forks());
  return 1;
}

/* classes(): a list of the registered classes, {name, metatable, reduce,
 * restore}. */
static TL_GIL int process_classes(lua_State *L) {
  lua_newtable(L);
  tl_classes_push(L);
  lua_Integer n = 0;
  for (lua_pushnil(L); lua_next(L, 2);) {
    if (lua_type(L, 3) == LUA_TSTRING) {
      lua_createtable(L, 4, 0);
      for (int i = 1; i <= 4; i++) {
        lua_rawgeti(L, 4, i);
        lua_rawseti(L, 5, i);
      }
      lua_rawseti(L, 1, ++n);
    }
    lua_settop(L, 3);
  }
  return lua_settop(L, 1), 1;
}

/* check_travels(value, name): raises PicklingError, which calls it so, unless
 * it travels to a child. */
static TL_GIL int process_check_travels(lua_State *L) {
  luaL_checkany(L, 1);
  const char *name = luaL_checkstring(L, 2);
  unsigned flags = TL_PICKLE_FAMILY | TL_PICKLE_HANDLES;
  tl_pickle_free(L, tl_pickle_dump(L, 1, flags, name));
  return 0;
}

/* baseline(): the globals that every interpreter has from the start. */
static TL_GIL int process_baseline(lua_State *L) {
  bind_pushbaseline(L);
  return 1;
}

static const luaL_Reg methods[] = {{"fork", handle_fork},
                                   {"spawn", handle_spawn},
                                   {"watch", handle_watch},
                                   {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"Handle", process_handle},
    {"atexit", process_atexit},
    {"atleave", process_atleave},
    {"baseline", process_baseline},
    {"chdir", process_chdir},
    {"check_travels", process_check_travels},
    {"classes", process_classes},
    {"count", step_count},
    {"cpu_count", process_cpu_count},
    {"executable", process_executable},
    {"fork_allowed", process_fork_allowed},
    {"getcwd", process_getcwd},
    {"getpid", process_getpid},
    {"ignore_interrupts", process_ignore_interrupts},
    {"keep", step_keep},
    {"keys", step_keys},
    {"live", process_live},
    {"random", process_random},
    {"self", process_self},
    {"shielded", step_shielded},
    {"store", step_store},
    {NULL, NULL}};

TL_GIL int luaopen_tl_process(lua_State *L) {
  tl_handle_open(L, methods);
  luaL_newlib(L, functions);
  return 1;
}

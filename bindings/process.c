/* process.c - "tidelock._multiprocessing": forks, and what is done with the
 * other process. multiprocessing.lua makes Process of it.
 *
 * A Handle is another process as this one sees it: a child, which is reaped
 * through it, or the parent, whose end can only be waited for. It is known by
 * a pidfd, which is closed as soon as the end has been noticed, unless it was
 * handed out as a sentinel. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bind.h"
#include "file.h"
#include "modules.h"
#include "preempt.h"
#include "proc.h"
#include "runtime.h"
#include "waitable.h"

#define HANDLE "multiprocessing.Handle"

typedef struct Handle {
  os_child os;
  pid_t pid;    /* GIL: 0 not started */
  bool child;   /* const: to be reaped; otherwise it is the parent */
  bool ended;   /* GIL */
  bool given;   /* GIL: the descriptor is a sentinel */
  int exitcode; /* GIL: once ended: of a child, minus a signal's number */
  int waiting;  /* GIL: threads that poll the descriptor */
} Handle;

static TL_GIL Handle *check_handle(lua_State *L) {
  return bind_checkself(L, HANDLE);
}

static TL_GIL Handle *check_started(lua_State *L) {
  Handle *h = check_handle(L);
  if (h->pid == 0) luaL_error(L, "the process has not been started");
  return h;
}

static TL_GIL Handle *new_handle(lua_State *L, bool child) {
  Handle *h = lua_newuserdatauv(L, sizeof *h, 0);
  *h = (Handle){.child = child, .os.pidfd = -1};
  luaL_setmetatable(L, HANDLE);
  return h;
}

/* Closes what is no longer needed. */
static void tidy(Handle *h) {
  if (h->ended && !h->given && h->waiting == 0) os_child_forget(&h->os);
}

static int exitcode_of(int status) {
  if (status < 0) return EXIT_FAILURE; /* somebody else has reaped it */
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Whether the process has ended, without waiting. Reaps a child. */
static bool look(Handle *h) {
  if (h->ended) return true;
  int status = 0;
  if (h->child) {
    if (!os_child_poll(&h->os, &status)) return false;
  } else if (os_ready(h->os.pidfd, POLLIN) <= 0) {
    return false;
  }
  h->exitcode = exitcode_of(status);
  h->ended = true;
  tidy(h);
  return true;
}

/* handle:wait([timeout]): true once it has ended, false on timeout. */
static TL_GIL int handle_wait(lua_State *L) {
  Handle *h = check_started(L);
  int64_t deadline = bind_deadline(L, 2);
  while (!look(h)) {
    if (deadline == 0) return lua_pushboolean(L, false), 1;
    h->waiting++;
    int ready = tl_wait_fd(L, h->os.pidfd, POLLIN, deadline, "process");
    h->waiting--;
    tidy(h);
    if (ready == 0) deadline = 0; /* one last look */
    if (ready == -EINTR)
      tl_check(L);
    else if (ready < 0)
      return tl_error_os(L, -ready, "join");
  }
  return lua_pushboolean(L, true), 1;
}

/* handle:poll(): the exit code, or nil while it runs. */
static TL_GIL int handle_poll(lua_State *L) {
  Handle *h = check_started(L);
  if (look(h))
    lua_pushinteger(L, h->exitcode);
  else
    lua_pushnil(L);
  return 1;
}

/* handle:signal(name): does nothing to one that has ended. */
static TL_GIL int handle_signal(lua_State *L) {
  static const char *const names[] = {"TERM", "KILL", "INT", NULL};
  static const int numbers[] = {SIGTERM, SIGKILL, SIGINT};
  Handle *h = check_started(L);
  int number = numbers[luaL_checkoption(L, 2, NULL, names)];
  if (look(h)) return 0;
  if (syscall(SYS_pidfd_send_signal, h->os.pidfd, number, NULL, 0) < 0 &&
      errno != ESRCH)
    return tl_error_os(L, errno, "signal");
  return 0;
}

/* handle:sentinel(): a descriptor that is readable once it has ended, until
 * the handle is closed or collected. */
static TL_GIL int handle_sentinel(lua_State *L) {
  Handle *h = check_started(L);
  if (look(h) && h->os.pidfd < 0) {
    int fd = eventfd(1, EFD_CLOEXEC); /* readable from the start */
    if (fd < 0) return tl_error_os(L, errno, "sentinel");
    h->os = (os_child){.parent = getpid(), .pidfd = fd};
  }
  h->given = true;
  lua_pushinteger(L, h->os.pidfd);
  return 1;
}

/* handle:pid(): nil if it has not been started. */
static TL_GIL int handle_pid(lua_State *L) {
  Handle *h = check_handle(L);
  if (h->pid == 0) return lua_pushnil(L), 1;
  lua_pushinteger(L, h->pid);
  return 1;
}

/* handle:close(): of one that does not run; returns whether that is so. */
static TL_GIL int handle_close(lua_State *L) {
  Handle *h = check_handle(L);
  bool ended = h->pid == 0 || look(h);
  if (ended) {
    h->given = false;
    tidy(h);
  }
  lua_pushboolean(L, ended);
  return 1;
}

/* A child that nobody can wait for any more would stay a zombie until this
 * process ends: multiprocessing.lua keeps the handles of those that run. */
static TL_GIL int handle_gc(lua_State *L) {
  Handle *h = check_handle(L);
  if (h->pid != 0) look(h);
  os_child_forget(&h->os);
  return 0;
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

/* Calls the function below n arguments; what it raises is written to stderr.
 * Returns whether it raised nothing. */
static TL_GIL bool call_reported(lua_State *L, int n, const char *name) {
  int handler = lua_gettop(L) - n;
  lua_pushcfunction(L, tl_error_traceback);
  lua_insert(L, handler);
  bool ok = lua_pcall(L, n, 0, handler) == LUA_OK;
  if (!ok) {
    lua_pushcfunction(L, describe);
    lua_insert(L, -2);
    lua_pcall(L, 1, 1, 0);
    const char *text = lua_tostring(L, -1);
    fprintf(stderr, "Process %s:\n%s\n", name, text ? text : "(no message)");
  }
  lua_settop(L, handler - 1);
  return ok;
}

static TL_GIL int join(lua_State *L) {
  tl_interp_join(L);
  return 0;
}

/* The generators of two children must not give the same numbers. */
static TL_GIL int reseed(lua_State *L) {
  lua_Integer seed[2];
  if (getrandom(seed, sizeof seed, 0) != sizeof seed) return 0;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, LUA_MATHLIBNAME);
  lua_getfield(L, -1, "randomseed");
  lua_pushinteger(L, seed[0]);
  lua_pushinteger(L, seed[1]);
  lua_call(L, 2, 0);
  return 0;
}

/* The life of the child, on a state of its own: the frames of the parent's
 * states are never returned to. 'co' has the target and its argument. */
static TL_GIL _Noreturn void live(lua_State *co, const char *name) {
  tl_preempt_running(bind_thread(), co);
  lua_pushcfunction(co, reseed);
  bool ok = call_reported(co, 0, name);
  ok = call_reported(co, 1, name) && ok;
  lua_pushcfunction(co, join);
  ok = call_reported(co, 0, name) && ok;
  tl_files_flush(co, true);
  fflush(NULL); /* the files of C modules */
  _exit(ok ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* --- The parent --------------------------------------------------------- */

/* A child without a pidfd cannot be watched, so it shall not be. */
static TL_GIL int give_up(lua_State *L, Handle *h) {
  int err = errno, status;
  kill(h->os.pid, SIGKILL);
  tl_block_begin(bind_thread(), "process");
  os_child_wait(&h->os, &status);
  tl_block_end(bind_thread());
  return tl_error_os(L, err, "pidfd_open");
}

/* handle:fork(f, name): a process that calls f(handle of the parent) and ends;
 * 'name' is for the report of an error. Everything that may raise is done
 * before there is a child, and nothing after: it is not lost. */
static TL_GIL int handle_fork(lua_State *L) {
  Handle *h = check_handle(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  const char *name = luaL_checkstring(L, 3);
  if (h->pid != 0) return luaL_error(L, "cannot start a process twice");
  lua_settop(L, 3);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 2);
  Handle *parent = new_handle(L, false);
  lua_xmove(L, co, 2);
  os_child_adopt(&parent->os, getpid());
  if (parent->os.pidfd < 0) return tl_error_os(L, errno, "pidfd_open");
  parent->pid = getpid();
  pid_t pid = tl_runtime_fork(L);
  if (pid == 0) live(co, name);
  parent->ended = true;
  tidy(parent);
  if (pid < 0) return tl_error_os(L, -pid, "fork");
  os_child_adopt(&h->os, pid);
  if (h->os.pidfd < 0) return give_up(L, h);
  h->pid = pid;
  return 0;
}

static TL_GIL int process_handle(lua_State *L) {
  new_handle(L, true);
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

/* atexit(f): calls f when the interpreter's threads have ended. */
static TL_GIL int process_atexit(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  tl_interp_atexit(L);
  return 0;
}

/* keys(t): an array of the keys, taken at one moment: a loop in Lua would let
 * other threads change the table meanwhile. */
static TL_GIL int process_keys(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_newtable(L);
  lua_pushnil(L);
  for (lua_Integer n = 1; lua_next(L, 1); n++) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_rawseti(L, 2, n);
  }
  return 1;
}

/* --- threading.wait_any -------------------------------------------------- */

static TL_GIL bool has_ended(lua_State *L, int idx) {
  return look(lua_touserdata(L, idx));
}

static TL_GIL int hold(lua_State *L, int idx) {
  Handle *h = lua_touserdata(L, idx);
  h->waiting++;
  return h->os.pidfd;
}

static TL_GIL void let_go(lua_State *L, int idx) {
  Handle *h = lua_touserdata(L, idx);
  h->waiting--;
  tidy(h);
}

static const tl_waitable waitable = {
    .ready = has_ended, .hold = hold, .let_go = let_go};

static const luaL_Reg methods[] = {
    {"close", handle_close},       {"fork", handle_fork},
    {"pid", handle_pid},           {"poll", handle_poll},
    {"sentinel", handle_sentinel}, {"signal", handle_signal},
    {"wait", handle_wait},         {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__gc", handle_gc}, {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"atexit", process_atexit}, {"cpu_count", process_cpu_count},
    {"Handle", process_handle}, {"getpid", process_getpid},
    {"keys", process_keys},     {NULL, NULL}};

TL_GIL int luaopen_tl_process(lua_State *L) {
  bind_newclass(L, HANDLE, methods, metamethods);
  waitable_register(L, HANDLE, &waitable);
  luaL_newlib(L, functions);
  return 1;
}

/* handle.c - see handle.h. */
#include "handle.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pickle.h"
#include "waitable.h"

static TL_GIL tl_handle *check_handle(lua_State *L) {
  return bind_checkself(L, TL_HANDLE);
}

static TL_GIL tl_handle *check_started(lua_State *L) {
  tl_handle *h = check_handle(L);
  if (h->pid == 0) luaL_error(L, "the process has not been started");
  return h;
}

tl_handle *tl_handle_checknew(lua_State *L) {
  tl_handle *h = luaL_checkudata(L, 1, TL_HANDLE);
  if (h->pid != 0) luaL_error(L, "cannot start a process twice");
  int wake = tl_thread_wakefd(bind_thread());
  if (wake < 0) tl_error_os(L, -wake, "start");
  return h;
}

tl_handle *tl_handle_new(lua_State *L, bool child) {
  tl_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
  *h = (tl_handle){.child = child, .os.pidfd = -1, .status = -1};
  luaL_setmetatable(L, TL_HANDLE);
  if (!child) return h;
  h->place = tl_child_place(L);
  if (h->place) return h;
  lua_pushliteral(L, "not enough memory");
  lua_error(L);
  return NULL;
}

void tl_handle_tidy(tl_handle *h) {
  if (tl_users_any(&h->users)) return;
  if (h->ended && !h->given) os_child_forget(&h->os);
  if (h->ended || h->untold) {
    os_close(h->status);
    h->status = -1;
  }
}

static int exitcode_of(int status) {
  if (status < 0) return EXIT_FAILURE; /* it is not ours to reap, or was */
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void tl_handle_watch(tl_handle *h, pid_t pid, int pidfd, int status) {
  h->os = (os_child){.parent = getpid(), .pidfd = pidfd};
  h->pid = pid;
  h->child = false;
  h->status = status;
}

/* What is to be waited for. */
static int descriptor_of(const tl_handle *h) {
  return h->status >= 0 && !h->untold ? h->status : h->os.pidfd;
}

/* Whether the fork server has told the end; or it is gone, and the code will
 * never be known. Another thread may poll the descriptor: it is not closed
 * here. */
static TL_GIL bool look_told(tl_handle *h) {
  const int unknown = 255;
  int32_t code;
  ssize_t n;
  do /* the other end was closed with something unread: that comes first */
    n = recv(h->status, &code, sizeof code, MSG_DONTWAIT);
  while (n < 0 && (errno == ECONNRESET || errno == EINTR));
  if (n < 0 && errno == EAGAIN) return false;
  bool told = n == (ssize_t)sizeof code;
  h->exitcode = told ? code : unknown;
  h->untold = !told;
  tl_handle_tidy(h);
  return told || os_ready(h->os.pidfd, POLLIN) > 0;
}

/* Whether it has ended; stores the exit code. */
static TL_GIL bool look(tl_handle *h) {
  int status = h->child ? -ECHILD : 0;
  bool mine = h->os.parent == getpid(); /* or of who has forked this process */
  if (mine && h->status >= 0 && !h->untold) return look_told(h);
  if (mine && h->child) {
    if (!os_child_poll(&h->os, &status)) return false;
  } else if (os_ready(h->os.pidfd, POLLIN) <= 0) {
    return false;
  }
  if (h->child) h->exitcode = exitcode_of(status);
  return true;
}

bool tl_handle_look(tl_handle *h) {
  if (h->ended) return true;
  if (!look(h)) return false;
  h->ended = true;
  tl_handle_tidy(h);
  return true;
}

static TL_GIL void wait_away(os_child *c) {
  int status;
  tl_block_begin(bind_thread(), "process");
  os_child_wait(c, &status);
  tl_block_end(bind_thread());
}

void tl_handle_started(lua_State *L, tl_handle *h) {
  int err = errno;
  h->pid = h->os.pid;
  if (h->os.pidfd >= 0) return;
  kill(h->pid, SIGKILL);
  if (tl_in_finalizer(L)) {
    tl_child_leave(h->place, &h->os);
    h->place = NULL;
  } else {
    wait_away(&h->os);
  }
  h->pid = 0;
  tl_error_os(L, err, "pidfd_open");
}

/* --- Methods ------------------------------------------------------------- */

/* handle:wait([timeout]): true once it has ended, false on timeout. */
static TL_GIL int handle_wait(lua_State *L) {
  tl_handle *h = check_started(L);
  int64_t deadline = bind_deadline(L, 2);
  while (!tl_handle_look(h)) {
    if (deadline == 0) return lua_pushboolean(L, false), 1;
    if (tl_in_finalizer(L)) return luaL_error(L, "cannot wait in a finalizer");
    tl_users_enter(&h->users);
    int ready = tl_wait_fd(L, descriptor_of(h), POLLIN, deadline, "process");
    tl_users_leave(&h->users);
    tl_handle_tidy(h);
    if (ready == 0) deadline = 0; /* one last look */
    if (ready == -EINTR)
      tl_check(L);
    else if (ready < 0)
      return tl_error_os(L, -ready, "wait");
  }
  return lua_pushboolean(L, true), 1;
}

/* handle:poll(): the exit code, or nil while it runs. */
static TL_GIL int handle_poll(lua_State *L) {
  tl_handle *h = check_started(L);
  if (tl_handle_look(h))
    lua_pushinteger(L, h->exitcode);
  else
    lua_pushnil(L);
  return 1;
}

/* "TERM", "SIGTERM" or the number. */
static TL_GIL int check_signal(lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TNUMBER) {
    lua_Integer n = luaL_checkinteger(L, arg);
    luaL_argcheck(L, n >= 0 && n <= SIGRTMAX, arg, "no such signal");
    return (int)n;
  }
  const char *name = luaL_checkstring(L, arg);
  if (strncmp(name, "SIG", 3) == 0) name += 3;
  for (int n = 1; n < NSIG; n++) {
    const char *known = sigabbrev_np(n);
    if (known && strcmp(known, name) == 0) return n;
  }
  return luaL_argerror(L, arg, "no such signal");
}

/* handle:signal(name or number): does nothing to one that has ended. */
static TL_GIL int handle_signal(lua_State *L) {
  tl_handle *h = check_started(L);
  int number = check_signal(L, 2);
  if (tl_handle_look(h)) return 0;
  if (syscall(SYS_pidfd_send_signal, h->os.pidfd, number, NULL, 0) < 0 &&
      errno != ESRCH)
    return tl_error_os(L, errno, "signal");
  return 0;
}

/* handle:sentinel(): a descriptor that is readable once it has ended, until
 * the handle is closed or collected. */
static TL_GIL int handle_sentinel(lua_State *L) {
  tl_handle *h = check_started(L);
  if (tl_handle_look(h) && h->os.parent == 0) {
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
  tl_handle *h = check_handle(L);
  if (h->pid == 0) return lua_pushnil(L), 1;
  lua_pushinteger(L, h->pid);
  return 1;
}

/* handle:close(): of one that does not run; returns whether that is so. */
static TL_GIL int handle_close(lua_State *L) {
  tl_handle *h = check_handle(L);
  bool ended = h->pid == 0 || tl_handle_look(h);
  if (ended) {
    h->given = false;
    tl_handle_tidy(h);
  }
  lua_pushboolean(L, ended);
  return 1;
}

/* handle:abandon(): gives up what it has; for a process that it is not for: a
 * forked one that has it from its parent. */
static TL_GIL int handle_abandon(lua_State *L) {
  tl_handle *h = check_handle(L);
  h->ended = true;
  h->given = false;
  tl_handle_tidy(h);
  return 0;
}

static TL_GIL int handle_gc(lua_State *L) {
  tl_handle *h = check_handle(L);
  tl_child *place = h->place;
  h->place = NULL;
  bool runs = h->pid != 0 && !tl_handle_look(h);
  if (place && runs)
    tl_child_leave(place, &h->os);
  else
    tl_child_free(place);
  os_child_forget(&h->os);
  os_close(h->status);
  h->status = -1;
  return 0;
}

/* --- travelling ---------------------------------------------------------- */

static TL_GIL int pack(lua_State *L, int idx, int *fds) {
  tl_handle *h = lua_touserdata(L, idx);
  if (h->child || h->pid == 0 || h->os.pidfd < 0)
    luaL_error(L, "only a handle of this process itself travels");
  fds[0] = h->os.pidfd;
  lua_pushinteger(L, h->pid);
  return 1;
}

static TL_GIL void unpack(lua_State *L, int *fds, int n) {
  lua_Integer pid = lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (n != 1 || pid <= 0) luaL_error(L, "no handle of a process");
  tl_handle *h = tl_handle_new(L, false);
  tl_handle_watch(h, (pid_t)pid, fds[0], -1);
  fds[0] = -1;
}

static const tl_portable portable = {
    .name = "process handle", .pack = pack, .unpack = unpack};

/* --- threading.wait_any -------------------------------------------------- */

static TL_GIL bool has_ended(lua_State *L, int idx) {
  return tl_handle_look(lua_touserdata(L, idx));
}

static TL_GIL int hold(lua_State *L, int idx) {
  tl_handle *h = lua_touserdata(L, idx);
  tl_users_enter(&h->users);
  return descriptor_of(h);
}

static TL_GIL void let_go(lua_State *L, int idx) {
  tl_handle *h = lua_touserdata(L, idx);
  tl_users_leave(&h->users);
  tl_handle_tidy(h);
}

static const tl_waitable waitable = {
    .ready = has_ended, .hold = hold, .let_go = let_go};

static const luaL_Reg shared_methods[] = {
    {"abandon", handle_abandon},   {"close", handle_close},
    {"pid", handle_pid},           {"poll", handle_poll},
    {"sentinel", handle_sentinel}, {"signal", handle_signal},
    {"wait", handle_wait},         {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__gc", handle_gc}, {NULL, NULL}};

void tl_handle_open(lua_State *L, const luaL_Reg *methods) {
  if (luaL_getmetatable(L, TL_HANDLE) == LUA_TNIL) {
    lua_pop(L, 1);
    tl_child_open(L);
    bind_newclass(L, TL_HANDLE, shared_methods, metamethods);
    waitable_register(L, TL_HANDLE, &waitable);
    tl_portable_register(L, TL_HANDLE, "tidelock._multiprocessing", &portable);
    luaL_getmetatable(L, TL_HANDLE);
  }
  if (methods) {
    lua_getfield(L, -1, "__index");
    lua_pushvalue(L, -2);
    luaL_setfuncs(L, methods, 1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

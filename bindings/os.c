/* os.c - what of Lua's os waits: os.execute, os.remove, os.rename; and os.exit,
 * which ends the other threads. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "file.h"
#include "ipc/party.h"
#include "modules.h"

/* SIGINT stays what it is: Ctrl-C reaches the child as well, and the interrupt
 * is raised here once it has ended. */
static TL_GIL int os_execute(lua_State *L) {
  static const int shared[3] = {-1, -1, -1};
  const char *command = luaL_optstring(L, 1, NULL);
  if (command == NULL) {
    lua_pushboolean(L, os_child_has_shell());
    return 1;
  }
  if (tl_in_finalizer(L) && !tl_closes_alone(L))
    return luaL_error(L, "cannot wait in a finalizer");
  int err;
  tl_child *child = tl_child_shell(L, command, shared, &err);
  errno = err;
  if (!child) return luaL_fileresult(L, 0, NULL);
  int status = tl_child_wait(L, child, true);
  tl_check(L);
  return tl_child_result(L, status);
}

/* The parent's state is never closed: that would run what is the parent's. */
static TL_GIL _Noreturn void leave_fork(lua_State *L, int status) {
  tl_files_flush(L, true);
  fflush(NULL); /* the files of C modules */
  _exit(status);
}

/* Nothing may interrupt the end, or look for the interpreter after it. A thread
 * that cannot be ended may be inside stdout. */
static TL_UNCHECKED _Noreturn void end_process(lua_State *L, int status) {
  tl_interp *in = tl_interp_of(L);
  tl_interp_join(L);
  tl_interp_leave(L, status);
  if (in->forked) leave_fork(L, status);
  signal(SIGINT, SIG_DFL);
  signal(SIGQUIT, SIG_DFL);
  if (tl_interp_close(in)) exit(status);
  if (ftrylockfile(stdout) == 0) fflush(stdout);
  _exit(status);
}

static TL_GIL void end_as_asked(lua_State *L) {
  end_process(L, tl_files_get(L)->exit_status);
}

/* The main thread ends the interpreter; this one unwinds. */
static TL_GIL void ask_main(lua_State *L, int status) {
  tl_interp *in = tl_interp_of(L);
  tl_files_get(L)->exit_status = status;
  tl_pending_add(in, end_as_asked);
  tl_thread_interrupt(tl_self(), TL_PEND_KILL);
  tl_check(L);
}

static TL_GIL int get_status(lua_State *L) {
  if (lua_isboolean(L, 1))
    return lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE;
  return (int)luaL_optinteger(L, 1, EXIT_SUCCESS);
}

/* Other threads stay where they are: they need the GIL to do anything. What
 * exit flushes is consistent, for nobody holds a lock of stdio. */
static TL_GIL int os_exit(lua_State *L) {
  int status = get_status(L);
  tl_interp *in = tl_interp_of(L);
  if (!lua_toboolean(L, 2)) {
    tl_interp_leave(L, status);
    ipc_leave_all();
    if (in->forked) leave_fork(L, status);
    tl_files_flush(L, true);
    exit(status);
  }
  if (tl_self() == in->main) end_process(L, status);
  ask_main(L, status);
  return 0;
}

/* Renames a file, or removes it if 'to' is NULL. */
static int change(const char *from, const char *to) {
  return to ? rename(from, to) : remove(from);
}

/* The file system may be far away. In a finalizer the GIL is kept: what Lua is
 * in the middle of is nobody else's. */
static TL_GIL bool change_away(lua_State *L, const char *from, const char *to) {
  if (tl_in_finalizer(L)) return change(from, to) == 0;
  tl_thread *t = tl_self();
  tl_block_begin(t, "file system");
  int result = change(from, to);
  tl_block_end(t);
  return result == 0;
}

static TL_GIL int os_remove(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  return luaL_fileresult(L, change_away(L, name, NULL), name);
}

static TL_GIL int os_rename(lua_State *L) {
  const char *from = luaL_checkstring(L, 1), *to = luaL_checkstring(L, 2);
  return luaL_fileresult(L, change_away(L, from, to), NULL);
}

static const luaL_Reg functions[] = {{"execute", os_execute},
                                     {"exit", os_exit},
                                     {"remove", os_remove},
                                     {"rename", os_rename},
                                     {NULL, NULL}};

TL_GIL int luaopen_tl_os(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  luaL_getsubtable(L, -1, LUA_OSLIBNAME);
  luaL_setfuncs(L, functions, 0);
  return 1;
}

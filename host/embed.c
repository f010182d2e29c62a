/* embed.c - the public interface over the core. */
#include "tidelock/tidelock.h"

#include <errno.h>
#include <poll.h>

#include "bind.h"
#include "dump.h"
#include "errors.h"
#include "interp.h"
#include "runtime.h"

int tl_init(void) {
  return tl_runtime_init();
}

void tl_allow_fork(int allow) {
  tl_runtime_allow_fork(allow != 0);
}

TL_UNCHECKED tl_interp *tl_open(void) {
  return tl_interp_open();
}

lua_State *tl_state(tl_interp *in) {
  return in->L;
}

TL_UNCHECKED void tl_openlibs(lua_State *L) {
  luaL_openlibs(L);
  lua_getglobal(L, "pcall");
  tl_interp_of(L)->pcall = lua_tocfunction(L, -1);
  lua_getglobal(L, "xpcall");
  tl_interp_of(L)->xpcall = lua_tocfunction(L, -1);
  lua_pop(L, 2);
  bind_openall(L);
}

TL_UNCHECKED void tl_join(lua_State *L) {
  tl_interp_join(L);
}

TL_UNCHECKED int tl_close(tl_interp *in) {
  return tl_interp_close(in) ? 0 : -EBUSY;
}

int tl_interrupt(tl_interp *in) {
  return tl_pending_interrupt(in);
}

TL_UNCHECKED void tl_request_dump(tl_interp *in) {
  tl_pending_add(in, tl_dump_stderr);
}

const char *tl_overflowed(const void *address) {
  return tl_thread_overflowed(address);
}

TL_UNCHECKED void tl_unlock(lua_State *L) {
  (void)L;
  tl_block_begin(tl_self(), "host");
}

TL_UNCHECKED void tl_lock(lua_State *L) {
  (void)L;
  tl_block_end(tl_self());
}

TL_UNCHECKED void tl_safepoint(lua_State *L) {
  tl_check(L);
}

TL_UNCHECKED int tl_readline_fd(lua_State *L, int fd) {
  for (;;) {
    int ready = tl_wait_fd(L, fd, POLLIN, TL_FOREVER, "read");
    if (ready > 0) return 0;
    if (ready < 0 && ready != -EINTR) return ready;
    tl_check(L);
  }
}

TL_UNCHECKED int tl_is_interrupt(lua_State *L, int idx) {
  return tl_error_is(L, idx, "KeyboardInterrupt");
}

TL_UNCHECKED int tl_traceback(lua_State *L) {
  return tl_error_traceback(L);
}

TL_UNCHECKED int tl_forked(lua_State *L) {
  return tl_interp_of(L)->forked;
}

/* processes_test.c - multiprocessing in a program that embeds the library: it
 * is not forked unless it allows that; the program tidelock, found beside the
 * library, is what its processes run. */
#include "tidelock/tidelock.h"

#include <errno.h>
#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

static tl_interp *open_with_libs(void) {
  tl_interp *in = tl_open();
  assert_non_null(in);
  tl_openlibs(tl_state(in));
  return in;
}

/* Runs code that returns a string, and compares. */
static void check(lua_State *L, const char *code, const char *expected) {
  lua_settop(L, 0);
  if (luaL_loadstring(L, code) != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK)
    fail_msg("%s", lua_tostring(L, -1));
  assert_string_equal(lua_tostring(L, -1), expected);
}

/* Ends the interpreter; no process may be left then. */
static void close_alone(tl_interp *in) {
  tl_join(tl_state(in));
  assert_int_equal(tl_close(in), 0);
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
  assert_int_equal(errno, ECHILD);
}

#define RUN                                                                    \
  "local mp = require('multiprocessing')\n"                                    \
  "local n = 0\n"                                                              \
  "local function run(mp)\n"                                                   \
  "  local p = mp.Process(function(k) n = n + k os.exit(n) end, 7)\n"          \
  "  p:start() p:join()\n"                                                     \
  "  return p.exitcode .. mp.get_start_method()\n"                             \
  "end\n"

static void without_leave_processes_come_from_a_server(void **state) {
  (void)state;
  tl_interp *in = open_with_libs();
  lua_State *L = tl_state(in);
  check(L, RUN "return run(mp)", "7forkserver");
  check(L, RUN "return run(mp.get_context('spawn'))", "7spawn");
  check(L, RUN "return table.concat(mp.get_all_start_methods(), ' ')",
        "forkserver spawn");
  close_alone(in);
}

static void without_leave_fork_is_an_error(void **state) {
  (void)state;
  tl_interp *in = open_with_libs();
  lua_State *L = tl_state(in);
  const char *refused = "this program does not allow fork (tl_allow_fork)";
  check(L, RUN "return select(2, pcall(mp.get_context, 'fork'))", refused);
  check(L, RUN "return select(2, pcall(mp.set_start_method, 'fork'))", refused);
  tl_allow_fork(1);
  check(L, RUN "Late = mp.get_context('fork').Process(print) return ''", "");
  tl_allow_fork(0);
  check(L, "return select(2, pcall(Late.start, Late))", refused);
  check(L, "return tostring(Late.pid)", "nil");
  close_alone(in);
}

static void with_leave_it_is_forked(void **state) {
  (void)state;
  tl_allow_fork(1);
  tl_interp *in = open_with_libs();
  lua_State *L = tl_state(in);
  check(L, RUN "return run(mp)", "7fork");
  check(L, RUN "return run(mp.get_context('forkserver'))", "7forkserver");
  check(L, RUN "return table.concat(mp.get_all_start_methods(), ' ')",
        "fork spawn forkserver");
  close_alone(in);
  tl_allow_fork(0);
}

static void daemons_and_servers_end_with_the_interpreter(void **state) {
  (void)state;
  tl_interp *in = open_with_libs();
  check(tl_state(in),
        RUN "mp.Process{daemon = true, target = require('time').sleep,"
            " args = {60}}:start()\n"
            "return run(mp)",
        "7forkserver");
  close_alone(in);
}

static void another_program_can_be_named(void **state) {
  (void)state;
  tl_interp *in = open_with_libs();
  check(tl_state(in),
        RUN "mp.set_executable('/nowhere')\n"
            "return tostring(select(2, pcall(run, mp)))",
        "OSError: /nowhere: No such file or directory");
  close_alone(in);
}

int main(void) {
#ifdef __SANITIZE_THREAD__
  return 77; /* threads after a fork are more than it supports */
#endif
  if (tl_init() != 0) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_leave_processes_come_from_a_server),
      cmocka_unit_test(without_leave_fork_is_an_error),
      cmocka_unit_test(with_leave_it_is_forked),
      cmocka_unit_test(daemons_and_servers_end_with_the_interpreter),
      cmocka_unit_test(another_program_can_be_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

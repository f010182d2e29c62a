/* embed_test.c - the public interface, as a program that embeds the library
 * uses it: calls around blocking ones, interrupts and reports from threads
 * that Lua knows nothing of, several interpreters, closing. */
#include "tidelock/tidelock.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void wait_a_little(void) {
  const struct timespec t = {.tv_nsec = 200000};
  nanosleep(&t, NULL);
}

static atomic_int counter; /* what count() in Lua adds to */

static int lua_count(lua_State *L) {
  (void)L;
  atomic_fetch_add(&counter, 1);
  return 0;
}

static tl_interp *open_with_libs(void) {
  tl_interp *in = tl_open();
  assert_non_null(in);
  lua_State *L = tl_state(in);
  tl_openlibs(L);
  lua_register(L, "count", lua_count);
  return in;
}

/* Runs code; its error or first result stays on the top. */
static int run(lua_State *L, const char *code) {
  lua_settop(L, 0);
  assert_int_equal(luaL_loadstring(L, code), LUA_OK);
  return lua_pcall(L, 0, 1, 0);
}

static void check_run(lua_State *L, const char *code) {
  if (run(L, code) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
}

static int setup(void **state) {
  if (tl_init() != 0) return -1;
  atomic_store(&counter, 0);
  *state = open_with_libs();
  return 0;
}

static int teardown(void **state) {
  return tl_close(*state);
}

static void interpreters_come_and_go(void **state) {
  (void)state;
  assert_int_equal(tl_init(), 0);
  assert_int_equal(tl_init(), 0); /* once is enough, twice is allowed */
  for (int i = 0; i < 5; i++) {
    tl_interp *in = open_with_libs();
    check_run(tl_state(in), "return 6 * 7");
    assert_int_equal(lua_tointeger(tl_state(in), -1), 42);
    assert_int_equal(tl_forked(tl_state(in)), 0);
    assert_int_equal(tl_close(in), 0);
  }
}

/* An interpreter belongs to the thread that has opened it, and runs beside
 * those of others. */
static void *live(void *arg) {
  (void)arg;
  tl_interp *in = open_with_libs();
  check_run(tl_state(in), "local t = require('threading')\n"
                          "local n = 0\n"
                          "local function add() for i = 1, 1000 do n = n + 1 "
                          "end count() end\n"
                          "local a, b = t.Thread(add), t.Thread(add)\n"
                          "a:start() b:start() a:join() b:join()\n"
                          "assert(n == 2000)");
  return (void *)(intptr_t)tl_close(in);
}

static void each_thread_may_have_its_own(void **state) {
  lua_State *L = tl_state(*state);
  enum { N = 3 };
  pthread_t threads[N];
  for (int i = 0; i < N; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, live, NULL), 0);
  /* Its GIL is not theirs: they end while it is held. */
  for (int i = 0; i < N; i++) {
    void *failed;
    assert_int_equal(pthread_join(threads[i], &failed), 0);
    assert_null(failed);
  }
  assert_int_equal(atomic_load(&counter), 2 * N);
  check_run(L, "return 1");
}

/* --- around blocking calls ------------------------------------------------ */

static void others_run_while_it_is_given_up(void **state) {
  lua_State *L = tl_state(*state);
  check_run(L, "stop = false\n"
               "worker = require('threading').Thread(function()\n"
               "  while not stop do count() end end):start()");
  for (int i = 0; i < 20; i++) {
    int before = atomic_load(&counter);
    errno = 77;
    tl_unlock(L);
    assert_int_equal(errno, 77);
    while (atomic_load(&counter) == before)
      wait_a_little(); /* a call that blocks */
    errno = 78;
    tl_lock(L);
    assert_int_equal(errno, 78);
    before = atomic_load(&counter); /* and nobody runs while it is held */
    wait_a_little();
    assert_int_equal(atomic_load(&counter), before);
  }
  check_run(L, "stop = true assert(worker:join(60))");
}

static int lua_block(lua_State *L) {
  tl_unlock(L);
  while (atomic_load(&counter) == 0)
    wait_a_little();
  tl_lock(L);
  lua_pushliteral(L, "went on");
  return 1;
}

/* Any thread of Lua's may do so. */
static void a_worker_may_block_as_well(void **state) {
  lua_State *L = tl_state(*state);
  lua_register(L, "block", lua_block);
  check_run(L, "local t = require('threading').Thread(block):start()\n"
               "assert(not t:join(0))\n"
               "count() return t:result(60)");
  assert_string_equal(lua_tostring(L, -1), "went on");
}

static void waiting_for_input_lets_others_run(void **state) {
  lua_State *L = tl_state(*state);
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  lua_pushinteger(L, ends[1]);
  lua_setglobal(L, "fd");
  check_run(L, "require('threading').Thread(function()\n"
               "  require('time').sleep(0.01) count()\n"
               "  local f = io.open('/proc/self/fd/' .. fd, 'w')\n"
               "  f:write('x') f:close() end):start()");
  assert_int_equal(tl_readline_fd(L, ends[0]), 0);
  assert_int_equal(atomic_load(&counter), 1);
  tl_join(L);
  close(ends[0]);
  close(ends[1]);
}

/* --- from threads that Lua knows nothing of --------------------------------
 */

static atomic_int sent; /* interrupts that were taken */

/* Interrupts once the script has counted. */
static void *interrupt(void *arg) {
  while (atomic_load(&counter) == 0)
    wait_a_little();
  wait_a_little();
  if (tl_interrupt(arg) == 0) atomic_fetch_add(&sent, 1);
  assert_null(tl_overflowed(&arg)); /* no thread of an interpreter's */
  return NULL;
}

static int lua_readline(lua_State *L) {
  return tl_readline_fd(L, (int)lua_tointeger(L, 1));
}

/* Works without end, and looks for what is pending. */
static int lua_work(lua_State *L) {
  for (;;)
    tl_safepoint(L);
  return 0;
}

static void an_interrupt_comes_from_anywhere(void **state) {
  lua_State *L = tl_state(*state);
  static const char *const waits[] = {
      "count() while true do end",
      "count() while true do pcall(string.rep, 'x', 10) end",
      "count() readline(fd)",
      "count() work()",
#ifndef __SANITIZE_THREAD__ /* there a signal may come too late for these */
      "count() require('time').sleep(600)",
      "local l = require('threading').Lock() l:acquire() count() l:acquire()",
#endif
  };
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  lua_register(L, "readline", lua_readline);
  lua_register(L, "work", lua_work);
  lua_pushinteger(L, ends[0]);
  lua_setglobal(L, "fd");
  for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
    pthread_t t;
    atomic_store(&counter, 0);
    atomic_store(&sent, 0);
    assert_int_equal(pthread_create(&t, NULL, interrupt, *state), 0);
    assert_int_equal(run(L, waits[i]), LUA_ERRRUN);
    assert_true(tl_is_interrupt(L, -1));
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_int_equal(atomic_load(&sent), 1);
    assert_string_equal(luaL_tolstring(L, -1, NULL), "interrupted!");
  }
  close(ends[0]);
  close(ends[1]);
}

static void a_second_interrupt_is_told_of_the_first(void **state) {
  lua_State *L = tl_state(*state);
  assert_int_equal(tl_interrupt(*state), 0);
  assert_int_not_equal(tl_interrupt(*state), 0);
  assert_int_equal(run(L, "for i = 1, 1000 do end"), LUA_ERRRUN);
  assert_true(tl_is_interrupt(L, -1));
  check_run(L, "for i = 1, 1000 do end"); /* once */
  assert_int_equal(tl_interrupt(*state), 0);
  assert_int_equal(run(L, "while true do end"), LUA_ERRRUN);
  check_run(L, "return 'x'");
  assert_false(tl_is_interrupt(L, -1));
}

static void *ask_for_report(void *arg) {
  while (atomic_load(&counter) == 0)
    wait_a_little();
  tl_request_dump(arg);
  return NULL;
}

static void a_report_is_made_at_a_safe_point(void **state) {
  lua_State *L = tl_state(*state);
  char text[4096] = {0};
  int ends[2], real = dup(STDERR_FILENO);
  pthread_t t;
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  lua_register(L, "readline", lua_readline);
  fflush(NULL);
  dup2(ends[1], STDERR_FILENO);
  assert_int_equal(pthread_create(&t, NULL, ask_for_report, *state), 0);
  lua_pushinteger(L, ends[0]);
  lua_setglobal(L, "fd");
  check_run(L, "count() readline(fd)"); /* until there is a report */
  pthread_join(t, NULL);
  dup2(real, STDERR_FILENO);
  close(real);
  assert_true(read(ends[0], text, sizeof text - 1) > 0);
  assert_non_null(strstr(text, "MainThread"));
  close(ends[0]);
  close(ends[1]);
}

/* --- the rest ------------------------------------------------------------- */

static void a_string_gets_its_traceback(void **state) {
  lua_State *L = tl_state(*state);
  lua_settop(L, 0);
  lua_pushcfunction(L, tl_traceback);
  assert_int_equal(luaL_loadstring(L, "error('broken', 0)"), LUA_OK);
  assert_int_equal(lua_pcall(L, 0, 0, 1), LUA_ERRRUN);
  const char *text = lua_tostring(L, -1);
  assert_ptr_equal(strstr(text, "broken\nstack traceback:"), text);
}

static void joining_waits_for_threads_and_runs_what_is_due(void **state) {
  lua_State *L = tl_state(*state);
  check_run(L, "local threading, time = require('threading'), require('time')\n"
               "threading.Thread(function() time.sleep(0.02) count() end)"
               ":start()\n"
               "threading.Thread{target = function() while true do end end,"
               " daemon = true}:start()");
  tl_join(L);
  assert_int_equal(atomic_load(&counter), 1);
} /* teardown ends the daemon */

static int lua_never(lua_State *L) {
  tl_unlock(L);
  while (pause() < 0) { /* for ever */
  }
  return 0;
}

/* A thread that is stuck in the host's own call cannot be ended: nothing is
 * freed then. */
static void closing_tells_of_a_thread_that_is_stuck(void **state) {
  (void)state;
#ifdef __SANITIZE_THREAD__
  skip(); /* threads after a fork are more than it supports */
#endif
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    tl_interp *in = tl_open();
    if (!in) _exit(10);
    lua_State *L = tl_state(in);
    tl_openlibs(L);
    lua_register(L, "never", lua_never);
    if (luaL_dostring(L, "require('threading').Thread(never):start()"))
      _exit(11);
    _exit(tl_close(in) ? 0 : 12);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(interpreters_come_and_go),
      cmocka_unit_test(closing_tells_of_a_thread_that_is_stuck),
      TEST(each_thread_may_have_its_own),
      TEST(others_run_while_it_is_given_up),
      TEST(a_worker_may_block_as_well),
      TEST(waiting_for_input_lets_others_run),
      TEST(an_interrupt_comes_from_anywhere),
      TEST(a_second_interrupt_is_told_of_the_first),
      TEST(a_report_is_made_at_a_safe_point),
      TEST(a_string_gets_its_traceback),
      TEST(joining_waits_for_threads_and_runs_what_is_due),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

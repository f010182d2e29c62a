/* proc_test.c - child processes without Lua: what they start with, how a start
 * fails, how their end is seen, and writing without SIGPIPE. */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "descriptors.h"
#include "os.h"

static const int shared[3] = {-1, -1, -1};

static sigset_t mask_of(int signal) {
  sigset_t set;
  sigemptyset(&set);
  if (signal) sigaddset(&set, signal);
  return set;
}

static int teardown(void **state) {
  if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) return -1;
  return check_descriptors(state);
}

static int finish(os_child *c) {
  int status;
  os_child_wait(c, &status);
  os_child_forget(c);
  return status;
}

/* What the command writes; its status in '*status'. */
static void run(const char *command, const sigset_t *mask, char *out, size_t n,
                int *status) {
  int ends[2];
  os_child c = {0};
  assert_int_equal(os_pipe(ends), 0);
  const int fds[3] = {-1, ends[1], -1};
  assert_int_equal(os_child_shell(&c, command, fds, mask), 0);
  os_close(ends[1]);
  size_t got = 0;
  for (ssize_t k; (k = read(ends[0], out + got, n - 1 - got)) > 0;)
    got += (size_t)k;
  out[got] = '\0';
  os_close(ends[0]);
  *status = finish(&c);
}

/* The set of signals behind 'name' in a /proc/PID/status. */
static uint64_t set_in(const char *text, const char *name) {
  const char *line = strstr(text, name);
  assert_non_null(line);
  return strtoull(line + strlen(name), NULL, 16);
}

static uint64_t bit(int signal) {
  return (uint64_t)1 << (signal - 1);
}

static void a_child_has_the_mask_that_is_given(void **state) {
  (void)state;
  sigset_t all, old;
  char text[8192];
  int status;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  sigset_t one = mask_of(SIGUSR2), none = mask_of(0);
  run("exec cat /proc/self/status", &one, text, sizeof text, &status);
  assert_true(set_in(text, "SigBlk:\t") == bit(SIGUSR2));
  run("exec cat /proc/self/status", &none, text, sizeof text, &status);
  assert_true(set_in(text, "SigBlk:\t") == 0);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* What this process ignores for itself is usual in the child, the rest is as
 * it was started with. */
static void a_child_has_the_usual_dispositions(void **state) {
  (void)state;
  static const int usual[] = {SIGPIPE, SIGXFSZ, SIGURG}, kept = SIGHUP;
  struct sigaction ignore = {.sa_handler = SIG_IGN}, old[4];
  sigset_t none = mask_of(0);
  char text[8192];
  int status;
  for (int i = 0; i < 3; i++)
    sigaction(usual[i], &ignore, &old[i]);
  sigaction(kept, &ignore, &old[3]);
  run("exec cat /proc/self/status", &none, text, sizeof text, &status);
  for (int i = 0; i < 3; i++)
    sigaction(usual[i], &old[i], NULL);
  sigaction(kept, &old[3], NULL);
  uint64_t ignored = set_in(text, "SigIgn:\t");
  for (int i = 0; i < 3; i++)
    assert_true((ignored & bit(usual[i])) == 0);
  assert_true((ignored & bit(kept)) != 0);
}

static void a_child_inherits_no_descriptor_of_ours(void **state) {
  (void)state;
  sigset_t none = mask_of(0);
  int ends[2], status, wake = os_wakefd_open();
  char text[1024];
  os_child other = {0};
  assert_int_equal(os_child_shell(&other, "exec sleep 60", shared, &none), 0);
  assert_int_equal(os_pipe(ends), 0);
  /* By a number that no shell redirects to. */
  int high = fcntl(ends[0], F_DUPFD_CLOEXEC, 100);
  snprintf(text, sizeof text,
           "for fd in %d %d %d %d %d; do test -e /proc/self/fd/$fd && "
           "echo open; done; echo done",
           ends[0], ends[1], wake, other.pidfd, high);
  run(text, &none, text, sizeof text, &status);
  assert_string_equal(text, "done\n");
  os_close(ends[0]);
  os_close(ends[1]);
  os_close(wake);
  os_close(high);
  kill(other.pid, SIGKILL);
  status = finish(&other);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void its_streams_are_those_given(void **state) {
  (void)state;
  sigset_t none = mask_of(0);
  int in[2], out[2], err[2];
  char text[64] = {0};
  assert_int_equal(os_pipe(in), 0);
  assert_int_equal(os_pipe(out), 0);
  assert_int_equal(os_pipe(err), 0);
  const int fds[3] = {in[0], out[1], err[1]};
  char *const argv[] = {"sh", "-c", "cat; echo $X >&2", NULL};
  char *const env[] = {"X=from the environment", NULL};
  os_child c = {0};
  assert_int_equal(os_child_start(&c, &(os_child_options){.path = "/bin/sh",
                                                          .argv = argv,
                                                          .env = env,
                                                          .fds = fds,
                                                          .mask = &none}),
                   0);
  for (int i = 0; i < 3; i++)
    os_close(fds[i]);
  assert_int_equal(write(in[1], "through", 7), 7);
  os_close(in[1]);
  assert_int_equal(read(out[0], text, sizeof text), 7);
  assert_string_equal(text, "through");
  memset(text, 0, sizeof text);
  assert_true(read(err[0], text, sizeof text) > 0);
  assert_string_equal(text, "from the environment\n");
  os_close(out[0]);
  os_close(err[0]);
  assert_int_equal(finish(&c), 0);
}

static void what_cannot_be_executed_is_told_with_errno(void **state) {
  (void)state;
  sigset_t none = mask_of(0);
  char *const argv[] = {"x", NULL};
  os_child_options o = {.argv = argv, .mask = &none};
  os_child c = {0};
  o.path = "/none/such";
  assert_int_equal(os_child_start(&c, &o), -ENOENT);
  o.path = "/etc";
  assert_int_equal(os_child_start(&c, &o), -EACCES);
  o.path = "/etc/passwd";
  assert_int_equal(os_child_start(&c, &o), -EACCES);
  o.path = "/bin/sh";
  o.cwd = "/none/such";
  assert_int_equal(os_child_start(&c, &o), -ENOENT);
  const int bad[3] = {-1, 9999, -1};
  assert_int_equal(os_child_shell(&c, "true", bad, &none), -EBADF);
  assert_int_equal(c.pid, 0); /* nothing was started or changed */
  assert_int_equal(c.parent, 0);
  int status = 0;
  assert_true(os_child_poll(&c, &status));
  assert_int_equal(status, -ECHILD);
  os_child_forget(&c);
}

/* What the program writes when it is started so; its status in '*status'. */
static void run_so(os_child_options o, char *out, size_t n, int *status) {
  int ends[2];
  sigset_t none = mask_of(0);
  os_child c = {0};
  assert_int_equal(os_pipe(ends), 0);
  const int fds[3] = {-1, ends[1], -1};
  o.mask = &none;
  if (!o.fds) o.fds = fds;
  assert_int_equal(os_child_start(&c, &o), 0);
  os_close(ends[1]);
  size_t got = 0;
  for (ssize_t k; (k = read(ends[0], out + got, n - 1 - got)) > 0;)
    got += (size_t)k;
  out[got] = '\0';
  os_close(ends[0]);
  *status = finish(&c);
}

/* Those that this process was started with ignored are usual as well. */
static void it_may_have_the_usual_dispositions_alone(void **state) {
  (void)state;
  char *const argv[] = {"cat", "/proc/self/status", NULL};
  struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
  os_child_options o = {.path = "/bin/cat", .argv = argv};
  char text[8192];
  int status;
  sigaction(SIGUSR1, &ignore, &old);
  run_so(o, text, sizeof text, &status);
  assert_true((set_in(text, "SigIgn:\t") & bit(SIGUSR1)) != 0);
  o.default_signals = true;
  run_so(o, text, sizeof text, &status);
  assert_true((set_in(text, "SigIgn:\t") & bit(SIGUSR1)) == 0);
  sigaction(SIGUSR1, &old, NULL);
}

/* In the child's PATH and not in this process's; what cannot be executed there
 * is passed over, and remembered. */
static void a_program_is_looked_for_in_path(void **state) {
  (void)state;
  sigset_t none = mask_of(0);
  char *const argv[] = {"sh", "-c", "echo found", NULL};
  char *env[] = {"PATHS=/x", "PATH=/none/such:/etc/passwd:/bin", NULL};
  os_child_options o = {
      .path = "sh", .search = true, .argv = argv, .env = env, .mask = &none};
  char text[64];
  int status;
  run_so(o, text, sizeof text, &status);
  assert_string_equal(text, "found\n");
  env[1] = "PATH="; /* the current folder */
  o.cwd = "/bin";
  run_so(o, text, sizeof text, &status);
  assert_string_equal(text, "found\n");
  o.cwd = NULL;
  env[1] = NULL; /* no PATH: the usual one */
  run_so(o, text, sizeof text, &status);
  assert_string_equal(text, "found\n");
  os_child c = {0};
  env[1] = "PATH=/none/such:/dev";
  assert_int_equal(os_child_start(&c, &o), -ENOENT);
  o.path = "passwd";
  env[1] = "PATH=/none/such:/etc:/dev";
  assert_int_equal(os_child_start(&c, &o), -EACCES);
  env[1] = "PATH=/bin";
  o.path = "";
  assert_int_equal(os_child_start(&c, &o), -ENOENT);
  o.path = "sh";
  o.search = false;
  assert_int_equal(os_child_start(&c, &o), -ENOENT);
}

/* A relative path is one of the child's folder. */
static void it_starts_in_its_folder(void **state) {
  (void)state;
  char *const argv[] = {"sh", "-c", "pwd -P", NULL};
  char text[64];
  int status;
  run_so((os_child_options){.path = "./bin/sh", .argv = argv, .cwd = "/usr"},
         text, sizeof text, &status);
  assert_string_equal(text, "/usr\n");
}

/* Its own descriptors, one a line; what ls itself has open is left out. */
static void list_descriptors(const os_child_options *with, char *text,
                             size_t n) {
  char *const argv[] = {"sh", "-c",
                        "for f in /proc/self/fd/*; do "
                        "test -e $f && echo ${f##*/}; done",
                        NULL};
  int status;
  os_child_options o = *with;
  o.path = "/bin/sh";
  o.argv = argv;
  run_so(o, text, n, &status);
}

static void it_has_the_descriptors_that_are_kept(void **state) {
  (void)state;
  int ends[2];
  char text[256];
  assert_int_equal(pipe(ends), 0); /* as a C library leaves them open */
  int low = fcntl(ends[0], F_DUPFD, 20), kept = fcntl(low, F_DUPFD_CLOEXEC, 40);
  int high = fcntl(low, F_DUPFD, 60);
  assert_true(low == 20 && kept == 40 && high == 60);
  const int keep[] = {1, 20, 40};
  os_child_options o = {.close_fds = true};
  list_descriptors(&o, text, sizeof text);
  assert_string_equal(text, "0\n1\n2\n");
  o.keep = keep;
  o.keep_count = 3;
  list_descriptors(&o, text, sizeof text);
  assert_string_equal(text, "0\n1\n2\n20\n40\n");
  o.close_fds = false;
  list_descriptors(&o, text, sizeof text);
  assert_non_null(strstr(text, "\n60\n"));
  for (int i = 0; i < 2; i++)
    os_close(ends[i]);
  os_close(low);
  os_close(kept);
  os_close(high);
}

/* 1 and 2 change places: neither is overwritten before it is copied. */
static void its_streams_may_be_those_of_this_process(void **state) {
  (void)state;
  int ends[2], out = dup(1);
  char *const argv[] = {"sh", "-c", "echo out; echo err >&2", NULL};
  const int swapped[3] = {-1, 2, 1};
  char text[64];
  int status;
  assert_int_equal(os_pipe(ends), 0);
  dup2(ends[1], 1);
  run_so((os_child_options){.path = "/bin/sh", .argv = argv, .fds = swapped},
         text, sizeof text, &status);
  dup2(out, 1);
  close(out);
  os_close(ends[1]);
  ssize_t n = read(ends[0], text, sizeof text - 1);
  os_close(ends[0]);
  text[n > 0 ? n : 0] = '\0';
  assert_string_equal(text, "err\n");
}

static void it_may_have_a_session_or_a_group_of_its_own(void **state) {
  (void)state;
  char *const argv[] = {"sh", "-c",
                        "read p c s pp g i x </proc/self/stat; "
                        "echo $$ $g $i",
                        NULL};
  char text[64];
  int status, pid = 0, group = 0, session = 0;
  os_child_options o = {.path = "/bin/sh", .argv = argv};
  run_so(o, text, sizeof text, &status);
  assert_int_equal(sscanf(text, "%d %d %d", &pid, &group, &session), 3);
  assert_int_equal(group, getpgrp());
  o.new_group = true;
  run_so(o, text, sizeof text, &status);
  assert_int_equal(sscanf(text, "%d %d %d", &pid, &group, &session), 3);
  assert_true(group == pid && session == getsid(0));
  o.group = getpgrp();
  run_so(o, text, sizeof text, &status);
  assert_int_equal(sscanf(text, "%d %d %d", &pid, &group, &session), 3);
  assert_int_equal(group, getpgrp());
  o = (os_child_options){.path = "/bin/sh", .argv = argv, .new_session = true};
  run_so(o, text, sizeof text, &status);
  assert_int_equal(sscanf(text, "%d %d %d", &pid, &group, &session), 3);
  assert_true(group == pid && session == pid);
}

static void its_end_is_seen_by_the_pidfd(void **state) {
  (void)state;
  sigset_t none = mask_of(0);
  int in[2], status = 0;
  assert_int_equal(os_pipe(in), 0);
  const int fds[3] = {in[0], -1, -1};
  os_child c = {0};
  assert_int_equal(os_child_shell(&c, "read x; exit 3", fds, &none), 0);
  os_close(in[0]);
  assert_int_equal(c.parent, getpid());
  assert_true(fcntl(c.pidfd, F_GETFD) & FD_CLOEXEC);
  assert_int_equal(os_ready(c.pidfd, POLLIN), 0);
  assert_false(os_child_poll(&c, &status));
  os_close(in[1]);
  struct pollfd p = {.fd = c.pidfd, .events = POLLIN};
  assert_int_equal(poll(&p, 1, 60000), 1);
  assert_true(os_child_poll(&c, &status));
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
  assert_int_equal(c.pid, 0);
  assert_true(os_child_poll(&c, &status)); /* only once */
  assert_int_equal(status, -ECHILD);
  os_child_wait(&c, &status);
  assert_int_equal(status, -ECHILD);
  os_child_forget(&c);
  os_child_forget(&c);
}

static void somebody_else_may_have_reaped_it(void **state) {
  (void)state;
  sigset_t none = mask_of(0);
  os_child c = {0};
  assert_int_equal(os_child_shell(&c, "exit 1", shared, &none), 0);
  assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
  assert_int_equal(finish(&c), -ECHILD);
}

/* In a fork's child the number may be that of another process. */
static void only_the_parent_waits_for_it(void **state) {
  (void)state;
  sigset_t none = mask_of(0);
  os_child c = {0};
  assert_int_equal(os_child_shell(&c, "exec sleep 60", shared, &none), 0);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    int status = 0;
    os_child_wait(&c, &status); /* would take a minute */
    _exit(status == -ECHILD && c.pid != 0 ? 0 : 1);
  }
  int status = 0;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  kill(c.pid, SIGKILL);
  status = finish(&c);
  assert_true(WIFSIGNALED(status));
}

static void there_is_a_shell(void **state) {
  (void)state;
  assert_int_equal(os_child_has_shell(), access("/bin/sh", X_OK) == 0);
}

/* --- writing without SIGPIPE ---------------------------------------------- */

static atomic_int pipes; /* SIGPIPEs that were handled */

static void on_sigpipe(int signal) {
  (void)signal;
  atomic_fetch_add(&pipes, 1);
}

static void writing_raises_no_sigpipe(void **state) {
  (void)state;
  struct sigaction action = {.sa_handler = on_sigpipe}, old;
  sigset_t broken = mask_of(SIGPIPE), before, after, pending;
  int ends[2];
  sigaction(SIGPIPE, &action, &old);
  atomic_store(&pipes, 0);
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  assert_int_equal(os_pipe(ends), 0);
  assert_int_equal(os_write_quiet(ends[1], "abc", 3, true), 3);
  os_close(ends[0]);
  assert_int_equal(os_write_quiet(ends[1], "abc", 3, true), -EPIPE);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  assert_int_equal(sigismember(&after, SIGPIPE), 0);
  assert_int_equal(atomic_load(&pipes), 0);
  /* A thread that blocks it keeps it pending, as it was. */
  pthread_sigmask(SIG_BLOCK, &broken, NULL);
  assert_int_equal(os_write_quiet(ends[1], "abc", 3, false), -EPIPE);
  sigpending(&pending);
  assert_int_equal(sigismember(&pending, SIGPIPE), 1);
  assert_int_equal(os_write_quiet(ends[1], "abc", 3, true), -EPIPE);
  sigpending(&pending);
  assert_int_equal(sigismember(&pending, SIGPIPE), 1);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  assert_int_equal(atomic_load(&pipes), 1);
  os_close(ends[1]);
  assert_int_equal(os_write_quiet(ends[1], "abc", 3, true), -EBADF);
  sigaction(SIGPIPE, &old, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, note_descriptors, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_child_has_the_mask_that_is_given),
      TEST(a_child_has_the_usual_dispositions),
      TEST(a_child_inherits_no_descriptor_of_ours),
      TEST(its_streams_are_those_given),
      TEST(what_cannot_be_executed_is_told_with_errno),
      TEST(it_may_have_the_usual_dispositions_alone),
      TEST(a_program_is_looked_for_in_path),
      TEST(it_starts_in_its_folder),
      TEST(it_has_the_descriptors_that_are_kept),
      TEST(its_streams_may_be_those_of_this_process),
      TEST(it_may_have_a_session_or_a_group_of_its_own),
      TEST(its_end_is_seen_by_the_pidfd),
      TEST(somebody_else_may_have_reaped_it),
      TEST(only_the_parent_waits_for_it),
      TEST(there_is_a_shell),
      TEST(writing_raises_no_sigpipe),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

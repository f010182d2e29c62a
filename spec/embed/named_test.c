/* named_test.c - shared memory with names, and the process that takes the names
 * away when those who made them have been killed. */
#include "ipc/named.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "descriptors.h"
#include "ipc/tracker.h"
#include "os.h"
#include "proc.h"

#define SIZE ((size_t)5000)
#define LIMIT 60 /* seconds, for what should take a moment */

static char name[OS_NAMED_MAX + 1]; /* this process's own */

static int setup(void **state) {
  snprintf(name, sizeof name, "tidelock test %d", (int)getpid());
  return note_descriptors(state);
}

/* The file behind the name, by the C library's own way. */
static bool exists(const char *which) {
  int fd = shm_open(which, O_RDONLY, 0);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

static int teardown(void **state) {
  if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) return -1;
  if (exists(name)) return shm_unlink(name), -1;
  return check_descriptors(state);
}

static os_segment published(void) {
  os_segment s;
  assert_int_equal(os_named_make(&s, SIZE), 0);
  assert_int_equal(os_named_publish(&s, name), 0);
  return s;
}

static bool goes(const char *which) {
  for (int i = 0; i < LIMIT * 1000 && exists(which); i++)
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  return !exists(which);
}

/* --- Names --------------------------------------------------------------- */

static void a_name_is_opened_by_anybody(void **state) {
  (void)state;
  os_segment s = published(), t;
  memcpy(s.memory, "seen", sizeof "seen");
  assert_int_equal(os_named_open(&t, name), 0);
  assert_int_equal(t.size, SIZE);
  assert_string_equal(t.memory, "seen");
  assert_int_equal(os_named_id(&s), os_named_id(&t));
  struct stat st;
  assert_int_equal(fstat(t.fd, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  assert_true((size_t)st.st_blocks * 512 >= SIZE);
  assert_true(fcntl(t.fd, F_GETFD) & FD_CLOEXEC);
  assert_int_equal(os_named_unlink(name, os_named_id(&t)), 0);
  assert_int_equal(os_named_unlink(name, os_named_id(&t)), -ENOENT);
  assert_string_equal(t.memory, "seen");
  os_segment_close(&s);
  os_segment_close(&t);
}

static void a_taken_name_and_a_missing_one_are_told(void **state) {
  (void)state;
  os_segment s = published(), t;
  assert_int_equal(os_named_make(&t, SIZE), 0);
  assert_int_equal(os_named_publish(&t, name), -EEXIST);
  os_segment_close(&t);
  assert_int_equal(os_named_unlink(name, os_named_id(&s)), 0);
  assert_int_equal(os_named_open(&t, name), -ENOENT);
  assert_int_equal(t.fd, -1);
  os_segment_close(&s);
}

static void nothing_is_there_before_it_has_its_name(void **state) {
  (void)state;
  os_segment s;
  assert_int_equal(os_named_make(&s, SIZE), 0);
  assert_false(exists(name));
  os_segment_close(&s);
  assert_int_equal(os_named_make(&s, 0), -EINVAL);
  assert_int_equal(os_named_make(&s, (size_t)1 << 50), -ENOMEM);
  assert_int_equal(s.fd, -1);
}

static void another_block_of_the_name_is_spared(void **state) {
  (void)state;
  os_segment s = published();
  uint64_t id = os_named_id(&s);
  assert_int_equal(os_named_unlink(name, id), 0);
  os_segment t = published();
  assert_int_equal(os_named_unlink(name, id), -ENOENT);
  assert_true(exists(name));
  assert_int_equal(os_named_unlink(name, os_named_id(&t)), 0);
  os_segment_close(&s);
  os_segment_close(&t);
}

static void what_others_have_made_is_allocated(void **state) {
  (void)state;
  os_segment s;
  int fd = shm_open(name, O_CREAT | O_RDWR, 0600);
  assert_true(fd >= 0);
  assert_int_equal(os_named_open(&s, name), -EINVAL); /* empty */
  assert_int_equal(ftruncate(fd, 1 << 20), 0);
  assert_int_equal(os_named_open(&s, name), 0);
  struct stat st;
  assert_int_equal(fstat(fd, &st), 0);
  assert_true(st.st_blocks * 512 >= 1 << 20);
  assert_int_equal(s.size, 1 << 20);
  close(fd);
  assert_int_equal(os_named_unlink(name, os_named_id(&s)), 0);
  os_segment_close(&s);
}

static void names_are_checked(void **state) {
  (void)state;
  static const char *const wrong[] = {"",   ".",    "..",  "a/b",
                                      "/a", "a\nb", "\x7f"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    assert_false(os_named_valid(wrong[i], strlen(wrong[i])));
  assert_false(os_named_valid("a\0b", 3));
  char longest[OS_NAMED_MAX + 2];
  memset(longest, 'x', sizeof longest);
  longest[OS_NAMED_MAX + 1] = '\0';
  assert_false(os_named_valid(longest, OS_NAMED_MAX + 1));
  longest[OS_NAMED_MAX] = '\0';
  assert_true(os_named_valid(longest, OS_NAMED_MAX));
  assert_true(os_named_valid("-x $(true) 'y", 13));
  char random[OS_NAMED_RANDOM], other[OS_NAMED_RANDOM];
  assert_int_equal(os_named_random(random), 0);
  assert_int_equal(os_named_random(other), 0);
  assert_int_equal(strlen(random), OS_NAMED_RANDOM - 1);
  assert_memory_equal(random, "psm_", 4);
  assert_string_not_equal(random, other);
}

/* --- The tracker ---------------------------------------------------------- */

/* Makes a block that the tracker knows of; 'which' may be any name. */
static os_segment tracked(const ipc_tracker *t, const char *which) {
  os_segment s;
  assert_int_equal(os_named_make(&s, SIZE), 0);
  assert_int_equal(ipc_tracker_add(t, which, os_named_id(&s)), 0);
  assert_int_equal(os_named_publish(&s, which), 0);
  return s;
}

static ipc_tracker started(void) {
  ipc_tracker t = {-1};
  assert_int_equal(ipc_tracker_start(&t), 0);
  assert_true(t.fd >= 0);
  return t;
}

static void names_go_when_nobody_is_left(void **state) {
  (void)state;
  ipc_tracker t = started();
  os_segment s = tracked(&t, name);
  ipc_tracker_close(&t);
  assert_int_equal(t.fd, -1);
  assert_true(goes(name));
  *(char *)s.memory = 1;
  os_segment_close(&s);
}

/* The shell must take them for nothing but names. */
static void strange_names_are_names(void **state) {
  (void)state;
  static const char *const formats[] = {"-rf%d", "*%d", " a  %d ",
                                        "$(x)`x`%d\\", "'%d\""};
  enum { N = sizeof formats / sizeof *formats };
  char strange[N][40];
  ipc_tracker t = started();
  os_segment kept = published(), s[N];
  for (int i = 0; i < N; i++) {
    snprintf(strange[i], sizeof strange[i], formats[i], (int)getpid());
    s[i] = tracked(&t, strange[i]);
  }
  ipc_tracker_close(&t);
  for (int i = 0; i < N; i++) {
    assert_true(goes(strange[i]));
    os_segment_close(&s[i]);
  }
  assert_true(exists(name));
  assert_int_equal(os_named_unlink(name, os_named_id(&kept)), 0);
  os_segment_close(&kept);
}

/* What was removed from its list, or has changed hands, stays. The last name
 * shows that it is through. */
static void it_unlinks_nothing_else(void **state) {
  (void)state;
  char other[OS_NAMED_RANDOM], last[OS_NAMED_RANDOM];
  assert_int_equal(os_named_random(other), 0);
  assert_int_equal(os_named_random(last), 0);
  ipc_tracker t = started();
  os_segment a = tracked(&t, name), b = tracked(&t, other), taken;
  assert_int_equal(ipc_tracker_remove(&t, name, os_named_id(&a)), 0);
  assert_int_equal(os_named_unlink(other, os_named_id(&b)), 0);
  assert_int_equal(os_named_make(&taken, SIZE), 0);
  assert_int_equal(os_named_publish(&taken, other), 0);
  os_segment c = tracked(&t, last);
  ipc_tracker_close(&t);
  assert_true(goes(last));
  assert_int_equal(os_named_unlink(name, os_named_id(&a)), 0);
  assert_int_equal(os_named_unlink(other, os_named_id(&taken)), 0);
  os_segment_close(&a);
  os_segment_close(&b);
  os_segment_close(&c);
  os_segment_close(&taken);
}

/* It has no reader any more once it is dead. */
static void whether_it_lives_can_be_told(void **state) {
  (void)state;
  int fds[2];
  ipc_tracker none = {-1}, t = started();
  assert_false(ipc_tracker_lives(&none));
  assert_true(ipc_tracker_lives(&t));
  ipc_tracker_close(&t);
  assert_int_equal(os_pipe(fds), 0);
  os_close(fds[0]);
  t.fd = fds[1];
  assert_false(ipc_tracker_lives(&t));
  assert_int_equal(ipc_tracker_add(&t, name, 1), -EPIPE);
  ipc_tracker_close(&t);
}

static _Noreturn void be_family(int ready) {
  setpgid(0, 0);
  ipc_tracker t = {-1};
  if (ipc_tracker_start(&t) != 0) _exit(1);
  if (fork() == 0) { /* it is the child who makes it */
    os_segment s;
    if (os_named_make(&s, SIZE) != 0) _exit(1);
    ipc_tracker_add(&t, name, os_named_id(&s));
    if (os_named_publish(&s, name) == 0 && write(ready, "x", 1) == 1) pause();
    _exit(1);
  }
  for (;;)
    pause();
}

/* SIGKILL to the whole group of processes, as by a shell. */
static void names_of_a_killed_family_go(void **state) {
  (void)state;
  int fds[2];
  assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
  pid_t pid = fork();
  if (pid == 0) be_family(fds[1]);
  close(fds[1]);
  char byte;
  assert_int_equal(read(fds[0], &byte, 1), 1);
  close(fds[0]);
  assert_true(exists(name));
  assert_int_equal(kill(-pid, SIGKILL), 0);
  assert_int_equal(waitpid(pid, NULL, 0), pid);
  assert_true(goes(name));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_name_is_opened_by_anybody),
      TEST(a_taken_name_and_a_missing_one_are_told),
      TEST(nothing_is_there_before_it_has_its_name),
      TEST(another_block_of_the_name_is_spared),
      TEST(what_others_have_made_is_allocated),
      TEST(names_are_checked),
      TEST(names_go_when_nobody_is_left),
      TEST(strange_names_are_names),
      TEST(it_unlinks_nothing_else),
      TEST(whether_it_lives_can_be_told),
      TEST(names_of_a_killed_family_go),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* segment_test.c - memory shared between processes: who sees it, how it grows,
 * what is refused, and that nothing stays open. */
#include "ipc/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "descriptors.h"

#define PAGE ((size_t)4096)
#define TOO_MUCH ((size_t)1 << 50)

static os_segment made(size_t size) {
  os_segment s;
  assert_int_equal(os_segment_create(&s, "test", size), 0);
  return s;
}

/* The exit code of a child that returns what f returns. */
static int in_child(int (*f)(os_segment *), os_segment *s) {
  pid_t pid = fork();
  if (pid == 0) _exit(f(s));
  int status = -1;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static size_t allocated(int fd) {
  struct stat st;
  assert_int_equal(fstat(fd, &st), 0);
  return (size_t)st.st_blocks * 512;
}

static void a_new_one_is_zeroed_and_allocated_in_full(void **state) {
  (void)state;
  const size_t size = 3 * PAGE + 1;
  os_segment s = made(size);
  assert_int_equal(s.size, size);
  for (size_t i = 0; i < size; i++)
    assert_int_equal(((char *)s.memory)[i], 0);
  assert_true(allocated(s.fd) >= size);
  assert_true(fcntl(s.fd, F_GETFD) & FD_CLOEXEC);
  os_segment_close(&s);
  assert_int_equal(s.fd, -1);
  assert_null(s.memory);
  os_segment_close(&s);
}

static void it_cannot_shrink(void **state) {
  (void)state;
  os_segment s = made(PAGE);
  assert_int_equal(ftruncate(s.fd, 1), -1);
  assert_int_equal(errno, EPERM);
  os_segment_close(&s);
}

static int increment(os_segment *s) {
  ++*(int *)s->memory;
  return 0;
}

static void a_forked_child_has_the_same_memory(void **state) {
  (void)state;
  os_segment s = made(PAGE);
  *(int *)s.memory = 41;
  assert_int_equal(in_child(increment, &s), 0);
  assert_int_equal(*(int *)s.memory, 42);
  os_segment_close(&s);
}

static void whoever_has_the_descriptor_opens_it(void **state) {
  (void)state;
  os_segment s = made(PAGE), t;
  int fd = dup(s.fd);
  assert_int_equal(os_segment_open(&t, fd, PAGE), 0);
  assert_int_equal(t.fd, fd);
  assert_int_equal(t.size, PAGE);
  assert_ptr_not_equal(t.memory, s.memory);
  memcpy(s.memory, "seen", sizeof "seen");
  os_segment_close(&s);
  assert_string_equal(t.memory, "seen");
  os_segment_close(&t);
}

static void other_files_are_refused_and_closed(void **state) {
  (void)state;
  os_segment s;
  int unsealed = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  assert_int_equal(ftruncate(unsealed, (off_t)PAGE), 0);
  assert_int_equal(os_segment_open(&s, unsealed, 1), -EINVAL);
  assert_int_equal(s.fd, -1);
  assert_int_equal(os_segment_open(&s, open("/dev/null", O_RDWR), 1), -EINVAL);
  os_segment small = made(PAGE);
  assert_int_equal(os_segment_open(&s, dup(small.fd), PAGE + 1), -EINVAL);
  os_segment_close(&small);
}

static void more_than_there_is_is_refused(void **state) {
  (void)state;
  os_segment s;
  assert_int_equal(os_segment_create(&s, "test", TOO_MUCH), -ENOMEM);
  assert_int_equal(s.fd, -1);
  assert_int_equal(os_segment_create(&s, "test", SIZE_MAX), -ENOMEM);
  assert_int_equal(os_segment_create(&s, "test", 0), -EINVAL);
}

int main(void) {
#define TEST(f)                                                                \
  cmocka_unit_test_setup_teardown(f, note_descriptors, check_descriptors)
  const struct CMUnitTest tests[] = {
      TEST(a_new_one_is_zeroed_and_allocated_in_full),
      TEST(it_cannot_shrink),
      TEST(a_forked_child_has_the_same_memory),
      TEST(whoever_has_the_descriptor_opens_it),
      TEST(other_files_are_refused_and_closed),
      TEST(more_than_there_is_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

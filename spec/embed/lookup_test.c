/* lookup_test.c - addresses of names, without Lua. */
#include "lookup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "descriptors.h"
#include "os.h"

/* A thread that was left to itself ends when it has its answer. */
static int teardown(void **state) {
  int64_t deadline = os_deadline(60 * INT64_C(1000000000));
  struct timespec moment = {.tv_nsec = 1000000};
  while (opened() > 0 && os_now() < deadline)
    nanosleep(&moment, NULL);
  return check_descriptors(state);
}

static int answer(const os_lookup *l, const struct addrinfo **list) {
  int err;
  if (os_lookup_fd(l) >= 0)
    assert_int_equal(os_poll(os_lookup_fd(l), POLLIN, -1,
                             os_deadline(60 * INT64_C(1000000000))),
                     POLLIN);
  return os_lookup_answer(l, list, &err);
}

static void test_numbers_take_no_thread(void **state) {
  (void)state;
  const struct addrinfo *list;
  os_lookup *l;
  assert_int_equal(os_lookup_start(&l, "127.0.0.1", 80, AF_UNSPEC, 0), 0);
  assert_int_equal(os_lookup_fd(l), -1);
  assert_int_equal(answer(l, &list), 0);
  const struct sockaddr_in *a = (const void *)list->ai_addr;
  assert_int_equal(list->ai_family, AF_INET);
  assert_int_equal(ntohl(a->sin_addr.s_addr), INADDR_LOOPBACK);
  assert_int_equal(ntohs(a->sin_port), 80);
  assert_null(list->ai_next);
  os_lookup_drop(l);
}

static void test_no_name_is_this_machine(void **state) {
  (void)state;
  const struct addrinfo *list;
  os_lookup *l;
  for (int flags = 0; flags <= AI_PASSIVE; flags += AI_PASSIVE) {
    assert_int_equal(os_lookup_start(&l, NULL, 0, AF_INET, flags), 0);
    assert_int_equal(answer(l, &list), 0);
    const struct sockaddr_in *a = (const void *)list->ai_addr;
    assert_int_equal(ntohl(a->sin_addr.s_addr),
                     flags ? INADDR_ANY : INADDR_LOOPBACK);
    os_lookup_drop(l);
  }
}

static void test_names(void **state) {
  (void)state;
  const struct addrinfo *list;
  os_lookup *l;
  assert_int_equal(os_lookup_start(&l, "localhost", 65535, AF_INET, 0), 0);
  assert_true(os_lookup_fd(l) >= 0);
  assert_int_equal(answer(l, &list), 0);
  const struct sockaddr_in *a = (const void *)list->ai_addr;
  assert_int_equal(ntohl(a->sin_addr.s_addr), INADDR_LOOPBACK);
  assert_int_equal(ntohs(a->sin_port), 65535);
  os_lookup_drop(l);
}

/* It may be there at once. */
static void test_an_answer_that_is_not_there_yet(void **state) {
  (void)state;
  for (int i = 0; i < 50; i++) {
    const struct addrinfo *list;
    os_lookup *l;
    int err;
    assert_int_equal(os_lookup_start(&l, "localhost", i, AF_INET, 0), 0);
    int early = os_lookup_answer(l, &list, &err);
    assert_true(early == EAI_AGAIN || early == 0);
    os_lookup_drop(l);
  }
}

static void test_a_name_that_is_not_there(void **state) {
  (void)state;
  const struct addrinfo *list;
  os_lookup *l;
  char label[65] = ""; /* too long to be asked for */
  memset(label, 'x', sizeof label - 1);
  assert_int_equal(os_lookup_start(&l, label, 1, AF_UNSPEC, 0), 0);
  assert_int_not_equal(answer(l, &list), 0);
  assert_null(list);
  os_lookup_drop(l);
}

/* Whoever does not wait leaves nothing behind; both orders come up. */
static void test_nobody_waits(void **state) {
  (void)state;
  for (int i = 0; i < 50; i++) {
    os_lookup *l;
    assert_int_equal(os_lookup_start(&l, "localhost", i, AF_UNSPEC, 0), 0);
    struct timespec moment = {.tv_nsec = i * 20000L};
    nanosleep(&moment, NULL);
    os_lookup_drop(l);
  }
  os_lookup_drop(NULL);
}

static void test_no_descriptors(void **state) {
  (void)state;
  struct rlimit before, none;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
  none = before;
  none.rlim_cur = 0;
  os_lookup *l = NULL;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  int err = os_lookup_start(&l, "localhost", 1, AF_UNSPEC, 0);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
  assert_int_equal(err, -EMFILE);
  assert_null(l);
}

int main(void) {
#define TEST(name)                                                             \
  cmocka_unit_test_setup_teardown(name, note_descriptors, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_numbers_take_no_thread),
      TEST(test_no_name_is_this_machine),
      TEST(test_names),
      TEST(test_an_answer_that_is_not_there_yet),
      TEST(test_a_name_that_is_not_there),
      TEST(test_nobody_waits),
      TEST(test_no_descriptors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* record_test.c - messages between processes without Lua: sizes, descriptors,
 * what is under way, deaths, forks, and what is no message. */
#include "ipc/record.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "descriptors.h"
#define MIB ((size_t)1 << 20)

typedef struct Fixture {
  int ends[2];
  ipc_sender sender;
  ipc_receiver receiver;
} Fixture;

static int setup(void **state) {
  Fixture *f = calloc(1, sizeof *f);
  if (!f) return -1;
  note_descriptors(state);
  *state = f;
  return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, f->ends);
}

static int teardown(void **state) {
  Fixture *f = *state;
  ipc_sender_close(&f->sender);
  ipc_receiver_close(&f->receiver);
  close(f->ends[0]);
  close(f->ends[1]);
  free(f);
  return check_descriptors(state);
}

static char *make_text(size_t size) {
  char *text = malloc(size + 1);
  assert_non_null(text);
  size_t n = size < 100 ? size : 100;
  for (size_t i = 0; i < n; i++)
    text[i] = (char)(i * 7 + size);
  for (; n < size; n *= 2)
    memcpy(text + n, text, n < size - n ? n : size - n);
  return text;
}

/* Sends a text of that size with descriptors. */
static int send_fds(Fixture *f, size_t size, const int *fds, int n) {
  char *text = make_text(size);
  ipc_message m = {.text = text, .size = size, .fds = fds, .fd_count = n};
  int err = ipc_is_long(&m) ? ipc_message_place(&f->sender, &m) : 0;
  if (!err && m.slot) err = ipc_message_write(&m);
  if (!err) err = ipc_message_send(f->ends[0], &m);
  if (err) ipc_message_drop(&m);
  free(text);
  return err;
}

static int send_text(Fixture *f, size_t size) {
  return send_fds(f, size, NULL, 0);
}

static void expect_text(Fixture *f, size_t size) {
  ipc_receiver *r = &f->receiver;
  assert_int_equal(ipc_receive(f->ends[1], r), 1);
  assert_true(ipc_receiver_full(r));
  char *text = make_text(size);
  assert_int_equal(r->size, size);
  assert_memory_equal(r->text, text, size);
  free(text);
  ipc_receiver_done(r);
  assert_false(ipc_receiver_full(r));
}

static void test_sizes(void **state) {
  Fixture *f = *state;
  static const size_t sizes[] = {0,
                                 1,
                                 IPC_INLINE - 1,
                                 IPC_INLINE,
                                 IPC_INLINE + 1,
                                 2 * IPC_INLINE,
                                 2 * IPC_INLINE + 1,
                                 IPC_KEPT,
                                 IPC_KEPT + 1,
                                 20 * MIB};
  for (int round = 0; round < 2; round++)
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      assert_int_equal(send_text(f, sizes[i]), 0);
      expect_text(f, sizes[i]);
    }
  assert_int_equal(ipc_receive(f->ends[1], &f->receiver), -EAGAIN);
}

static void test_descriptors(void **state) {
  Fixture *f = *state;
  ipc_receiver *r = &f->receiver;
  int fds[IPC_FDS];
  for (size_t size = 3; size <= MIB; size += MIB - 3) {
    for (int i = 0; i < IPC_FDS; i++)
      fds[i] = f->ends[0];
    assert_int_equal(send_fds(f, size, fds, IPC_FDS), 0);
    assert_int_equal(ipc_receive(f->ends[1], r), 1);
    assert_int_equal(r->fd_count, IPC_FDS);
    struct stat here, there;
    assert_int_equal(fstat(f->ends[0], &here), 0);
    for (int i = 0; i < IPC_FDS; i++) {
      assert_int_equal(fstat(r->fds[i], &there), 0);
      assert_int_equal(here.st_ino, there.st_ino);
      assert_int_equal(fcntl(r->fds[i], F_GETFD), FD_CLOEXEC);
    }
    int taken = r->fds[1];
    r->fds[1] = -1;
    int others = r->fds[2];
    ipc_receiver_done(r);
    assert_int_equal(close(taken), 0); /* it was left to the caller */
    assert_int_equal(fcntl(others, F_GETFD), -1);
  }
}

/* The sender has to wait, and is told when it need not any more. */
static void test_what_is_under_way_is_bounded(void **state) {
  Fixture *f = *state;
  struct pollfd tokens[IPC_SLOTS];
  for (int i = 0; i < IPC_SLOTS; i++)
    assert_int_equal(send_text(f, MIB), 0);
  assert_int_equal(send_text(f, MIB), -EAGAIN);
  assert_int_equal(ipc_sender_tokens(&f->sender, tokens), IPC_SLOTS);
  assert_int_equal(poll(tokens, IPC_SLOTS, 0), 0);
  expect_text(f, MIB);
  assert_int_equal(poll(tokens, IPC_SLOTS, 0), 1);
  assert_int_equal(send_text(f, MIB), 0);
  for (int i = 0; i < IPC_SLOTS; i++)
    expect_text(f, MIB);
  /* By bytes: one of any size, but not two that are too much. */
  assert_int_equal(send_text(f, 17 * MIB), 0);
  assert_int_equal(send_text(f, MIB), -EAGAIN);
  expect_text(f, 17 * MIB);
  assert_int_equal(send_text(f, 15 * MIB), 0);
  assert_int_equal(send_text(f, MIB), 0);
  assert_int_equal(send_text(f, MIB), -EAGAIN);
  expect_text(f, 15 * MIB);
  expect_text(f, MIB);
}

/* The same segments serve again, and large ones are not kept. */
static void test_segments_are_kept(void **state) {
  Fixture *f = *state;
  assert_int_equal(send_text(f, MIB), 0);
  expect_text(f, MIB);
  int descriptors = count_descriptors();
  for (int i = 0; i < 100; i++) {
    assert_int_equal(send_text(f, MIB - (size_t)i), 0);
    expect_text(f, MIB - (size_t)i);
  }
  assert_int_equal(count_descriptors(), descriptors);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(send_text(f, 5 * MIB), 0);
    expect_text(f, 5 * MIB);
  }
  assert_int_equal(send_text(f, MIB), 0);
  expect_text(f, MIB);
  assert_int_equal(count_descriptors(), descriptors);
}

static void test_a_full_socket(void **state) {
  Fixture *f = *state;
  int sent = 0;
  while (send_text(f, 60000) == 0)
    sent++;
  assert_int_equal(send_text(f, 60000), -EAGAIN);
  assert_int_equal(send_text(f, MIB), -EAGAIN); /* and leaves nothing */
  assert_true(sent > 0 && sent < 1000);
  while (sent-- > 0)
    expect_text(f, 60000);
  assert_int_equal(send_text(f, MIB), 0);
  expect_text(f, MIB);
}

static void test_the_end(void **state) {
  Fixture *f = *state;
  assert_int_equal(send_text(f, MIB), 0);
  assert_int_equal(send_text(f, 5), 0);
  close(f->ends[0]);
  expect_text(f, MIB);
  expect_text(f, 5);
  assert_int_equal(ipc_receive(f->ends[1], &f->receiver), 0);
  assert_int_equal(ipc_receive(f->ends[1], &f->receiver), 0);
  f->ends[0] = -1;
}

/* Also when messages were unread, which is told to both sides once. */
static void test_nobody_receives(void **state) {
  Fixture *f = *state;
  for (int i = 0; i < IPC_SLOTS; i++)
    assert_int_equal(send_text(f, MIB), 0);
  char byte = 0;
  assert_int_equal(send(f->ends[1], &byte, 1, MSG_NOSIGNAL), 1);
  close(f->ends[1]);
  f->ends[1] = -1;
  assert_int_equal(send_text(f, MIB), -EPIPE); /* no slot is waited for */
  assert_int_equal(send_text(f, 5), -EPIPE);
  /* What came before the end can be received. */
  assert_int_equal(ipc_receive(f->ends[0], &f->receiver), -EBADMSG);
  assert_int_equal(ipc_receive(f->ends[0], &f->receiver), 0);
}

/* The same, seen by the other side: what was sent comes before the end. */
static void test_messages_before_a_reset(void **state) {
  Fixture *f = *state;
  char byte = 0;
  assert_int_equal(send_text(f, 5), 0);
  assert_int_equal(send_text(f, MIB), 0);
  assert_int_equal(send(f->ends[1], &byte, 1, MSG_NOSIGNAL), 1);
  close(f->ends[0]); /* with a byte unread */
  f->ends[0] = -1;
  expect_text(f, 5);
  expect_text(f, MIB);
  assert_int_equal(ipc_receive(f->ends[1], &f->receiver), 0);
}

/* A receiver dies with a message in its hands; another one goes on. */
static void test_a_receiver_dies(void **state) {
  Fixture *f = *state;
  for (int i = 0; i < IPC_SLOTS; i++)
    assert_int_equal(send_text(f, MIB), 0);
  int ready[2];
  assert_int_equal(pipe(ready), 0);
  pid_t pid = fork();
  if (pid == 0) {
    bool ok = ipc_receive(f->ends[1], &f->receiver) == 1;
    if (write(ready[1], &ok, 1) != 1) _exit(1);
    for (;;)
      pause();
  }
  bool ok = false;
  assert_int_equal(read(ready[0], &ok, 1), 1);
  assert_true(ok);
  assert_int_equal(send_text(f, MIB), -EAGAIN);
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  assert_int_equal(send_text(f, MIB), 0);
  for (int i = 0; i < IPC_SLOTS; i++)
    expect_text(f, MIB);
  close(ready[0]);
  close(ready[1]);
}

/* A fork's child shares neither segments nor a message that was received. */
static void test_fork(void **state) {
  Fixture *f = *state;
  for (int i = 0; i < IPC_SLOTS; i++)
    assert_int_equal(send_text(f, 2 * MIB), 0);
  for (int i = 0; i < IPC_SLOTS; i++)
    expect_text(f, 2 * MIB);
  assert_int_equal(send_text(f, MIB), 0);
  assert_int_equal(send_text(f, MIB + 1), 0);
  assert_int_equal(ipc_receive(f->ends[1], &f->receiver), 1);
  pid_t pid = fork();
  if (pid == 0) {
    bool ok = !ipc_receiver_full(&f->receiver) && send_text(f, MIB + 2) == 0;
    _exit(ok ? 0 : 1);
  }
  int status = -1;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  assert_int_equal(send_text(f, MIB + 3), 0); /* not where the child's is */
  assert_true(ipc_receiver_full(&f->receiver));
  assert_int_equal(f->receiver.size, MIB);
  ipc_receiver_done(&f->receiver);
  expect_text(f, MIB + 1);
  expect_text(f, MIB + 2);
  expect_text(f, MIB + 3);
}

static void send_raw(Fixture *f, const void *bytes, size_t n, const int *fds,
                     int count) {
  struct iovec part = {(void *)bytes, n};
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(253 * sizeof(int))];
  } control;
  struct msghdr h = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > 0) {
    size_t size = (size_t)count * sizeof(int);
    control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(size),
                                      .cmsg_level = SOL_SOCKET,
                                      .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), fds, size);
    h.msg_control = &control;
    h.msg_controllen = CMSG_SPACE(size);
  }
  assert_int_equal(sendmsg(f->ends[0], &h, 0), n);
}

static void expect_nonsense(Fixture *f) {
  int descriptors = count_descriptors();
  assert_int_equal(ipc_receive(f->ends[1], &f->receiver), -EBADMSG);
  assert_false(ipc_receiver_full(&f->receiver));
  assert_int_equal(count_descriptors(), descriptors);
  assert_int_equal(send_text(f, 5), 0); /* the next one is understood */
  expect_text(f, 5);
}

static void test_nonsense(void **state) {
  Fixture *f = *state;
  assert_int_equal(send_text(f, 5), 0);
  expect_text(f, 5);
  struct {
    uint32_t mark, fd_count;
    uint64_t size;
    char text[8];
  } record = {0x746c6d30, 0, 9, "garbage"};
  char bytes[100000] = "x";
  int devnull = open("/dev/null", O_RDONLY), some[253];
  for (int i = 0; i < 253; i++)
    some[i] = devnull;
  send_raw(f, bytes, 1, NULL, 0);
  expect_nonsense(f);
  send_raw(f, bytes, sizeof bytes, some, 3);
  expect_nonsense(f);
  send_raw(f, &record, sizeof record, NULL, 0); /* size is wrong */
  expect_nonsense(f);
  record.size = 8;
  send_raw(f, &record, sizeof record, some, 1); /* descriptors are */
  expect_nonsense(f);
  record.fd_count = 1;
  send_raw(f, &record, sizeof record, NULL, 0);
  expect_nonsense(f);
  record.fd_count = 253;
  send_raw(f, &record, sizeof record, some, 253);
  int descriptors = count_descriptors();
  assert_true(ipc_receive(f->ends[1], &f->receiver) < 0);
  assert_int_equal(count_descriptors(), descriptors);
  /* No segment: a device, a file that may shrink, one that is too small. */
  record.mark = 0x746c6d31;
  record.fd_count = 0;
  record.size = 100000;
  send_raw(f, &record, 16, some, 2);
  expect_nonsense(f);
  send_raw(f, &record, 16, some, 1);
  expect_nonsense(f);
  send_raw(f, &record, 16, NULL, 0);
  expect_nonsense(f);
  os_segment s;
  assert_int_equal(os_segment_create(&s, "test", 4096), 0);
  some[0] = s.fd;
  send_raw(f, &record, 16, some, 2);
  expect_nonsense(f);
  record.size = UINT64_MAX;
  send_raw(f, &record, 16, some, 2);
  expect_nonsense(f);
  os_segment_close(&s);
  close(devnull);
}

/* A process without free descriptors loses the message and says so. */
static void test_no_descriptors(void **state) {
  Fixture *f = *state;
  assert_int_equal(send_text(f, MIB), 0);
  struct rlimit before, limit;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
  int next = dup(0);
  close(next);
  limit = before;
  limit.rlim_cur = (rlim_t)next + 1;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  int got = ipc_receive(f->ends[1], &f->receiver);
  limit.rlim_cur = (rlim_t)next;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  int sent = send_text(f, MIB);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
  assert_int_equal(got, -EMFILE);
  assert_int_equal(sent, -EMFILE);
  assert_int_equal(send_text(f, MIB), 0);
  expect_text(f, MIB);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_sizes),
      TEST(test_descriptors),
      TEST(test_what_is_under_way_is_bounded),
      TEST(test_segments_are_kept),
      TEST(test_a_full_socket),
      TEST(test_the_end),
      TEST(test_nobody_receives),
      TEST(test_messages_before_a_reset),
      TEST(test_a_receiver_dies),
      TEST(test_fork),
      TEST(test_nonsense),
      TEST(test_no_descriptors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* arena_test.c - small blocks of shared memory: how they lie, how long they
 * live, in a forked child and in a process that got a descriptor. */
#include "ipc/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "descriptors.h"

#define MANY 5000
#define LEAST ((size_t)64 * 1024) /* bytes of a chunk */

static ipc_block cut(ipc_arena *a, size_t size) {
  ipc_block b;
  assert_int_equal(ipc_arena_cut(a, size, &b), 0);
  return b;
}

static bool is_zero(const ipc_block *b, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (b->memory[i] != 0) return false;
  return true;
}

static void blocks_are_zeroed_and_aligned_and_apart(void **state) {
  (void)state;
  ipc_arena a = {0};
  ipc_block blocks[200];
  for (size_t i = 0; i < 200; i++) {
    size_t size = 1 + i * 20;
    blocks[i] = cut(&a, size);
    assert_true(is_zero(&blocks[i], size));
    assert_int_equal((uintptr_t)blocks[i].memory % IPC_ALIGN, 0);
    memset(blocks[i].memory, (int)i, size);
  }
  for (size_t i = 0; i < 200; i++) {
    for (size_t j = 0; j < 1 + i * 20; j++)
      assert_int_equal(blocks[i].memory[j], i);
    ipc_block_free(&blocks[i]);
    assert_null(blocks[i].memory);
    ipc_block_free(&blocks[i]);
  }
  ipc_arena_destroy(&a);
}

static void sizes_out_of_range_are_refused(void **state) {
  (void)state;
  ipc_arena a = {0};
  ipc_block b = {0};
  assert_int_equal(ipc_arena_cut(&a, 0, &b), -EINVAL);
  assert_int_equal(ipc_arena_cut(&a, IPC_SMALL + 1, &b), -EINVAL);
  assert_null(b.memory);
  ipc_arena_destroy(&a);
}

static void many_small_ones_take_few_descriptors(void **state) {
  (void)state;
  ipc_arena a = {0};
  static ipc_block blocks[MANY];
  for (int i = 0; i < MANY; i++)
    blocks[i] = cut(&a, 8);
  assert_int_equal(opened(), 5); /* of 64 KiB, and one of 128 */
  for (int i = 0; i < MANY; i++)
    ipc_block_free(&blocks[i]);
  assert_int_equal(opened(), 1); /* the current one */
  ipc_arena_destroy(&a);
}

/* Bytes of the files that are open beside those of the start. */
static size_t bytes_mapped(void) {
  size_t sum = 0;
  for (int fd = 3; fd < 1024; fd++) {
    struct stat st;
    char path[32], name[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, name, sizeof name - 1);
    if (n <= 0 || strncmp(name, "/memfd:tidelock-arena ", 22) != 0) continue;
    assert_int_equal(fstat(fd, &st), 0);
    sum += (size_t)st.st_blocks * 512;
  }
  return sum;
}

/* Half a million take descriptors by the dozen, and no more memory than they
 * must but a third. */
static void chunks_grow_with_what_there_is(void **state) {
  (void)state;
  ipc_arena a = {0};
  const int n = 500000;
  ipc_block *blocks = calloc((size_t)n, sizeof *blocks);
  assert_non_null(blocks);
  for (int i = 0; i < n; i++) {
    blocks[i] = cut(&a, IPC_ALIGN);
    if (i % 1000 == 0)
      assert_true(bytes_mapped() <= LEAST + (size_t)i * IPC_ALIGN * 3 / 2);
  }
  assert_true(opened() < 64);
  for (int i = 0; i < n; i++)
    ipc_block_free(&blocks[i]);
  free(blocks);
  assert_int_equal(opened(), 1);
  ipc_block b = cut(&a, 4096); /* after much comes little again */
  for (int i = 0; i < 1000; i++) {
    ipc_block_free(&b);
    b = cut(&a, 4096);
  }
  assert_int_equal(bytes_mapped(), LEAST);
  ipc_block_free(&b);
  ipc_arena_destroy(&a);
}

/* Of very many only a few are kept: each keeps a small chunk. */
static void those_that_stay_keep_small_chunks(void **state) {
  (void)state;
  ipc_arena a = {0};
  ipc_block kept[20];
  for (int i = 0; i < 400000; i++) {
    ipc_block b = cut(&a, IPC_ALIGN);
    if (i % 20000 == 0)
      kept[i / 20000] = b;
    else
      ipc_block_free(&b);
  }
  assert_true(bytes_mapped() <= 21 * LEAST);
  for (int i = 0; i < 20; i++)
    ipc_block_free(&kept[i]);
  ipc_arena_destroy(&a);
}

/* What is freed at once does not add up, though it is not used again. */
static void a_chunk_goes_with_its_last_block(void **state) {
  (void)state;
  ipc_arena a = {0};
  ipc_block kept = cut(&a, 8);
  kept.memory[0] = 7;
  for (int i = 0; i < MANY; i++) {
    ipc_block b = cut(&a, 100);
    assert_true(is_zero(&b, 100));
    memset(b.memory, 1, 100);
    ipc_block_free(&b);
  }
  assert_int_equal(opened(), 2);
  assert_int_equal(kept.memory[0], 7);
  ipc_block_free(&kept);
  assert_int_equal(opened(), 1);
  ipc_arena_destroy(&a);
}

static void a_block_outlives_its_arena(void **state) {
  (void)state;
  ipc_arena a = {0};
  ipc_block b = cut(&a, 8), c = cut(&a, 8);
  ipc_arena_destroy(&a);
  b.memory[0] = c.memory[0] = 1;
  ipc_block_free(&b);
  ipc_block_free(&c);
}

static int wait_for(pid_t pid) {
  int status = -1;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* 0 if all is as it should be in the child. */
static int be_child(ipc_arena *a, ipc_block *shared) {
  if (shared->memory[0] != 1) return 1;
  ipc_block own;
  if (ipc_arena_cut(a, 8, &own) != 0) return 2;
  memset(own.memory, 9, 8);
  shared->memory[0] = 2;
  ipc_block_free(shared);
  return own.chunk == shared->chunk ? 3 : 0;
}

/* The parent's next block must not be the child's, nor go with it. */
static void a_forked_child_cuts_its_own(void **state) {
  (void)state;
  ipc_arena a = {0};
  ipc_block shared = cut(&a, 8);
  shared.memory[0] = 1;
  pid_t pid = fork();
  if (pid == 0) _exit(be_child(&a, &shared));
  assert_int_equal(wait_for(pid), 0);
  assert_int_equal(shared.memory[0], 2);
  ipc_block next = cut(&a, 8);
  assert_true(is_zero(&next, 8));
  ipc_block_free(&next);
  ipc_block_free(&shared);
  ipc_arena_destroy(&a);
}

static void a_descriptor_opens_the_same_block(void **state) {
  (void)state;
  ipc_arena a = {0}, b = {0};
  ipc_block before = cut(&a, 8), block = cut(&a, 100), other;
  block.memory[99] = 5;
  size_t offset = ipc_block_offset(&block);
  assert_int_equal(offset, 64);
  assert_int_equal(
      ipc_arena_open(&b, ipc_block_fd(&block), offset, 100, &other), 0);
  assert_ptr_not_equal(other.memory, block.memory);
  assert_int_equal(other.memory[99], 5);
  ipc_block_free(&before);
  ipc_block_free(&block);
  ipc_arena_destroy(&a);
  assert_int_equal(other.memory[99], 5);
  assert_int_equal(opened(), 1);
  ipc_block_free(&other);
  assert_int_equal(opened(), 0);
  ipc_arena_destroy(&b);
}

static void blocks_of_one_chunk_share_what_was_opened(void **state) {
  (void)state;
  ipc_arena a = {0}, b = {0};
  ipc_block own[100], got[100];
  for (int i = 0; i < 100; i++) {
    own[i] = cut(&a, 8);
    own[i].memory[0] = (unsigned char)i;
    assert_int_equal(ipc_arena_open(&b, ipc_block_fd(&own[i]),
                                    ipc_block_offset(&own[i]), 8, &got[i]),
                     0);
  }
  assert_int_equal(opened(), 2);
  for (int i = 0; i < 100; i++) {
    assert_int_equal(got[i].memory[0], i);
    ipc_block_free(&got[i]);
    ipc_block_free(&own[i]);
  }
  ipc_arena_destroy(&a);
  ipc_arena_destroy(&b);
}

static void what_lies_outside_is_refused(void **state) {
  (void)state;
  ipc_arena a = {0}, b = {0};
  ipc_block own = cut(&a, 8), got = {0};
  static const size_t wrong[][2] = {
      {0, 0},        {0, 65537}, {65536, 8},     {65472, 65},
      {SIZE_MAX, 8}, {8, 8},     {64, SIZE_MAX}, {SIZE_MAX - 63, 64}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    int fd = ipc_block_fd(&own);
    assert_int_equal(ipc_arena_open(&b, fd, wrong[i][0], wrong[i][1], &got),
                     -EINVAL);
    assert_null(got.memory);
    assert_int_equal(opened(), 1);
  }
  int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  assert_int_equal(ipc_arena_open(&b, fd, 0, 8, &got), -EINVAL);
  close(fd);
  ipc_block_free(&own);
  ipc_arena_destroy(&a);
  ipc_arena_destroy(&b);
}

static void a_segment_becomes_a_block(void **state) {
  (void)state;
  ipc_arena a = {0};
  os_segment s;
  assert_int_equal(os_segment_create(&s, "test", 100000), 0);
  ipc_block b;
  assert_int_equal(ipc_arena_adopt(&a, &s, &b), 0);
  assert_ptr_equal(b.memory, s.memory);
  assert_int_equal(ipc_block_offset(&b), 0);
  b.memory[99999] = 1;
  ipc_block_free(&b);
  assert_int_equal(opened(), 0);
  ipc_arena_destroy(&a);
}

int main(void) {
#define TEST(f)                                                                \
  cmocka_unit_test_setup_teardown(f, note_descriptors, check_descriptors)
  const struct CMUnitTest tests[] = {
      TEST(blocks_are_zeroed_and_aligned_and_apart),
      TEST(sizes_out_of_range_are_refused),
      TEST(many_small_ones_take_few_descriptors),
      TEST(chunks_grow_with_what_there_is),
      TEST(those_that_stay_keep_small_chunks),
      TEST(a_chunk_goes_with_its_last_block),
      TEST(a_block_outlives_its_arena),
      TEST(a_forked_child_cuts_its_own),
      TEST(a_descriptor_opens_the_same_block),
      TEST(blocks_of_one_chunk_share_what_was_opened),
      TEST(what_lies_outside_is_refused),
      TEST(a_segment_becomes_a_block),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

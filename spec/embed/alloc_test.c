/* alloc_test.c - the allocator of an interpreter: alignment, classes, limits,
 * failing allocation, contents under random use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alloc.h"

static int setup(void **state) {
  *state = calloc(1, sizeof(tl_alloc));
  return *state ? 0 : -1;
}

static int teardown(void **state) {
  tl_alloc_destroy(*state);
  free(*state);
  return 0;
}

static void *get(tl_alloc *a, size_t size) {
  return tl_alloc_run(a, NULL, 0, size);
}

static void put(tl_alloc *a, void *block, size_t size) {
  assert_null(tl_alloc_run(a, block, size, 0));
}

static void blocks_are_aligned_and_apart(void **state) {
  tl_alloc *a = *state;
  enum { LARGEST = 2 * TL_ALLOC_LARGEST };
  char *blocks[LARGEST + 1];
  for (size_t n = 1; n <= LARGEST; n++) {
    blocks[n] = get(a, n);
    assert_non_null(blocks[n]);
    assert_int_equal((uintptr_t)blocks[n] % _Alignof(max_align_t), 0);
    memset(blocks[n], (int)(n % 251), n);
  }
  for (size_t n = 1; n <= LARGEST; n++) {
    for (size_t i = 0; i < n; i++)
      assert_int_equal((unsigned char)blocks[n][i], n % 251);
    put(a, blocks[n], n);
  }
  assert_int_equal(a->used, 0);
}

static void freeing_nothing_is_allowed(void **state) {
  tl_alloc *a = *state;
  assert_null(tl_alloc_run(a, NULL, 0, 0));
  assert_null(tl_alloc_run(a, NULL, 8, 0)); /* a kind, not a size */
  assert_int_equal(a->used, 0);
}

/* Lua passes the kind of a new object as its old size. */
static void the_kind_of_a_new_object_is_not_counted(void **state) {
  tl_alloc *a = *state;
  void *block = tl_alloc_run(a, NULL, 6, 40);
  assert_non_null(block);
  assert_int_equal(a->used, 40);
  put(a, block, 40);
  assert_int_equal(a->used, 0);
}

static void resizing_keeps_the_contents(void **state) {
  static const size_t sizes[] = {1,   15,  16,  17,  31,  32,   100,
                                 511, 512, 513, 600, 900, 5000, 70000};
  enum { N = sizeof sizes / sizeof *sizes };
  tl_alloc *a = *state;
  for (int from = 0; from < N; from++) {
    for (int to = 0; to < N; to++) {
      size_t o = sizes[from], n = sizes[to], kept = o < n ? o : n;
      unsigned char *p = get(a, o);
      for (size_t i = 0; i < o; i++)
        p[i] = (unsigned char)(i * 7 + o);
      p = tl_alloc_run(a, p, o, n);
      assert_non_null(p);
      assert_int_equal(a->used, n);
      for (size_t i = 0; i < kept; i++)
        assert_int_equal(p[i], (unsigned char)(i * 7 + o));
      put(a, p, n);
      assert_int_equal(a->used, 0);
    }
  }
}

static void a_freed_block_is_used_again(void **state) {
  tl_alloc *a = *state;
  void *first = get(a, 48);
  put(a, first, 48);
  for (int i = 0; i < 100000; i++) {
    void *p = get(a, 33 + (size_t)i % 16); /* the same class */
    put(a, p, 33 + (size_t)i % 16);
  }
  size_t chunk = a->chunk_size;
  void *p = get(a, 48);
  put(a, p, 48);
  assert_int_equal(a->chunk_size, chunk); /* no new memory was needed */
}

static void the_limit_holds_and_changes_nothing(void **state) {
  tl_alloc *a = *state;
  void *small = get(a, 100), *large = get(a, 1000);
  memset(small, 's', 100);
  memset(large, 'l', 1000);
  a->limit = 1200;
  assert_null(get(a, 101));
  assert_null(get(a, 100000));
  assert_null(tl_alloc_run(a, small, 100, 201));
  assert_null(tl_alloc_run(a, large, 1000, 1101));
  assert_null(get(a, SIZE_MAX / 2));
  assert_int_equal(a->used, 1100);
  for (int i = 0; i < 100; i++)
    assert_int_equal(((char *)small)[i], 's');
  for (int i = 0; i < 1000; i++)
    assert_int_equal(((char *)large)[i], 'l');
  void *last = get(a, 100); /* up to the limit itself */
  assert_non_null(last);
  assert_null(get(a, 1));
  large = tl_alloc_run(a, large, 1000, 400); /* shrinking always works */
  assert_non_null(large);
  assert_int_equal(a->used, 600);
  a->limit = 0;
  void *free_again = get(a, 100000);
  assert_non_null(free_again);
  put(a, free_again, 100000);
  put(a, last, 100);
  put(a, large, 400);
  put(a, small, 100);
  assert_int_equal(a->used, 0);
}

/* Over the limit, as when it was lowered, memory can be given back. */
static void shrinking_works_over_the_limit(void **state) {
  tl_alloc *a = *state;
  void *p = get(a, 5000);
  a->limit = 10;
  p = tl_alloc_run(a, p, 5000, 300);
  assert_non_null(p);
  p = tl_alloc_run(a, p, 300, 20);
  assert_non_null(p);
  assert_null(tl_alloc_run(a, p, 20, 40));
  put(a, p, 20);
  assert_int_equal(a->used, 0);
}

static void what_malloc_refuses_fails(void **state) {
  tl_alloc *a = *state;
  void *p = get(a, 600);
  memset(p, 'p', 600);
  const size_t huge = (size_t)PTRDIFF_MAX - 4096;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  assert_null(get(a, huge));
  assert_null(tl_alloc_run(a, p, 600, huge));
#else
  (void)huge;
#endif
  assert_int_equal(a->used, 600);
  for (int i = 0; i < 600; i++)
    assert_int_equal(((char *)p)[i], 'p');
  put(a, p, 600);
}

static uint64_t next_random(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return *state >> 33;
}

static size_t random_size(uint64_t *random) {
  uint64_t kind = next_random(random) % 100;
  if (kind < 80) return 1 + next_random(random) % TL_ALLOC_LARGEST;
  if (kind < 98) return 1 + next_random(random) % 4096;
  return 1 + next_random(random) % 100000;
}

static void fill(unsigned char *p, size_t n, unsigned mark) {
  for (size_t i = 0; i < n; i++)
    p[i] = (unsigned char)(mark + i);
}

static void check(const unsigned char *p, size_t n, unsigned mark) {
  for (size_t i = 0; i < n; i++)
    if (p[i] != (unsigned char)(mark + i)) fail_msg("byte %zu of %zu", i, n);
}

static void random_use_keeps_all_contents(void **state) {
  enum { SLOTS = 500, STEPS = 100000 };
  static struct {
    unsigned char *p;
    size_t n;
  } slots[SLOTS];
  tl_alloc *a = *state;
  uint64_t random = 20240229;
  const char *seed = getenv("TIDELOCK_SEED");
  if (seed) random = strtoull(seed, NULL, 10);
  print_message("seed: TIDELOCK_SEED=%llu\n", (unsigned long long)random);
  size_t used = 0;
  for (int step = 0; step < STEPS; step++) {
    unsigned i = (unsigned)(next_random(&random) % SLOTS);
    size_t n = random_size(&random);
    if (!slots[i].p) {
      slots[i].p = get(a, n);
    } else if (next_random(&random) % 2) {
      size_t kept = slots[i].n < n ? slots[i].n : n;
      slots[i].p = tl_alloc_run(a, slots[i].p, slots[i].n, n);
      check(slots[i].p, kept, i);
      used -= slots[i].n;
    } else {
      check(slots[i].p, slots[i].n, i);
      put(a, slots[i].p, slots[i].n);
      used -= slots[i].n;
      slots[i].p = NULL;
      continue;
    }
    assert_non_null(slots[i].p);
    slots[i].n = n;
    fill(slots[i].p, n, i);
    used += n;
    assert_int_equal(a->used, used);
  }
  for (unsigned i = 0; i < SLOTS; i++) {
    if (!slots[i].p) continue;
    check(slots[i].p, slots[i].n, i);
    put(a, slots[i].p, slots[i].n);
    slots[i].p = NULL;
  }
  assert_int_equal(a->used, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(blocks_are_aligned_and_apart, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(freeing_nothing_is_allowed, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(the_kind_of_a_new_object_is_not_counted,
                                      setup, teardown),
      cmocka_unit_test_setup_teardown(resizing_keeps_the_contents, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(a_freed_block_is_used_again, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(the_limit_holds_and_changes_nothing,
                                      setup, teardown),
      cmocka_unit_test_setup_teardown(shrinking_works_over_the_limit, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(what_malloc_refuses_fails, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(random_use_keeps_all_contents, setup,
                                      teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

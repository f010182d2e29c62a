/* ring_test.c - messages in shared memory: against a simple model, through
 * growing and shrinking, and with a putter that is killed at any moment. */
#include "dying.h"

#include <sys/stat.h>

#include "ipc/ring.h"

#define BEGIN 4096
#define MOST ((uint64_t)1 << 20)
#define STEPS (OS_SANITIZED ? 40000 : 200000)
#define KILLS (OS_SANITIZED ? 50 : 300)

typedef struct Queue {
  os_segment s;
  ipc_ring *ring;
} Queue;

static Queue make(uint64_t limit) {
  Queue q;
  assert_int_equal(os_segment_create(&q.s, "ring_test", BEGIN + IPC_RING_LEAST),
                   0);
  assert_int_equal(ipc_ring_init(q.s.memory, BEGIN, limit), 0);
  assert_int_equal(ipc_ring_map(&q.s, 0), 0);
  q.ring = q.s.memory;
  return q;
}

static int put_size(Queue *q, const void *p, uint64_t size) {
  /* In two parts, as a header and a body come. */
  uint64_t first = size / 3;
  struct iovec parts[2] = {{(char *)p, first},
                           {(char *)p + first, size - first}};
  int err = ipc_ring_put(q->ring, &q->s, parts, 2);
  if (err != -EAGAIN) return err;
  err = ipc_ring_grow(q->ring, &q->s, size);
  return err ? err : ipc_ring_put(q->ring, &q->s, parts, 2);
}

/* The byte at place i of message number n. */
static unsigned char expected(uint64_t n, uint64_t i) {
  return (unsigned char)(n * 31 + i * 7 + (i >> 8));
}

static int put(Queue *q, uint64_t n, uint64_t size) {
  unsigned char *p = malloc(size + 1);
  for (uint64_t i = 0; i < size; i++)
    p[i] = expected(n, i);
  int err = put_size(q, p, size);
  free(p);
  return err;
}

static void take(Queue *q, uint64_t n, uint64_t size) {
  uint64_t there;
  assert_true(ipc_ring_peek(q->ring, &q->s, &there));
  assert_int_equal(there, size);
  unsigned char *p = malloc(size + 1);
  ipc_ring_copy(q->ring, &q->s, p, size);
  for (uint64_t i = 0; i < size; i++)
    if (p[i] != expected(n, i)) fail_msg("message %d, byte %d", (int)n, (int)i);
  free(p);
  ipc_ring_drop(q->ring, &q->s);
}

static void test_messages_come_in_order(void **state) {
  (void)state;
  Queue q = make(MOST);
  static const uint64_t sizes[] = {0, 1, 7, 8, 9, 4095, 4096, 65527, 65528};
  const int n = sizeof sizes / sizeof *sizes;
  uint64_t size;
  assert_false(ipc_ring_peek(q.ring, &q.s, &size));
  for (int i = 0; i < n; i++)
    assert_int_equal(put(&q, i, sizes[i]), 0);
  assert_int_equal(ipc_ring_count(q.ring), n);
  assert_int_equal(ipc_ring_put_number(q.ring), n);
  for (int i = 0; i < n; i++)
    take(&q, i, sizes[i]);
  assert_int_equal(ipc_ring_count(q.ring), 0);
  assert_int_equal(ipc_ring_taken_number(q.ring), n);
  os_segment_close(&q.s);
}

static void test_the_limit_holds(void **state) {
  (void)state;
  Queue q = make(MOST - 1000); /* rounded up */
  assert_int_equal(put(&q, 0, MOST), -EMSGSIZE);
  assert_int_equal(put(&q, 0, MOST - 8), 0);
  assert_int_equal(put(&q, 1, 0), -ENOSPC);
  take(&q, 0, MOST - 8);
  assert_int_equal(put(&q, 1, 0), 0);
  take(&q, 1, 0);
  os_segment_close(&q.s);
}

static void test_wrong_rings_are_refused(void **state) {
  (void)state;
  os_segment s;
  assert_int_equal(os_segment_create(&s, "no ring", 8192), 0);
  assert_int_equal(ipc_ring_map(&s, 0), -EINVAL);
  assert_int_equal(ipc_ring_map(&s, 8192), -EINVAL);
  os_segment_close(&s);
}

/* Any sequence of puts and takes gives what a list of the sizes gives. */
static void test_like_a_list(void **state) {
  (void)state;
  unsigned seed = (unsigned)random_seed();
  Queue q = make(MOST);
  static uint64_t sizes[STEPS];
  uint64_t putted = 0, taken = 0;
  for (int i = 0; i < STEPS; i++) {
    uint64_t most = i % 5000 < 100 ? 100000 : i % 1000 < 500 ? 2000 : 40;
    uint64_t size = (uint64_t)rand_r(&seed) % most;
    if (rand_r(&seed) % 100 < (i / 10000 % 2 ? 40 : 60)) {
      int err = put(&q, putted, size);
      if (err == 0)
        sizes[putted++] = size;
      else
        assert_int_equal(err, -ENOSPC);
    } else if (taken < putted) {
      take(&q, taken, sizes[taken]);
      taken++;
    }
    assert_int_equal(ipc_ring_count(q.ring), putted - taken);
  }
  while (taken < putted) {
    take(&q, taken, sizes[taken]);
    taken++;
  }
  os_segment_close(&q.s);
}

static uint64_t memory_of(const Queue *q) {
  struct stat st;
  assert_int_equal(fstat(q->s.fd, &st), 0);
  return (uint64_t)st.st_blocks * 512;
}

static void test_a_calm_ring_gives_its_memory_back(void **state) {
  (void)state;
  Queue q = make(MOST);
  assert_int_equal(put(&q, 0, MOST / 2), 0);
  take(&q, 0, MOST / 2);
  uint64_t large = memory_of(&q);
  assert_false(ipc_ring_is_loose(q.ring));
  uint64_t n = 1;
  for (; n < 10000 && !ipc_ring_is_loose(q.ring); n++) {
    assert_int_equal(put(&q, n, 100), 0);
    take(&q, n, 100);
  }
  assert_true(ipc_ring_is_loose(q.ring));
  ipc_ring_shrink(q.ring, &q.s);
  assert_true(memory_of(&q) < large / 2);
  assert_int_equal(put(&q, n, MOST / 2), 0); /* it grows again */
  take(&q, n, MOST / 2);
  os_segment_close(&q.s);
}

/* Puts without end; a full ring waits for the taker. */
static void put_for_ever(Queue *q) {
  unsigned seed = 7;
  for (uint64_t n = 0;; n++) {
    uint64_t size = 8 + (uint64_t)rand_r(&seed) % 5000;
    while (put(q, n, size) != 0) {
    }
  }
}

/* What a killed putter leaves is the beginning of what it put, each message
 * whole; the ring can be used on. */
static void test_a_killed_putter_leaves_whole_messages(void **state) {
  (void)state;
  unsigned seed = (unsigned)random_seed();
  for (int round = 0; round < KILLS; round++) {
    Queue q = make(MOST);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) put_for_ever(&q);
    int64_t until = os_now() + rand_r(&seed) % 2000000;
    while (os_now() < until) {
    }
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    unsigned sizes = 7;
    uint64_t size;
    uint64_t n = 0;
    for (; ipc_ring_peek(q.ring, &q.s, &size); n++)
      take(&q, n, 8 + (uint64_t)rand_r(&sizes) % 5000);
    assert_int_equal(put(&q, n, 3000), 0);
    take(&q, n, 3000);
    os_segment_close(&q.s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_messages_come_in_order),
      cmocka_unit_test(test_the_limit_holds),
      cmocka_unit_test(test_wrong_rings_are_refused),
      cmocka_unit_test(test_like_a_list),
      cmocka_unit_test(test_a_calm_ring_gives_its_memory_back),
      cmocka_unit_test(test_a_killed_putter_leaves_whole_messages),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* channel_test.c - messages between processes that are killed at any moment:
 * nobody waits for ever, no message is torn, none comes twice, each producer's
 * come in its order, and at most the one that a dead consumer was taking is
 * lost. */
#include "ipc/channel.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "os.h"

#define LIMIT ((uint64_t)1 << 20)
#define PRODUCERS 2
#define CONSUMERS 2
#define PROCESSES (PRODUCERS + CONSUMERS)
#define KILLS (OS_SANITIZED ? 300 : 3000)
#define MOST 20000000 /* messages of a producer */
#define LONGEST 600   /* bytes */

typedef struct Message {
  uint64_t number; /* of its producer */
  uint32_t producer, size;
  unsigned char body[LONGEST];
} Message;

/* What all of them write, and the test reads. */
typedef struct Board {
  _Atomic uint64_t begun[PRODUCERS]; /* puts */
  _Atomic uint64_t ended[PRODUCERS];
  _Atomic uint64_t got; /* messages */
  _Atomic uint32_t torn, disorder, twice;
  _Atomic uint64_t key[CONSUMERS]; /* what each was about to take */
  _Atomic uint32_t current[CONSUMERS];
  atomic_bool stop; /* of the producers */
  _Atomic unsigned char seen[PRODUCERS][MOST];
} Board;

static Board *board;
static ipc_channel channel;

static bool sleep_on(ipc_wait *w) {
  int64_t until = ipc_wait_begin(w, OS_FOREVER);
  os_words_wait(w->word, w->seen, NULL, 0, until);
  ipc_wait_end(w, OS_FOREVER);
  return true;
}

static bool must_wait(int done) {
  return done == IPC_CHANNEL_WAIT || done == IPC_CHANNEL_LOCKED;
}

static int put(const void *p, uint64_t size) {
  ipc_wait w = ipc_wait_start(OS_FOREVER);
  struct iovec parts[2] = {{(void *)p, 16}, {(char *)p + 16, size - 16}};
  uint32_t number;
  int done;
  while (must_wait(done = ipc_channel_put(&channel, &w, parts, 2, 1, &number)))
    sleep_on(&w);
  return done;
}

static int get(Message *m, ipc_mark mark) {
  ipc_wait w = ipc_wait_start(OS_FOREVER);
  int done;
  uint64_t size;
  do {
    size = sizeof *m;
    done = ipc_channel_get(&channel, &w, m, &size, mark);
  } while (must_wait(done) && sleep_on(&w));
  if (done == IPC_CHANNEL_DONE && size != m->size + offsetof(Message, body))
    atomic_fetch_add(&board->torn, 1);
  return done;
}

static unsigned char byte_of(uint64_t number, uint32_t i) {
  return (unsigned char)(number * 31 + (uint64_t)i * 7);
}

static _Noreturn void produce(int me) {
  Message m = {.producer = (uint32_t)me};
  while (!atomic_load(&board->stop)) {
    m.number = atomic_fetch_add(&board->begun[me], 1);
    if (m.number >= MOST) break;
    m.size = (uint32_t)(m.number * 13 % LONGEST);
    for (uint32_t i = 0; i < m.size; i++)
      m.body[i] = byte_of(m.number, i);
    if (put(&m, offsetof(Message, body) + m.size) != 0) abort();
    atomic_fetch_add(&board->ended[me], 1);
  }
  _exit(0);
}

static void check(const Message *m, uint64_t *next) {
  bool whole = m->producer < PRODUCERS && m->number < MOST;
  for (uint32_t i = 0; whole && i < m->size; i++)
    whole = m->body[i] == byte_of(m->number, i);
  if (!whole) {
    atomic_fetch_add(&board->torn, 1);
    return;
  }
  if (m->number < next[m->producer]) atomic_fetch_add(&board->disorder, 1);
  next[m->producer] = m->number + 1;
  if (atomic_fetch_add(&board->seen[m->producer][m->number], 1))
    atomic_fetch_add(&board->twice, 1);
  atomic_fetch_add(&board->got, 1);
}

static _Noreturn void consume(int me) {
  uint64_t next[PRODUCERS] = {0};
  Message m;
  ipc_mark mark = {&board->current[me], &board->key[me]};
  while (get(&m, mark) == IPC_CHANNEL_DONE) {
    if (atomic_load(&board->key[me]) != m.number)
      atomic_fetch_add(&board->torn, 1);
    check(&m, next);
  }
  _exit(0);
}

static pid_t start(int role) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    alarm(120); /* so that nothing that hangs is left */
    if (role < PRODUCERS)
      produce(role);
    else
      consume(role - PRODUCERS);
  }
  return child;
}

static void end(pid_t child) {
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void make(uint32_t maxsize) {
  assert_int_equal(madvise(board, sizeof *board, MADV_REMOVE), 0);
  assert_int_equal(ipc_channel_create(&channel, maxsize, LIMIT, 0), 0);
}

/* Kills any of them at any moment, and starts another in its place. */
static void run_and_kill(uint32_t maxsize, unsigned seed) {
  pid_t pids[PROCESSES];
  uint64_t consumers_killed = 0;
  make(maxsize);
  for (int i = 0; i < PROCESSES; i++)
    pids[i] = start(i);
  for (int round = 0; round < KILLS / 2; round++) {
    int64_t until = os_now() + rand_r(&seed) % 300000;
    while (os_now() < until)
      os_cpu_relax();
    int victim = rand_r(&seed) % PROCESSES;
    kill(pids[victim], SIGKILL);
    assert_int_equal(waitpid(pids[victim], NULL, 0), pids[victim]);
    consumers_killed += victim >= PRODUCERS;
    pids[victim] = start(victim);
  }
  atomic_store(&board->stop, true);
  for (int i = 0; i < PRODUCERS; i++)
    end(pids[i]);
  ipc_channel_end(&channel);
  for (int i = PRODUCERS; i < PROCESSES; i++)
    end(pids[i]);

  uint64_t begun = 0, ended = 0, got = atomic_load(&board->got);
  for (int i = 0; i < PRODUCERS; i++) {
    begun += atomic_load(&board->begun[i]);
    ended += atomic_load(&board->ended[i]);
    assert_true(atomic_load(&board->begun[i]) < MOST);
  }
  print_message("%d killed: %lu put, %lu got\n", KILLS / 2,
                (unsigned long)ended, (unsigned long)got);
  assert_int_equal(atomic_load(&board->torn), 0);
  assert_int_equal(atomic_load(&board->disorder), 0);
  assert_int_equal(atomic_load(&board->twice), 0);
  assert_true(got > 0 && got <= begun);
  assert_true(got + consumers_killed >= ended);
  assert_int_equal(ipc_ring_count(&channel.memory->ring), 0);
  ipc_channel_close(&channel);
}

static void test_killed_at_any_moment(void **state) {
  (void)state;
  run_and_kill(0, 1);
}

static void test_killed_at_any_moment_when_it_is_bounded(void **state) {
  (void)state;
  run_and_kill(3, 2);
}

/* What is put quietly is found without a wake-up, if late; a later put wakes
 * for all. */
static void test_quiet_puts(void **state) {
  (void)state;
  make(0);
  pid_t consumers[CONSUMERS];
  for (int i = 0; i < CONSUMERS; i++)
    consumers[i] = start(PRODUCERS + i);
  Message m = {.size = 0};
  for (m.number = 0; m.number < 2000; m.number++) {
    ipc_wait w = ipc_wait_start(OS_FOREVER);
    struct iovec part = {&m, offsetof(Message, body)};
    uint32_t number;
    int done;
    while ((done = ipc_channel_put(&channel, &w, &part, 1,
                                   m.number % 16 == 15 ? 16 : 0, &number)) ==
           IPC_CHANNEL_WAIT)
      sleep_on(&w);
    assert_int_equal(done, 0);
    assert_int_equal(number, m.number);
  }
  ipc_channel_end(&channel);
  for (int i = 0; i < CONSUMERS; i++)
    end(consumers[i]);
  assert_int_equal(atomic_load(&board->got), 2000);
  assert_int_equal(atomic_load(&board->torn), 0);
  ipc_channel_close(&channel);
}

/* A channel that grows while it is opened is a whole one. */
static void test_opened_while_it_grows(void **state) {
  (void)state;
  for (int round = 0; round < (OS_SANITIZED ? 50 : 500); round++) {
    make(0);
    pid_t producer = fork();
    assert_true(producer >= 0);
    if (producer == 0) {
      static char text[5000];
      for (int i = 0; i < 100; i++)
        put(text, sizeof text);
      _exit(0);
    }
    int err = 0;
    for (int i = 0; i < 20 && !err; i++) {
      ipc_channel other;
      err = ipc_channel_open(&other, dup(channel.segment.fd));
      if (!err) ipc_channel_close(&other);
    }
    end(producer);
    ipc_channel_close(&channel);
    assert_int_equal(err, 0);
  }
}

static void test_what_the_caller_has_for_himself(void **state) {
  (void)state;
  assert_int_equal(ipc_channel_create(&channel, 0, LIMIT, 5000), 0);
  assert_true(ipc_channel_extra_size(&channel) >= 5000);
  unsigned char *mine = ipc_channel_extra(&channel);
  for (int i = 0; i < 5000; i++)
    assert_int_equal(mine[i], 0);
  memset(mine, 0xAA, 5000);
  ipc_channel other;
  assert_int_equal(ipc_channel_open(&other, dup(channel.segment.fd)), 0);
  assert_memory_equal(ipc_channel_extra(&other), mine, 5000);
  ipc_channel_close(&channel);
  channel = other;
  assert_int_equal(put("0123456789abcdefghijklmnopqrstuv", 32), 0);
  assert_int_equal(*((unsigned char *)ipc_channel_extra(&channel) + 4999),
                   0xAA);
  ipc_channel_close(&channel);
}

/* --- Who gives up --------------------------------------------------------- */

static int try_get(ipc_wait *w) {
  Message m;
  uint64_t size = sizeof m;
  return ipc_channel_get(&channel, w, &m, &size, (ipc_mark){NULL, NULL});
}

static int try_put(ipc_wait *w) {
  struct iovec part = {"message", 7};
  uint32_t number;
  return ipc_channel_put(&channel, w, &part, 1, 1, &number);
}

/* The last try finds the lock held: then another sleeper of 'word' is woken. */
static void give_up(int (*try)(ipc_wait *), ipc_wait *w, ipc_lockword *lock,
                    atomic_uint *word) {
  assert_true(ipc_lockword_take_free(lock));
  w->slept = w->last = true;
  assert_int_equal(try(w), IPC_CHANNEL_LOCKED);
  unsigned before = atomic_load(word);
  ipc_channel_quit(&channel, w);
  assert_int_not_equal(atomic_load(word), before);
  assert_true(ipc_lockword_release(lock));
}

static void test_a_wake_up_is_passed_on(void **state) {
  (void)state;
  ipc_wait getter = ipc_wait_start(OS_FOREVER), putter = getter, other = getter;
  make(1);
  ipc_channel_memory *m = channel.memory;
  assert_int_equal(try_get(&getter), IPC_CHANNEL_WAIT);
  assert_int_equal(try_put(&other), IPC_CHANNEL_DONE);
  give_up(try_get, &getter, &m->taking, &m->items);
  assert_int_equal(try_put(&putter), IPC_CHANNEL_WAIT);
  assert_int_equal(try_get(&other), IPC_CHANNEL_DONE);
  give_up(try_put, &putter, &m->putting, &m->space);
  assert_int_equal(atomic_load(&m->getters) + atomic_load(&m->putters), 0);
  ipc_channel_close(&channel);
}

/* A putter that waited for room, and has waited long, finds some: the lock that
 * it needed to make more is not kept for it. */
static void test_a_turn_that_is_not_needed_is_passed_on(void **state) {
  (void)state;
  const uint64_t reserved = 2;
  make(0);
  ipc_channel_memory *m = channel.memory;
  ipc_wait getter = ipc_wait_start(OS_FOREVER), putter = getter;
  putter.word = ipc_low_half(&m->taking);
  putter.slept = putter.patient = true;
  atomic_store(&m->taking, reserved);
  assert_int_equal(try_put(&putter), IPC_CHANNEL_DONE);
  assert_int_equal(try_get(&getter), IPC_CHANNEL_DONE);
  ipc_channel_close(&channel);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_the_caller_has_for_himself),
      cmocka_unit_test(test_opened_while_it_grows),
      cmocka_unit_test(test_quiet_puts),
      cmocka_unit_test(test_a_wake_up_is_passed_on),
      cmocka_unit_test(test_a_turn_that_is_not_needed_is_passed_on),
      cmocka_unit_test(test_killed_at_any_moment),
      cmocka_unit_test(test_killed_at_any_moment_when_it_is_bounded),
  };
  board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (board == MAP_FAILED) return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}

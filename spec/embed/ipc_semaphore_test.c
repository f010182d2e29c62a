/* ipc_semaphore_test.c - permits between processes: none is lost or made by a
 * death at any instruction. */
#include "dying.h"

#include "ipc/semaphore.h"

static ipc_outcome try(void *object, ipc_wait *w) {
  return ipc_semaphore_try(object, w);
}

static void quit(void *object) {
  ipc_semaphore_quit(object);
}

static ipc_outcome take(ipc_semaphore *s, int64_t timeout) {
  return await(try, quit, s, timeout);
}

static void permits_are_counted(void **state) {
  (void)state;
  ipc_semaphore s;
  assert_int_equal(ipc_semaphore_create(&s, 2, 2), 0);
  assert_int_equal(ipc_semaphore_value(&s), 2);
  assert_int_equal(take(&s, 0), IPC_TAKEN);
  assert_int_equal(take(&s, LIMIT), IPC_TAKEN);
  assert_int_equal(take(&s, 0), IPC_BUSY);
  assert_int_equal(take(&s, 5000000), IPC_BUSY);
  assert_int_equal(ipc_semaphore_release(&s, 3), -EOVERFLOW);
  assert_int_equal(ipc_semaphore_value(&s), 0);
  assert_int_equal(ipc_semaphore_release(&s, 2), 0);
  assert_int_equal(ipc_semaphore_release(&s, 1), -EOVERFLOW);
  assert_int_equal(ipc_semaphore_value(&s), 2);
  ipc_semaphore_close(&s);
}

/* Whoever was refused and does not sleep yet is woken all the same: a permit
 * that came and went meanwhile has moved the word. */
static void who_is_about_to_sleep_is_not_forgotten(void **state) {
  (void)state;
  ipc_semaphore s;
  ipc_wait w = ipc_wait_start(OS_FOREVER);
  assert_int_equal(ipc_semaphore_create(&s, 1, 1), 0);
  assert_int_equal(take(&s, 0), IPC_TAKEN);
  assert_int_equal(ipc_semaphore_try(&s, &w), IPC_BUSY);
  assert_int_equal(atomic_load(w.word), w.seen);
  assert_int_equal(ipc_semaphore_release(&s, 1), 0);
  assert_int_equal(take(&s, 0), IPC_TAKEN);
  assert_int_not_equal(atomic_load(w.word), w.seen);
  ipc_semaphore_close(&s);
}

/* The numbers of a slot's changes start again. */
static void many_changes(void **state) {
  (void)state;
  ipc_semaphore s, other;
  assert_int_equal(ipc_semaphore_create(&s, 1, 1), 0);
  assert_int_equal(ipc_semaphore_open(&other, dup(s.segment.fd)), 0);
  for (int i = 0; i < (OS_SANITIZED ? 300000 : 5000000); i++) {
    ipc_semaphore *which = i % 1000 == 0 ? &other : &s;
    if (take(which, 0) != IPC_TAKEN || ipc_semaphore_release(which, 1) != 0)
      fail();
  }
  assert_int_equal(ipc_semaphore_value(&s), 1);
  ipc_semaphore_close(&other);
  ipc_semaphore_close(&s);
}

static void take_two_and_sleep(void *arg) {
  take(arg, LIMIT);
  take(arg, LIMIT);
  pause();
}

static void take_two_and_leave(void *arg) {
  take(arg, LIMIT);
  take(arg, LIMIT);
  ipc_leave_all();
}

static void the_deads_permits_return(void **state) {
  (void)state;
  ipc_semaphore s;
  if (!FORKS) return;
  assert_int_equal(ipc_semaphore_create(&s, 3, 3), 0);
  assert_int_equal(take(&s, 0), IPC_TAKEN);
  pid_t pid = fork_into(take_two_and_sleep, &s);
  while (ipc_semaphore_value(&s) > 0)
    sleep_ns(100000);
  assert_int_equal(take(&s, 5000000), IPC_BUSY);
  kill(pid, SIGKILL);
  reap(pid);
  sleep_ns(2 * IPC_LOOK_FIRST);
  assert_int_equal(take(&s, 0), IPC_TAKEN);
  assert_int_equal(ipc_semaphore_value(&s), 1);
  assert_int_equal(ipc_semaphore_release(&s, 2), 0);
  reap(fork_into(take_two_and_leave, &s));
  assert_int_equal(ipc_semaphore_value(&s), 1);
  ipc_semaphore_close(&s);
}

static void take_one_and_leave(void *arg) {
  if (take(arg, LIMIT) != IPC_TAKEN) _exit(1);
  ipc_leave_all();
}

static void take_one_and_die(void *arg) {
  if (take(arg, LIMIT) != IPC_TAKEN) _exit(1);
  kill(getpid(), SIGKILL);
}

static void slots_are_used_again(void **state) {
  (void)state;
  ipc_semaphore s;
  const int n = IPC_SEMAPHORE_SLOTS + 20, leave = 20;
  if (!FORKS) return;
  assert_int_equal(ipc_semaphore_create(&s, n, n), 0);
  for (int i = 0; i < n; i++) {
    reap(fork_into(take_one_and_die, &s));
    if (i < leave) reap(fork_into(take_one_and_leave, &s));
  }
  assert_int_equal(ipc_semaphore_value(&s), n - leave);
  ipc_semaphore_close(&s);
}

/* One that finds no slot changes nothing. */
static void the_table_has_an_end(void **state) {
  (void)state;
  ipc_semaphore s;
  assert_int_equal(ipc_semaphore_create(&s, 1, 2), 0);
  for (int i = 0; i < IPC_SEMAPHORE_SLOTS; i++)
    atomic_store(&s.memory->slots[i].who, ipc_self()); /* as other handles */
  assert_int_equal(take(&s, 0), IPC_FULL);
  assert_int_equal(take(&s, LIMIT), IPC_FULL);
  assert_int_equal(ipc_semaphore_release(&s, 1), -ENOSPC);
  assert_int_equal(ipc_semaphore_value(&s), 1);
  atomic_store(&s.memory->slots[5].who, 0);
  assert_int_equal(take(&s, 0), IPC_TAKEN);
  ipc_semaphore_close(&s);
}

/* --- Every instruction ---------------------------------------------------- */

static void use_it(void *arg) {
  ipc_semaphore *s = arg;
  take(s, LIMIT);
  take(s, LIMIT);
  ipc_semaphore_release(s, 2);
  take(s, 0);
  ipc_semaphore_release(s, 1);
}

static void all_are_there(void *arg) {
  ipc_semaphore *s = arg;
  /* A change over the dead one's, before anybody looks after the dead. */
  if (take(s, 0) == IPC_TAKEN) ipc_semaphore_release(s, 1);
  assert_int_equal(ipc_semaphore_value(s), 3);
  for (int i = 0; i < 3; i++)
    assert_int_equal(take(s, LIMIT), IPC_TAKEN);
  assert_int_equal(take(s, 0), IPC_BUSY);
  assert_int_equal(ipc_semaphore_release(s, 3), 0);
}

static void stay_in_the_middle(void *arg) {
  ipc_semaphore *s = arg;
  take(s, LIMIT);
  pause();
}

typedef struct recovery {
  ipc_semaphore s;
  int killed;
} recovery;

/* Finds what somebody else left, and dies over it. */
static void recover(void *arg) {
  recovery *r = arg;
  ipc_semaphore_value(&r->s);
}

static void prepare_dead(recovery *r) {
  pid_t pid = fork_into(stay_in_the_middle, &r->s);
  while ((uint32_t)r->s.memory->state == 3)
    sleep_ns(50000);
  kill(pid, SIGKILL);
  reap(pid);
}

static void all_are_recovered(void *arg) {
  recovery *r = arg;
  assert_int_equal(ipc_semaphore_value(&r->s), 3);
  prepare_dead(r);
}

static void join_dead_slot(void *arg) {
  recovery *r = arg;
  if (take(&r->s, LIMIT) == IPC_TAKEN) ipc_semaphore_release(&r->s, 1);
  ipc_leave_all();
}

static void a_death_at_any_instruction_keeps_the_count(void **state) {
  (void)state;
  ipc_semaphore s;
  recovery r;
  if (!FORKS) return;
  assert_int_equal(ipc_semaphore_create(&s, 3, 3), 0);
  int deaths = die_everywhere(use_it, all_are_there, &s);
  if (deaths < 0) skip();
  printf("semaphore: %d deaths\n", deaths);
  assert_int_equal(ipc_semaphore_create(&r.s, 3, 3), 0);
  prepare_dead(&r);
  deaths = die_everywhere(recover, all_are_recovered, &r);
  printf("recovery: %d deaths\n", deaths);
  deaths = die_everywhere(join_dead_slot, all_are_recovered, &r);
  printf("joining: %d deaths\n", deaths);
  ipc_semaphore_close(&r.s);
  ipc_semaphore_close(&s);
}

/* --- Random deaths -------------------------------------------------------- */

typedef struct field {
  ipc_semaphore s;
  struct {
    atomic_long done, late;
  } * seen;
} field;

static void hammer(void *arg, int i) {
  field *f = arg;
  (void)i;
  for (;;) {
    if (take(&f->s, LIMIT) != IPC_TAKEN) f->seen->late++;
    f->seen->done++;
    for (volatile int n = 0; n < 100; n++) {
    }
    ipc_semaphore_release(&f->s, 1);
  }
}

static void random_deaths_keep_the_count(void **state) {
  (void)state;
  field f;
  if (!FORKS) return;
  f.seen = shared_page(sizeof *f.seen);
  storm s = {
      .body = hammer, .arg = &f, .seed = random_seed(), .least = LEAST / 10};
  for (int round = 0; round < 10; round++) {
    uint32_t n = 1 + round % 3;
    assert_int_equal(ipc_semaphore_create(&f.s, n, n + round % 2), 0);
    storm_run(&s, SECOND / 5);
    storm_end(&s);
    assert_int_equal(ipc_semaphore_value(&f.s), n);
    for (uint32_t i = 0; i < n; i++)
      assert_int_equal(take(&f.s, LIMIT), IPC_TAKEN);
    ipc_semaphore_close(&f.s);
  }
  printf("semaphore: %d kills, %ld times taken\n", s.kills, f.seen->done);
  assert_int_equal(f.seen->late, 0);
  assert_true(f.seen->done > s.kills);
  munmap(f.seen, sizeof *f.seen);
}

/* --- Threads ---------------------------------------------------------------
 */

/* The thread sanitizer knows addresses: the threads have copies of one handle,
 * over the same memory. */
typedef struct shared_count {
  const ipc_semaphore *semaphore;
  long count; /* by who has the permit */
} shared_count;

static void *count_up(void *arg) {
  shared_count *c = arg;
  ipc_semaphore s = *c->semaphore;
  for (int i = 0; i < 20000; i++) {
    take(&s, LIMIT);
    c->count++;
    ipc_semaphore_release(&s, 1);
  }
  ipc_leave(&s.member);
  return NULL;
}

static void threads_exclude_each_other(void **state) {
  (void)state;
  ipc_semaphore s;
  assert_int_equal(ipc_semaphore_create(&s, 1, 1), 0);
  shared_count c = {.semaphore = &s};
  in_threads(count_up, &c);
  assert_int_equal(c.count, 80000);
  assert_int_equal(ipc_semaphore_value(&s), 1);
  ipc_semaphore_close(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(permits_are_counted),
      cmocka_unit_test(who_is_about_to_sleep_is_not_forgotten),
      cmocka_unit_test(many_changes),
      cmocka_unit_test(the_deads_permits_return),
      cmocka_unit_test(slots_are_used_again),
      cmocka_unit_test(the_table_has_an_end),
      cmocka_unit_test(a_death_at_any_instruction_keeps_the_count),
      cmocka_unit_test(random_deaths_keep_the_count),
      cmocka_unit_test(threads_exclude_each_other),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

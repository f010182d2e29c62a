/* ipc_barrier_test.c - a barrier between processes: after a death at any
 * instruction it is whole or broken, and nobody waits for ever. */
#include "dying.h"

#include "ipc/barrier.h"

static ipc_outcome try_guard(void *object, ipc_wait *w) {
  return ipc_barrier_guard(object, w);
}

static void guard(ipc_barrier *b) {
  assert_int_equal(await(try_guard, NULL, b, LIMIT), IPC_TAKEN);
}

/* Waits as the binding does; IPC_BUSY: the time passed, and it just left. */
static ipc_outcome pass(ipc_barrier *b, int64_t timeout, bool breaks,
                        uint32_t *index) {
  int record;
  int64_t deadline = os_deadline(timeout);
  guard(b);
  ipc_outcome outcome = ipc_barrier_arrive(b, false, &record, index);
  ipc_barrier_unguard(b);
  if (outcome != IPC_BUSY) return outcome;
  ipc_wait w = ipc_wait_start(deadline);
  bool wants_guard;
  while (ipc_barrier_try(b, record, &w, &wants_guard) == IPC_BUSY) {
    if (wants_guard) {
      guard(b);
      ipc_barrier_look(b);
      ipc_barrier_unguard(b);
    } else if (w.last) {
      break;
    } else {
      int64_t until = ipc_wait_begin(&w, deadline);
      os_words_wait(w.word, w.seen, NULL, 0, until);
      ipc_wait_end(&w, deadline);
    }
  }
  guard(b);
  outcome = ipc_barrier_end(b, record, w.last && breaks, index);
  ipc_barrier_unguard(b);
  return outcome;
}

/* The thread sanitizer knows addresses: the threads have copies of one handle,
 * over the same memory. */
typedef struct round_of {
  const ipc_barrier *barrier;
  uint32_t n;
  atomic_uint arrived[200], indices[200];
  atomic_int wrong;
  long unguarded[8]; /* one slot each, read by all after a pass */
  atomic_int names;
} round_of;

static void *go_round(void *arg) {
  round_of *r = arg;
  ipc_barrier b = *r->barrier;
  int me = r->names++;
  for (int i = 0; i < 200; i++) {
    uint32_t index = 99;
    r->arrived[i]++;
    r->unguarded[me] = i;
    if (pass(&b, LIMIT, true, &index) != IPC_TAKEN) r->wrong++;
    for (uint32_t j = 0; j < r->n; j++)
      if (r->unguarded[j] != i) r->wrong++;
    r->indices[i] |= 1U << index;
    if (r->arrived[i] != r->n) r->wrong++;
    if (pass(&b, LIMIT, true, &index) != IPC_TAKEN) r->wrong++;
  }
  ipc_leave(&b.member);
  return NULL;
}

static void each_thread_has_an_index_and_nobody_laps(void **state) {
  (void)state;
  ipc_barrier b;
  assert_int_equal(ipc_barrier_create(&b, 4), 0);
  round_of *r = calloc(1, sizeof *r);
  r->barrier = &b;
  r->n = 4;
  in_threads(go_round, r);
  assert_int_equal(r->wrong, 0);
  for (int i = 0; i < 200; i++)
    assert_int_equal(r->indices[i], 15);
  assert_false(ipc_barrier_is_broken(&b));
  free(r);
  ipc_barrier_close(&b);
}

static void a_timeout_breaks_it_until_reset(void **state) {
  (void)state;
  ipc_barrier b;
  uint32_t index;
  assert_int_equal(ipc_barrier_create(&b, 2), 0);
  assert_int_equal(pass(&b, 2000000, false, &index), IPC_BUSY);
  assert_false(ipc_barrier_is_broken(&b));
  assert_int_equal(pass(&b, 2000000, true, &index), IPC_BROKEN);
  assert_true(ipc_barrier_is_broken(&b));
  assert_int_equal(pass(&b, LIMIT, true, &index), IPC_BROKEN);
  guard(&b);
  ipc_barrier_reset(&b);
  ipc_barrier_unguard(&b);
  assert_false(ipc_barrier_is_broken(&b));
  assert_int_equal(ipc_barrier_waiting(&b), 0);
  ipc_barrier_close(&b);
}

/* One that finds no record has not come. */
static void the_table_has_an_end(void **state) {
  (void)state;
  ipc_barrier b;
  uint32_t index;
  assert_int_equal(ipc_barrier_create(&b, 2), 0);
  b.memory->used = IPC_BARRIER_RECORDS;
  for (int i = 0; i < IPC_BARRIER_RECORDS; i++)
    atomic_store(&b.memory->records[i].who, ipc_self()); /* as other handles */
  assert_int_equal(pass(&b, LIMIT, true, &index), IPC_FULL);
  atomic_store(&b.memory->records[5].who,
               0); /* for the process, not the wait */
  assert_int_equal(pass(&b, LIMIT, true, &index), IPC_FULL);
  assert_int_equal(ipc_barrier_waiting(&b), 0);
  assert_false(ipc_barrier_is_broken(&b));
  atomic_store(&b.memory->records[6].who, 0);
  assert_int_equal(pass(&b, 2000000, false, &index), IPC_BUSY);
  ipc_barrier_close(&b);
}

typedef struct meeting {
  ipc_barrier b;
  atomic_int *go;
  int broke, passed;
} meeting;

static void meet_once(void *arg) {
  meeting *m = arg;
  uint32_t index;
  if (pass(&m->b, LIMIT, true, &index) != IPC_TAKEN) _exit(1);
}

static void meet_and_die(void *arg) {
  meet_once(arg);
  kill(getpid(), SIGKILL);
}

static void meet_and_leave(void *arg) {
  meet_once(arg);
  ipc_leave_all();
}

static void only_a_death_breaks_it(void **state) {
  (void)state;
  meeting m;
  uint32_t index;
  if (!FORKS) return;
  assert_int_equal(ipc_barrier_create(&m.b, 2), 0);
  pid_t pid = fork_into(meet_and_leave, &m);
  assert_int_equal(pass(&m.b, LIMIT, true, &index), IPC_TAKEN);
  reap(pid);
  assert_int_equal(pass(&m.b, 30000000, false, &index), IPC_BUSY);
  assert_false(ipc_barrier_is_broken(&m.b));
  pid = fork_into(meet_and_die, &m);
  assert_int_equal(pass(&m.b, LIMIT, true, &index), IPC_TAKEN);
  reap(pid);
  assert_int_equal(pass(&m.b, LIMIT, false, &index), IPC_BROKEN);
  guard(&m.b);
  ipc_barrier_reset(&m.b);
  ipc_barrier_unguard(&m.b);
  assert_int_equal(pass(&m.b, 30000000, false, &index), IPC_BUSY);
  ipc_barrier_close(&m.b);
}

static void die_under_the_guard(void *arg) {
  guard(&((meeting *)arg)->b);
  kill(getpid(), SIGKILL);
}

/* Also of somebody who has not taken part: it may have been half way through a
 * reset. */
static void a_death_under_the_guard_breaks_it(void **state) {
  (void)state;
  meeting m;
  uint32_t index;
  if (!FORKS) return;
  assert_int_equal(ipc_barrier_create(&m.b, 2), 0);
  reap(fork_into(die_under_the_guard, &m));
  ipc_wait w = ipc_wait_start(OS_FOREVER);
  assert_int_equal(ipc_barrier_guard(&m.b, &w), IPC_BUSY);
  assert_int_equal(pass(&m.b, LIMIT, false, &index), IPC_BROKEN);
  assert_int_equal(ipc_barrier_guard(&m.b, &w), IPC_TAKEN);
  ipc_barrier_unguard(&m.b);
  ipc_barrier_close(&m.b);
}

/* --- Every instruction ---------------------------------------------------- */

static void come_and_go(void *arg) {
  meeting *m = arg;
  uint32_t index;
  pass(&m->b, 1, false, &index);
}

/* Whoever comes next finds it broken in time, or whole: then another one makes
 * it pass. */
static void whole_or_broken(void *arg) {
  meeting *m = arg;
  uint32_t index;
  ipc_outcome outcome = pass(&m->b, 20000000, false, &index);
  assert_true(outcome == IPC_BROKEN || outcome == IPC_BUSY);
  if (outcome == IPC_BROKEN) {
    m->broke++;
    guard(&m->b);
    ipc_barrier_reset(&m->b);
    ipc_barrier_unguard(&m->b);
  }
  pid_t pid = fork_into(meet_and_leave, m);
  assert_int_equal(pass(&m->b, LIMIT, true, &index), IPC_TAKEN);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  m->passed++;
}

/* The last to come: the other one passes or is told. */
static void come_last(void *arg) {
  meeting *m = arg;
  uint32_t index;
  pass(&m->b, LIMIT, true, &index);
  ipc_leave_all();
}

static void *wait_for_the_last(void *arg) {
  meeting *m = arg;
  uint32_t index;
  pass(&m->b, LIMIT, true, &index);
  return NULL;
}

static void a_death_at_any_instruction_leaves_it_whole_or_broken(void **state) {
  (void)state;
  meeting m = {.broke = 0};
  if (!FORKS) return;
  assert_int_equal(ipc_barrier_create(&m.b, 2), 0);
  int deaths = die_everywhere(come_and_go, whole_or_broken, &m);
  if (deaths < 0) skip();
  printf("barrier: %d deaths, broken after %d\n", deaths, m.broke);
  assert_true(m.passed == deaths + 1);
  ipc_barrier_close(&m.b);
}

static void wait_in_it(void *arg) {
  wait_for_the_last(arg);
}

typedef struct last {
  meeting m;
  pid_t waiter;
  int ended;
} last;

static void arrange(last *l) {
  l->waiter = fork_into(wait_in_it, &l->m);
  while (ipc_barrier_waiting(&l->m.b) == 0)
    sleep_ns(50000);
}

static void die_as_the_last(void *arg) {
  come_last(&((last *)arg)->m);
}

/* The one that waited ends: it passed, or the barrier broke. If nobody had come
 * yet this process does. */
static void the_other_ends(void *arg) {
  last *l = arg;
  uint32_t index;
  int status;
  pass(&l->m.b, 20000000, false, &index);
  assert_int_equal(waitpid(l->waiter, &status, 0), l->waiter);
  assert_int_equal(status, 0);
  l->ended++;
  guard(&l->m.b);
  ipc_barrier_reset(&l->m.b);
  ipc_barrier_unguard(&l->m.b);
  arrange(l);
}

static void the_last_may_die(void **state) {
  (void)state;
  last l = {.ended = 0};
  if (!FORKS) return;
  assert_int_equal(ipc_barrier_create(&l.m.b, 2), 0);
  arrange(&l);
  int deaths = die_everywhere(die_as_the_last, the_other_ends, &l);
  kill(l.waiter, SIGKILL);
  reap(l.waiter);
  if (deaths < 0) skip();
  printf("the last one: %d deaths\n", deaths);
  ipc_barrier_close(&l.m.b);
}

/* --- Random deaths -------------------------------------------------------- */

typedef struct field {
  ipc_barrier b;
  struct {
    atomic_long passed, broken, late;
  } * seen;
} field;

static void meet_again_and_again(void *arg, int i) {
  field *f = arg;
  (void)i;
  for (;;) {
    uint32_t index;
    int64_t start = os_now();
    ipc_outcome outcome = pass(&f->b, LIMIT, true, &index);
    if (os_now() - start > LIMIT / 2) f->seen->late++;
    if (outcome == IPC_TAKEN) f->seen->passed++;
    if (outcome != IPC_BROKEN) continue;
    f->seen->broken++;
    guard(&f->b);
    if (ipc_barrier_is_broken(&f->b)) ipc_barrier_reset(&f->b);
    ipc_barrier_unguard(&f->b);
  }
}

static void random_deaths_break_it(void **state) {
  (void)state;
  field f;
  if (!FORKS) return;
  f.seen = shared_page(sizeof *f.seen);
  assert_int_equal(ipc_barrier_create(&f.b, 3), 0);
  storm s = {.body = meet_again_and_again,
             .arg = &f,
             .seed = random_seed(),
             .least = LEAST};
  storm_run(&s, 2 * SECOND);
  long passed = f.seen->passed; /* those who live still meet */
  int64_t deadline = os_deadline(LIMIT);
  while (f.seen->passed < passed + 20 && os_now() < deadline)
    sleep_ns(1000000);
  assert_true(f.seen->passed >= passed + 20);
  storm_end(&s);
  printf("barrier: %d kills, passed %ld times, broken %ld times\n", s.kills,
         f.seen->passed, f.seen->broken);
  assert_int_equal(f.seen->late, 0);
  munmap(f.seen, sizeof *f.seen);
  ipc_barrier_close(&f.b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_thread_has_an_index_and_nobody_laps),
      cmocka_unit_test(a_timeout_breaks_it_until_reset),
      cmocka_unit_test(the_table_has_an_end),
      cmocka_unit_test(only_a_death_breaks_it),
      cmocka_unit_test(a_death_under_the_guard_breaks_it),
      cmocka_unit_test(a_death_at_any_instruction_leaves_it_whole_or_broken),
      cmocka_unit_test(the_last_may_die),
      cmocka_unit_test(random_deaths_break_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* ipc_condition_test.c - notifications between processes, and events: each
 * reaches a living waiter, the oldest first, and none that came after it. */
#include "dying.h"

#include "ipc/condition.h"
#include "ipc/event.h"
#include "ipc/lock.h"

static ipc_arena arena;

typedef struct waiting {
  ipc_condition *condition;
  int record;
} waiting;

static ipc_outcome try_waiting(void *object, ipc_wait *w) {
  waiting *me = object;
  return ipc_condition_try(me->condition, me->record, w);
}

/* Whether the record is notified, or becomes it in that time; it stays. */
static bool is_notified(ipc_condition *c, int record, int64_t timeout) {
  waiting me = {c, record};
  return await(try_waiting, NULL, &me, timeout) == IPC_TAKEN;
}

static void the_oldest_are_notified(void **state) {
  (void)state;
  ipc_condition c;
  int r[5];
  assert_int_equal(ipc_condition_create(&c), 0);
  ipc_condition_notify(&c, 3); /* nobody: not remembered */
  for (int i = 0; i < 4; i++)
    r[i] = ipc_condition_enter(&c);
  assert_int_equal(ipc_condition_count(&c), 4);
  assert_false(ipc_condition_leave(&c, r[1]));
  r[4] = ipc_condition_enter(&c); /* in its place, but the last */
  ipc_condition_notify(&c, 2);
  assert_true(is_notified(&c, r[0], 0) && is_notified(&c, r[2], 0));
  assert_false(is_notified(&c, r[3], 0) || is_notified(&c, r[4], 0));
  int late = ipc_condition_enter(&c);
  assert_true(ipc_condition_leave(&c, r[0]));
  assert_true(ipc_condition_leave(&c, r[2]));
  assert_false(is_notified(&c, late, 5000000));
  ipc_condition_notify(&c, UINT64_MAX);
  assert_true(ipc_condition_leave(&c, r[3]) && ipc_condition_leave(&c, r[4]));
  assert_true(ipc_condition_leave(&c, late));
  assert_int_equal(ipc_condition_count(&c), 0);
  ipc_condition_close(&c);
}

static void the_table_has_an_end(void **state) {
  (void)state;
  ipc_condition c;
  assert_int_equal(ipc_condition_create(&c), 0);
  for (int i = 0; i < IPC_CONDITION_WAITERS; i++)
    assert_int_equal(ipc_condition_enter(&c), i);
  assert_int_equal(ipc_condition_enter(&c), -ENOSPC);
  ipc_condition_leave(&c, 5);
  assert_int_equal(ipc_condition_enter(&c), 5);
  ipc_condition_close(&c);
}

static void enter_and_die(void *arg) {
  ipc_condition_enter(arg);
  kill(getpid(), SIGKILL);
}

static void enter_and_sleep(void *arg) {
  ipc_condition_enter(arg);
  pause();
}

/* What a dead waiter got goes to the next, but to none that came later. */
static void a_notification_passes_on(void **state) {
  (void)state;
  ipc_condition c;
  if (!FORKS) return;
  assert_int_equal(ipc_condition_create(&c), 0);
  for (int alive = 0; alive < 2; alive++) {
    pid_t pid = fork_into(alive ? enter_and_sleep : enter_and_die, &c);
    while (ipc_condition_count(&c) == 0)
      sleep_ns(100000);
    if (!alive) reap(pid);
    int second = ipc_condition_enter(&c);
    ipc_condition_notify(&c, 1); /* to the first, which is or will be dead */
    int late = ipc_condition_enter(&c);
    if (alive) {
      assert_false(is_notified(&c, second, 20000000));
      kill(pid, SIGKILL);
      reap(pid);
    }
    assert_true(is_notified(&c, second, LIMIT));
    assert_false(is_notified(&c, late, 20000000));
    assert_true(ipc_condition_leave(&c, second));
    assert_false(ipc_condition_leave(&c, late));
    for (int i = 0; i < IPC_CONDITION_WAITERS; i++)
      assert_true(c.memory->waiters[i].who == 0);
  }
  ipc_condition_close(&c);
}

/* --- Every instruction ---------------------------------------------------- */

typedef struct scene {
  ipc_condition c;
  int first, second;
} scene;

static void set_scene(scene *s) {
  s->first = ipc_condition_enter(&s->c);
  s->second = ipc_condition_enter(&s->c);
}

static void notify_one(void *arg) {
  ipc_condition_notify(&((scene *)arg)->c, 1);
}

/* A notifier that died: the first was notified or none, and is told of it in
 * time. */
static void one_at_most(void *arg) {
  scene *s = arg;
  bool first = ipc_condition_leave(&s->c, s->first);
  bool second = ipc_condition_leave(&s->c, s->second);
  assert_false(second);
  (void)first;
  set_scene(s);
}

static void enter_and_leave(void *arg) {
  scene *s = arg;
  int record = ipc_condition_enter(&s->c);
  ipc_condition_leave(&s->c, record);
}

/* A waiter that died: what it may have got reaches the two others. */
static void both_are_notified(void *arg) {
  scene *s = arg;
  ipc_condition_notify(&s->c, 2);
  assert_true(is_notified(&s->c, s->first, LIMIT));
  assert_true(is_notified(&s->c, s->second, LIMIT));
  assert_true(ipc_condition_leave(&s->c, s->first));
  assert_true(ipc_condition_leave(&s->c, s->second));
  set_scene(s);
}

static void look(void *arg) {
  scene *s = arg;
  is_notified(&s->c, s->second, 1);
}

/* Somebody died with a notification, and another over passing it on. */
static void passed_on(void *arg) {
  scene *s = arg;
  assert_true(is_notified(&s->c, s->second, LIMIT));
  assert_true(ipc_condition_leave(&s->c, s->second));
  ipc_condition_leave(&s->c, s->first); /* one more, after two deaths */
  reap(fork_into(enter_and_die, &s->c));
  s->second = ipc_condition_enter(&s->c);
  s->first = ipc_condition_enter(&s->c); /* the youngest */
  ipc_condition_notify(&s->c, 1);
}

static void a_death_at_any_instruction_loses_nothing(void **state) {
  (void)state;
  scene s;
  if (!FORKS) return;
  assert_int_equal(ipc_condition_create(&s.c), 0);
  set_scene(&s);
  int deaths = die_everywhere(notify_one, one_at_most, &s);
  if (deaths < 0) skip();
  printf("notify: %d deaths\n", deaths);
  ipc_condition_leave(&s.c, s.first);
  ipc_condition_leave(&s.c, s.second);
  reap(fork_into(enter_and_die, &s.c));
  s.second = ipc_condition_enter(&s.c);
  s.first = ipc_condition_enter(&s.c);
  ipc_condition_notify(&s.c, 1);
  deaths = die_everywhere(look, passed_on, &s);
  printf("passing on: %d deaths\n", deaths);
  ipc_condition_close(&s.c);
  assert_int_equal(ipc_condition_create(&s.c), 0);
  set_scene(&s);
  deaths = die_everywhere(enter_and_leave, both_are_notified, &s);
  printf("wait: %d deaths\n", deaths);
  ipc_condition_close(&s.c);
}

/* --- Random deaths -------------------------------------------------------- */

typedef struct field {
  ipc_lock lock;
  ipc_condition c;
  struct {
    atomic_int tokens; /* the lock's */
    atomic_bool calm;  /* nobody is killed any more */
    atomic_long taken, late;
  } * seen;
} field;

static ipc_outcome try_lock(void *object, ipc_wait *w) {
  return ipc_lock_try(object, w);
}

static void quit_lock(void *object) {
  ipc_lock_quit(object);
}

static void lock(field *f) {
  if (await(try_lock, quit_lock, &f->lock, LIMIT) == IPC_BUSY) f->seen->late++;
}

static void put_token(field *f) {
  lock(f);
  f->seen->tokens++;
  ipc_condition_notify(&f->c, 1);
  ipc_lock_release(&f->lock);
}

static void take_token(field *f) {
  lock(f);
  while (f->seen->tokens == 0) {
    int record = ipc_condition_enter(&f->c);
    ipc_lock_release(&f->lock);
    is_notified(&f->c, record, OS_FOREVER - os_now());
    ipc_condition_leave(&f->c, record);
    lock(f);
  }
  f->seen->tokens--;
  f->seen->taken++;
  ipc_lock_release(&f->lock);
}

static void trade(void *arg, int i) {
  field *f = arg;
  for (;;) {
    if (i == 0 && !f->seen->calm)
      put_token(f);
    else if (i > 0)
      take_token(f);
    else
      sleep_ns(100000);
  }
}

/* Tokens that are there are taken by those who live. */
static void random_deaths_lose_no_notification(void **state) {
  (void)state;
  field f;
  if (!FORKS) return;
  f.seen = shared_page(sizeof *f.seen);
  storm s = {
      .body = trade, .arg = &f, .seed = random_seed(), .least = LEAST / 8};
  for (int round = 0; round < 8; round++) {
    assert_int_equal(ipc_lock_create(&f.lock, &arena, false), 0);
    assert_int_equal(ipc_condition_create(&f.c), 0);
    f.seen->calm = false;
    f.seen->tokens = 0;
    storm_run(&s, SECOND / 4);
    f.seen->calm = true;
    for (int i = 0; i < 3; i++)
      put_token(&f);
    int64_t deadline = os_deadline(LIMIT);
    while (f.seen->tokens > 0 && os_now() < deadline)
      sleep_ns(1000000);
    assert_int_equal(f.seen->tokens, 0);
    storm_end(&s);
    ipc_condition_close(&f.c);
    ipc_lock_close(&f.lock);
  }
  printf("condition: %d kills, %ld tokens\n", s.kills, f.seen->taken);
  assert_int_equal(f.seen->late, 0);
  assert_true(f.seen->taken > s.kills);
  munmap(f.seen, sizeof *f.seen);
}

/* --- Events --------------------------------------------------------------- */

static ipc_outcome try_event(void *object, ipc_wait *w) {
  return ipc_event_try(object, w);
}

static bool await_event(ipc_event *e, int64_t timeout) {
  return await(try_event, NULL, e, timeout) == IPC_TAKEN;
}

static void an_event_is_a_flag(void **state) {
  (void)state;
  ipc_event e;
  assert_int_equal(ipc_event_create(&e, &arena), 0);
  assert_false(await_event(&e, 0) || await_event(&e, 5000000));
  ipc_event_set(&e);
  ipc_event_set(&e);
  assert_true(ipc_event_is_set(&e) && await_event(&e, 0));
  ipc_event_clear(&e);
  assert_false(ipc_event_is_set(&e) || await_event(&e, 0));
  /* A waiter that sleeps through a set and a clear has seen the set. */
  ipc_wait w = ipc_wait_start(OS_FOREVER);
  assert_int_equal(ipc_event_try(&e, &w), IPC_BUSY);
  ipc_wait_begin(&w, OS_FOREVER);
  ipc_event_set(&e);
  ipc_event_clear(&e);
  assert_int_equal(ipc_event_try(&e, &w), IPC_TAKEN);
  ipc_event_close(&e);
}

typedef struct bell {
  ipc_event e;
  struct {
    atomic_long heard, late;
  } * seen;
} bell;

static void ring_and_listen(void *arg, int i) {
  bell *b = arg;
  for (;;) {
    if (i < 2) {
      ipc_event_set(&b->e);
      ipc_event_clear(&b->e);
    } else if (await_event(&b->e, LIMIT)) {
      b->seen->heard++;
    } else {
      b->seen->late++;
    }
  }
}

static void random_deaths_keep_nobody_waiting(void **state) {
  (void)state;
  bell b;
  if (!FORKS) return;
  b.seen = shared_page(sizeof *b.seen);
  assert_int_equal(ipc_event_create(&b.e, &arena), 0);
  storm s = {.body = ring_and_listen,
             .arg = &b,
             .seed = random_seed(),
             .least = LEAST / 5};
  storm_run(&s, SECOND);
  storm_end(&s);
  printf("event: %d kills, heard %ld times\n", s.kills, b.seen->heard);
  assert_int_equal(b.seen->late, 0);
  assert_true(b.seen->heard > 0);
  munmap(b.seen, sizeof *b.seen);
  ipc_event_close(&b.e);
}

/* --- Threads ---------------------------------------------------------------
 */

/* The thread sanitizer knows addresses: the threads have copies of one handle,
 * over the same memory. */
typedef struct box {
  ipc_lock *lock;
  ipc_condition *condition;
  int items; /* the lock's */
  long sum;
} box;

static void *consume(void *arg) {
  box *b = arg;
  ipc_lock l = *b->lock;
  ipc_condition c = *b->condition;
  for (int i = 0; i < 3000; i++) {
    await(try_lock, quit_lock, &l, LIMIT);
    while (b->items == 0) {
      int record = ipc_condition_enter(&c);
      ipc_lock_release(&l);
      is_notified(&c, record, LIMIT);
      ipc_condition_leave(&c, record);
      await(try_lock, quit_lock, &l, LIMIT);
    }
    b->items--;
    b->sum++;
    ipc_lock_release(&l);
  }
  return NULL;
}

static void threads_hand_over(void **state) {
  (void)state;
  ipc_lock l;
  ipc_condition c;
  pthread_t threads[3];
  assert_int_equal(ipc_lock_create(&l, &arena, false), 0);
  assert_int_equal(ipc_condition_create(&c), 0);
  box b = {.lock = &l, .condition = &c};
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, consume, &b), 0);
  for (int i = 0; i < 9000; i++) {
    await(try_lock, quit_lock, &l, LIMIT);
    b.items++;
    ipc_condition_notify(&c, 1);
    ipc_lock_release(&l);
  }
  for (int i = 0; i < 3; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(b.sum, 9000);
  assert_int_equal(ipc_condition_count(&c), 0);
  ipc_condition_close(&c);
  ipc_lock_close(&l);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_oldest_are_notified),
      cmocka_unit_test(the_table_has_an_end),
      cmocka_unit_test(a_notification_passes_on),
      cmocka_unit_test(a_death_at_any_instruction_loses_nothing),
      cmocka_unit_test(random_deaths_lose_no_notification),
      cmocka_unit_test(an_event_is_a_flag),
      cmocka_unit_test(random_deaths_keep_nobody_waiting),
      cmocka_unit_test(threads_hand_over),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

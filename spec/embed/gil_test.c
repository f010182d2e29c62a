/* gil_test.c - the GIL without Lua: exclusion, the order of the hand-over,
 * requests, sleeping and waking, both policies, nobody starved. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gil.h"

#define MS 1000000LL
#define LONG (60000 * MS)
#define ASLEEP 4u /* a member's word in gil.c: sleeps, no grant */

static tl_gil gil;
static tl_member self;
static atomic_int asked; /* how often the callback ran */

static void ask(pid_t holder) {
  assert_true(holder > 0);
  atomic_fetch_add(&asked, 1);
}

static TL_UNCHECKED int setup(void **state) {
  (void)state;
  if (tl_gil_init(&gil, ask) < 0) return -1;
  tl_member_init(&self);
  tl_member_begin(&self);
  atomic_store(&asked, 0);
  tl_gil_acquire(&gil, &self, TL_OUTSIDE);
  return tl_gil_share(&gil);
}

static TL_UNCHECKED int teardown(void **state) {
  (void)state;
  tl_gil_release(&gil, &self);
  assert_null(tl_gil_holder(&gil));
  tl_gil_destroy(&gil);
  return 0;
}

static void wait_a_little(void) {
  static atomic_uint never;
  os_word_wait(&never, 0, os_deadline(MS / 5));
}

/* --- members on threads of their own -------------------------------------- */

typedef struct actor {
  tl_member member;
  pthread_t thread;
  tl_gil_class class;
  char letter;
  atomic_int turns;
  atomic_bool done;
} actor;

static atomic_bool stop;
static char order[16]; /* GIL: letters of those that got it */
static int count;      /* GIL */

static void start(actor *a, void *(*body)(void *)) {
  tl_member_init(&a->member);
  atomic_store(&a->turns, 0);
  atomic_store(&a->done, false);
  assert_int_equal(pthread_create(&a->thread, NULL, body, a), 0);
}

static void join(actor *a) {
  assert_int_equal(pthread_join(a->thread, NULL), 0);
}

static bool is_queued(actor *a) {
  os_mutex_lock(&gil.mu);
  bool queued = a->member.queued;
  os_mutex_unlock(&gil.mu);
  return queued;
}

static TL_UNCHECKED void *take_once(void *arg) {
  actor *a = arg;
  tl_member_begin(&a->member);
  tl_gil_acquire(&gil, &a->member, a->class);
  order[count++] = a->letter;
  tl_gil_release(&gil, &a->member);
  return NULL;
}

/* Queues P, W and O in this order, lets them go and says who came when. */
static TL_UNCHECKED const char *race(actor actors[3]) {
  static const tl_gil_class classes[] = {TL_PREEMPTED, TL_WOKEN, TL_OUTSIDE};
  memset(order, 0, sizeof order);
  count = 0;
  for (int i = 0; i < 3; i++) {
    actors[i].class = classes[i];
    actors[i].letter = "PWO"[i];
    start(&actors[i], take_once);
    while (!is_queued(&actors[i]))
      wait_a_little();
  }
  return order;
}

static TL_UNCHECKED void finish(actor actors[3]) {
  tl_gil_release(&gil, &self);
  for (int i = 0; i < 3; i++)
    join(&actors[i]);
  tl_gil_acquire(&gil, &self, TL_OUTSIDE);
}

/* --- the tests ------------------------------------------------------------ */

static TL_UNCHECKED void alone_it_is_taken_and_given_back(void **state) {
  (void)state;
  assert_ptr_equal(tl_gil_holder(&gil), &self);
  assert_true(tl_gil_held(&gil, &self));
  assert_false(tl_gil_yield(&gil, &self));
  tl_gil_stats before = self.stats;
  for (int i = 0; i < 1000; i++) {
    errno = 77;
    tl_gil_release(&gil, &self);
    assert_false(tl_gil_held(&gil, &self));
    tl_gil_acquire(&gil, &self, TL_OUTSIDE);
    assert_int_equal(errno, 77);
  }
  assert_int_equal(self.stats.acquires - before.acquires, 1000);
  assert_int_equal(self.stats.voluntary_releases - before.voluntary_releases,
                   1000);
  assert_int_equal(self.stats.contended_acquires, before.contended_acquires);
  assert_int_equal(self.stats.switches, before.switches);
  assert_int_equal(atomic_load(&asked), 0);
}

static void fair_serves_by_class(void **state) {
  (void)state;
  actor actors[3];
  tl_gil_set_interval(&gil, LONG);
  const char *got = race(actors);
  finish(actors);
  assert_string_equal(got, "OWP");
}

/* Whoever has waited for an interval goes before all classes. */
static void the_overdue_go_first(void **state) {
  (void)state;
  actor actors[3];
  tl_gil_set_interval(&gil, MS);
  const char *got = race(actors);
  for (int64_t end = os_deadline(20 * MS); os_now() < end;)
    wait_a_little();
  finish(actors);
  assert_string_equal(got, "PWO");
}

/* Back from outside a member asks at once, others after an interval. */
static TL_UNCHECKED void requests_come_in_time(void **state) {
  (void)state;
  actor a = {.class = TL_OUTSIDE};
  tl_gil_set_interval(&gil, LONG);
  start(&a, take_once);
  while (atomic_load(&asked) == 0)
    wait_a_little();
  assert_true(atomic_load(&self.drop_request));
  assert_true(tl_gil_yield(&gil, &self));
  assert_false(atomic_load(&self.drop_request));
  assert_int_equal(self.stats.forced_switches, 1);
  join(&a);
  atomic_store(&asked, 0);
  tl_gil_set_interval(&gil, 2 * MS);
  a.class = TL_PREEMPTED;
  start(&a, take_once);
  while (atomic_load(&asked) < 3)
    wait_a_little(); /* and again and again */
  assert_true(tl_gil_yield(&gil, &self));
  join(&a);
}

/* One back from outside leaves whoever gave way to it alone for a moment. */
static TL_UNCHECKED void the_displaced_is_spared(void **state) {
  (void)state;
  actor a = {.class = TL_OUTSIDE};
  tl_gil_set_interval(&gil, LONG);
  start(&a, take_once);
  while (atomic_load(&asked) == 0)
    wait_a_little();
  int64_t begin = os_now();
  assert_true(tl_gil_yield(&gil, &self));
  int64_t away = os_now() - begin;
  assert_in_range(gil.spared_until, begin + 1, os_now() + away);
  join(&a);
}

static TL_UNCHECKED void one_with_io_gives_way_after_a_moment(void **state) {
  (void)state;
  actor a = {.class = TL_PREEMPTED};
  tl_gil_set_interval(&gil, LONG);
  wait_a_little();
  assert_false(tl_gil_gives_way(&gil, &self));
  start(&a, take_once);
  while (!is_queued(&a))
    wait_a_little();
  wait_a_little();
  assert_true(tl_gil_gives_way(&gil, &self));
  assert_true(tl_gil_yield(&gil, &self));
  assert_false(tl_gil_gives_way(&gil, &self));
  join(&a);
  tl_gil_set_policy(&gil, TL_CPYTHON);
  assert_true(tl_gil_gives_way(&gil, &self));
}

/* A member without a thread, as one that is asleep and has been woken. */
static TL_UNCHECKED void enqueue_sleeper(tl_member *sleeper) {
  tl_member_init(sleeper);
  atomic_store(&sleeper->word, ASLEEP);
  sleeper->asleep = true;
  tl_gil_wake(&gil, sleeper);
}

static TL_UNCHECKED void release_as_sleeper(tl_member *sleeper) {
  tl_gil_release(&gil, &self);
  assert_ptr_equal(tl_gil_holder(&gil), sleeper);
  tl_gil_acquire(&gil, sleeper, TL_OUTSIDE);
  tl_gil_release(&gil, sleeper);
  tl_gil_acquire(&gil, &self, TL_OUTSIDE);
}

/* While the one to whom the lock was handed is still waking up, one back from
 * outside is served; the other keeps its turn. */
static TL_UNCHECKED void an_unseen_grant_is_taken_back(void **state) {
  (void)state;
  tl_member sleeper;
  tl_gil_set_interval(&gil, LONG);
  enqueue_sleeper(&sleeper);
  tl_gil_release(&gil, &self);
  assert_ptr_equal(tl_gil_holder(&gil), &sleeper);
  tl_gil_acquire(&gil, &self, TL_OUTSIDE);
  assert_ptr_equal(tl_gil_holder(&gil), &self);
  assert_true(sleeper.queued);
  release_as_sleeper(&sleeper);
}

/* The one to follow is woken when the holder is asked to give way. */
static TL_UNCHECKED void the_next_is_woken_with_the_request(void **state) {
  (void)state;
  tl_member sleeper;
  tl_gil_set_interval(&gil, LONG);
  enqueue_sleeper(&sleeper);
  assert_int_equal(atomic_load(&sleeper.word), ASLEEP);
  tl_gil_set_interval(&gil, MS);
  while (atomic_load(&asked) == 0)
    wait_a_little();
  assert_int_not_equal(atomic_load(&sleeper.word), ASLEEP);
  assert_true(sleeper.queued);
  release_as_sleeper(&sleeper);
}

static TL_UNCHECKED void *increment(void *arg) {
  actor *a = arg;
  tl_member_begin(&a->member);
  for (int i = 0; i < 5000; i++) {
    tl_gil_acquire(&gil, &a->member, a->class);
    int seen = count;
    if (i % 100 == 0) tl_gil_yield(&gil, &a->member);
    if (seen % 64 == 0) os_cpu_relax();
    count = i % 100 == 0 ? count + 1 : seen + 1;
    tl_gil_release(&gil, &a->member);
  }
  return NULL;
}

static TL_UNCHECKED void one_at_a_time(void **state) {
  (void)state;
  static const tl_gil_policy policies[] = {TL_FAIR, TL_CPYTHON};
  for (int p = 0; p < 2; p++) {
    actor actors[4];
    tl_gil_set_policy(&gil, policies[p]);
    count = 0;
    for (int i = 0; i < 4; i++) {
      actors[i].class = (tl_gil_class)(i % TL_CLASSES);
      start(&actors[i], increment);
    }
    tl_gil_release(&gil, &self);
    for (int i = 0; i < 4; i++)
      join(&actors[i]);
    tl_gil_acquire(&gil, &self, TL_OUTSIDE);
    assert_int_equal(count, 20000);
    tl_gil_stats sum = {0};
    for (int i = 0; i < 4; i++)
      tl_gil_add_stats(&gil, &actors[i].member, &sum);
    assert_int_equal(sum.voluntary_releases, 20000);
    assert_true(sum.acquires >= 20000);
    assert_true(sum.held_time > 0);
  }
}

static TL_UNCHECKED void *sleep_until_woken(void *arg) {
  actor *a = arg;
  tl_member_begin(&a->member);
  tl_gil_acquire(&gil, &a->member, TL_OUTSIDE);
  count++;
  tl_gil_sleep(&gil, &a->member, OS_FOREVER);
  atomic_fetch_add(&a->turns, 1);
  order[count++] = a->letter;
  tl_gil_release(&gil, &a->member);
  atomic_store(&a->done, true);
  return NULL;
}

static TL_UNCHECKED void let_others_run(void) {
  tl_gil_release(&gil, &self);
  wait_a_little();
  tl_gil_acquire(&gil, &self, TL_OUTSIDE);
}

static TL_UNCHECKED void a_sleeper_goes_on_when_woken_or_nudged(void **state) {
  (void)state;
  static const tl_gil_policy policies[] = {TL_FAIR, TL_CPYTHON};
  for (int how = 0; how < 4; how++) {
    tl_gil_set_policy(&gil, policies[how / 2]);
    for (int round = 0; round < 200; round++) {
      actor a = {.letter = 's'};
      count = 0;
      start(&a, sleep_until_woken);
      while (!a.member.asleep)
        let_others_run();
      assert_false(atomic_load(&a.done));
      if (how % 2 == 0) {
        tl_gil_wake(&gil, &a.member);
        assert_false(atomic_load(&a.done)); /* not before it has the lock */
        tl_gil_release(&gil, &self);
      } else {
        tl_gil_release(&gil, &self);
        tl_gil_nudge(&a.member);
      }
      join(&a);
      tl_gil_acquire(&gil, &self, TL_OUTSIDE);
      assert_int_equal(atomic_load(&a.turns), 1);
    }
  }
}

static TL_UNCHECKED void a_sleep_ends_at_its_deadline(void **state) {
  (void)state;
  errno = 77;
  int64_t begin = os_now();
  do {
    tl_gil_sleep(&gil, &self, begin + 5 * MS);
  } while (os_now() < begin + 5 * MS); /* it may return early */
  assert_true(tl_gil_held(&gil, &self));
  assert_true(os_now() - begin < LONG / 2);
  tl_gil_sleep(&gil, &self, 0); /* long past */
  assert_true(tl_gil_held(&gil, &self));
  assert_int_equal(errno, 77);
  tl_gil_nudge(&self); /* before the sleep: it is not lost */
  tl_gil_sleep(&gil, &self, os_deadline(LONG));
  assert_true(os_now() - begin < LONG / 2);
}

/* Spins like a script, and gives way when it is asked to. */
static TL_UNCHECKED void *spin(void *arg) {
  actor *a = arg;
  tl_member_begin(&a->member);
  tl_gil_acquire(&gil, &a->member, TL_OUTSIDE);
  while (!atomic_load(&stop)) {
    atomic_fetch_add(&a->turns, 1);
    if (atomic_load(&a->member.drop_request)) tl_gil_yield(&gil, &a->member);
  }
  tl_gil_release(&gil, &a->member);
  return NULL;
}

/* Comes back from outside all the time. */
static TL_UNCHECKED void *chat(void *arg) {
  actor *a = arg;
  tl_member_begin(&a->member);
  while (!atomic_load(&stop)) {
    tl_gil_acquire(&gil, &a->member, TL_OUTSIDE);
    atomic_fetch_add(&a->turns, 1);
    tl_gil_release(&gil, &a->member);
  }
  return NULL;
}

static TL_UNCHECKED void nobody_starves(void **state) {
  (void)state;
  static const tl_gil_policy policies[] = {TL_FAIR, TL_CPYTHON};
  enum { SPINNERS = 3, CHATTERS = 2, ALL = SPINNERS + CHATTERS };
  for (int p = 0; p < 2; p++) {
    actor actors[ALL];
    tl_gil_set_policy(&gil, policies[p]);
    tl_gil_set_interval(&gil, MS);
    atomic_store(&stop, false);
    for (int i = 0; i < ALL; i++)
      start(&actors[i], i < SPINNERS ? spin : chat);
    tl_gil_release(&gil, &self);
    int64_t limit = os_deadline(LONG);
    for (int window = 0; window < 5; window++) {
      int before[ALL], advanced = 0;
      for (int i = 0; i < ALL; i++)
        before[i] = atomic_load(&actors[i].turns);
      while (advanced < ALL && os_now() < limit) {
        wait_a_little();
        advanced = 0;
        for (int i = 0; i < ALL; i++)
          advanced += atomic_load(&actors[i].turns) != before[i];
      }
      assert_int_equal(advanced, ALL);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < ALL; i++)
      join(&actors[i]);
    tl_gil_acquire(&gil, &self, TL_OUTSIDE);
  }
}

static TL_UNCHECKED void the_policy_changes_under_waiters(void **state) {
  (void)state;
  enum { N = 4 };
  actor actors[N];
  tl_gil_set_interval(&gil, MS / 10);
  atomic_store(&stop, false);
  for (int i = 0; i < N; i++)
    start(&actors[i], i % 2 ? spin : chat);
  int64_t limit = os_deadline(LONG);
  int served = 0;
  for (int i = 0; i < 400 || (served < N && os_now() < limit); i++) {
    tl_gil_set_policy(&gil, i % 2 ? TL_FAIR : TL_CPYTHON);
    tl_gil_yield(&gil, &self);
    if (i % 10 == 0) let_others_run();
    served = 0;
    for (int k = 0; k < N; k++)
      served += atomic_load(&actors[k].turns) > 0;
  }
  tl_gil_set_policy(&gil, TL_FAIR);
  atomic_store(&stop, true);
  tl_gil_release(&gil, &self);
  for (int i = 0; i < N; i++)
    join(&actors[i]);
  tl_gil_acquire(&gil, &self, TL_OUTSIDE);
  assert_int_equal(served, N);
}

/* --- processors ------------------------------------------------------------
 */

static atomic_int left_at;      /* where the last one gave way */
static atomic_int stayed, went; /* turns that began there, and elsewhere */
static atomic_int strayed;      /* turns after which a member's mask differed */

/* Spins in turns and notes where they end and begin. */
static TL_UNCHECKED void *take_turns(void *arg) {
  actor *a = arg;
  cpu_set_t mask, now;
  sched_getaffinity(0, sizeof mask, &mask);
  tl_member_begin(&a->member);
  tl_gil_acquire(&gil, &a->member, TL_OUTSIDE);
  while (!atomic_load(&stop)) {
    if (!atomic_load(&a->member.drop_request)) continue;
    atomic_store(&left_at, sched_getcpu());
    if (!tl_gil_yield(&gil, &a->member)) continue;
    atomic_fetch_add(sched_getcpu() == atomic_load(&left_at) ? &stayed : &went,
                     1);
    sched_getaffinity(0, sizeof now, &now);
    if (!CPU_EQUAL(&mask, &now)) atomic_fetch_add(&strayed, 1);
    atomic_fetch_add(&a->turns, 1);
  }
  atomic_store(&left_at, -1);
  tl_gil_release(&gil, &a->member);
  return NULL;
}

/* As take_turns, but on the processor 'letter' alone. */
static void *take_turns_here(void *arg) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET((unsigned char)((actor *)arg)->letter, &one);
  assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
  return take_turns(arg);
}

static TL_UNCHECKED void run_turns(actor actors[2], void *(*body)(void *)) {
  tl_gil_set_interval(&gil, MS);
  atomic_store(&stayed, 0);
  atomic_store(&went, 0);
  atomic_store(&strayed, 0);
  atomic_store(&stop, false);
  for (int i = 0; i < 2; i++)
    start(&actors[i], body);
  tl_gil_release(&gil, &self);
  int64_t limit = os_deadline(LONG);
  while (atomic_load(&actors[0].turns) + atomic_load(&actors[1].turns) < 100 &&
         os_now() < limit)
    wait_a_little();
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++)
    join(&actors[i]);
  tl_gil_acquire(&gil, &self, TL_OUTSIDE);
  assert_true(atomic_load(&stayed) + atomic_load(&went) >= 100);
  assert_int_equal(atomic_load(&strayed), 0);
}

static void turns_are_taken_on_one_processor(void **state) {
  (void)state;
  actor actors[2];
  run_turns(actors, take_turns);
  assert_true(atomic_load(&stayed) > 3 * atomic_load(&went));
}

static void who_may_not_follow_stays_where_it_may_be(void **state) {
  (void)state;
  cpu_set_t all;
  assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
  if (CPU_COUNT(&all) < 2) skip();
  actor actors[2];
  for (int cpu = 0, i = 0; i < 2; cpu++)
    if (CPU_ISSET(cpu, &all)) actors[i++].letter = (char)cpu;
  run_turns(actors, take_turns_here);
  assert_int_equal(atomic_load(&stayed), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(alone_it_is_taken_and_given_back),
      TEST(fair_serves_by_class),
      TEST(the_overdue_go_first),
      TEST(requests_come_in_time),
      TEST(the_displaced_is_spared),
      TEST(one_with_io_gives_way_after_a_moment),
      TEST(an_unseen_grant_is_taken_back),
      TEST(the_next_is_woken_with_the_request),
      TEST(one_at_a_time),
      TEST(a_sleeper_goes_on_when_woken_or_nudged),
      TEST(a_sleep_ends_at_its_deadline),
      TEST(nobody_starves),
      TEST(the_policy_changes_under_waiters),
      TEST(turns_are_taken_on_one_processor),
      TEST(who_may_not_follow_stays_where_it_may_be),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

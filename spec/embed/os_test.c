/* os_test.c - the operating system's side without Lua: deadlines, the word to
 * sleep on, mutexes, threads and their signals, processors, descriptors. */
#include "os.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MS 1000000LL
#define SECOND (1000 * MS)
#define LONG (60 * SECOND)
#define STACK ((size_t)1024 * 1024)

static void wait_a_little(void) {
  static atomic_uint never;
  os_word_wait(&never, 0, os_deadline(MS / 5));
}

/* --- the clock ------------------------------------------------------------ */

static void a_deadline_is_held_at_forever(void **state) {
  (void)state;
  assert_true(os_deadline(OS_FOREVER) == OS_FOREVER);
  assert_true(os_deadline(OS_FOREVER - 1) == OS_FOREVER);
  assert_true(os_deadline(OS_FOREVER - os_now()) == OS_FOREVER);
  int64_t before = os_now(), deadline = os_deadline(SECOND);
  assert_in_range(deadline - SECOND, before, os_now());
  before = os_now();
  deadline = os_deadline(0);
  assert_in_range(deadline, before, os_now());
  assert_true(os_deadline(OS_FOREVER - LONG - os_now()) < OS_FOREVER);
}

static void clocks_go_on(void **state) {
  (void)state;
  int64_t now = os_now(), all = os_process_time(), cpu = os_thread_time();
  while (os_thread_time() < cpu + MS) {
  }
  assert_true(os_now() > now);
  assert_true(os_process_time() >= all + MS);
  assert_true(os_wall() > 1600000000 * SECOND); /* in 2020 */
}

/* --- the word ------------------------------------------------------------- */

static void a_wait_ends_at_its_deadline(void **state) {
  (void)state;
  atomic_uint word = 7;
  int64_t begin = os_now();
  while (os_word_wait(&word, 7, begin + 5 * MS)) {
  }
  assert_true(os_now() >= begin + 5 * MS);
  assert_true(os_now() < begin + LONG);
  assert_false(os_word_wait(&word, 7, 0));
  assert_false(os_word_wait(&word, 7, -5));
  assert_false(os_word_wait(&word, 7, INT64_MIN));
  assert_false(os_word_wait(&word, 7, begin));
}

static void another_value_is_not_waited_on(void **state) {
  (void)state;
  atomic_uint word = 7;
  assert_true(os_word_wait(&word, 8, OS_FOREVER));
  assert_true(os_word_wait(&word, 8, os_deadline(LONG)));
  os_word_wake(&word); /* nobody sleeps */
}

static atomic_uint sleeping; /* what the sleepers look at */
static atomic_int ended;

static void *sleep_on_word(void *arg) {
  int64_t deadline = *(int64_t *)arg;
  while (atomic_load(&sleeping) == 1)
    if (!os_word_wait(&sleeping, 1, deadline)) return "late";
  atomic_fetch_add(&ended, 1);
  return NULL;
}

static void all_that_sleep_are_woken(void **state) {
  (void)state;
  enum { N = 4 };
  int64_t deadlines[] = {OS_FOREVER, OS_FOREVER, os_deadline(LONG),
                         os_deadline(LONG)};
  os_thread threads[N];
  for (int round = 0; round < 20; round++) {
    atomic_store(&sleeping, 1);
    atomic_store(&ended, 0);
    for (int i = 0; i < N; i++)
      assert_int_equal(
          os_thread_start(&threads[i], STACK, 0, sleep_on_word, &deadlines[i]),
          0);
    if (round % 2) wait_a_little();
    assert_int_equal(atomic_load(&ended), 0);
    atomic_store(&sleeping, 0);
    os_word_wake(&sleeping);
    for (int i = 0; i < N; i++)
      os_thread_join(threads[i]);
    assert_int_equal(atomic_load(&ended), N);
  }
}

/* --- mutexes -------------------------------------------------------------- */

static os_mutex mutex;

static void *try_mutex(void *arg) {
  bool taken = os_mutex_trylock(&mutex);
  *(bool *)arg = taken;
  if (taken) os_mutex_unlock(&mutex);
  return NULL;
}

static bool others_can_take_it(void) {
  os_thread t;
  bool taken = false;
  assert_int_equal(os_thread_start(&t, STACK, 0, try_mutex, &taken), 0);
  /* Not joined by a wait: that is refused while a mutex is held. */
  while (!os_thread_tryjoin(t))
    sched_yield();
  return taken;
}

static void a_mutex_is_held_by_one(void **state) {
  (void)state;
  assert_int_equal(os_mutex_init(&mutex), 0);
  assert_true(others_can_take_it());
  os_mutex_lock(&mutex);
  assert_false(os_mutex_trylock(&mutex));
  assert_false(others_can_take_it());
  os_mutex_unlock(&mutex);
  assert_true(others_can_take_it());
  assert_true(os_mutex_trylock(&mutex));
  assert_false(others_can_take_it());
  os_mutex_unlock(&mutex);
  os_mutex_destroy(&mutex);
}

/* --- threads -------------------------------------------------------------- */

typedef struct report {
  pid_t id;
  sigset_t mask;
  stack_t altstack;
  char name[32];
  size_t stack;
} report;

static atomic_bool go;

static void *look_around(void *arg) {
  report *r = arg;
  pthread_attr_t attr;
  r->id = os_thread_id();
  pthread_sigmask(SIG_SETMASK, NULL, &r->mask);
  sigaltstack(NULL, &r->altstack);
  os_thread_name("a name longer than fifteen bytes");
  prctl(PR_GET_NAME, r->name);
  pthread_getattr_np(pthread_self(), &attr);
  pthread_attr_getstacksize(&attr, &r->stack);
  pthread_attr_destroy(&attr);
  while (!atomic_load(&go))
    sched_yield();
  return NULL;
}

static bool is_always_open(int signal) {
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
    if (faults[i] == signal) return true;
  return false;
}

static void a_thread_has_its_signals_stack_and_name(void **state) {
  (void)state;
  static const int open[] = {0, SIGURG, SIGUSR1};
  for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
    report r = {0};
    os_thread t;
    atomic_store(&go, false);
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(os_thread_start(&t, STACK, open[i], look_around, &r), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_false(os_thread_tryjoin(t));
    atomic_store(&go, true);
    os_thread_join(t);
    assert_int_not_equal(r.id, os_thread_id());
    assert_true(r.id > 0);
    assert_string_equal(r.name, "a name longer t");
    assert_true(r.stack >= STACK);
    assert_false(r.altstack.ss_flags & SS_DISABLE);
    assert_true(r.altstack.ss_size >= (size_t)MINSIGSTKSZ);
    for (int s = 1; s < 32; s++) {
      if (s == SIGKILL || s == SIGSTOP) continue;
      bool blocked = s != open[i] && !is_always_open(s);
      assert_int_equal(sigismember(&r.mask, s), blocked);
      assert_int_equal(sigismember(&before, s), sigismember(&after, s));
    }
  }
}

static void tryjoin_tells_whether_it_has_ended(void **state) {
  (void)state;
  report r;
  os_thread t;
  atomic_store(&go, false);
  assert_int_equal(os_thread_start(&t, STACK, 0, look_around, &r), 0);
  for (int i = 0; i < 10; i++)
    assert_false(os_thread_tryjoin(t));
  atomic_store(&go, true);
  int64_t limit = os_deadline(LONG);
  while (!os_thread_tryjoin(t)) {
    assert_true(os_now() < limit);
    wait_a_little();
  }
}

static void a_thread_that_cannot_start_says_why(void **state) {
  (void)state;
  os_thread t;
  assert_int_equal(os_thread_start(&t, 1, 0, look_around, NULL), -EINVAL);
#if !OS_SANITIZED
  assert_int_equal(os_thread_start(&t, (size_t)1 << 50, 0, look_around, NULL),
                   -EAGAIN);
#endif
}

static atomic_int received; /* the thread that ran the handler */

static void on_signal(int signal) {
  (void)signal;
  atomic_store(&received, os_thread_id());
}

static atomic_int listener;

static void *listen(void *arg) {
  (void)arg;
  atomic_store(&listener, os_thread_id());
  while (atomic_load(&received) == 0)
    wait_a_little();
  return NULL;
}

static void a_signal_comes_to_the_thread_that_is_meant(void **state) {
  (void)state;
  struct sigaction action = {.sa_handler = on_signal}, old;
  sigaction(SIGURG, &action, &old);
  os_thread t;
  atomic_store(&received, 0);
  atomic_store(&listener, 0);
  assert_int_equal(os_thread_start(&t, STACK, SIGURG, listen, NULL), 0);
  while (atomic_load(&listener) == 0)
    wait_a_little();
  os_thread_signal(atomic_load(&listener), SIGURG);
  os_thread_join(t);
  assert_int_equal(atomic_load(&received), atomic_load(&listener));
  os_thread_signal(atomic_load(&listener), SIGURG); /* it has ended */
  sigaction(SIGURG, &old, NULL);
}

/* --- processors ----------------------------------------------------------- */

static void *hold_still(void *arg) {
  os_cpus *after = arg;
  atomic_store(&listener, os_thread_id());
  while (!atomic_load(&go))
    wait_a_little();
  sched_getaffinity(0, sizeof *after, after);
  return NULL;
}

static void a_thread_is_bound_to_one_processor(void **state) {
  (void)state;
  os_cpus all, before, now, after;
  sched_getaffinity(0, sizeof all, &all);
  assert_int_equal(os_cpu_count(), CPU_COUNT(&all));
  int cpu = 0, none = 0;
  while (!CPU_ISSET(cpu, &all))
    cpu++;
  while (none < CPU_SETSIZE && CPU_ISSET(none, &all))
    none++;
  memset(&before, 0, sizeof before);
  assert_false(os_cpu_bind(0, cpu, &before));
  assert_false(os_cpu_bind(-1, cpu, &before));
  pid_t self = os_thread_id();
  assert_false(os_cpu_bind(self, -1, &before));
  assert_false(os_cpu_bind(self, CPU_SETSIZE, &before));
  if (none < CPU_SETSIZE) assert_false(os_cpu_bind(self, none, &before));
  sched_getaffinity(0, sizeof now, &now);
  assert_true(CPU_EQUAL(&now, &all));
  if (CPU_COUNT(&all) < 2) {
    assert_false(os_cpu_bind(self, cpu, &before)); /* nowhere else to go */
    return;
  }
  os_thread t;
  atomic_store(&go, false);
  atomic_store(&listener, 0);
  assert_int_equal(os_thread_start(&t, STACK, 0, hold_still, &after), 0);
  while (atomic_load(&listener) == 0)
    wait_a_little();
  assert_true(os_cpu_bind(atomic_load(&listener), cpu, &before));
  assert_true(CPU_EQUAL(&before, &all));
  assert_false(os_cpu_bind(atomic_load(&listener), cpu, &now)); /* it is one */
  atomic_store(&go, true);
  os_thread_join(t);
  assert_int_equal(CPU_COUNT(&after), 1);
  assert_true(CPU_ISSET(cpu, &after));
  assert_false(os_cpu_bind(atomic_load(&listener), cpu, &before)); /* ended */
  assert_true(os_cpu_bind(self, cpu, &before));
  assert_int_equal(os_cpu_current(), cpu);
  os_cpu_free(&before);
  sched_getaffinity(0, sizeof now, &now);
  assert_true(CPU_EQUAL(&now, &all));
}

/* --- descriptors ---------------------------------------------------------- */

static void a_wake_descriptor_is_set_and_cleared(void **state) {
  (void)state;
  int fd = os_wakefd_open();
  assert_true(fd >= 0);
  assert_int_equal(os_ready(fd, POLLIN), 0);
  os_wakefd_clear(fd); /* was not set, and does not block */
  errno = 77;
  for (int i = 0; i < 100; i++)
    os_wakefd_set(fd);
  assert_int_equal(errno, 77);
  assert_int_equal(os_ready(fd, POLLIN), POLLIN);
  os_wakefd_clear(fd);
  assert_int_equal(os_ready(fd, POLLIN), 0);
  os_close(fd);
}

static void ready_tells_what_a_descriptor_has(void **state) {
  (void)state;
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(os_ready(ends[0], POLLIN), 0);
  assert_int_equal(os_ready(ends[1], POLLOUT), POLLOUT);
  assert_int_equal(os_ready(ends[1], POLLIN), 0);
  assert_int_equal(write(ends[1], "x", 1), 1);
  assert_int_equal(os_ready(ends[0], POLLIN), POLLIN);
  assert_int_equal(os_ready(ends[0], POLLIN | POLLOUT), POLLIN);
  os_close(ends[1]);
  assert_int_equal(os_ready(ends[0], POLLIN), POLLIN | POLLHUP);
  os_close(ends[0]);
  assert_int_equal(os_ready(ends[0], POLLIN), POLLNVAL); /* an error, ready */
  assert_int_equal(os_ready(-1, POLLIN), 0);             /* poll skips it */
}

static void poll_waits_for_one_of_several(void **state) {
  (void)state;
  int a = os_wakefd_open(), b = os_wakefd_open();
  struct pollfd fds[2] = {{.fd = a, .events = POLLIN},
                          {.fd = b, .events = POLLIN}};
  int64_t begin = os_now();
  assert_int_equal(os_poll_all(fds, 2, begin + 5 * MS), 0);
  assert_true(os_now() >= begin + 5 * MS);
  assert_int_equal(os_poll_all(fds, 2, 0), 0);
  os_wakefd_set(b);
  assert_int_equal(os_poll_all(fds, 2, OS_FOREVER), 1);
  assert_int_equal(fds[0].revents, 0);
  assert_int_equal(fds[1].revents, POLLIN);
  assert_int_equal(os_poll(b, POLLIN, a, OS_FOREVER), POLLIN);
  assert_int_equal(os_poll(a, POLLIN, b, OS_FOREVER), 0); /* woken */
  assert_int_equal(os_poll(a, POLLIN, -1, 0), 0);
  os_wakefd_set(a);
  assert_int_equal(os_poll_all(fds, 2, OS_FOREVER), 2);
  assert_int_equal(os_poll_all(NULL, SIZE_MAX, 0), -EINVAL);
  os_close(a);
  os_close(b);
}

typedef struct two_words {
  atomic_uint shared, own;
  int64_t took; /* ns */
} two_words;

/* Sleeps on both for a minute at most. */
static void *sleep_on_two(void *arg) {
  two_words *w = arg;
  int64_t start = os_now();
  while (atomic_load(&w->shared) == 0 && atomic_load(&w->own) == 0)
    os_words_wait(&w->shared, 0, &w->own, 0, os_deadline(60 * SECOND));
  w->took = os_now() - start;
  return NULL;
}

static void one_of_two_words_ends_the_sleep(void **state) {
  (void)state;
  two_words w = {.shared = 5};
  assert_true(os_words_wait(&w.shared, 4, &w.own, 0, OS_FOREVER));
  assert_true(os_words_wait(&w.shared, 5, &w.own, 1, OS_FOREVER));
  assert_false(os_words_wait(&w.shared, 5, &w.own, 0, os_now() + 1000000));
  assert_false(os_words_wait(&w.shared, 5, NULL, 0, os_now() + 1000000));
  for (int which = 0; which < 2; which++) {
    os_thread t;
    w = (two_words){.shared = 0};
    assert_int_equal(os_thread_start(&t, STACK, 0, sleep_on_two, &w), 0);
    usleep(2000);
    atomic_store(which ? &w.own : &w.shared, 1);
    if (which)
      os_word_wake(&w.own);
    else
      os_shared_wake(&w.shared, 1);
    os_thread_join(t);
    assert_true(w.took < 30 * SECOND);
  }
}

/* As a kernel before 5.16, or a sandbox. */
static void forbid_two_words(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 449, 0, 1), /* futex_waitv */
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
    _exit(77);
}

static void without_the_call_it_looks_from_time_to_time(void **state) {
  (void)state;
  pid_t pid = fork();
  if (pid == 0) {
    two_words w = {.shared = 0};
    forbid_two_words();
    int64_t start = os_now();
    bool in_time =
        os_words_wait(&w.shared, 0, &w.own, 0, os_deadline(60 * SECOND));
    int64_t took = os_now() - start;
    bool late = os_words_wait(&w.shared, 0, &w.own, 0, os_now() + 1000000);
    bool changed = os_words_wait(&w.shared, 0, &w.own, 1, OS_FOREVER);
    _exit(in_time && took >= OS_WORDS_NAP / 2 && took < 30 * SECOND && !late &&
                  changed
              ? 0
              : 1);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (WEXITSTATUS(status) == 77) skip();
  assert_int_equal(status, 0);
}

static void closing_keeps_errno(void **state) {
  (void)state;
  errno = 77;
  os_close(-1);
  assert_int_equal(errno, 77);
  int fd = os_wakefd_open();
  os_close(fd);
  os_close(fd); /* not open any more */
  assert_int_equal(errno, 77);
}

static void *get_slack(void *arg) {
  *(int *)arg = prctl(PR_GET_TIMERSLACK);
  return NULL;
}

static void timers_are_exact_in_threads_too(void **state) {
  (void)state;
  int slack = 0;
  os_thread t;
  os_timer_exact();
  assert_int_equal(prctl(PR_GET_TIMERSLACK), 1);
  assert_int_equal(os_thread_start(&t, STACK, 0, get_slack, &slack), 0);
  os_thread_join(t);
  assert_int_equal(slack, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_deadline_is_held_at_forever),
      cmocka_unit_test(clocks_go_on),
      cmocka_unit_test(a_wait_ends_at_its_deadline),
      cmocka_unit_test(another_value_is_not_waited_on),
      cmocka_unit_test(all_that_sleep_are_woken),
      cmocka_unit_test(a_mutex_is_held_by_one),
      cmocka_unit_test(a_thread_has_its_signals_stack_and_name),
      cmocka_unit_test(tryjoin_tells_whether_it_has_ended),
      cmocka_unit_test(a_thread_that_cannot_start_says_why),
      cmocka_unit_test(a_signal_comes_to_the_thread_that_is_meant),
      cmocka_unit_test(a_thread_is_bound_to_one_processor),
      cmocka_unit_test(a_wake_descriptor_is_set_and_cleared),
      cmocka_unit_test(ready_tells_what_a_descriptor_has),
      cmocka_unit_test(poll_waits_for_one_of_several),
      cmocka_unit_test(one_of_two_words_ends_the_sleep),
      cmocka_unit_test(without_the_call_it_looks_from_time_to_time),
      cmocka_unit_test(closing_keeps_errno),
      cmocka_unit_test(timers_are_exact_in_threads_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

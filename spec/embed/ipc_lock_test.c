/* ipc_lock_test.c - locks between processes: who holds them, whose death is
 * told, and that no death at any instruction lets another wait for ever. */
#include "dying.h"

#include "ipc/lock.h"

static ipc_arena arena;

static ipc_outcome try_lock(void *object, ipc_wait *w) {
  return ipc_lock_try(object, w);
}

static ipc_outcome try_rlock(void *object, ipc_wait *w) {
  return ipc_rlock_try(object, w, 7);
}

static void quit_lock(void *object) {
  ipc_lock_quit(object);
}

static ipc_outcome take(ipc_lock *l, int64_t timeout) {
  return await(try_lock, quit_lock, l, timeout);
}

static void an_identity_is_of_one_process(void **state) {
  (void)state;
  ipc_id me = ipc_self();
  assert_int_equal(ipc_pid(me), getpid());
  assert_true(ipc_alive(me));
  assert_true(ipc_alive(ipc_self()));
  assert_false(ipc_alive(me + ((ipc_id)1 << IPC_PID_BITS))); /* started later */
  if (!FORKS) return;
  ipc_id *theirs = shared_page(sizeof *theirs);
  pid_t pid = fork();
  if (pid == 0) {
    *theirs = ipc_self();
    pause();
    _exit(0);
  }
  while (*(volatile ipc_id *)theirs == 0)
    sleep_ns(100000);
  assert_int_equal(ipc_pid(*theirs), pid);
  assert_true(ipc_alive(*theirs));
  kill(pid, SIGKILL);
  siginfo_t info;
  waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
  assert_false(ipc_alive(*theirs)); /* a zombie */
  reap(pid);
  assert_false(ipc_alive(*theirs));
  munmap(theirs, sizeof *theirs);
}

static void *outlive(void *arg) {
  *(ipc_id *)arg = ipc_self();
  pause();
  return NULL;
}

/* Its main thread has ended: a zombie by its letter. */
static void a_process_without_its_main_thread_lives(void **state) {
  (void)state;
  if (!FORKS) return;
  ipc_id *theirs = shared_page(sizeof *theirs);
  pid_t pid = fork();
  if (pid == 0) {
    pthread_t thread;
    pthread_create(&thread, NULL, outlive, theirs);
    syscall(SYS_exit, 0);
  }
  while (*(volatile ipc_id *)theirs == 0)
    sleep_ns(100000);
  char path[64], text[256] = "";
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  do {
    int fd = open(path, O_RDONLY);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
  } while (!strstr(text, ") Z "));
  assert_true(ipc_alive(*theirs));
  kill(pid, SIGKILL);
  reap(pid);
  assert_false(ipc_alive(*theirs));
  munmap(theirs, sizeof *theirs);
}

static void a_lock_is_held_by_one(void **state) {
  (void)state;
  ipc_lock l;
  assert_int_equal(ipc_lock_create(&l, &arena, false), 0);
  assert_int_equal(take(&l, 0), IPC_TAKEN);
  assert_true(ipc_lock_owner(&l) == ipc_self());
  assert_int_equal(take(&l, 0), IPC_BUSY);
  assert_int_equal(take(&l, 5000000), IPC_BUSY);
  assert_true(ipc_lock_release(&l));
  assert_false(ipc_lock_release(&l));
  assert_int_equal(take(&l, 0), IPC_TAKEN);
  assert_true(ipc_lock_release(&l));
  ipc_lock_close(&l);
}

static void an_rlock_is_its_threads(void **state) {
  (void)state;
  ipc_lock l;
  ipc_wait w = ipc_wait_start(0);
  assert_int_equal(ipc_lock_create(&l, &arena, true), 0);
  assert_int_equal(ipc_rlock_try(&l, &w, 7), IPC_TAKEN);
  assert_int_equal(ipc_rlock_try(&l, &w, 7), IPC_TAKEN);
  assert_int_equal(ipc_rlock_try(&l, &w, 8), IPC_BUSY);
  assert_false(ipc_rlock_release(&l, 8));
  assert_true(ipc_rlock_release(&l, 7));
  assert_true(ipc_rlock_is_mine(&l, 7));
  if (FORKS) {
    pid_t pid = fork();
    if (pid == 0) _exit(ipc_rlock_release(&l, 7) || ipc_rlock_is_mine(&l, 7));
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
  }
  assert_true(ipc_rlock_release(&l, 7));
  assert_int_equal(ipc_rlock_try(&l, &w, 8), IPC_TAKEN);
  ipc_lock_close(&l);
}

static void a_block_of_another_kind_is_refused(void **state) {
  (void)state;
  ipc_arena there = {0};
  ipc_block b;
  ipc_lock l, other;
  assert_int_equal(ipc_arena_cut(&arena, 100, &b), 0);
  assert_int_equal(
      ipc_lock_open(&other, &there, ipc_block_fd(&b), ipc_block_offset(&b)),
      -EINVAL);
  assert_null(other.memory);
  ipc_block_free(&b);
  assert_int_equal(ipc_lock_create(&l, &arena, false), 0);
  int fd = ipc_block_fd(&l.block);
  size_t offset = ipc_block_offset(&l.block);
  assert_int_equal(ipc_lock_open(&other, &there, fd, SIZE_MAX - 63), -EINVAL);
  assert_int_equal(ipc_lock_open(&other, &there, fd, offset), 0);
  assert_ptr_not_equal(other.memory, l.memory);
  assert_int_equal(take(&l, 0), IPC_TAKEN);
  assert_int_equal(take(&other, 0), IPC_BUSY);
  assert_true(ipc_lock_release(&other));
  ipc_lock_close(&other);
  ipc_lock_close(&l);
  ipc_arena_destroy(&there);
}

static void hold_and_sleep(void *arg) {
  take(arg, LIMIT);
  pause();
}

static void a_death_is_told_once(void **state) {
  (void)state;
  ipc_lock l;
  if (!FORKS) return;
  assert_int_equal(ipc_lock_create(&l, &arena, false), 0);
  pid_t pid = fork_into(hold_and_sleep, &l);
  while (ipc_lock_owner(&l) == 0)
    sleep_ns(100000);
  assert_int_equal(take(&l, 0), IPC_BUSY);
  assert_int_equal(take(&l, 10000000), IPC_BUSY);
  kill(pid, SIGKILL);
  reap(pid);
  sleep_ns(2 * IPC_LOOK_FIRST);
  assert_int_equal(take(&l, 0), IPC_DIED); /* also by who does not wait */
  assert_int_equal(take(&l, 0), IPC_BUSY);
  assert_true(ipc_lock_release(&l));
  assert_int_equal(take(&l, LIMIT), IPC_TAKEN);
  ipc_lock_close(&l);
}

/* --- Every instruction ---------------------------------------------------- */

static int told;

static void take_and_release(void *arg) {
  ipc_lock *l = arg;
  take(l, LIMIT);
  ipc_lock_release(l);
}

static void can_be_taken(void *arg) {
  ipc_lock *l = arg;
  int64_t start = os_now();
  ipc_outcome outcome = take(l, LIMIT);
  assert_true(outcome == IPC_TAKEN || outcome == IPC_DIED);
  told += outcome == IPC_DIED;
  assert_true(os_now() - start < LIMIT / 2);
  assert_true(ipc_lock_release(l));
  assert_int_equal(take(l, LIMIT), IPC_TAKEN);
  assert_true(ipc_lock_release(l));
}

static void retake_and_release(void *arg) {
  for (int i = 0; i < 2; i++)
    await(try_rlock, quit_lock, arg, LIMIT);
  for (int i = 0; i < 2; i++)
    ipc_rlock_release(arg, 7);
}

static void rlock_can_be_taken(void *arg) {
  ipc_outcome outcome = await(try_rlock, quit_lock, arg, LIMIT);
  assert_true(outcome == IPC_TAKEN || outcome == IPC_DIED);
  told += outcome == IPC_DIED;
  assert_int_equal(((ipc_lock *)arg)->memory->count, 1);
  assert_true(ipc_rlock_release(arg, 7));
  assert_false(ipc_rlock_release(arg, 7));
}

/* The lock is left as by a hungry waiter that is gone. */
static void take_reserved(void *arg) {
  ipc_lock *l = arg;
  l->memory->word |= 2;
  take_and_release(l);
}

static void a_death_at_any_instruction_hinders_nobody(void **state) {
  (void)state;
  ipc_lock l, r;
  if (!FORKS) return;
  assert_int_equal(ipc_lock_create(&l, &arena, false), 0);
  assert_int_equal(ipc_lock_create(&r, &arena, true), 0);
  int deaths = die_everywhere(take_and_release, can_be_taken, &l);
  if (deaths < 0) skip();
  printf("lock: %d deaths, %d told\n", deaths, told);
  assert_true(told > 0 || !every_one());
  deaths = die_everywhere(take_reserved, can_be_taken, &l);
  printf("reserved lock: %d deaths, %d told\n", deaths, told);
  told = 0;
  deaths = die_everywhere(retake_and_release, rlock_can_be_taken, &r);
  printf("rlock: %d deaths, %d told\n", deaths, told);
  assert_true(told > 0 || !every_one());
  ipc_lock_close(&l);
  ipc_lock_close(&r);
}

/* --- Random deaths -------------------------------------------------------- */

typedef struct field {
  ipc_lock lock;
  struct {
    atomic_int inside, wrong;
    atomic_long done, died, slowest;
  } * seen;
} field;

static void hammer(void *arg, int i) {
  field *f = arg;
  (void)i;
  for (;;) {
    int64_t start = os_now();
    ipc_outcome outcome = take(&f->lock, LIMIT);
    int64_t took = os_now() - start;
    if (took > f->seen->slowest) f->seen->slowest = took;
    if (outcome == IPC_BUSY) f->seen->wrong++;
    if (outcome == IPC_DIED) {
      f->seen->died++;
      f->seen->inside = 0;
    }
    if (atomic_fetch_add(&f->seen->inside, 1) != 0) f->seen->wrong++;
    f->seen->done++;
    for (volatile int n = 0; n < 200; n++) {
    }
    atomic_fetch_sub(&f->seen->inside, 1);
    if (!ipc_lock_release(&f->lock)) f->seen->wrong++;
  }
}

static void random_deaths_hinder_nobody(void **state) {
  (void)state;
  field f;
  if (!FORKS) return;
  f.seen = shared_page(sizeof *f.seen);
  assert_int_equal(ipc_lock_create(&f.lock, &arena, false), 0);
  storm s = {.body = hammer, .arg = &f, .seed = random_seed(), .least = LEAST};
  for (int i = 0; i < 10 && f.seen->died == 0; i++) {
    storm_run(&s, 2 * SECOND);
    storm_end(&s);
  }
  can_be_taken(&f.lock);
  printf("lock: %d kills, %ld times told, %ld times taken, longest wait "
         "%.1f ms\n",
         s.kills, f.seen->died, f.seen->done, (double)f.seen->slowest / 1e6);
  assert_int_equal(f.seen->wrong, 0);
  assert_true(f.seen->died > 0);
  assert_true(f.seen->done > s.kills);
  assert_true(f.seen->slowest < LIMIT / 2);
  munmap(f.seen, sizeof *f.seen);
  ipc_lock_close(&f.lock);
}

/* --- Fairness ------------------------------------------------------------- */

static void hold_most_of_the_time(void *arg) {
  field *f = arg;
  while (f->seen->done == 0) {
    take(&f->lock, LIMIT);
    for (volatile int n = 0; n < 2000; n++) {
    }
    ipc_lock_release(&f->lock);
  }
}

static void a_waiter_is_not_starved(void **state) {
  (void)state;
  field f;
  if (!FORKS) return;
  f.seen = shared_page(sizeof *f.seen);
  assert_int_equal(ipc_lock_create(&f.lock, &arena, false), 0);
  pid_t pid = fork_into(hold_most_of_the_time, &f);
  while (ipc_lock_owner(&f.lock) == 0)
    sleep_ns(100000);
  int64_t start = os_now();
  for (int i = 0; i < 100; i++) {
    assert_int_equal(take(&f.lock, LIMIT), IPC_TAKEN);
    assert_true(ipc_lock_release(&f.lock));
    sleep_ns(100000);
  }
  f.seen->done = 1;
  reap(pid);
  printf("100 turns beside a process that hammers: %.1f ms\n",
         (double)(os_now() - start) / 1e6);
  assert_true(os_now() - start < LIMIT);
  munmap(f.seen, sizeof *f.seen);
  ipc_lock_close(&f.lock);
}

/* Somebody has waited for 1 ms: the release leaves the lock to who has waited,
 * and a running process must wait, too. */
static void a_released_lock_is_reserved(void **state) {
  (void)state;
  ipc_lock l;
  assert_int_equal(ipc_lock_create(&l, &arena, false), 0);
  assert_int_equal(take(&l, 0), IPC_TAKEN);
  ipc_wait waiter = ipc_wait_start(OS_FOREVER), running = waiter;
  assert_int_equal(ipc_lock_try(&l, &waiter), IPC_BUSY);
  ipc_wait_begin(&waiter, OS_FOREVER);
  sleep_ns(2 * IPC_LOOK_FIRST);
  ipc_wait_end(&waiter, OS_FOREVER);
  assert_int_equal(ipc_lock_try(&l, &waiter), IPC_BUSY);
  assert_true(ipc_lock_release(&l));
  assert_int_equal(ipc_lock_try(&l, &running), IPC_BUSY);
  assert_int_equal(ipc_lock_owner(&l), 0);
  assert_int_equal(ipc_lock_try(&l, &waiter), IPC_TAKEN);
  assert_true(ipc_lock_release(&l));
  assert_int_equal(ipc_lock_try(&l, &running), IPC_TAKEN);
  ipc_lock_close(&l);
}

/* A reservation for somebody who is gone does not keep others out. */
static void a_stale_reservation_passes(void **state) {
  (void)state;
  ipc_lock l;
  assert_int_equal(ipc_lock_create(&l, &arena, false), 0);
  l.memory->word = 2;
  assert_int_equal(take(&l, 0), IPC_TAKEN);
  assert_true(ipc_lock_release(&l));
  l.memory->word = 2;
  assert_int_equal(take(&l, 5 * SECOND), IPC_TAKEN);
  assert_true(ipc_lock_release(&l));
  ipc_lock_close(&l);
}

/* --- Threads of one process, which the thread sanitizer sees ----------------
 */

/* The thread sanitizer knows addresses: the threads have copies of one handle,
 * over the same memory. */
typedef struct shared_count {
  const ipc_lock *lock;
  long count; /* the lock's */
} shared_count;

static void *count_up(void *arg) {
  shared_count *c = arg;
  ipc_lock l = *c->lock;
  for (int i = 0; i < 20000; i++) {
    take(&l, LIMIT);
    c->count++;
    ipc_lock_release(&l);
  }
  return NULL;
}

static void threads_exclude_each_other(void **state) {
  (void)state;
  ipc_lock l;
  assert_int_equal(ipc_lock_create(&l, &arena, false), 0);
  shared_count c = {.lock = &l};
  in_threads(count_up, &c);
  assert_int_equal(c.count, 80000);
  ipc_lock_close(&l);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_identity_is_of_one_process),
      cmocka_unit_test(a_process_without_its_main_thread_lives),
      cmocka_unit_test(a_lock_is_held_by_one),
      cmocka_unit_test(an_rlock_is_its_threads),
      cmocka_unit_test(a_block_of_another_kind_is_refused),
      cmocka_unit_test(a_death_is_told_once),
      cmocka_unit_test(a_death_at_any_instruction_hinders_nobody),
      cmocka_unit_test(random_deaths_hinder_nobody),
      cmocka_unit_test(a_waiter_is_not_starved),
      cmocka_unit_test(a_released_lock_is_reserved),
      cmocka_unit_test(a_stale_reservation_passes),
      cmocka_unit_test(threads_exclude_each_other),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* os.c - the operating system's side; Linux. */
#include "os.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "annot.h"

#define SECOND 1000000000

tl_role tl_attached;

static int64_t read_clock(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

int64_t os_now(void) {
  return read_clock(CLOCK_MONOTONIC);
}

int64_t os_wall(void) {
  return read_clock(CLOCK_REALTIME);
}

int64_t os_thread_time(void) {
  return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

int64_t os_process_time(void) {
  return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t os_deadline(int64_t ns) {
  int64_t now = os_now();
  return ns >= OS_FOREVER - now ? OS_FOREVER : now + ns;
}

static struct timespec to_timespec(int64_t ns) {
  return (struct timespec){.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
}

/* Adaptive: the sections are short, so a waiter on another processor does
 * better to spin for a moment. */
int os_mutex_init(os_mutex *m) {
  pthread_mutexattr_t attr;
  int err = pthread_mutexattr_init(&attr);
  if (err) return -err;
  pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
  err = pthread_mutex_init(m, &attr);
  pthread_mutexattr_destroy(&attr);
  return -err;
}

void os_mutex_destroy(os_mutex *m) {
  pthread_mutex_destroy(m);
}

/* A mutex that is no mutex, or used in a way that is none. */
static _Noreturn void broken(const char *what) {
  fprintf(stderr, "tidelock: %s\n", what);
  abort();
}

#ifdef TL_DEBUG
/* Mutexes are held for a few statements: never while their thread sleeps. */
static _Thread_local int held;

static void note_held(int change) {
  held += change;
}

static void check_none_held(void) {
  if (held != 0) broken("a thread sleeps while it holds a mutex");
}
#else
static void note_held(int change) {
  (void)change;
}

static void check_none_held(void) {}
#endif

void os_mutex_lock(os_mutex *m) {
  if (pthread_mutex_lock(m)) broken("a mutex cannot be locked");
  note_held(1);
}

void os_mutex_unlock(os_mutex *m) {
  if (pthread_mutex_unlock(m)) broken("a mutex cannot be unlocked");
  note_held(-1);
}

bool os_mutex_trylock(os_mutex *m) {
  if (pthread_mutex_trylock(m)) return false;
  note_held(1);
  return true;
}

static long futex(atomic_uint *word, int op, unsigned val,
                  const struct timespec *t) {
  return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, val, t, NULL,
                 FUTEX_BITSET_MATCH_ANY);
}

bool os_word_wait(atomic_uint *word, unsigned seen, int64_t deadline) {
  /* WAIT_BITSET takes an absolute time of the monotonic clock. */
  struct timespec t, *limit = NULL;
  check_none_held();
  if (deadline != OS_FOREVER) {
    t = to_timespec(deadline < 0 ? 0 : deadline);
    limit = &t;
  }
  return futex(word, FUTEX_WAIT_BITSET, seen, limit) == 0 || errno != ETIMEDOUT;
}

void os_word_wake(atomic_uint *word) {
  futex(word, FUTEX_WAKE, INT_MAX, NULL);
}

/* Absent from the C library; of the kernel's headers since 5.16. */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
struct two_words {
  struct one_word {
    uint64_t value, address;
    uint32_t flags, reserved;
  } shared, own;
};

/* Sleeps on two words; -ENOSYS: the kernel cannot, or is not allowed to. */
static int wait_two(const struct two_words *words, int64_t deadline) {
  struct timespec t, *limit = NULL;
  if (deadline != OS_FOREVER) {
    t = to_timespec(deadline < 0 ? 0 : deadline);
    limit = &t;
  }
  if (syscall(SYS_futex_waitv, words, 2, 0, limit, CLOCK_MONOTONIC) >= 0)
    return 0;
  return errno == EPERM ? -ENOSYS : -errno;
}

/* Sleeps on a word of shared memory alone. */
static int wait_shared(atomic_uint *word, unsigned seen, int64_t deadline) {
  struct timespec t, *limit = NULL;
  if (deadline != OS_FOREVER) {
    t = to_timespec(deadline < 0 ? 0 : deadline);
    limit = &t;
  }
  long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen, limit, NULL,
                        FUTEX_BITSET_MATCH_ANY);
  return result == 0 ? 0 : -errno;
}

bool os_words_wait(atomic_uint *shared, unsigned seen, atomic_uint *own,
                   unsigned own_seen, int64_t deadline) {
  static atomic_bool cannot; /* const once true: the kernel's, so everyone's */
  const uint32_t size_32 = 2, private = FUTEX_PRIVATE_FLAG;
  check_none_held();
  if (!own) return wait_shared(shared, seen, deadline) != -ETIMEDOUT;
  if (!atomic_load_explicit(&cannot, memory_order_relaxed)) {
    struct two_words words = {
        .shared = {seen, (uintptr_t)shared, size_32, 0},
        .own = {own_seen, (uintptr_t)own, size_32 | private, 0}};
    int err = wait_two(&words, deadline);
    if (err != -ENOSYS) return err != -ETIMEDOUT;
    atomic_store(&cannot, true);
  }
  if (atomic_load(own) != own_seen) return true;
  int64_t nap = os_now() + OS_WORDS_NAP;
  bool whole = deadline <= nap;
  int err = wait_shared(shared, seen, whole ? deadline : nap);
  return !whole || err != -ETIMEDOUT;
}

int os_shared_wake(atomic_uint *word, int n) {
  long woken = syscall(SYS_futex, word, FUTEX_WAKE, n, NULL, NULL, 0);
  return woken > 0 ? (int)woken : 0;
}

int os_cpu_count(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? (int)n : 1;
}

int os_cpu_current(void) {
  return sched_getcpu();
}

bool os_cpu_bind(pid_t thread, int cpu, os_cpus *before) {
  if (thread <= 0 || cpu < 0 || cpu >= CPU_SETSIZE ||
      sched_getaffinity(thread, sizeof *before, before) < 0 ||
      !CPU_ISSET(cpu, before) || CPU_COUNT(before) == 1)
    return false;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  return sched_setaffinity(thread, sizeof one, &one) == 0;
}

void os_cpu_free(const os_cpus *before) {
  /* It fails only if none of them is left to this process, which may run where
   * it is, then. */
  sched_setaffinity(0, sizeof *before, before);
}

void os_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

pid_t os_thread_id(void) {
  return (pid_t)syscall(SYS_gettid);
}

struct start {
  void *(*body)(void *);
  void *arg;
  atomic_bool begun;
};

/* gcc's AddressSanitizer does not make its allocator whole for the child of a
 * fork, and a thread that begins uses it before any code of ours: there, a
 * thread has begun when its start returns. The C library's needs no such care.
 */
static void await_begin(struct start *start) {
  while (!atomic_load(&start->begun))
    sched_yield();
  free(start);
}

/* The alternate signal stack lies in the first frame of the thread's own
 * stack: pages that nobody touches cost nothing, and an overflow happens at
 * the other end. */
static void *thread_main(void *arg) {
  struct start *given = arg, start = *given;
  if (OS_SANITIZED)
    atomic_store(&given->begun, true);
  else
    free(given);
  char altstack[16 * 1024];
  stack_t before, alt = {.ss_sp = altstack, .ss_size = sizeof altstack};
  sigaltstack(&alt, &before);
  void *result = start.body(start.arg);
  sigaltstack(&before, NULL); /* this frame ends */
  return result;
}

int os_thread_start(os_thread *t, size_t stack, int open, void *(*body)(void *),
                    void *arg) {
  struct start *start = malloc(sizeof *start);
  if (!start) return -ENOMEM;
  *start = (struct start){.body = body, .arg = arg};
  pthread_attr_t attr;
  int err = pthread_attr_init(&attr);
  if (err) goto no_attr;
  err = pthread_attr_setstacksize(&attr, stack);
  if (err) goto done;
  sigset_t all;
  sigfillset(&all);
  if (open) sigdelset(&all, open);
  /* A fault must reach its handler, not kill the process unreported. */
  sigdelset(&all, SIGSEGV);
  sigdelset(&all, SIGBUS);
  sigdelset(&all, SIGFPE);
  sigdelset(&all, SIGILL);
  sigdelset(&all, SIGABRT);
  pthread_attr_setsigmask_np(&attr, &all);
  err = pthread_create(t, &attr, thread_main, start);
  if (!err && OS_SANITIZED) await_begin(start);
done:
  pthread_attr_destroy(&attr);
no_attr:
  if (err) free(start);
  return -err;
}

void os_thread_join(os_thread t) {
  check_none_held();
  pthread_join(t, NULL);
}

bool os_thread_tryjoin(os_thread t) {
  return pthread_tryjoin_np(t, NULL) == 0;
}

/* Not pthread_kill: that one needs a thread that has not been joined, and holds
 * a lock meanwhile that the child of a fork would find taken. */
void os_thread_signal(pid_t id, int signal) {
  syscall(SYS_tgkill, getpid(), id, signal);
}

void os_thread_name(const char *name) {
  char cut[16];
  strncpy(cut, name, sizeof cut - 1);
  cut[sizeof cut - 1] = '\0';
  pthread_setname_np(pthread_self(), cut);
}

void os_timer_exact(void) {
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

int os_wakefd_open(void) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd < 0 ? -errno : fd;
}

void os_wakefd_set(int fd) {
  int saved = errno;
  uint64_t one = 1;
  if (write(fd, &one, sizeof one) < 0) { /* full: it is set already */
  }
  errno = saved;
}

void os_wakefd_clear(int fd) {
  uint64_t count;
  if (read(fd, &count, sizeof count) < 0) { /* was not set */
  }
}

int os_ready(int fd, short events) {
  struct pollfd p = {.fd = fd, .events = events};
  int n = poll(&p, 1, 0);
  if (n < 0) return errno == EINTR ? 0 : -errno;
  return n == 0 ? 0 : p.revents;
}

int os_poll_all(struct pollfd *fds, size_t n, int64_t deadline) {
  struct timespec t, *limit = NULL;
  check_none_held();
  if (deadline != OS_FOREVER) {
    int64_t left = deadline - os_now();
    t = to_timespec(left > 0 ? left : 0);
    limit = &t;
  }
  int ready = ppoll(fds, n, limit, NULL);
  return ready < 0 && errno != EINTR ? -errno : ready > 0 ? ready : 0;
}

int os_poll(int fd, short events, int wake, int64_t deadline) {
  struct pollfd fds[2] = {{.fd = fd, .events = events},
                          {.fd = wake, .events = POLLIN}};
  int ready = os_poll_all(fds, 2, deadline);
  return ready > 0 ? fds[0].revents : ready;
}

void os_close(int fd) {
  int saved = errno;
  if (fd >= 0) close(fd);
  errno = saved;
}

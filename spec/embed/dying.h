/* dying.h - processes that die in the middle of something: for the tests of
 * what they share. */
#ifndef DYING_H
#define DYING_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/party.h"
#include "ipc/wait.h"

#define SECOND ((int64_t)1000000000)
#define LIMIT (20 * SECOND) /* for what should take a moment */

#ifdef __SANITIZE_THREAD__
enum { FORKS = 0 }; /* its runtime dies with a forked child that has threads */
#else
enum { FORKS = 1 };
#endif

static inline uint64_t random_next(uint64_t *seed) { /* xorshift64 */
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

static inline uint64_t random_seed(void) {
  const char *given = getenv("TIDELOCK_SEED");
  uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)os_now();
  printf("seed: TIDELOCK_SEED=%llu\n", (unsigned long long)seed);
  return seed | 1;
}

static inline void *shared_page(size_t size) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                 -1, 0);
  assert_true(p != MAP_FAILED);
  return p;
}

/* Waits as the bindings do. */
typedef ipc_outcome (*try_function)(void *object, ipc_wait *w);
static inline ipc_outcome await(try_function try, void (*quit)(void *),
                                void *object, int64_t timeout) {
  int64_t deadline = timeout ? os_deadline(timeout) : 0;
  ipc_wait w = ipc_wait_start(deadline);
  ipc_outcome outcome;
  while ((outcome = try(object, &w)) == IPC_BUSY && !w.last) {
    int64_t until = ipc_wait_begin(&w, deadline);
    os_words_wait(w.word, w.seen, NULL, 0, until);
    ipc_wait_end(&w, deadline);
  }
  if (outcome == IPC_BUSY && w.slept && quit) quit(object);
  return outcome;
}

/* Four threads do it at once; returns when all have. */
static inline void in_threads(void *(*body)(void *), void *arg) {
  pthread_t threads[4];
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, body, arg), 0);
  for (int i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
}

static inline void sleep_ns(int64_t ns) {
  usleep((useconds_t)(ns / 1000));
}

static inline pid_t fork_into(void (*body)(void *), void *arg) {
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid > 0) return pid;
  body(arg);
  _exit(0);
}

static inline void reap(pid_t pid) {
  assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Runs body in a process, up to its instruction number 'at', where it dies; a
 * negative one: to its end. Returns the number of instructions, -1: this system
 * lets nobody trace. */
static inline int die_at(void (*body)(void *), void *arg, int at) {
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    ipc_self(); /* it reads files, which is no concern of the others */
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) _exit(77);
    raise(SIGSTOP);
    body(arg);
    _exit(0);
  }
  int status, n = 0;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (!WIFSTOPPED(status)) return -1;
  for (; n != at && WIFSTOPPED(status); n++) {
    ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
  }
  if (WIFSTOPPED(status)) {
    kill(pid, SIGKILL);
    reap(pid);
  }
  return n;
}

/* Whether to die at each instruction, not at random ones. */
static inline bool every_one(void) {
  return getenv("TIDELOCK_EVERY") != NULL;
}

/* Lets processes die in body, and calls verify after each death: at each
 * instruction, or for 2 s at random ones, but at some at least. Returns how
 * many deaths there were, -1 as above. */
static inline int die_everywhere(void (*body)(void *), void (*verify)(void *),
                                 void *arg) {
  const int least = 12;
  bool every = every_one();
  uint64_t seed = random_seed();
  int64_t end = os_deadline(2 * SECOND);
  int n = die_at(body, arg, -1), deaths = 0;
  if (n < 0) return -1;
  verify(arg);
  while (every ? deaths < n : deaths < least || os_now() < end) {
    die_at(body, arg, every ? deaths : (int)(random_next(&seed) % n));
    verify(arg);
    deaths++;
  }
  return deaths;
}

/* --- Random deaths -------------------------------------------------------- */

enum { WORKERS = 4 };

typedef struct storm {
  void (*body)(void *arg, int i); /* of worker i; never returns */
  void *arg;
  pid_t pids[WORKERS];
  uint64_t seed;
  int kills;
  int least; /* kills in each run */
} storm;

/* Kills in all the runs of a test. */
enum { LEAST = OS_SANITIZED ? 100 : 1000 };

static inline void storm_start(storm *s, int i) {
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    if (nice(10) < 0) { /* the parent is to get its turn to kill */
    }
    s->body(s->arg, i);
    _exit(1);
  }
  s->pids[i] = pid;
}

/* Kills workers, stops some for a moment, and starts others for the dead, for
 * that time and until there were enough kills; they are left running. */
static inline void storm_run(storm *s, int64_t time) {
  for (int i = 0; i < WORKERS; i++)
    storm_start(s, i);
  int64_t end = os_deadline(time);
  int enough = s->kills + s->least;
  while (os_now() < end || s->kills < enough) {
    int i = (int)(random_next(&s->seed) % WORKERS);
    if (random_next(&s->seed) % 16 == 0) {
      int j = (int)(random_next(&s->seed) % WORKERS);
      kill(s->pids[j], SIGSTOP);
      sleep_ns((int64_t)(random_next(&s->seed) % 2000000));
      kill(s->pids[j], SIGCONT);
    }
    if (random_next(&s->seed) % 4 == 0)
      sleep_ns((int64_t)(random_next(&s->seed) % 400000));
    kill(s->pids[i], SIGKILL);
    reap(s->pids[i]);
    s->kills++;
    storm_start(s, i);
  }
}

static inline void storm_end(storm *s) {
  for (int i = 0; i < WORKERS; i++) {
    kill(s->pids[i], SIGKILL);
    reap(s->pids[i]);
    s->kills++;
  }
}

#endif

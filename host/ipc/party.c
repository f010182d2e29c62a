/* party.c - identities, and the members of this process; Linux. */
#include "party.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os.h"

_Atomic ipc_id ipc_own_id;

/* What belongs to the process, and not to one of its interpreters. */
static struct {
  os_mutex mu;
  ipc_member *first; /* mu */
  bool watched;      /* mu: forks are */
} process = {.mu = PTHREAD_MUTEX_INITIALIZER};

/* --- Identities ----------------------------------------------------------- */

typedef struct state {
  char letter;
  int threads;
  uint64_t start; /* ticks since the machine's start */
} state;

/* Reads /proc/PID/stat. 0, or -errno. */
static int read_state(pid_t pid, state *s) {
  char path[32], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  ssize_t n = read(fd, text, sizeof text - 1);
  int err = n < 0 ? -errno : 0;
  os_close(fd);
  if (err) return err; /* ESRCH: it has ended since it was opened */
  text[n] = '\0';
  /* Behind the name, which may hold anything: fields 3, 20 and 22. */
  const char *rest = strrchr(text, ')');
  unsigned long long start;
  if (!rest || sscanf(rest,
                      ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
                      " %*s %*s %*s %*s %d %*s %llu",
                      &s->letter, &s->threads, &start) != 3)
    return -EINVAL;
  s->start = start;
  return 0;
}

static ipc_id make_id(pid_t pid, uint64_t start) {
  const uint64_t most = ((uint64_t)1 << (IPC_ID_BITS - IPC_PID_BITS)) - 1;
  return (start & most) << IPC_PID_BITS | (uint64_t)pid;
}

/* In the child of a fork, whose only thread this is. */
static void after_fork(void) {
  os_mutex_init(&process.mu);
  process.first = NULL;
  atomic_store(&ipc_own_id, 0);
}

ipc_id ipc_identify(void) {
  state s = {.start = 0};
  int saved = errno;
  os_mutex_lock(&process.mu);
  if (!process.watched)
    process.watched = !pthread_atfork(NULL, NULL, after_fork);
  os_mutex_unlock(&process.mu);
  read_state(getpid(), &s); /* failed: 0, nobody can tell the start */
  ipc_id id = make_id(getpid(), s.start);
  atomic_store(&ipc_own_id, id);
  errno = saved;
  return id;
}

/* A process whose main thread has ended is a zombie with other threads. */
static bool is_running(const state *s) {
  if (s->letter == 'X' || s->letter == 'x') return false;
  return s->letter != 'Z' || s->threads > 1;
}

bool ipc_alive(ipc_id id) {
  if (id == ipc_self()) return true;
  state s = {.letter = '?'};
  int saved = errno;
  pid_t pid = ipc_pid(id);
  int err = read_state(pid, &s);
  bool alive;
  if (err == 0)
    alive = is_running(&s) && (make_id(pid, 0) == id || /* unknown start */
                               make_id(pid, s.start) == id);
  else /* gone, or hidden from this user, or there is no /proc */
    alive = err != -ESRCH && (kill(pid, 0) == 0 || errno != ESRCH);
  errno = saved;
  return alive;
}

/* --- Members -------------------------------------------------------------- */

void ipc_join(ipc_member *m, void (*leave)(ipc_member *m)) {
  m->who = ipc_self();
  m->leave = leave;
  os_mutex_lock(&process.mu);
  m->next = process.first;
  m->link = &process.first;
  if (m->next) m->next->link = &m->next;
  process.first = m;
  os_mutex_unlock(&process.mu);
}

/* True for one caller, if several want it to leave at once. */
static bool unlink_member(ipc_member *m) {
  if (!m->link) return false;
  *m->link = m->next;
  if (m->next) m->next->link = m->link;
  m->link = NULL;
  return true;
}

void ipc_leave(ipc_member *m) {
  if (!ipc_has_joined(m)) return;
  os_mutex_lock(&process.mu);
  bool mine = unlink_member(m);
  os_mutex_unlock(&process.mu);
  if (mine) m->leave(m);
  m->who = 0;
}

void ipc_leave_all(void) {
  for (;;) {
    os_mutex_lock(&process.mu);
    ipc_member *m = process.first;
    if (m) unlink_member(m);
    os_mutex_unlock(&process.mu);
    if (!m) return;
    m->leave(m);
    m->who = 0;
  }
}

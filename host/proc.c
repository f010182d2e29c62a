/* proc.c - child processes: Linux. */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os.h"

#define SHELL "/bin/sh"

extern char **environ;

/* What an embedding host may ignore but a child does not expect to be. What
 * the process was started with ignored (as by nohup) stays ignored. */
static int set_signals(posix_spawnattr_t *attr, const sigset_t *mask) {
  sigset_t usual;
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  sigaddset(&usual, SIGXFSZ);
  sigaddset(&usual, SIGURG);
  int err = posix_spawnattr_setsigdefault(attr, &usual);
  if (!err) err = posix_spawnattr_setsigmask(attr, mask);
  if (!err)
    err = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK |
                                             POSIX_SPAWN_SETSIGDEF);
  return err;
}

static int set_streams(posix_spawn_file_actions_t *actions, const int fds[3]) {
  int err = 0;
  for (int i = 0; i < 3 && !err; i++)
    if (fds[i] >= 0) err = posix_spawn_file_actions_adddup2(actions, fds[i], i);
  return err;
}

int os_child_start(os_child *c, const char *path, char *const argv[],
                   char *const env[], const int fds[3], const sigset_t *mask) {
  posix_spawnattr_t attr;
  int err = posix_spawnattr_init(&attr);
  if (err) return -err;
  posix_spawn_file_actions_t actions;
  err = posix_spawn_file_actions_init(&actions);
  if (!err) {
    pid_t pid;
    err = set_signals(&attr, mask);
    if (!err) err = set_streams(&actions, fds);
    if (!err)
      err = posix_spawn(&pid, path, &actions, &attr, argv, env ? env : environ);
    if (!err) os_child_adopt(c, pid);
    posix_spawn_file_actions_destroy(&actions);
  }
  posix_spawnattr_destroy(&attr);
  return -err;
}

int os_child_shell(os_child *c, const char *command, const int fds[3],
                   const sigset_t *mask) {
  char *const argv[] = {"sh", "-c", (char *)command, NULL};
  return os_child_start(c, SHELL, argv, NULL, fds, mask);
}

bool os_child_has_shell(void) {
  return access(SHELL, X_OK) == 0;
}

void os_child_adopt(os_child *c, pid_t pid) {
  *c = (os_child){.pid = pid,
                  .parent = getpid(),
                  .pidfd = (int)syscall(SYS_pidfd_open, pid, 0)};
}

/* Only the parent may wait: in a fork's child the number may by now be that of
 * a child of its own. */
static bool reap(os_child *c, int *status, int flags) {
  if (c->pid == 0 || c->parent != getpid()) {
    *status = -ECHILD;
    return true;
  }
  pid_t ended;
  do
    ended = waitpid(c->pid, status, flags);
  while (ended < 0 && errno == EINTR);
  if (ended == 0) return false;
  if (ended < 0) *status = -errno;
  c->pid = 0;
  return true;
}

bool os_child_poll(os_child *c, int *status) {
  return reap(c, status, WNOHANG);
}

void os_child_wait(os_child *c, int *status) {
  reap(c, status, 0);
}

void os_child_forget(os_child *c) {
  if (c->parent != 0) os_close(c->pidfd);
  *c = (os_child){0};
}

int os_pipe(int fds[2]) {
  return pipe2(fds, O_CLOEXEC) == 0 ? 0 : -errno;
}

static ssize_t write_once(int fd, const void *p, size_t n) {
  ssize_t written = write(fd, p, n);
  return written < 0 ? -errno : written;
}

/* The signal goes to the thread that wrote, so it can be taken back there
 * before the mask is restored; one that was pending before is not ours. It
 * comes with a short count as well, when the reader goes in the middle. */
ssize_t os_write_quiet(int fd, const void *p, size_t n, bool mask) {
  if (!mask) return write_once(fd, p, n);
  sigset_t broken, old, pending;
  sigemptyset(&broken);
  sigaddset(&broken, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &broken, &old);
  ssize_t written = write_once(fd, p, n);
  if (written != (ssize_t)n && !sigismember(&old, SIGPIPE)) {
    const struct timespec none = {0};
    sigpending(&pending);
    if (sigismember(&pending, SIGPIPE)) sigtimedwait(&broken, NULL, &none);
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return written;
}

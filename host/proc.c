/* proc.c - child processes: Linux. */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os.h"

#define SHELL "/bin/sh"

extern char **environ;

/* --- Starting ------------------------------------------------------------- */

/* What an embedding host may ignore but a child does not expect to be. What
 * the process was started with ignored (as by nohup) stays ignored. */
static int set_attributes(posix_spawnattr_t *attr, const os_child_options *o) {
  sigset_t usual;
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  sigaddset(&usual, SIGXFSZ);
  sigaddset(&usual, SIGURG);
  if (o->default_signals) sigfillset(&usual);
  int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (o->new_session) flags |= POSIX_SPAWN_SETSID;
  if (o->new_group) flags |= POSIX_SPAWN_SETPGROUP;
  int err = posix_spawnattr_setsigdefault(attr, &usual);
  if (!err) err = posix_spawnattr_setsigmask(attr, o->mask);
  if (!err) err = posix_spawnattr_setpgroup(attr, o->group);
  if (!err) err = posix_spawnattr_setflags(attr, (short)flags);
  return err;
}

/* A stream that is to be another one of 0..2 is copied out of their way: the
 * child makes its streams one after the other. */
static int move_streams(const int *fds, int moved[3]) {
  for (int i = 0; i < 3; i++)
    moved[i] = -1;
  for (int i = 0; fds && i < 3; i++) {
    if (fds[i] < 0 || fds[i] > 2 || fds[i] == i) continue;
    moved[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
    if (moved[i] < 0) return errno;
  }
  return 0;
}

static int set_streams(posix_spawn_file_actions_t *actions, const int *fds,
                       const int moved[3]) {
  int err = 0;
  for (int i = 0; fds && i < 3 && !err; i++) {
    int fd = moved[i] >= 0 ? moved[i] : fds[i];
    if (fd >= 0) err = posix_spawn_file_actions_adddup2(actions, fd, i);
  }
  return err;
}

/* Closes all descriptors above 2 but those to be kept. It is the child that
 * does it, each number in between, open or not: what another thread opens in
 * this moment is closed too. */
static int set_kept(posix_spawn_file_actions_t *actions,
                    const os_child_options *o) {
  int from = 3, err = 0;
  for (size_t i = 0; i < o->keep_count && !err; i++) {
    int fd = o->keep[i];
    if (fd < from) continue;
    while (o->close_fds && from < fd && !err)
      err = posix_spawn_file_actions_addclose(actions, from++);
    from = fd + 1;
    if (!err) err = posix_spawn_file_actions_adddup2(actions, fd, fd);
  }
  if (!err && o->close_fds)
    err = posix_spawn_file_actions_addclosefrom_np(actions, from);
  return err;
}

/* What one attempt needs to know. */
typedef struct start {
  const os_child_options *o;
  posix_spawnattr_t attr;
  posix_spawn_file_actions_t actions;
  pid_t pid;
} start;

static int start_path(start *s, const char *path) {
  char *const *env = s->o->env ? s->o->env : environ;
  return posix_spawn(&s->pid, path, &s->actions, &s->attr, s->o->argv, env);
}

/* The PATH that the child will have. */
static const char *path_of(char *const *env) {
  static const char usual[] = "/bin:/usr/bin"; /* as CPython's os.defpath */
  for (env = env ? env : environ; *env; env++)
    if (strncmp(*env, "PATH=", 5) == 0) return *env + 5;
  return usual;
}

/* Whether an attempt failed because of the folder it looked in. */
static bool looks_on(int err) {
  return err == ENOENT || err == ENOTDIR || err == EACCES || err == ELOOP ||
         err == ENAMETOOLONG;
}

/* In each folder of PATH; an empty one is the current one. What is certainly
 * not there costs no process. */
static int start_searched(start *s, const char *name) {
  int err = ENOENT;
  for (const char *p = path_of(s->o->env), *end;; p = end + 1) {
    char path[PATH_MAX];
    end = strchrnul(p, ':');
    int n = (int)(end - p);
    if (n > 0)
      n = snprintf(path, sizeof path, "%.*s/%s", n, p, name);
    else
      n = snprintf(path, sizeof path, "./%s", name);
    int failed = (size_t)n < sizeof path ? 0 : ENAMETOOLONG;
    if (!failed && path[0] == '/' && access(path, X_OK) != 0) failed = errno;
    if (!failed) failed = start_path(s, path);
    if (!failed || !looks_on(failed)) return failed;
    if (failed != ENOENT && failed != ENOTDIR) err = failed;
    if (*end == '\0') return err;
  }
}

static int start_prepared(start *s, const int moved[3]) {
  const os_child_options *o = s->o;
  int err = set_attributes(&s->attr, o);
  if (!err) err = set_streams(&s->actions, o->fds, moved);
  if (!err && o->cwd)
    err = posix_spawn_file_actions_addchdir_np(&s->actions, o->cwd);
  if (!err) err = set_kept(&s->actions, o);
  if (err) return err;
  if (o->search && o->path[0] != '\0' && !strchr(o->path, '/'))
    return start_searched(s, o->path);
  return start_path(s, o->path);
}

int os_child_start(os_child *c, const os_child_options *o) {
  start s = {.o = o};
  int moved[3];
  int err = posix_spawnattr_init(&s.attr);
  if (err) return -err;
  err = posix_spawn_file_actions_init(&s.actions);
  if (!err) {
    err = move_streams(o->fds, moved);
    if (!err) err = start_prepared(&s, moved);
    for (int i = 0; i < 3; i++)
      os_close(moved[i]);
    posix_spawn_file_actions_destroy(&s.actions);
  }
  posix_spawnattr_destroy(&s.attr);
  if (!err) os_child_adopt(c, s.pid);
  return -err;
}

int os_child_shell(os_child *c, const char *command, const int fds[3],
                   const sigset_t *mask) {
  char *const argv[] = {"sh", "-c", (char *)command, NULL};
  return os_child_start(
      c, &(os_child_options){
             .path = SHELL, .argv = argv, .fds = fds, .mask = mask});
}

bool os_child_has_shell(void) {
  return access(SHELL, X_OK) == 0;
}

/* --- Its end -------------------------------------------------------------- */

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

/* --- Pipes ---------------------------------------------------------------- */

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

/* proc.h - child processes of the operating system, without Lua.
 *
 * A child is started by posix_spawn with a given signal mask, and watched by
 * a pidfd: nothing here depends on SIGCHLD or reaps a process that it has not
 * started. Functions return 0 or a negative errno. */
#ifndef TL_PROC_H
#define TL_PROC_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "annot.h"

/* Zeroed memory is no child. */
typedef struct os_child {
  pid_t pid;    /* 0: none, or reaped */
  pid_t parent; /* the process that started it; no other can wait for it */
  int pidfd;    /* readable once it has ended; -1: the kernel has none */
} os_child;

/* How a program is started. What is left out (zero) is as in this process. */
typedef struct os_child_options {
  const char *path;     /* the program */
  bool search;          /* 'path' without a slash is looked for in the child's
                           PATH, as execvp does */
  char *const *argv;    /* NULL ends it */
  char *const *env;     /* "NAME=value", NULL ends it; NULL: this process's */
  const char *cwd;      /* its folder, against which 'path' is taken as well */
  const int *fds;       /* three: its standard streams; -1 or NULL: this
                           process's. They may be 0..2 in any order. */
  const sigset_t *mask; /* its signal mask; never NULL */
  bool default_signals; /* it ignores none, whatever this process does */
  bool close_fds;       /* it has no other descriptors but those of 'keep'.
                           Otherwise it has all without close-on-exec */
  const int *keep;      /* those above 2 are kept under their numbers, with
                           close-on-exec or without; ascending, no doubles */
  size_t keep_count;
  bool new_session; /* setsid */
  bool new_group;   /* setpgid to 'group'; 0: a group of its own */
  pid_t group;
} os_child_options;

/* Starts a program. Returns when it has been executed or could not be: then
 * negative errno, which may be that of any step (-ENOENT: the program or the
 * folder), and no process is left. May block as long as the program's folder is
 * slow to answer. */
int os_child_start(os_child *c, const os_child_options *o);

/* Starts a command line of the shell with these streams. */
int os_child_shell(os_child *c, const char *command, const int fds[3],
                   const sigset_t *mask);
bool os_child_has_shell(void);

/* Takes over a child that was forked. */
void os_child_adopt(os_child *c, pid_t pid);

/* Reaps the child if it has ended: true, with the status as waitpid's in
 * '*status' or a negative errno (-ECHILD: it is not this process's, or
 * somebody else has reaped it). False: it still runs. */
bool os_child_poll(os_child *c, int *status);

/* The same, waiting for the end. */
void os_child_wait(os_child *c, int *status) TL_NO_GIL;

/* Closes the pidfd; the process stays what it is. */
void os_child_forget(os_child *c);

/* A pipe whose ends are closed on exec. */
int os_pipe(int fds[2]);

/* Writes without raising SIGPIPE; returns the count or negative errno. 'mask'
 * false: the calling thread is known to block SIGPIPE. */
ssize_t os_write_quiet(int fd, const void *p, size_t n, bool mask);

#endif

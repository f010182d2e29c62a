/* proc.h - child processes of the operating system, without Lua.
 *
 * A child is started by posix_spawn with a given signal mask, and watched by
 * a pidfd: nothing here depends on SIGCHLD or reaps a process that it has not
 * started. Functions return 0 or a negative errno. */
#ifndef TL_PROC_H
#define TL_PROC_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "annot.h"

/* Zeroed memory is no child. */
typedef struct os_child {
  pid_t pid;    /* 0: none, or reaped */
  pid_t parent; /* the process that started it; no other can wait for it */
  int pidfd;    /* readable once it has ended; -1: the kernel has none */
} os_child;

/* Starts 'path' with the arguments, and the environment 'env' (NULL: this
 * process's). fds[0..2] become its standard streams; -1 shares this process's.
 * Every descriptor without close-on-exec is inherited as well. */
int os_child_start(os_child *c, const char *path, char *const argv[],
                   char *const env[], const int fds[3], const sigset_t *mask);

/* The same for a command line of the shell. */
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

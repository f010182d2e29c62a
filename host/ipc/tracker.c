/* tracker.c - the process that takes names away: Linux. */
#include "tracker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "named.h"
#include "os.h"
#include "proc.h"

#define PATIENCE (INT64_C(5) * 1000 * 1000 * 1000) /* ns, with a full pipe */

/* The lines are "+ID NAME" and "-ID NAME"; the variables nID are the names of
 * what has been added. The file must still be the one that was: somebody may
 * have taken the name meanwhile. The second process is there so that nobody has
 * to wait for it. */
static const char script[] =
    "# tidelock: unlinks shared memory whose processes have ended\n"
    "exec 3<&0\n"
    "{\n"
    "  trap '' HUP INT QUIT TERM\n"
    "  cd /dev/shm || exit\n"
    "  while IFS= read -r line; do\n"
    "    id=${line%% *}\n"
    "    case $line in\n"
    "    +*) eval \"n${id#+}=\\${line#* }\" ;;\n"
    "    -*) unset \"n${id#-}\" ;;\n"
    "    esac\n"
    "  done\n"
    "  for id in $(set | sed -n 's/^n\\([0-9][0-9]*\\)=.*/\\1/p'); do\n"
    "    eval \"name=./\\$n$id\"\n"
    "    now=$(stat -c %i \"$name\" 2>/dev/null)\n"
    "    [ \"$now\" = \"$id\" ] && rm -f \"$name\"\n"
    "  done\n"
    "} <&3 3<&- &\n";

/* Of this process's surroundings it keeps nothing: neither a stream that
 * somebody waits for the end of, nor a signal that is ignored. */
static int start(int input) {
  char *const argv[] = {"sh", "-c", (char *)script, NULL};
  char *const env[] = {"PATH=/usr/bin:/bin", NULL};
  sigset_t none;
  sigemptyset(&none);
  int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (null < 0) return -errno;
  os_child shell;
  int err = os_child_start(
      &shell, &(os_child_options){.path = "/bin/sh",
                                  .argv = argv,
                                  .env = env,
                                  .fds = (const int[]){input, null, null},
                                  .mask = &none,
                                  .default_signals = true,
                                  .close_fds = true,
                                  .new_session = true});
  os_close(null);
  if (err) return err;
  int status;
  os_child_wait(&shell, &status);
  os_child_forget(&shell);
  return 0;
}

int ipc_tracker_start(ipc_tracker *t) {
  int fds[2];
  int err = os_pipe(fds);
  if (err) return err;
  err = start(fds[0]);
  os_close(fds[0]);
  if (!err && fcntl(fds[1], F_SETFL, O_WRONLY | O_NONBLOCK) < 0) err = -errno;
  if (err)
    os_close(fds[1]);
  else
    t->fd = fds[1];
  return err;
}

/* In one piece, as other processes write to the pipe as well. */
static int tell(const ipc_tracker *t, char what, const char *name,
                uint64_t id) {
  char line[OS_NAMED_MAX + 32];
  int n = snprintf(line, sizeof line, "%c%" PRIu64 " %s\n", what, id, name);
  int64_t deadline = os_deadline(PATIENCE);
  for (;;) {
    ssize_t written = os_write_quiet(t->fd, line, (size_t)n, true);
    if (written >= 0) return 0;
    if (written != -EAGAIN && written != -EINTR) return (int)written;
    if (os_now() >= deadline) return -ETIMEDOUT;
    os_poll(t->fd, POLLOUT, -1, deadline);
  }
}

int ipc_tracker_add(const ipc_tracker *t, const char *name, uint64_t id) {
  return tell(t, '+', name, id);
}

int ipc_tracker_remove(const ipc_tracker *t, const char *name, uint64_t id) {
  return tell(t, '-', name, id);
}

/* Without a reader the writing end has POLLERR. */
bool ipc_tracker_lives(const ipc_tracker *t) {
  return t->fd >= 0 && os_ready(t->fd, 0) <= 0;
}

void ipc_tracker_close(ipc_tracker *t) {
  os_close(t->fd);
  t->fd = -1;
}

/* Runs two commands by turns and compares how long they take.
 *
 *   alternate [--runs N] -- FIRST [ARG...] -- SECOND [ARG...]
 *
 * Either may go first: they change places each time, so that neither profits
 * from the other's warm caches. Wall time from the start of the process to its
 * end. Three turns go unmeasured. Prints one JSON line, medians all:
 *   {"first_ms": , "second_ms": , "ratio": first over second within a turn} */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

enum { UNMEASURED = 3 };

static void fail(const char *what) {
  fprintf(stderr, "alternate: %s\n", what);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The milliseconds that a command takes. */
static double run(char **command) {
  pid_t pid;
  int status;
  double start = now();
  if (posix_spawnp(&pid, command[0], NULL, NULL, command, environ) != 0)
    fail(command[0]);
  waitpid(pid, &status, 0);
  double taken = (now() - start) * 1e3;
  if (status != 0) fail("a command failed");
  return taken;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *v, int n) {
  qsort(v, (size_t)n, sizeof *v, compare);
  return v[n / 2];
}

int main(int argc, char **argv) {
  char **commands[2];
  int runs = 100, found = 0;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--runs") == 0 && found == 0 && i + 1 < argc) {
      runs = atoi(argv[++i]);
    } else if (strcmp(argv[i], "--") == 0 && found < 2 && i + 1 < argc) {
      argv[i] = NULL; /* ends the command before */
      commands[found++] = &argv[i + 1];
    }
  }
  if (found != 2 || runs < 1)
    fail("usage: alternate [--runs N] -- FIRST... -- SECOND...");

  double *taken[2], *ratio = calloc((size_t)runs, sizeof *ratio);
  for (int i = 0; i < 2; i++)
    taken[i] = calloc((size_t)runs, sizeof(double));
  if (!taken[0] || !taken[1] || !ratio) fail("no memory");
  for (int r = -UNMEASURED; r < runs; r++) {
    double ms[2];
    int early = r & 1;
    ms[early] = run(commands[early]);
    ms[!early] = run(commands[!early]);
    if (r < 0) continue;
    taken[0][r] = ms[0];
    taken[1][r] = ms[1];
    ratio[r] = ms[0] / ms[1];
  }
  printf("{\"first_ms\": %.4f, \"second_ms\": %.4f, \"ratio\": %.4f}\n",
         median(taken[0], runs), median(taken[1], runs), median(ratio, runs));
  return 0;
}

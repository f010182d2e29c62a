/* The client of the echo-by-pipe benchmarks: writes one byte, waits for it to
 * come back, notes the time between, and begins again.
 *
 *   echo_client --out FIFO --in FIFO [--ms WINDOW] [--warmup-ms W] [--rate N]
 *
 * With --rate it starts N round trips a second, if the server is fast enough:
 * one that comes back late costs its successors' turns, which are left out.
 * Round trips that start during the warm-up are not counted. Prints one JSON
 * line: {"rate": /s, "p50_us": , "p99_us": , "max_us": , "count": }
 *
 * Needs nothing but libc, so that it can be built without the peers' side. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { SECOND = 1000000000 };

static void fail(const char *what) {
  fprintf(stderr, "echo_client: %s\n", what);
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

static void sleep_until(int64_t ns) {
  struct timespec t = {ns / SECOND, ns % SECOND};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
  }
}

/* The nanoseconds until the byte is back. */
static int64_t round_trip(int out, int in, char byte) {
  char back;
  int64_t start = now_ns();
  if (write(out, &byte, 1) != 1) fail("cannot write");
  if (read(in, &back, 1) != 1) fail("the server went away");
  int64_t taken = now_ns() - start;
  if (back != byte) fail("another byte came back");
  return taken;
}

static int compare(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Nearest rank, in microseconds. */
static double percentile(const int64_t *sorted, size_t n, size_t p) {
  return n ? (double)sorted[(n * p + 99) / 100 - 1] * 1e-3 : 0;
}

int main(int argc, char **argv) {
  const char *out_path = NULL, *in_path = NULL;
  double window = 0.4, warmup = 0.05, rate = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const char *key = argv[i], *value = argv[i + 1];
    if (strcmp(key, "--out") == 0)
      out_path = value;
    else if (strcmp(key, "--in") == 0)
      in_path = value;
    else if (strcmp(key, "--ms") == 0)
      window = atof(value) * 1e-3;
    else if (strcmp(key, "--warmup-ms") == 0)
      warmup = atof(value) * 1e-3;
    else if (strcmp(key, "--rate") == 0)
      rate = atof(value);
    else
      fail("unknown option");
  }
  if (!out_path || !in_path) fail("--out and --in are needed");
  if (!(window > 0 && window <= 60)) fail("--ms is out of range");

  alarm((unsigned)(window + warmup) + 20); /* a server that hangs */
  prctl(PR_SET_TIMERSLACK, 1UL);           /* else each pause is 50 us longer */
  int out = open(out_path, O_WRONLY);
  int in = open(in_path, O_RDONLY);
  if (out < 0 || in < 0) fail(strerror(errno));

  size_t n = 0, room = 4096;
  int64_t *taken = malloc(room * sizeof *taken);
  int64_t period = rate > 0 ? (int64_t)(SECOND / rate) : 0;
  int64_t start = now_ns() + (int64_t)(warmup * SECOND);
  int64_t end = start + (int64_t)(window * SECOND);
  int64_t turn = now_ns(), t = turn;
  for (char byte = 0; t < end; byte++) {
    int64_t spent = round_trip(out, in, byte);
    if (n == room) {
      room *= 2;
      taken = realloc(taken, room * sizeof *taken);
    }
    if (!taken) fail("no memory");
    if (t >= start) taken[n++] = spent;
    t = now_ns();
    if (period) {
      turn = turn + period > t ? turn + period : t;
      sleep_until(turn);
      t = now_ns();
    }
  }

  double elapsed = (double)(t - start) / SECOND;
  qsort(taken, n, sizeof *taken, compare);
  printf("{\"rate\": %.1f, \"p50_us\": %.3f, \"p99_us\": %.3f, "
         "\"max_us\": %.3f, \"count\": %zu}\n",
         (double)n / elapsed, percentile(taken, n, 50),
         percentile(taken, n, 99), percentile(taken, n, 100), n);
  free(taken);
  return 0;
}

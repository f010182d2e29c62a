/* An echo thread sends bytes back to a client process over a pair of pipes
 * while CPU-bound threads spin; no lock anywhere: the limit that the machine
 * sets. The client is echo_client: closed loop, one byte. */
#include "bench.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { MAX_HOGS = 2 };

static atomic_bool stop;
static struct { _Alignas(64) atomic_long chunks; } counts[MAX_HOGS];

static void *spin(void *arg) {
  atomic_long *chunks = arg;
  while (!stop) {
    volatile long n = 1000;
    while (n > 0)
      n = n - 1;
    atomic_fetch_add_explicit(chunks, 1, memory_order_relaxed);
  }
  return NULL;
}

static long chunks_done(void) {
  return counts[0].chunks + counts[1].chunks;
}

struct pipes {
  int from, to;
};

static void *echo(void *arg) {
  const struct pipes *p = arg;
  char byte;
  while (read(p->from, &byte, 1) == 1)
    MUST(write(p->to, &byte, 1) == 1);
  return NULL;
}

/* Starts a client at 'pace' (its options) and opens the pipes to it. */
static FILE *connect_client(double window, const char *pace, struct pipes *p) {
  char folder[] = "/tmp/echo_pipe.XXXXXX", in[64], out[64], command[4600];
  MUST(mkdtemp(folder));
  snprintf(in, sizeof in, "%s/in", folder);
  snprintf(out, sizeof out, "%s/out", folder);
  CHECK(mkfifo(in, 0600));
  CHECK(mkfifo(out, 0600));
  snprintf(command, sizeof command,
           "exec '%s' --out %s --in %s --ms %.0f --warmup-ms 50 %s",
           sibling("echo_client"), in, out, window * 1e3, pace);
  FILE *report = popen(command, "r");
  MUST(report);
  CHECK(p->from = open(in, O_RDONLY)); /* waits for the client */
  CHECK(p->to = open(out, O_WRONLY));
  CHECK(unlink(in));
  CHECK(unlink(out));
  CHECK(rmdir(folder));
  return report;
}

/* Runs the benchmark; the result is the hogs' chunks a second. */
static double run(int nhogs, double window, const char *pace,
                  struct load_result *r) {
  struct pipes pipes;
  pthread_t hogs[MAX_HOGS];
  FILE *report = connect_client(window, pace, &pipes);
  pthread_t server = spawn(echo, &pipes);
  stop = false;
  for (int i = 0; i < nhogs; i++)
    hogs[i] = spawn(spin, &counts[i].chunks);
  long done0 = chunks_done();
  double t0 = now();
  MUST(fscanf(report,
              "{\"rate\": %lf, \"p50_us\": %lf, \"p99_us\": %lf, "
              "\"max_us\": %lf",
              &r->rate, &r->p50_us, &r->p99_us, &r->max_us) == 4);
  while (fgetc(report) != EOF) {
  }
  double done = (double)(chunks_done() - done0) / (now() - t0);
  MUST(pclose(report) == 0);
  stop = true;
  for (int i = 0; i < nhogs; i++)
    pthread_join(hogs[i], NULL);
  pthread_join(server, NULL);
  close(pipes.from);
  close(pipes.to);
  return done;
}

static double hog_alone(double window) {
  stop = false;
  pthread_t hog = spawn(spin, &counts[0].chunks);
  sleep_s(0.02);
  long done0 = chunks_done();
  double t0 = now();
  sleep_s(window);
  double rate = (double)(chunks_done() - done0) / (now() - t0);
  stop = true;
  pthread_join(hog, NULL);
  return rate;
}

static void measure(int nhogs, const char *suffix, const char *pace) {
  const char *b = "echo_pipe";
  double part = seconds(0.15, 0.05);
  double before = nhogs ? hog_alone(part) : 0;
  struct load_result r;
  double done = run(nhogs, seconds(0.6, 0.1), pace, &r);
  emit(b, r.p50_us, "us", "lower", "pipe_%dhogs_%sp50", nhogs, suffix);
  emit(b, r.p99_us, "us", "lower", "pipe_%dhogs_%sp99", nhogs, suffix);
  emit(b, r.max_us, "us", "lower", "pipe_%dhogs_%smax", nhogs, suffix);
  emit(b, r.rate, "roundtrips/s", "higher", "pipe_%dhogs_%srate", nhogs,
       suffix);
  if (nhogs) /* and after: the machine's speed drifts */
    emit(b, 2 * done / (before + hog_alone(part)), "x of one hog alone",
         "higher", "pipe_%dhogs_%sretained", nhogs, suffix);
}

int main(void) {
  for (int nhogs = 0; nhogs <= MAX_HOGS; nhogs++)
    measure(nhogs, "", "");
  for (int nhogs = 1; nhogs <= MAX_HOGS; nhogs++)
    measure(nhogs, "2000_", "--rate 2000");
  return 0;
}

/* One small task at a time in a pool of 2 processes: a pipe of tasks and one of
 * results, 8 bytes each way. The limit of b10's pool_single. */
#include "bench.h"

#include <sys/wait.h>

enum { WORKERS = 2 };

static int tasks[2], results[2];

static void worker(void)
{
    int64_t x;
    close(tasks[1]);
    while (read(tasks[0], &x, sizeof x) == sizeof x) {
        x++;
        MUST(write(results[1], &x, sizeof x) == sizeof x);
    }
    _exit(0);
}

static void submit(long n)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t x = i;
        MUST(write(tasks[1], &x, sizeof x) == sizeof x);
        MUST(read(results[0], &x, sizeof x) == sizeof x);
        sum += x;
    }
    MUST(sum == (int64_t)n * (n + 1) / 2);
}

int main(void)
{
    CHECK(pipe(tasks));
    CHECK(pipe(results));
    for (int i = 0; i < WORKERS; i++) {
        pid_t pid;
        CHECK(pid = fork());
        if (pid == 0)
            worker();
    }
    close(tasks[0]);
    submit(10);
    long n = scaled(20000, 8);
    double t0 = now();
    submit(n);
    emit("pool_map", (now() - t0) / (double)n * 1e6, "us/task", "lower",
         "pool_single");
    close(tasks[1]);
    for (int i = 0; i < WORKERS; i++)
        CHECK(wait(NULL));
    return 0;
}

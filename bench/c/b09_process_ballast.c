/* fork+exit+waitpid of a process that has 100 MiB of small blocks. */
#include "bench.h"

#include <stdlib.h>
#include <sys/wait.h>

static void once(void)
{
    int status;
    pid_t pid;
    CHECK(pid = fork());
    if (pid == 0)
        _exit(0);
    CHECK(waitpid(pid, &status, 0));
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static double run(long n)
{
    once();
    double t0 = now();
    for (long i = 0; i < n; i++)
        once();
    return (now() - t0) / (double)n * 1e3;
}

int main(void)
{
    void **last = NULL;
    for (size_t size = 0; size < ((size_t)100 << 20); size += 80) {
        void **block = malloc(72);
        MUST(block != NULL);
        block[0] = last;
        last = block;
    }
    emit("process_spawn", run(scaled(100, 1)), "ms", "lower", "fork_100mib");
    return last == NULL;
}

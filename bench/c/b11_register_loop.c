/* The speed-up of b11 with a loop that keeps its sum in a register. That of
 * b11_pool_speedup.c keeps it in memory, where its time depends on how the
 * processor forwards the store, and differs between the two sides. */
#include "bench.h"

#include <sys/wait.h>

static long loops;

static void burn(long n)
{
    long total = 0;
    for (long i = 0; i < n; i++) {
        total = total + (i & 3);
        __asm__ volatile("" : "+r"(total));
    }
}

static double one_after_another(int ntasks)
{
    double t0 = now();
    for (int i = 0; i < ntasks; i++)
        burn(loops);
    return now() - t0;
}

static double with_processes(int ntasks)
{
    double t0 = now();
    for (int i = 0; i < 2; i++) {
        pid_t pid;
        CHECK(pid = fork());
        if (pid == 0) {
            one_after_another(ntasks / 2);
            _exit(0);
        }
    }
    for (int i = 0; i < 2; i++)
        CHECK(wait(NULL));
    return now() - t0;
}

int main(void)
{
    double r[3], best = 1e9;
    loops = 20000000;
    for (int i = 0; i < 4; i++) {
        double t = one_after_another(1);
        best = t < best ? t : best;
    }
    loops = (long)((double)loops * 0.05 / best);
    int ntasks = (int)scaled(4, 2) / 2 * 2;
    for (int i = 0; i < 3; i++) {
        r[i] = one_after_another(ntasks);
        r[i] /= with_processes(ntasks);
    }
    double least = r[0] < r[1] ? r[0] : r[1], most = r[0] < r[1] ? r[1] : r[0];
    emit("pool_speedup", r[2] < least ? least : r[2] > most ? most : r[2], "x",
         "higher", "pool2_register_loop");
    return 0;
}

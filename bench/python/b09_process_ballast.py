"""multiprocessing.Process start+join of a process that has 100 MiB of small lists."""
import multiprocessing

from _bench import emitter, now, rss_kib, scaled


def nothing():
    pass


def run(ctx, n):
    t0 = now()
    for _ in range(n):
        p = ctx.Process(target=nothing)
        p.start()
        p.join()
        assert p.exitcode == 0
    return (now() - t0) / n * 1e3


if __name__ == "__main__":
    emit = emitter("process_spawn")
    ballast = []
    before = rss_kib()
    while rss_kib() - before < 100 * 1024:
        ballast.extend([i] for i in range(len(ballast), len(ballast) + 10000))
    for method, count in (("fork", 40), ("spawn", 6), ("forkserver", 10)):
        ctx = multiprocessing.get_context(method)
        run(ctx, 1)                         # also starts the fork server
        emit(method + "_100mib", run(ctx, scaled(count)), "ms", "lower")

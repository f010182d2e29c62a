"""One small task at a time in a pool of 2 processes: apply_async, then get."""
from multiprocessing import Pool

from _bench import emitter, now, scaled


def increment(x):
    return x + 1


def main():
    emit = emitter("pool_map")

    def submit(n):
        return sum(pool.apply_async(increment, (i,)).get() for i in range(n))

    with Pool(2) as pool:
        submit(10)
        n = scaled(4000, 8)
        t0 = now()
        total = submit(n)
        elapsed = now() - t0
        assert total == n * (n + 1) // 2, total
        emit("pool_single", elapsed / n * 1e6, "us/task", "lower")


if __name__ == "__main__":
    main()

"""A manager's proxies: the rows of b12 that are about managers."""
import multiprocessing

from _bench import emitter, now, scaled


def each(n, f):
    """Microseconds that one call of f takes."""
    for _ in range(100):
        f()
    t0 = now()
    for _ in range(n):
        f()
    return (now() - t0) / n * 1e6


def main():
    emit = emitter("ipc")
    n = scaled(5000)
    with multiprocessing.Manager() as manager:
        d, q = manager.dict({"x": 1}), manager.Queue()

        def write():
            d["x"] = 2

        def put_get():
            q.put(1)
            q.get()

        emit("manager_dict_get", each(n, lambda: d["x"]), "us", "lower")
        emit("manager_dict_set", each(n, write), "us", "lower")
        emit("manager_queue_put_get", each(n, put_get), "us", "lower")


if __name__ == "__main__":
    main()

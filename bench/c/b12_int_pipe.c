/* A small integer back and forth over a pipe of processes: what
 * pipe_int_roundtrip of b12 does, with the messages of b12_ipc.c (a length, then
 * the bytes) and the integer as its eight bytes.
 */
#include "bench.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

static void read_all(int fd, void *buf, size_t size)
{
    for (char *p = buf; size;) {
        ssize_t n = read(fd, p, size);
        MUST(n > 0);
        p += n;
        size -= (size_t)n;
    }
}

static void send_int(int fd, int64_t i)
{
    uint32_t size = sizeof i;
    struct iovec v[2] = {{&size, sizeof size}, {&i, sizeof i}};
    MUST(writev(fd, v, 2) == sizeof size + sizeof i);
}

static int64_t receive_int(int fd)
{
    uint32_t size;
    int64_t i;
    read_all(fd, &size, sizeof size);
    MUST(size == sizeof i);
    read_all(fd, &i, size);
    return i;
}

static void echo(int fd)
{
    int64_t i;
    while ((i = receive_int(fd)) >= 0)
        send_int(fd, i);
}

static double roundtrip(long n)
{
    int pair[2];
    pid_t pid;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    CHECK(pid = fork());
    if (pid == 0) {
        close(pair[0]);
        echo(pair[1]);
        _exit(0);
    }
    close(pair[1]);
    double t0 = 0;
    for (long i = -100; i < n; i++) {
        if (i == 0)
            t0 = now();
        send_int(pair[0], i < 0 ? -i : i);
        MUST(receive_int(pair[0]) == (i < 0 ? -i : i));
    }
    double elapsed = now() - t0;
    send_int(pair[0], -1);
    close(pair[0]);
    CHECK(wait(NULL));
    return elapsed / (double)n;
}

int main(void)
{
    emit("ipc", roundtrip(scaled(50000, 1)) * 1e6, "us", "lower",
         "pipe_int_roundtrip");
    return 0;
}

"""An echo thread sends bytes back to a client process over a pair of pipes while
CPU-bound threads spin. The client is c/echo_client: closed loop, one byte.
"""
import json
import os
import subprocess
import tempfile
import time
from threading import Thread

from _bench import c_tool, emitter, now, seconds

emit = emitter("echo_pipe")
client = c_tool("echo_client")


class Hogs:
    """CPU-bound threads, counting the chunks of work they have done."""

    def __init__(self, n):
        self.counts = [0] * n
        self.stop = False
        self.threads = [Thread(target=self.spin, args=(i,)) for i in range(n)]
        for t in self.threads:
            t.start()

    def spin(self, me):
        counts = self.counts
        while not self.stop:
            n = 1000
            while n > 0:
                n -= 1
            counts[me] += 1

    def done(self):
        return sum(self.counts)

    def join(self):
        self.stop = True
        for t in self.threads:
            t.join()


def echo(source, sink):
    while True:
        byte = os.read(source, 1)
        if not byte:
            return
        os.write(sink, byte)


def connect(window, pace):
    """Starts a client at `pace` (its options); returns it, and the pipes' ends."""
    with tempfile.TemporaryDirectory() as folder:
        inward, outward = folder + "/in", folder + "/out"
        os.mkfifo(inward)
        os.mkfifo(outward)
        process = subprocess.Popen(
            [client, "--out", inward, "--in", outward,
             "--ms", str(int(window * 1000)), "--warmup-ms", "50"] + pace,
            stdout=subprocess.PIPE)
        source = os.open(inward, os.O_RDONLY)       # waits for the client
        sink = os.open(outward, os.O_WRONLY)
    return process, source, sink


def run(nhogs, window, pace):
    process, source, sink = connect(window, pace)
    server = Thread(target=echo, args=(source, sink))
    server.start()
    hogs = Hogs(nhogs)
    t0, done0 = now(), hogs.done()
    out, _ = process.communicate()
    done = (hogs.done() - done0) / (now() - t0)
    hogs.join()
    server.join()
    os.close(source)
    os.close(sink)
    assert process.returncode == 0, "the client failed"
    return json.loads(out), done


def hog_alone(window):
    hogs = Hogs(1)
    time.sleep(0.02)
    t0, done0 = now(), hogs.done()
    time.sleep(window)
    rate = (hogs.done() - done0) / (now() - t0)
    hogs.join()
    return rate


def measure(name, nhogs, pace):
    window, short = seconds(0.6, 0.1), seconds(0.15)
    before = hog_alone(short) if nhogs else None
    result, done = run(nhogs, window, pace)
    emit(name + "p50", result["p50_us"], "us", "lower")
    emit(name + "p99", result["p99_us"], "us", "lower")
    emit(name + "max", result["max_us"], "us", "lower")
    emit(name + "rate", result["rate"], "roundtrips/s", "higher")
    if nhogs:                       # and after: the machine's speed drifts
        alone = (before + hog_alone(short)) / 2
        emit(name + "retained", done / alone, "x of one hog alone", "higher")


for nhogs in (0, 1, 2):
    measure("pipe_%dhogs_" % nhogs, nhogs, [])
for nhogs in (1, 2):
    measure("pipe_%dhogs_2000_" % nhogs, nhogs, ["--rate", "2000"])

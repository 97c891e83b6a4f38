"""Several hosts share a computation: how many primes are there below a number?

Each worker process stands for a host. It gets a range from one queue and puts the count into another one.
One worker is killed in the middle of its work. When its lease ends, another worker gets its range, and the
result is complete. Run it: python examples/tqueue_primes.py [LIMIT]
"""

import os
import subprocess
import sys
import time

from twisted_appserver.tqueue.client import Queue

LIMIT, RANGE, WORKERS, LEASE = 200_000, 5_000, 3, 2.0


def count_primes(start, end):
    """How many primes there are in range(start, end), by trial division."""
    return sum(
        all(number % factor for factor in range(2, int(number**0.5) + 1))
        for number in range(max(start, 2), end)
    )


def work(url):
    """The work of one host: it computes one range after another, until the queue is shut down."""
    ranges, counts = (Queue(url=url, name=name, lease=LEASE) for name in ("ranges", "counts"))
    for task in ranges.tasks():
        count = count_primes(task["start"], task["end"])
        # The count is put before the range is done. If the worker dies in between, the count arrives twice,
        # but it is never lost.
        counts.put({"start": task["start"], "count": count, "worker_process": os.getpid()})


def main(url, limit):
    ranges, counts = (Queue(url=url, name=name, lease=LEASE) for name in ("ranges", "counts"))
    starts = range(0, limit, RANGE)
    for start in starts:
        ranges.put({"start": start, "end": min(start + RANGE, limit)})
    workers = [subprocess.Popen([sys.executable, __file__, "--work", url]) for _ in range(WORKERS)]
    found = {}
    killed = False
    while len(found) < len(starts):
        with counts.task() as task:
            found[task["start"]] = task["count"]  # a count that arrives twice counts once
        if not killed:
            workers[0].kill()
            killed = True
            print(f"worker {workers[0].pid} was killed")
    ranges.join()
    ranges.shutdown()
    for worker in workers:
        worker.wait()
    print(f"there are {sum(found.values())} primes below {limit}")


def serve():
    """A TQueueSrv of our own, on a free port. Return its process and its address."""
    command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
    command += ["--nodaemon", "--pidfile=", "tqueuesrv", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in server.stdout:
        if "http://" in line:
            return server, "http://" + line.partition("http://")[2].split("/")[0]
    sys.exit("the server did not start")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2])
    else:
        server, url = serve()
        begin = time.monotonic()
        try:
            main(url, int(sys.argv[1]) if sys.argv[1:] else LIMIT)
        finally:
            server.terminate()
            server.wait()
        print(f"{time.monotonic() - begin:.1f} seconds")

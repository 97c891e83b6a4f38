"""Orders ranges from the service and gathers their counts, until SIGTERM; then checks the sum.

Usage: client.py SERVICE QUEUES. It prints a line of JSON each second: how many orders were answered, how many
failed and were repeated, and how many counts have arrived. The last line shows whether the result is right.
"""

import itertools
import json
import signal
import sys
import threading
import time
import urllib.request

from twisted_appserver.tqueue.client import Empty, LeaseLost, Queue

RANGE, AHEAD, CLIENTS = 1_000, 40, 4
PACE = 0.1  # seconds between two orders of one client, so that only network cuts make a difference


class Client:
    def __init__(self, service, queues):
        self.service, self.counts = service, Queue(url=queues, name="counts", lease=10.0)
        self.starts = itertools.count(0, RANGE)
        self.ordered, self.found = set(), {}
        self.answered = self.failed = 0
        self.stopping, self.complete = threading.Event(), threading.Event()

    def order(self):
        """Order range after range. Repeat an order that fails, although it may have arrived."""
        while not self.stopping.is_set():
            if len(self.ordered) - len(self.found) >= AHEAD:
                time.sleep(0.02)
                continue
            start = next(self.starts)
            self.ordered.add(start)
            while not self.post(f"{self.service}/order/{start}/{start + RANGE}/"):
                self.failed += 1
                time.sleep(0.1)
            self.answered += 1
            time.sleep(PACE)

    def post(self, url):
        try:
            with urllib.request.urlopen(url, data=b"", timeout=15) as answer:
                return answer.status == 200
        except OSError:  # includes the errors of urllib
            return False

    def gather(self):
        while not self.complete.is_set():
            try:
                with self.counts.task(timeout=1.0) as task:
                    self.found[task["start"]] = task["primes"]  # the same result twice does no harm
            except Empty:
                continue
            except LeaseLost:  # the network was cut for longer than the lease, so the task comes again
                continue

    def report(self, **more):
        figures = {"answered": self.answered, "failed": self.failed, "counted": len(self.found)}
        print(json.dumps({**figures, **more}), flush=True)

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: self.stopping.set())
        ordering = [threading.Thread(target=self.order) for _ in range(CLIENTS)]
        gathering = threading.Thread(target=self.gather)
        for thread in (*ordering, gathering):
            thread.start()
        while any(thread.is_alive() for thread in ordering) or len(self.found) < len(self.ordered):
            time.sleep(1.0)
            self.report()
        self.complete.set()
        gathering.join()
        end = len(self.ordered) * RANGE
        self.report(end=end, primes=sum(self.found.values()), right=sum(self.found.values()) == primes(end))


def primes(end):
    """Count the primes below a number with the sieve of Eratosthenes."""
    sieve = bytearray(2) + bytearray(b"\1") * (end - 2)
    for number in range(2, int(end**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, end, number)))
    return sum(sieve)


if __name__ == "__main__":
    Client(*sys.argv[1:]).run()

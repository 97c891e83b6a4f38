"""Producers and consumers for the books test, each a process with a ledger of its own.

Usage: python -m tests.support.people produce|consume URL QUEUE LEDGER SEED. A line is written before and
after each step, by one write to a file, which kill -9 cannot undo.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from typing import Any

from twisted_appserver.tqueue.client import Empty, Full, LeaseLost, Queue

LEASE = 2.0  # seconds
MAXSIZE = 200


class Ledger:
    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


class Stop:
    """Whether SIGTERM has come."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_: Any) -> None:
        self.asked = True


def produce(queue: Queue, ledger: Ledger, who: str) -> None:
    stop, number = Stop(), 0
    while not stop.asked:
        number += 1
        name = f"{who}.{number}"
        ledger.write("try", name, time.time())
        try:
            queue.put({"name": name}, timeout=5)
        except Full:
            ledger.write("refused", name, time.time())
        else:
            ledger.write("ack", name, time.time())


def consume(queue: Queue, ledger: Ledger, who: str) -> None:
    stop = Stop()
    while not stop.asked:
        asked = time.time()
        try:
            held = queue._lease(1.0)
        except Empty:
            continue
        queue._keep(held)
        name = held.item["name"]
        ledger.write("got", name, held.delivery, asked, time.time())
        if random.random() < 0.001:
            time.sleep(2 * LEASE)  # its lease is kept alive
        ledger.write("finishing", name, time.time())
        try:
            queue.task_done()
        except LeaseLost:
            ledger.write("lost", name, time.time())
        else:
            ledger.write("done", name, time.time())


if __name__ == "__main__":
    role, url, name, path, seed = sys.argv[1:]
    random.seed(seed)
    people = Queue(url=url, name=name, lease=LEASE, patience=120.0)
    {"produce": produce, "consume": consume}[role](people, Ledger(path), os.path.basename(path))

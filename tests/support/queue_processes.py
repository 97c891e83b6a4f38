"""Producers and consumers for L{tests.support.queue_faults}, each a process that records its steps in a file.

Usage: python -m tests.support.queue_processes produce|consume URL QUEUE FILE SEED

Each line is written by one call of C{write}, before or after a step, so C{kill -9} cannot undo it.
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


class StepRecord:
    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


class Stop:
    """Records whether SIGTERM has arrived."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_: Any) -> None:
        self.asked = True


def produce(queue: Queue, record: StepRecord, who: str) -> None:
    stop, number = Stop(), 0
    while not stop.asked:
        number += 1
        name = f"{who}.{number}"
        record.write("try", name, time.time())
        try:
            queue.put({"name": name}, timeout=5)
        except Full:
            record.write("refused", name, time.time())
        else:
            record.write("ack", name, time.time())


def consume(queue: Queue, record: StepRecord, who: str) -> None:
    stop = Stop()
    while not stop.asked:
        asked = time.time()
        try:
            held = queue._lease(1.0)
        except Empty:
            continue
        queue._keep(held)
        name = held.item["name"]
        record.write("got", name, held.delivery, asked, time.time())
        if random.random() < 0.001:
            time.sleep(2 * LEASE)  # its lease is renewed meanwhile
        record.write("finishing", name, time.time())
        try:
            queue.task_done()
        except LeaseLost:
            record.write("lost", name, time.time())
        else:
            record.write("done", name, time.time())


if __name__ == "__main__":
    role, url, name, path, seed = sys.argv[1:]
    random.seed(seed)
    queue = Queue(url=url, name=name, lease=LEASE, patience=120.0)
    {"produce": produce, "consume": consume}[role](queue, StepRecord(path), os.path.basename(path))

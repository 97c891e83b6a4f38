"""Producers and consumers of one queue, each a thread with a record of its own.

Usage: python -m tests.tqueue.pressure.load_process URL QUEUE LOAD FOLDER NAME PATIENCE SEED

It reads commands from standard input: C{rate N}, C{burst N}, C{stop} (producers), and C{end} (consumers).
It confirms all but the first with a line. If a thread fails, the process exits with status 1.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import traceback
from threading import Event, Thread
from typing import Any

from tests.support.queue_processes import (
    BATCH,
    LEASE,
    LOADS,
    Load,
    StepRecord,
    finish,
    get_tasks,
    put_tasks,
)
from tests.tqueue.pressure.pace import Pace
from twisted_appserver.tqueue.client import Queue

PRODUCERS = CONSUMERS = 16


def produce(queue: Queue, load: Load, record: StepRecord, who: str, pace: Pace) -> None:
    """Put tasks until the pace ends that."""
    number = 0
    while size := pace.next_size():
        put_tasks(queue, load, record, [f"{who}.{number + place}" for place in range(1, size + 1)])
        number += size


def consume(queue: Queue, record: StepRecord, ending: Event) -> None:
    """Get tasks and finish them."""
    while not ending.is_set():
        finish(queue, record, get_tasks(queue, record, random.choice((1, 1, 1, BATCH))), with_results=False)


def exit_with_traceback(failed: Any) -> None:
    traceback.print_exception(failed.exc_value)
    sys.stderr.flush()
    os._exit(1)


def obey(pace: Pace, producers: list[Thread], consumers: list[Thread], ending: Event) -> None:
    """Follow the commands on standard input until it ends."""
    for line in sys.stdin:
        command, *words = line.split()
        if command == "rate":
            pace.set_rate(float(words[0]))
        elif command == "burst":
            pace.allow_burst(int(words[0]))
        elif command == "stop":
            pace.stop()
            join(producers)
        else:
            ending.set()
            join(consumers)
        if command != "rate":
            print(command, flush=True)


def join(threads: list[Thread]) -> None:
    for thread in threads:
        thread.join()


def main(url: str, name: str, kind: str, folder: str, who: str, patience: str, seed: str) -> None:
    random.seed(seed)
    logging.disable(logging.WARNING)  # that a request is repeated
    threading.excepthook = exit_with_traceback
    queue = Queue(url=url, name=name, lease=LEASE, patience=float(patience))
    pace, ending = Pace(), Event()

    def thread(role: str, number: int) -> Thread:
        label = f"{role}-{who}-{number}"
        record = StepRecord(os.path.join(folder, label))
        if role == "consume":
            return Thread(target=consume, args=(queue, record, ending), daemon=True)
        return Thread(target=produce, args=(queue, LOADS[kind], record, label, pace), daemon=True)

    producers = [thread("produce", number) for number in range(PRODUCERS)]
    consumers = [thread("consume", number) for number in range(CONSUMERS)]
    for each in (*producers, *consumers):
        each.start()
    obey(pace, producers, consumers, ending)


if __name__ == "__main__":
    main(*sys.argv[1:])

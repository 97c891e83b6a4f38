"""Producers and consumers for L{tests.support.queue_faults}, each a process that records its steps in a file.

Usage: python -m tests.support.queue_processes produce|consume URL QUEUE LOAD FILE SEED

Each line is written by one call of C{write}, before or after a step, so C{kill -9} cannot undo it.
L{tests.support.queue_records} reads the files.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from twisted_appserver.tqueue.client import Empty, Full, LeaseLost, Queue, batches
from twisted_appserver.tqueue.client.leases import LeasedTask

LEASE = 2.0  # seconds
MAXSIZE = 200
BATCH = 12  # tasks
FIRST_PAUSE, FACTOR, LONGEST_PAUSE = 0.3, 2.0, 1.5  # seconds after a failure
BACKOFF = {
    "retry_first": FIRST_PAUSE, "retry_factor": FACTOR, "retry_most": LONGEST_PAUSE, "retry_jitter": 0,
}  # fmt: skip


class Load(NamedTuple):
    """
    What is put into a queue.

    @ivar processes: how many producers, and as many consumers.
    @ivar groups, keys: how many names of groups and unique keys there are; 0 for none.
    @ivar at_once: the option of the queue.
    """

    processes: int
    groups: int = 0
    keys: int = 0
    at_once: int = 1


LOADS = {
    "plain": Load(3),
    "unique": Load(2, keys=30),
    "ordered": Load(2, groups=10),
    "paired": Load(2, groups=6, keys=60, at_once=2),
}


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


def produce(queue: Queue, load: Load, record: StepRecord, who: str) -> None:
    """Put single tasks and batches, until SIGTERM arrives."""
    stop, number = Stop(), 0
    while not stop.asked:
        count = random.choice((1, 1, 1, BATCH))
        put_tasks(queue, load, record, [f"{who}.{number + place}" for place in range(1, count + 1)])
        number += count


def put_tasks(queue: Queue, load: Load, record: StepRecord, names: Sequence[str]) -> None:
    """Put tasks with these names, in one request."""
    group = f"group-{random.randrange(load.groups)}" if load.groups else None
    keys = [f"key-{random.randrange(load.keys)}" if load.keys else None for _ in names]
    for name, key in zip(names, keys, strict=True):
        record.write("try", name, time.time(), group or "-", key or "-")
    try:
        if len(names) == 1:
            ids = [queue.put({"name": names[0]}, timeout=5, group=group, unique=keys[0])]
        else:
            items = [{"name": name} for name in names]
            ids = queue.put_many(items, timeout=5, group=group, unique=keys if load.keys else None)
    except Full:
        for name in names:
            record.write("refused", name, time.time())
    else:
        for name, task_id in zip(names, ids, strict=True):
            record.write("exists" if task_id.existing else "ack", name, time.time(), task_id)


def consume(queue: Queue, load: Load, record: StepRecord, who: str) -> None:
    """Get single tasks and batches, and finish most of them with a result, until SIGTERM arrives."""
    stop = Stop()
    while not stop.asked:
        held = get_tasks(queue, record, random.choice((1, 1, 1, BATCH)))
        if held and random.random() < 0.001:
            time.sleep(2 * LEASE)  # the leases are renewed meanwhile
        finish(queue, record, [task for task in held if not gives_back(queue, record, task)])


def get_tasks(queue: Queue, record: StepRecord, count: int) -> list[LeasedTask]:
    """Get up to C{count} tasks in one request. Return none if none arrive within a second."""
    asked = time.time()
    try:
        if count == 1:
            held = [queue._lease(1.0)]
            queue._keep(held[0])
        else:
            held = queue._finish(batches._lease(queue._session, count, 1.0, queue._owner()))
    except Empty:
        return []
    given = time.time()
    for task in held:
        record.write("got", task.item["name"], task.delivery, asked, given, task.task_id)
    return held


def gives_back(queue: Queue, record: StepRecord, task: LeasedTask) -> bool:
    """Let some tasks fail, bury a few, and return whether this one was given back."""
    chance = random.random()
    if chance > 0.025:
        return False
    name, delivery = task.item["name"], task.delivery
    buries, answer = chance < 0.003, None
    retry = False if buries else random.choice((None, None, 0.0, 0.3))
    pause = min(FIRST_PAUSE * FACTOR ** (delivery - 1), LONGEST_PAUSE) if retry is None else float(retry)
    record.write("bury" if buries else "fail", name, delivery, time.time(), pause)
    try:
        if chance < 0.0015:
            queue.bury(task.item)
        else:
            answer = queue.fail(task.item, f"no {name} at {delivery}", retry=retry)
    except LeaseLost:
        record.write("lost", name, delivery, time.time())
    else:
        record.write("ended", name, delivery, time.time(), "-" if answer in (None, False) else float(answer))
    return True


def finish(queue: Queue, record: StepRecord, held: list[LeasedTask], with_results: bool = True) -> None:
    """Finish tasks, each with a result unless C{with_results} is false."""
    for task in held:
        record.write("done", task.item["name"], task.delivery, time.time())
    results = [{"of": task.item["name"]} if with_results else None for task in held]
    try:
        if len(held) == 1:
            queue.task_done(held[0].item, result=results[0])
        elif held:
            queue.task_done_many([task.item for task in held], results=results)
    except LeaseLost:
        step = "lost"  # of several, perhaps not all
    else:
        step = "ended"
    for task in held:
        record.write(step, task.item["name"], task.delivery, time.time(), "-")


if __name__ == "__main__":
    role, url, name, load, path, seed = sys.argv[1:]
    random.seed(seed)
    queue = Queue(url=url, name=name, lease=LEASE, patience=120.0)
    {"produce": produce, "consume": consume}[role](
        queue, LOADS[load], StepRecord(path), os.path.basename(path)
    )

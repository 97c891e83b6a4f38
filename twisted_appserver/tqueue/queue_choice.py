"""Which of several queues the next task comes from."""

from __future__ import annotations

import math
import random
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .client.checks import checked_name
from .client.errors import Empty, ShutDown
from .client.failures import RetryAfter
from .client.queue import Queue, Task

WAIT = 1.0  # seconds for which a request waits for a task; then the thread checks whether it must stop
WAIT_OF_SEVERAL = 0.5  # the same with several queues; then the other queues are checked


class ChosenQueue(NamedTuple):
    """
    The name of a queue.

    @ivar weight: its share of the tasks; C{None} if the order of the queues decides.
    """

    name: str
    weight: float | None = None


def read_queues(text: str) -> list[ChosenQueue]:
    """
    Parse the names of queues: C{emails}, C{emails,reports} or C{emails:3,reports:1}.

    Text without a comma is one name, whatever it contains. If one queue has a weight, the others have 1.

    @raise ValueError: when a name or a weight cannot be used, or a name is repeated.
    """
    if "," not in text:
        return [ChosenQueue(checked_name(text))]
    parts = [re.fullmatch(r"(.*?)(?::([0-9]+(?:\.[0-9]+)?))?", part.strip()) for part in text.split(",")]
    found = [(checked_name(part[1]), part[2]) for part in parts if part is not None]
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        raise ValueError(f"a queue is named twice in {text!r}")
    if not any(weight for _, weight in found):
        return [ChosenQueue(name) for name in names]
    weights = [float(weight or 1) for _, weight in found]
    if not all(weights):
        raise ValueError(f"the weight of a queue must be more than 0, not as in {text!r}")
    return [ChosenQueue(name, weight) for name, weight in zip(names, weights, strict=True)]


def _check(queues: Any) -> None:
    """
    Check queues that were given as objects.

    @raise ValueError: when there is none, or one of them or a weight cannot be used.
    """
    if not isinstance(queues, Iterable) or not all(isinstance(each, Queue) for each in queues):
        raise ValueError(f"queues must be names as text, such as 'emails,reports', or Queues, not {queues!r}")
    if not queues:
        raise ValueError("a worker needs at least one queue")
    for queue, weight in queues.items() if isinstance(queues, Mapping) else ():
        if not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise ValueError(f"the weight of the queue {queue.name} must be more than 0, not {weight!r}")


class QueueChoice:
    """
    Gets tasks from the first queue that has one. Safe from any thread.

    Strategy: a thread that needs a task makes a request to each queue, without waiting. If no queue has a
    task, it waits at one of them for half a second and begins again; concurrent threads wait at different
    queues. So if all threads are idle, a new task is found at once if there are as many threads as queues,
    and otherwise within half a second.

    @param queues: in the order of their priority, or with their weights: a queue with the weight 3 is tried
        first three times as often as a queue with the weight 1.
    @raise ValueError: when there is no queue, or one of them or a weight cannot be used.
    """

    def __init__(self, queues: Sequence[Queue] | Mapping[Queue, float]) -> None:
        _check(queues)
        self.queues = list(queues)
        self._weights = dict(queues) if isinstance(queues, Mapping) else None
        self._open = list(self.queues)  # queues that are not shut down
        self._lock = threading.Lock()
        self._turn = 0

    def enter(self, delay: RetryAfter) -> tuple[Queue, Task]:
        """
        Get a task. Return its queue and its block, which has been entered.

        @param delay: seconds until the task may be got again if it fails; C{False} buries it.
        @raise Empty: when there is no task within a second.
        @raise ShutDown: when all queues are shut down and empty.
        """
        if len(self.queues) == 1:
            return self._enter(self.queues[0], WAIT, delay)
        for queue in self._order():
            try:
                return self._enter(queue, 0.0, delay)
            except Empty:
                pass
            except ShutDown:
                self._close(queue)
        with self._lock:
            if not self._open:
                raise ShutDown
            self._turn += 1
            queue = self._open[self._turn % len(self._open)]
        try:
            return self._enter(queue, WAIT_OF_SEVERAL, delay)
        except ShutDown:
            self._close(queue)
            raise Empty from None

    def _enter(self, queue: Queue, timeout: float, delay: RetryAfter) -> tuple[Queue, Task]:
        task = queue.task(timeout=timeout, delay=delay)
        task.__enter__()
        return queue, task

    def _order(self) -> list[Queue]:
        with self._lock:
            found = list(self._open)
        if self._weights is not None:  # a weighted shuffle (Efraimidis and Spirakis, 2006)
            weights = self._weights
            found.sort(key=lambda queue: random.random() ** (1 / weights[queue]), reverse=True)
        return found

    def _close(self, queue: Queue) -> None:
        with self._lock:
            if queue in self._open:
                self._open.remove(queue)

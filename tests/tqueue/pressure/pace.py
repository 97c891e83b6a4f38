"""Decides when the producers of one process put tasks, and how many."""

from __future__ import annotations

import random
from math import inf
from threading import Condition
from time import monotonic

from tests.support.queue_processes import BATCH

BURST_BATCH = 100  # tasks
LATE = 1.0  # seconds of puts, at most, that are made up for


class Pace:
    """
    The pace of all producers of a process. They share it, and call L{next_size} before each put.

    It begins without a limit: each producer puts as soon as its last put was answered.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._rate = inf  # tasks per second
        self._due = monotonic()  # the time of the next put
        self._burst = 0  # tasks that are to be put at once
        self._stopped = False

    def set_rate(self, rate: float) -> None:
        """
        @param rate: tasks per second; 0 for none, infinity for no limit.
        """
        with self._changed:
            self._rate, self._due, self._burst = rate, monotonic(), 0
            self._changed.notify_all()

    def allow_burst(self, tasks: int) -> None:
        """Let this many tasks be put in large batches, as fast as possible. Return when the last begin."""
        with self._changed:
            self._burst += tasks
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stopped or not self._burst)

    def stop(self) -> None:
        """Let no further put begin."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def next_size(self) -> int:
        """Wait until the next put may begin. Return its number of tasks; 0 if no put may follow."""
        with self._changed:
            while not self._stopped:
                if self._burst:
                    size = min(self._burst, BURST_BATCH)
                    self._burst -= size
                    self._changed.notify_all()
                    return size
                now = monotonic()
                if self._rate and self._due <= now:
                    size = random.choice((1, 1, 1, BATCH))
                    self._due = max(self._due, now - LATE) + size / self._rate
                    return size
                self._changed.wait(self._due - now if self._rate else None)
        return 0

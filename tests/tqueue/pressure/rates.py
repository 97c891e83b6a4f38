"""Counts tasks that are done per second, while the consumers record their steps."""

from __future__ import annotations

import glob
import os
from collections import Counter

PER_SECOND = 10  # the intervals in which tasks are counted
ENDED = b"ended "  # as L{tests.support.queue_processes} records the end of a task


class Rates:
    """
    The tasks that were done in each interval.

    @param folder: the records of consumers; they may still grow.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}  # the bytes of each file that were read
        self._done: Counter[int] = Counter()

    def read(self) -> None:
        """Read what was recorded since the last time."""
        for path in glob.glob(os.path.join(self._folder, "consume-*")):
            with open(path, "rb") as file:
                file.seek(self._read.get(path, 0))
                text = file.read()
            complete = text[: text.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(complete)
            for line in complete.splitlines():
                if line.startswith(ENDED):
                    self._done[int(float(line.split()[3]) * PER_SECOND)] += 1

    def rate(self, begin: float, end: float) -> float:
        """Return the tasks done per second between two times."""
        first, last = round(begin * PER_SECOND), round(end * PER_SECOND)
        if last <= first:
            return 0.0
        return sum(self._done[place] for place in range(first, last)) * PER_SECOND / (last - first)

    def recovered(self, since: float, until: float, rate: float, window: float) -> float | None:
        """
        Return after how many seconds tasks were done at a rate again, on average over a window of time.

        @return: seconds after C{since}; C{None} if not before C{until}.
        """
        for step in range(max(0, round((until - window - since) * PER_SECOND)) + 1):
            begin = since + step / PER_SECOND
            if begin + window <= until and self.rate(begin, begin + window) >= rate:
                return step / PER_SECOND
        return None

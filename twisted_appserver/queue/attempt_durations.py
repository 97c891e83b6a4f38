"""The durations of attempts that ended at this server, for metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from twisted_appserver.core.durations import Durations

FIRST, NUMBER = 0.001, 24  # the first bound in seconds, and how many double it: up to more than two hours
MOST_OPEN = 100_000  # attempts whose beginnings are remembered
Outcome = Literal["done", "failed"]


def attempt_durations() -> Durations:
    """Return an empty record of durations."""
    return Durations(FIRST, NUMBER)


class AttemptDurations:
    """
    The durations of attempts that this server began and ended. Their tasks are in a database.

    @param seconds: returns the time.
    @ivar by_outcome: the durations by queue and outcome.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._begun: dict[int, float] = {}  # by the numbers of tasks, the earliest first
        self.by_outcome: dict[tuple[str, str], Durations] = {}

    def begin(self, number: int) -> None:
        """Record that an attempt begins."""
        self._begun.pop(number, None)
        self._begun[number] = self._seconds()
        if len(self._begun) > MOST_OPEN:  # Their leases may have ended, or they ended at another server.
            del self._begun[next(iter(self._begun))]

    def end(self, queue: str, number: int, outcome: Outcome) -> None:
        """Record that an attempt ends."""
        begun = self._begun.pop(number, None)
        if begun is not None:
            durations = self.by_outcome.get((queue, outcome))
            if durations is None:
                durations = self.by_outcome[queue, outcome] = attempt_durations()
            durations.add(max(0.0, self._seconds() - begun))

    def keep(self, queues: Callable[[str], bool]) -> None:
        """Drop the durations of all other queues. C{by_outcome} stays the same object."""
        for key in [key for key in self.by_outcome if not queues(key[0])]:
            del self.by_outcome[key]

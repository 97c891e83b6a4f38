"""When a queue with a rate may hand out its next task."""

from __future__ import annotations

import math

from twisted_appserver.core.rate import seconds_between


class Pace:
    """
    Keeps the deliveries of a queue apart.

    @param between: the seconds between two deliveries.
    @ivar last: when the last delivery was, in seconds of the reactor; minus infinity if there was none.
    """

    __slots__ = "_between", "last"

    def __init__(self, between: float, last: float = -math.inf) -> None:
        self._between, self.last = between, last

    @property
    def next(self) -> float:
        """When the next delivery may be."""
        return self.last + self._between

    def allows(self, now: float) -> bool:
        """Return whether a task may be delivered now."""
        return now >= self.last + self._between


def pace_for(rate: str, before: Pace | None = None) -> Pace | None:
    """
    Return the pace for the option C{rate} of a queue; C{None} if there is no limit.

    @param before: the pace of the queue until now.
    """
    between = seconds_between(rate)
    return Pace(between, before.last if before else -math.inf) if between else None

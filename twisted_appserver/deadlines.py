"""Time limits for many calls at once.

Strategy: a timer for each call would cost more than the call. Calls with the same time limit expire in
the order in which they came, so they stand in one dict in that order, under one timer for the oldest.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred


class TimeLimit:
    """The calls in flight that share a time limit, oldest first, with the times when they expire."""

    def __init__(self, reactor: Any, seconds: float) -> None:
        self._reactor, self.seconds = reactor, seconds
        self._calls: dict[int, tuple[float, Deferred[Any]]] = {}
        self._timer: Any = None

    def add(self, key: int, deadline: float, deferred: Deferred[Any]) -> None:
        self._calls[key] = (deadline, deferred)
        if self._timer is None:
            self._timer = self._reactor.callLater(self.seconds, self._expire)

    def remove(self, key: int) -> None:
        self._calls.pop(key, None)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        for key, (deadline, deferred) in list(self._calls.items()):
            if deadline > now:
                self._timer = self._reactor.callLater(deadline - now, self._expire)
                break
            self.remove(key)
            deferred.cancel()


class TimeLimits:
    """The calls in flight that have a time limit, by the limit."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._limits: dict[float, TimeLimit] = {}

    def of(self, seconds: float) -> TimeLimit | None:
        """The calls with this limit; C{None} for 0, which is no limit."""
        limit = self._limits.get(seconds)
        if limit is None and seconds:
            limit = self._limits[seconds] = TimeLimit(self._reactor, seconds)
        return limit

    def stop(self) -> None:
        """Stop the timers. What is in flight has no time limit any more."""
        for limit in self._limits.values():
            limit.stop()

"""Time limits of many calls with one timer.

Strategy: a timer for each call would cost more than the call. Calls with the same time limit expire in the
order in which they arrived, so they are kept in one dict in that order, and one timer waits for the oldest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_appserver.executors.interface import PendingCall


class TimeLimit:
    """
    The calls in flight that share a time limit.

    @param seconds: the limit.
    @param expired: called with each call that has not ended in time.
    @ivar calls: the calls, oldest first. Whoever ends a call removes it.
    """

    def __init__(self, reactor: Any, seconds: float, expired: Callable[[PendingCall], None]) -> None:
        self._reactor, self.seconds, self._expired = reactor, seconds, expired
        self.calls: dict[PendingCall, None] = {}
        self._timer: Any = None

    def add(self, pending: PendingCall) -> None:
        """Have a call expire at its deadline."""
        self.calls[pending] = None
        if self._timer is None:
            self._set()

    def prolong(self, pending: PendingCall) -> None:
        """Start the time of a call anew, because it has made progress."""
        if self.calls.pop(pending, self) is None:
            pending.deadline = self._reactor.seconds() + self.seconds
            self.calls[pending] = None

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        now = self._reactor.seconds()
        try:
            while self.calls and (pending := next(iter(self.calls))).deadline <= now:
                del self.calls[pending]
                self._expired(pending)  # which may end others, and begin some
        finally:
            self._timer = None
            self._set()

    def _set(self) -> None:
        if self.calls:
            seconds = next(iter(self.calls)).deadline - self._reactor.seconds()
            self._timer = self._reactor.callLater(max(0.0, seconds), self._expire)


class TimeLimits(dict[float, TimeLimit]):
    """The L{TimeLimit} for each number of seconds, made when it is first needed."""

    def __init__(self, reactor: Any, expired: Callable[[PendingCall], None]) -> None:
        super().__init__()
        self._reactor, self._expired = reactor, expired

    def __missing__(self, seconds: float) -> TimeLimit:
        limit = self[seconds] = TimeLimit(self._reactor, seconds, self._expired)
        return limit

    def stop(self) -> None:
        """Stop the timers. Calls in flight have no time limit any more."""
        for limit in self.values():
            limit.stop()

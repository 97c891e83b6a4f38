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
    @ivar calls: the calls, oldest first. The code that ends a call removes the call from this dict.
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
        """Start the time limit of a call again, because it has made progress."""
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
                self._expired(pending)  # this may end other calls, and begin some
        finally:
            self._timer = None
            self._set()

    def _set(self) -> None:
        if self.calls:
            seconds = next(iter(self.calls)).deadline - self._reactor.seconds()
            self._timer = self._reactor.callLater(max(0.0, seconds), self._expire)


class TimeLimits(dict[float | None, TimeLimit | None]):
    """
    The L{TimeLimit} of a call by the C{timeout} of its handler, made when it is first needed; C{None} for
    calls without a time limit.

    @param default: seconds for a handler without a C{timeout} of its own; 0 for no limit.
    @param expired: as for L{TimeLimit}.
    """

    def __init__(self, reactor: Any, default: float, expired: Callable[[PendingCall], None]) -> None:
        super().__init__()
        self._reactor, self._default, self._expired = reactor, default, expired

    def __missing__(self, timeout: float | None) -> TimeLimit | None:
        seconds = self._default if timeout is None else timeout
        limit = self[timeout] = TimeLimit(self._reactor, seconds, self._expired) if seconds else None
        return limit

    def deadline(self, timeout: float | None, arrived: float) -> float:
        """Return when the reply to a call is due, in seconds since the epoch; 0.0 if there is no limit."""
        limit = self[timeout]
        return 0.0 if limit is None else arrived + limit.seconds

    def stop(self) -> None:
        """Stop the timers. Calls in flight have no time limit any more."""
        for limit in self.values():
            if limit is not None:
                limit.stop()

"""Time limits for many calls at once.

Strategy: a timer for each call would cost more than the call. Calls with the same time limit expire in
the order in which they came, so they stand in one dict in that order, under one timer for the oldest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import force_setattr

from twisted_appserver.executors.interface import PendingCall


class TimeLimit:
    """
    The calls in flight that share a time limit.

    @param expired: told each that is not ended in time.
    @ivar jobs: these, oldest first; whoever ends one takes it out.
    """

    def __init__(self, reactor: Any, seconds: float, expired: Callable[[PendingCall], None]) -> None:
        self._reactor, self.seconds, self._expired = reactor, seconds, expired
        self.jobs: dict[PendingCall, None] = {}
        self._timer: Any = None

    def add(self, job: PendingCall) -> None:
        self.jobs[job] = None
        if self._timer is None:
            self._set()

    def prolong(self, job: PendingCall) -> None:
        """It has shown that it lives: its time begins anew."""
        if self.jobs.pop(job, self) is None:
            force_setattr(job.call, "deadline", self._reactor.seconds() + self.seconds)
            self.jobs[job] = None

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        now = self._reactor.seconds()
        try:
            while self.jobs and (job := next(iter(self.jobs))).call.deadline <= now:
                del self.jobs[job]
                self._expired(job)  # which may end others, and begin some
        finally:
            self._timer = None
            self._set()

    def _set(self) -> None:
        if self.jobs:
            seconds = next(iter(self.jobs)).call.deadline - self._reactor.seconds()
            self._timer = self._reactor.callLater(max(0.0, seconds), self._expire)


class TimeLimits(dict[float, TimeLimit]):
    """The calls in flight that have a time limit, by the limit."""

    def __init__(self, reactor: Any, expired: Callable[[PendingCall], None]) -> None:
        super().__init__()
        self._reactor, self._expired = reactor, expired

    def __missing__(self, seconds: float) -> TimeLimit:
        limit = self[seconds] = TimeLimit(self._reactor, seconds, self._expired)
        return limit

    def stop(self) -> None:
        """Stop the timers. What is in flight has no time limit any more."""
        for limit in self.values():
            limit.stop()

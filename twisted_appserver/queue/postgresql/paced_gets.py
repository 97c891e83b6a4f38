"""Gets that wait because the rate of their queue allows no task yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Gets(Protocol):
    """The requests that wait, see L{pending_requests.PendingRequests}."""

    def count(self, name: str, verb: str) -> int: ...
    def retry(self, name: str, verb: str) -> None: ...


class PacedGets:
    """
    @param reactor: an C{IReactorTime}.
    """

    def __init__(self, reactor: Any, gets: Gets) -> None:
        self._reactor, self._gets = reactor, gets
        self._timers: dict[str, Any] = {}  # by queue

    def note(self, pauses: Mapping[str, float]) -> None:
        """
        Retry gets when the pauses of their queues are over.

        @param pauses: seconds, by the name of the queue.
        """
        for name, seconds in pauses.items():
            if self._gets.count(name, "get"):
                if name in self._timers:
                    self._timers[name].cancel()
                self._timers[name] = self._reactor.callLater(seconds, self._retry, name)

    def _retry(self, name: str) -> None:
        del self._timers[name]
        self._gets.retry(name, "get")

    def stop(self) -> None:
        """Cancel all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

"""How long a rejected client should wait."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted_appserver.errors import HTTPError

WINDOW = 5.0  # seconds over which the rate is measured
EVERY = 0.2  # seconds between two samples
LONGEST = 60  # seconds, the longest wait that is suggested


class Refusals:
    """
    Measures how many calls end per second while others are rejected.

    @param reactor: an C{IReactorTime}.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._samples: dict[Any, deque[tuple[float, int]]] = {}

    def refusal(self, executor: Any) -> HTTPError:
        """Return the error for a call that must not wait for an executor."""
        seconds = str(self.retry_after(executor))
        return HTTPError(503, f"{executor.pending} calls are waiting already", [("retry-after", seconds)])

    def retry_after(self, executor: Any) -> int:
        """
        Return the seconds, 1 to 60, after which the calls that wait now have probably begun (RFC 9110,
        section 10.2.3). Before anything has been measured, the first rejections of a burst get 1.
        """
        now, ended = self._reactor.seconds(), executor.completed + executor.failed
        samples = self._samples.setdefault(executor, deque())
        while samples and samples[0][0] < now - WINDOW:
            samples.popleft()
        if not samples or samples[-1][0] <= now - EVERY:
            samples.append((now, ended))
        since, before = samples[0]
        if now - since < EVERY:
            return 1
        rate = (ended - before) / (now - since)
        if not rate:
            return LONGEST
        return int(min(max(executor.pending / rate, 1), LONGEST))

"""How long whoever is turned away should wait."""

from __future__ import annotations

from collections import deque
from typing import Any

WINDOW = 5.0  # seconds over which the rate is measured
EVERY = 0.2  # seconds between two samples
LONGEST = 60  # seconds that anybody is told to wait


class Refusals:
    """
    Measures, while calls are refused, how many others end each second.

    @param reactor: an C{IReactorTime}.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._samples: dict[Any, deque[tuple[float, int]]] = {}

    def retry_after(self, executor: Any) -> int:
        """
        Seconds, 1 to 60, after which those that wait now are likely to have begun (RFC 9110, section 10.2.3).
        The first in a burst of refusals, before anything is measured, is told 1.
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

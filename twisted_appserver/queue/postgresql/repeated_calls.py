"""Functions that are called again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class RepeatedCalls:
    """
    @param reactor: an C{IReactorTime}.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._timers: dict[Callable[[], None], Any] = {}

    def begin(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function every so many seconds."""

        def call() -> None:
            self.begin(seconds, function)
            function()

        self._timers[function] = self._reactor.callLater(seconds, call)

    def stop(self) -> None:
        """Call nothing any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

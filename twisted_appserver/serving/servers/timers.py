"""Calls that are made later, unless all of them are cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Timers:
    """
    @param reactor: an C{IReactorTime}.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._timers: list[Any] = []

    def call_later(self, seconds: float, function: Callable[[], object]) -> None:
        """Call a function after so many seconds."""
        self._timers = [timer for timer in self._timers if timer.active()]
        self._timers.append(self._reactor.callLater(seconds, function))

    def cancel(self) -> None:
        """Cancel all calls."""
        for timer in self._timers:
            if timer.active():
                timer.cancel()

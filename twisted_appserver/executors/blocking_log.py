"""Logs functions that block the reactor, so that all other calls wait."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from twisted.logger import Logger

from twisted_appserver.core.call import Call

LIMIT = 0.1  # seconds; people notice such a delay
INTERVAL = 60.0  # seconds between two entries about one function


class BlockingLog:
    """
    Logs how long a function blocked the reactor, at most once a minute for each function.

    @param clock: returns the time in seconds.
    """

    log = Logger()

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._logged: dict[str, float] = {}  # when, by the function's name

    def report(self, call: Call, seconds: float) -> None:
        """Log that the function of a call blocked the reactor, if it did so for too long."""
        name, now = call.handler.name, self._clock()
        if seconds <= LIMIT or now - self._logged.get(name, -INTERVAL) < INTERVAL:
            return
        self._logged[name] = now
        self.log.warn(
            "{name} blocked the reactor for {seconds:.2f} s, and all other calls waited; "
            "await what takes long, or write a plain def, which runs in a thread or worker process",
            name=name,
            seconds=seconds,
        )

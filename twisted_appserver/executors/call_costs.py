"""How long calls are expected to take, learned from earlier calls of the same function."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from twisted_appserver.core.handler import Handler
from twisted_appserver.executors.interface import PendingCall

FALL = 0.05  # share by which an expectation approaches a shorter duration
SLOW = 1.0  # seconds for which a function counts as slow


class CallCosts:
    """
    Expected durations by function, for executors that send several calls at once if all of them are quick.

    An expectation rises at once and falls slowly, because one slow call among quick ones costs more than
    caution does.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}  # by the handler's index: a handler would keep its table alive

    def expected(self, handler: Handler, unknown: float) -> float:
        """Return the expected seconds of a call; C{unknown} if no call of this function has ended yet."""
        return self._seconds.get(handler.index, unknown)

    def learn(self, handler: Handler, seconds: float) -> None:
        """Take the duration of a call into account."""
        expected = self._seconds.get(handler.index, 0.0)
        longer = seconds > expected
        self._seconds[handler.index] = seconds if longer else expected + (seconds - expected) * FALL

    def clear(self) -> None:
        """Forget everything, because the table has changed."""
        self._seconds.clear()


class SlowFunctions:
    """
    Functions that were slow within the last second. Threads add to them, and the reactor's thread reads them.
    Quick calls cost nothing here: a thread would spend more on learning their durations than it could save.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # by name: a handler would keep its table alive

    def add(self, handler: Handler, now: float) -> None:
        """Count a function as slow from C{now} on, which is a time by the clock C{monotonic}."""
        self._until[handler.name] = now + SLOW

    def any_of(self, calls: Iterable[PendingCall]) -> bool:
        """Return whether any of these calls is of a slow function."""
        if not self._until:
            return False
        now = monotonic()
        for name, until in list(self._until.items()):  # a copy, because threads add to it
            if until < now:
                del self._until[name]
        return any(pending.call.handler.name in self._until for pending in list(calls))

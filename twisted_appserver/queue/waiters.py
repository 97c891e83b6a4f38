"""Those who wait for something, in the order in which they came."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from twisted.internet.defer import Deferred


class Line:
    """
    People at a counter. A waiter costs a Deferred, and a timer if its patience has an end.

    @param reactor: an C{IReactorTime}.
    @ivar waiting: they, in order.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.waiting: OrderedDict[Deferred[str], tuple[Any, str]] = OrderedDict()
        self._keys: dict[str, Deferred[str]] = {}

    def __len__(self) -> int:
        return len(self.waiting)

    def wait(self, timeout: float, late: str, key: str = "") -> Deferred[str]:
        """
        Stand at the end.

        @param timeout: seconds; infinity for ever.
        @param late: what to fire with when that time is over.
        @param key: of the request, see L{supersede}.
        @return: fires with C{""} when it is this one's turn, in the midst of L{next}. Leaves when cancelled.
        """
        self.supersede(key, late)
        deferred: Deferred[str] = Deferred(self._leave)
        timer = None
        if timeout < float("inf"):
            timer = self._reactor.callLater(timeout, self._late, deferred, late)
        self.waiting[deferred] = (timer, key)
        if key:
            self._keys[key] = deferred
        return deferred

    def supersede(self, key: str, late: str) -> None:
        """A waiter whose key another request has was given up by its client, and leaves the line."""
        if key in self._keys:
            self._late(self._keys[key], late)

    def next(self, word: str = "") -> None:
        """It is the first one's turn."""
        deferred = next(iter(self.waiting))
        self._leave(deferred)
        deferred.callback(word)

    def dismiss(self, word: str) -> None:
        """Send all away who stand here now."""
        for _ in range(len(self.waiting)):
            if self.waiting:
                self.next(word)

    def _late(self, deferred: Deferred[str], word: str) -> None:
        self._leave(deferred)
        deferred.callback(word)

    def _leave(self, deferred: Deferred[str]) -> None:
        timer, key = self.waiting.pop(deferred)
        if key:
            del self._keys[key]
        if timer is not None and timer.active():
            timer.cancel()

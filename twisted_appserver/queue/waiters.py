"""Requests that wait, in order of arrival."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class WaitingLine(Generic[T]):
    """
    Items in order of arrival, each with a time limit.

    @param reactor: an C{IReactorTime}.
    @param on_timeout: called with an item whose time is over. The item stays in the line.
    @ivar timers: the timer of each item. Testing whether this dict is empty takes a tenth of the time of
        C{len} of the line, and every change of a queue makes this test several times.
    """

    def __init__(self, reactor: Any, on_timeout: Callable[[T], object]) -> None:
        self._reactor, self._on_timeout = reactor, on_timeout
        self.timers: OrderedDict[T, Any] = OrderedDict()  # removes its first item quickly

    def __len__(self) -> int:
        return len(self.timers)

    def __iter__(self) -> Iterator[T]:
        return iter(self.timers)

    def __contains__(self, item: T) -> bool:
        return item in self.timers

    def add(self, item: T, timeout: float) -> None:
        """
        Add an item at the end.

        @param timeout: seconds; infinity for no time limit.
        """
        timer = None
        if timeout < float("inf"):
            timer = self._reactor.callLater(max(0.0, timeout), self._expire, item)
        self.timers[item] = timer

    def discard(self, item: T) -> None:
        """Remove an item, if it is in the line."""
        timer = self.timers.pop(item, None)
        if timer is not None:
            timer.cancel()

    def _expire(self, item: T) -> None:
        self.timers[item] = None
        self._on_timeout(item)


class Waiters:
    """
    Deferreds that fire in order of arrival.

    @param reactor: an C{IReactorTime}.
    @param timeout_result: the result of a waiter whose time is over.
    @ivar waiting: the Deferreds that have not fired; other modules only read this dict.
    @ivar places: how many places in the queue a waiter needs, if it needs several.
    """

    def __init__(self, reactor: Any, timeout_result: str) -> None:
        self._timeout_result = timeout_result
        self._line: WaitingLine[Deferred[str]] = WaitingLine(reactor, self._time_out)
        self.waiting = self._line.timers
        self._by_key: dict[str, Deferred[str]] = {}
        self._keys: dict[Deferred[str], str] = {}
        self.places: dict[Deferred[str], int] = {}

    def __len__(self) -> int:
        return len(self._line)

    def wait(self, timeout: float, key: str = "", places: int = 1) -> Deferred[str]:
        """
        Wait behind all others. The Deferred may be cancelled.

        @param timeout: seconds; infinity for no time limit.
        @param key: the key of the request, see L{supersede}.
        @param places: how many places in the queue it needs.
        @return: fires with C{""} inside L{serve_next}, or with the reason why the request cannot succeed.
        """
        self.supersede(key)
        deferred: Deferred[str] = Deferred(self._leave)
        self._line.add(deferred, timeout)
        if key:
            self._by_key[key], self._keys[deferred] = deferred, key
        if places > 1:
            self.places[deferred] = places
        return deferred

    def supersede(self, key: str) -> None:
        """Dismiss the waiter with this key: its client has abandoned the request and repeated it."""
        if key in self._by_key:
            self._time_out(self._by_key[key])

    @property
    def next_places(self) -> int:
        """How many places the first waiter needs. There must be one."""
        return self.places.get(next(iter(self._line)), 1)

    def serve_next(self, result: str = "") -> None:
        """Fire the first waiter. There must be one."""
        deferred = next(iter(self._line))
        self._leave(deferred)
        deferred.callback(result)

    def dismiss(self, result: str) -> None:
        """Fire all Deferreds that wait now, with this result."""
        for _ in range(len(self._line)):
            if self._line:
                self.serve_next(result)

    def _time_out(self, deferred: Deferred[str]) -> None:
        self._leave(deferred)
        deferred.callback(self._timeout_result)

    def _leave(self, deferred: Deferred[str]) -> None:
        self._line.discard(deferred)
        if deferred in self._keys:
            del self._by_key[self._keys.pop(deferred)]
        if self.places:
            self.places.pop(deferred, None)

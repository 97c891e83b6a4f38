"""Recognizes requests that are sent again with the same key, because their response was lost."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from twisted_appserver.queue.interface import ReusedError
from twisted_appserver.queue.model import TaskQueue
from twisted_appserver.queue.request_keys import Remembered, digest

T = TypeVar("T")


class RepeatedRequests:
    """
    @param reactor: an C{IReactorTime}.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        # The writes of requests that have a key, by verb, queue and key.
        self._writes: dict[tuple[str, str, str], Deferred[Any]] = {}

    def find(self, queue: TaskQueue, lane: str, key: str, body: bytes) -> Remembered | None:
        """
        Return the record of an earlier attempt of the same request.

        @raise ReusedError: when the key was used for a request with another body.
        """
        found = queue.keys.get(lane)
        if found is None or found.key != key or found.until <= self._reactor.seconds():
            return None
        if found.digest not in (b"", digest(body)):
            error = ReusedError(f"the key {key!r} was used for a request with another body")
            error.number = found.number
            raise error
        return found

    def new(self, queue: TaskQueue, key: str, number: int, body: bytes) -> Remembered:
        """Make the record by which a repetition of this request is recognised."""
        until = self._reactor.seconds() + queue.config.remember
        return Remembered(key, number, until, digest(body))

    def write_of(self, verb: str, name: str, key: str) -> Deferred[Any] | None:
        """Return the unfinished write of a request, if there is one."""
        return self._writes.get((verb, name, key))

    def track(self, verb: str, name: str, key: str, written: Deferred[T]) -> None:
        """Keep the write of a request until it is finished."""
        request = verb, name, key

        def finished(result: Any) -> Any:
            self._writes.pop(request, None)
            return result

        self._writes[request] = written
        written.addBoth(finished)

"""Requests of a broker that move tasks from the outbox into their queues, see L{outbox}."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_appserver.queue.interface import AwayError
from twisted_appserver.queue.postgresql.pending_requests import PendingRequests
from twisted_appserver.queue.postgresql.request import Request


class OutboxRequests:
    """
    @param ask: asks the store to perform a request.
    """

    log = Logger()

    def __init__(self, pending: PendingRequests, ask: Callable[[Request], None]) -> None:
        self._pending, self._ask = pending, ask
        self._looking = False
        self._moving: dict[str, bool] = {}  # queues; whether there may be more rows since the request
        self._refused: set[str] = set()  # queues whose tasks could not be moved; logged once

    def look(self) -> None:
        """Look for queues that have tasks in the outbox: notifications may have been lost."""
        if not self._looking:
            self._looking = True
            request = Request("look_into_outbox", "")
            request.deferred = Deferred().addCallbacks(self._looked, lambda _: self._looked(None))
            self._ask(request)

    def _looked(self, names: Iterable[str] | None) -> None:
        """Move the tasks of queues that were found. C{None} if the database could not be asked."""
        self._looking = False
        for name in names or ():
            self.move(name)

    def move(self, name: str) -> None:
        """Move the tasks of a queue, and serve waiting gets in the same transaction."""
        if name in self._moving:
            self._moving[name] = True
            return
        self._moving[name] = False
        moved = self._pending.submit(Request("move", name))
        self._pending.retry(name, "get")
        moved.addCallbacks(self._moved, self._failed, callbackArgs=(name,), errbackArgs=(name,))

    def _moved(self, _: Any, name: str) -> None:
        self._refused.discard(name)
        if self._moving.pop(name):
            self.move(name)

    def _failed(self, failure: Any, name: str) -> None:
        """After an error: the tasks stay in the outbox until the next look."""
        del self._moving[name]
        if failure.check(AwayError) or name in self._refused:
            return
        self.log.warn("tasks for {name!r} wait in the outbox: {e}", name=name, e=failure.value)
        self._refused.add(name)

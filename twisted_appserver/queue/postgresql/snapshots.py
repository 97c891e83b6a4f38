"""The figures of all queues, for pages and metrics that cannot wait for the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

SNAPSHOT_AGE = 2.0  # seconds after which a new snapshot is taken
Figures = dict[str, dict[str, Any]]  # by the name of the queue


class Snapshots:
    """
    @param reactor: an C{IReactorTime}.
    @param take: returns the figures of all queues.
    """

    log = Logger()

    def __init__(self, reactor: Any, take: Callable[[], Awaitable[Figures]]) -> None:
        self._reactor, self._take = reactor, take
        self._last: Figures = {}
        self._taken = float("-inf")

    def last(self, renew: bool) -> Figures:
        """
        Return the last snapshot.

        @param renew: whether to begin to take a new snapshot if this one is old.
        """
        now = self._reactor.seconds()
        if renew and now > self._taken + SNAPSHOT_AGE:
            self._taken = now
            Deferred.fromCoroutine(self._renew()).addErrback(
                lambda failure: self.log.debug("no snapshot: {e}", e=failure.value)
            )
        return self._last

    async def _renew(self) -> None:
        self._last = await self._take()

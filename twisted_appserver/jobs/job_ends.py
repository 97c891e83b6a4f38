"""Stores the ends of jobs. Jobs that end at the same time share a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_appserver.errors import AppserverError
from twisted_appserver.jobs.run import Run
from twisted_appserver.queue.interface import IBroker

AGAIN = 1.0  # seconds between two attempts to reach a store that refuses requests
log = Logger()


class JobEnds:
    """
    @param follow: runs a coroutine.
    @param forget: called with a job when its end is stored, or never will be.
    @ivar stopped: whether a store that refuses requests is not asked again.
    """

    def __init__(
        self, reactor: Any, broker: IBroker, follow: Callable[[Any], None], forget: Callable[[Run], None]
    ) -> None:
        self._reactor, self._broker, self._follow, self._forget = reactor, broker, follow, forget
        self._ends: dict[str, list[tuple[Run, bytes]]] = {}  # by queue
        self.stopped = False

    def add(self, run: Run, end: bytes) -> None:
        """Finish the task of a job, with its end as the result."""
        if not self._ends:
            self._reactor.callLater(0, self.flush)
        self._ends.setdefault(run.queue, []).append((run, end))

    def flush(self) -> None:
        """Begin to store all ends."""
        ends, self._ends = self._ends, {}
        for name, some in ends.items():
            self._follow(self._store_some(name, some))

    async def _store_some(self, name: str, ends: list[tuple[Run, bytes]]) -> None:
        """Store the ends of jobs of a queue with one request; if that fails, with one request for each."""
        try:
            found = await self._ask(name, ends)
        except AppserverError:
            one_by_one = (self.store(run, partial(self._ask_one, run, end)) for run, end in ends)
            await gatherResults(map(Deferred.fromCoroutine, one_by_one))
            return
        for (run, _), is_found in zip(ends, found, strict=True):
            if not is_found:
                log_lost(run)
            self._forget(run)

    async def _ask(self, name: str, ends: list[tuple[Run, bytes]]) -> list[bool]:
        failed = [run.place[1] for run, _ in ends if run.has_failed]
        return await self._broker.done_many(name, [(*run.place[1:], end) for run, end in ends], failed)

    async def _ask_one(self, run: Run, end: bytes) -> bool | None:
        (is_found,) = await self._ask(run.queue, [(run, end)])
        return is_found or None

    async def store(self, run: Run, ask: Callable[[], Awaitable[Any]]) -> None:
        """
        Store the end of an attempt; retry until the store accepts it.

        @param ask: asks the store. The result is C{None} if the lease is lost.
        """
        while True:
            try:
                found = await ask()
            except AppserverError as error:
                log.warn("the end of a job cannot be stored: {error}, {request_id}",
                         error=error, request_id=run.stored.request_id)  # fmt: skip
                if self.stopped:
                    break
                await deferLater(self._reactor, AGAIN)
            else:
                if found is None:
                    log_lost(run)
                break
        self._forget(run)


def log_lost(run: Run) -> None:
    """Log that the end of a job is not stored, because its task does not belong to this process."""
    log.warn("a job was cancelled elsewhere, or its lease was lost, {request_id}",
             request_id=run.stored.request_id)  # fmt: skip

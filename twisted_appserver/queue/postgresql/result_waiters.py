"""The requests of one server that wait for the end of a task."""

from __future__ import annotations

from typing import Any

from twisted_appserver.queue.interface import STOPPING
from twisted_appserver.queue.postgresql.pending_requests import PendingRequests
from twisted_appserver.queue.postgresql.request import Request
from twisted_appserver.queue.task_result import TaskResult
from twisted_appserver.queue.waiters import Waiters

LATE = "late"


class ResultWaiters:
    """
    Strategy: each result is looked up at once, and again whenever any task of its queue may have ended. All
    lookups that are due at the same time share a statement.

    @param reactor: an C{IReactorTime}.
    """

    def __init__(self, reactor: Any, pending: PendingRequests) -> None:
        self._reactor, self._pending = reactor, pending
        self._waiters: dict[str, Waiters] = {}  # by queue

    async def result(self, name: str, number: int, timeout: float) -> TaskResult | str | None:
        """Return the state and result of a task, as L{IBroker.result} describes."""
        end = self._reactor.seconds() + timeout
        while True:
            found: TaskResult | str | None = await self._pending.submit(
                Request("result", name, number=number)
            )
            if not isinstance(found, TaskResult) or found.ended or found.state == "buried":
                return found
            left = end - self._reactor.seconds()
            if left <= 0 or self._pending.stopping:
                return found
            # No notification overtakes the answers of the store, so no change is missed since the lookup.
            if await self._wait(name, left) == STOPPING:
                return STOPPING

    async def _wait(self, name: str, timeout: float) -> str:
        waiters = self._waiters.setdefault(name, Waiters(self._reactor, LATE))
        try:
            return await waiters.wait(timeout)
        finally:
            if not waiters.waiting and self._waiters.get(name) is waiters:
                del self._waiters[name]

    def wake(self, name: str, result: str = "") -> None:
        """Repeat the lookups of the requests that wait for tasks of a queue."""
        if name in self._waiters:
            self._waiters[name].dismiss(result)

    def wake_all(self, result: str = "") -> None:
        """Look up everything again."""
        for name in list(self._waiters):
            self.wake(name, result)

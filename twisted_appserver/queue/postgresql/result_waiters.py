"""The requests of one server that wait for the end of a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from twisted_appserver.queue.interface import STOPPING
from twisted_appserver.queue.task_result import TaskResult
from twisted_appserver.queue.waiters import Waiters

LATE = "late"


class ResultWaiters:
    """
    Strategy: a request is looked up, and again whenever any task of its queue may have ended. All lookups
    that are due at the same time share a statement.

    @param reactor: an C{IReactorTime}.
    @param look_up: returns the state and result of the task with this queue and number.
    @param is_stopping: returns whether no request may wait any more.
    """

    def __init__(
        self,
        reactor: Any,
        look_up: Callable[[str, int], Deferred[TaskResult | str | None]],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._reactor, self._look_up, self._is_stopping = reactor, look_up, is_stopping
        self._waiters: dict[str, Waiters] = {}  # by queue

    async def result(self, name: str, number: int, timeout: float) -> TaskResult | str | None:
        """Return the state and result of a task, as L{IBroker.result} describes."""
        end = self._reactor.seconds() + timeout
        while True:
            found = await self._look_up(name, number)
            if not isinstance(found, TaskResult) or found.ended or found.state == "buried":
                return found
            left = end - self._reactor.seconds()
            if left <= 0 or self._is_stopping():
                return found
            # The answers of the store arrive in order, so no change is missed between here and the lookup.
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
        """Look up again what waits for the tasks of a queue."""
        if name in self._waiters:
            self._waiters[name].dismiss(result)

    def wake_all(self, result: str = "") -> None:
        """Look up everything again."""
        for name in list(self._waiters):
            self.wake(name, result)

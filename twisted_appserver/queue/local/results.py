"""Waits for the end of tasks, and returns their results."""

from __future__ import annotations

from typing import Any

from twisted_appserver.queue.interface import STOPPING
from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import IStore
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.storing import follow
from twisted_appserver.queue.task_result import TaskResult
from twisted_appserver.queue.waiters import Waiters

LATE = "late"


class Results:
    """
    @param reactor: an C{IReactorTime}.
    """

    def __init__(self, reactor: Any, store: IStore, table: QueueTable, upkeep: Upkeep) -> None:
        self._reactor, self._store, self._table, self._upkeep = reactor, store, table, upkeep

    async def result(self, name: str, number: int, timeout: float) -> TaskResult | str | None:
        """Return the state and the result of a task, as L{IBroker.result} describes."""
        end = self._reactor.seconds() + timeout
        while True:
            local = self._table.find(name)
            if local is not None:
                self._upkeep.expire(local)
            state = local.queue.state_of(number) if local is not None else ""
            if local is None or not state:
                found = await follow(self._store.find_result(name, number))
                if found is not None or not self._has(name, number):
                    return found
                continue  # its end could not be stored, so it is leased again
            timeout = end - self._reactor.seconds()
            if state == "buried" or timeout <= 0 or self._upkeep.stopping:
                return TaskResult(number, state)
            if await self._wait(local, number, timeout) == STOPPING:
                return STOPPING

    def _has(self, name: str, number: int) -> bool:
        local = self._table.find(name)
        return local is not None and bool(local.queue.state_of(number))

    async def _wait(self, local: LocalQueue, number: int, timeout: float) -> str:
        """Wait until the task has ended, or the time is over."""
        waiters = local.awaited.get(number)
        if waiters is None:
            waiters = local.awaited[number] = Waiters(self._reactor, LATE)
        try:
            return await waiters.wait(timeout)
        finally:
            if not waiters.waiting and local.awaited.get(number) is waiters:
                del local.awaited[number]

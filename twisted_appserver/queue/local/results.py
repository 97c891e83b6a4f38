"""Waits for the end of tasks, and shows their results and attempts."""

from __future__ import annotations

from typing import Any

import msgspec

from twisted_appserver.queue.attempt import Attempt, TaskDetails
from twisted_appserver.queue.interface import STOPPING
from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import IStore
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.storing import follow
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_result import TaskResult
from twisted_appserver.queue.waiters import Waiters

LATE = "late"


def in_wall_time(task: QueuedTask, shift: float) -> QueuedTask:
    """Return a copy of a task with times in seconds since the epoch."""
    times = {name: getattr(task, name) for name in ("due", "lease", "began", "put_at")}
    times = {name: time and time + shift for name, time in times.items()}
    return msgspec.structs.replace(task, **times, terms=task.terms and task.terms.shifted(shift))


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
            looked = self._look(name, number)
            if looked is None:
                found = await follow(self._store.find_result(name, number))
                if found is not None or self._look(name, number) is None:
                    return found
                continue  # its end could not be stored, so it is leased again
            (local, state, task), timeout = looked, end - self._reactor.seconds()
            if state == "buried" or timeout <= 0 or self._upkeep.stopping:
                error = await self.errors(name, [number]) if task.attempts else {}
                return TaskResult(number, state, error=error.get(number, ""))
            if await self._wait(local, number, timeout) == STOPPING:
                return STOPPING

    async def errors(self, name: str, numbers: list[int]) -> dict[int, str]:
        """Return the last errors of tasks, as L{IBroker.errors} describes."""
        found = await follow(self._store.find_attempts(name, numbers))
        return {number: attempts[-1].error for number, attempts in found.items() if attempts[-1].error}

    async def show(self, name: str, number: int, shift: float) -> TaskDetails | None:
        """
        Return all that is known of a task.

        @param shift: the seconds since the epoch, minus the seconds of the reactor.
        """
        while True:
            looked = self._look(name, number)
            if looked is None:
                kept = await follow(self._store.find_result(name, number))
                if kept is not None:
                    return TaskDetails(kept, None, await self._attempts(name, number))
                if self._look(name, number) is None:
                    return None
                continue  # its end could not be stored, so it is leased again
            count, attempts = looked[2].attempts, await self._attempts(name, number)
            looked = self._look(name, number)
            if looked is not None and looked[2].attempts == count:  # otherwise an attempt has ended meanwhile
                _, state, task = looked
                error = attempts[-1].error if attempts else ""
                return TaskDetails(
                    TaskResult(number, state, error=error), in_wall_time(task, shift), attempts
                )

    def _look(self, name: str, number: int) -> tuple[LocalQueue, str, QueuedTask] | None:
        """Return a task, with its queue and its state; C{None} if it is not in this queue."""
        local = self._table.find(name)
        if local is None:
            return None
        self._upkeep.expire(local)
        looked = local.queue.look(number)
        return None if looked is None else (local, *looked)

    async def _attempts(self, name: str, number: int) -> list[Attempt]:
        found = await follow(self._store.find_attempts(name, [number]))
        return found.get(number, [])

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

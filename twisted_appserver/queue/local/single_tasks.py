"""Requests about one task in any state: drop it, kick it, edit it, or bury a waiting one."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import Change, IStore, to_deletion, to_kick, to_update
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.storing import until_stored
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_result import TaskResult


class SingleTasks:
    """
    @param reactor: an C{IReactorTime}.
    """

    def __init__(self, reactor: Any, store: IStore, table: QueueTable, upkeep: Upkeep) -> None:
        self._reactor, self._store, self._table, self._upkeep = reactor, store, table, upkeep

    async def drop(self, name: str, number: int, result: bytes, wall: float) -> QueuedTask | None:
        """
        Remove a task, as L{IBroker.drop} describes.

        @param wall: the seconds since the epoch.
        """
        local = self._find(name)
        task = local.queue.remove(number) if local is not None else None
        if local is None or task is None:
            return None
        local.queue.free_names(task)
        config, change = local.queue.config, to_deletion(name, [task])
        if result and config.keep:
            until = self._reactor.seconds() + config.keep
            kept = TaskResult(number, "dropped", result, "", wall, until)
            change = Change(deletes=[number], results=[(name, config.keep_count, kept)])
        await self._store_change(local, task, change)
        return task

    async def kick(self, name: str, number: int) -> QueuedTask | None:
        """Make a task ready, as L{IBroker.kick_task} describes."""
        local = self._find(name)
        if local is None:
            return None
        found = local.queue.look(number)
        if found is None:
            return None
        state, task = found
        if state in ("buried", "delayed"):
            self._make_ready(local, task)
            await self._store_change(local, task, to_kick([task]))
        return task

    async def edit(self, name: str, number: int, body: bytes) -> QueuedTask | None:
        """Replace the fields of a task, as L{IBroker.edit} describes."""
        local = self._find(name)
        found = local.queue.look(number) if local is not None else None
        if local is None or found is None or found[0] == "leased":
            return None
        state, task = found
        task.body = body
        if state in ("buried", "delayed"):
            self._make_ready(local, task)
        change = replace(to_kick([task]), bodies=[(number, body)])
        await self._store_change(local, task, change)
        return task

    def _make_ready(self, local: LocalQueue, task: QueuedTask) -> None:
        """Make a buried or delayed task ready."""
        local.queue.remove(task.number)
        local.queue.make_ready(task, self._reactor.seconds())

    async def bury_waiting(self, name: str, number: int) -> QueuedTask | None:
        """Bury a task that is not leased. Return C{None} if there is no such task."""
        local = self._find(name)
        if local is None or number in local.queue.leased:
            return None
        task = local.queue.remove(number)
        if task is not None:
            task.buried = True
            local.queue.place(task, self._reactor.seconds())
            await self._store_change(local, task, Change(updates=[to_update(task)]))
        return task

    def _find(self, name: str) -> LocalQueue | None:
        local = self._table.find(name)
        if local is not None:
            self._upkeep.expire(local)
        return local

    async def _store_change(self, local: LocalQueue, task: QueuedTask, change: Change) -> None:
        written = self._store.write(change)
        self._upkeep.fill_places(local, written)
        self._upkeep.after_change(local)
        local.task_ended(task.number)  # perhaps; waiting requests check its state
        await until_stored(written)

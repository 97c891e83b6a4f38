"""Finishes leased tasks: one or many at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from twisted.python.failure import Failure

from twisted_appserver.queue.attempt import end_attempt
from twisted_appserver.queue.attempt_durations import Outcome
from twisted_appserver.queue.interface import Ended
from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import Change, IStore, join_changes, to_deletion
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.storing import follow
from twisted_appserver.queue.model import TaskQueue
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.task_result import TaskResult


class Lease(NamedTuple):
    """A lease that has ended, and begins again if the end cannot be stored."""

    task: QueuedTask
    until: float
    span: float
    holder: str
    outcome: Outcome


class Endings:
    """
    @param reactor: an C{IReactorTime}.
    @param wall: returns the seconds since the epoch.
    """

    def __init__(
        self, reactor: Any, store: IStore, table: QueueTable, upkeep: Upkeep, wall: Callable[[], float]
    ) -> None:
        self._reactor, self._store, self._table = reactor, store, table
        self._upkeep, self._wall = upkeep, wall

    async def done(self, name: str, number: int, delivery: int, result: bytes) -> QueuedTask | None:
        """Finish a task. If this cannot be stored, it stays leased."""
        local = self._table.find(name)
        if local is None:
            return None
        self._upkeep.expire(local)
        queue = local.queue
        task = queue.find(number, delivery)
        if task is None:
            return None
        lease = _lease(task, False)
        queue.unlease(task)
        queue.finishing += 1
        change = Change(deletes=[number])
        if queue.config.keep or task.attempts:
            change = self._end_of(task, queue, result)
        written = self._store.write(change)
        if written is None:
            self._finished(None, local, [lease])
            return task
        written.addCallbacks(
            self._finished, self._not_finished, (local, [lease]), errbackArgs=(local, [lease])
        )
        await follow(written)
        return task

    async def done_many(self, name: str, tasks: Sequence[Ended], failed: Collection[int]) -> list[bool]:
        """
        Finish tasks with one write, as L{IBroker.done_many} describes. If this cannot be stored, all of them
        stay leased.
        """
        local = self._table.find(name)
        if local is None:
            return [False] * len(tasks)
        self._upkeep.expire(local)
        queue, leases, change = local.queue, list[Lease](), _Ends()
        found = list[bool]()
        for number, delivery, result in tasks:
            task = queue.find(number, delivery)
            found.append(task is not None)
            if task is None:
                continue
            leases.append(_lease(task, number in failed))
            queue.unlease(task)
            change.add(self._end_of(task, queue, result) if queue.config.keep or task.attempts else task)
        if not leases:
            return found
        queue.finishing += len(leases)
        written = self._store.write(change.whole())
        if written is None:
            self._finished(None, local, leases)
            return found
        written.addCallbacks(self._finished, self._not_finished, (local, leases), errbackArgs=(local, leases))
        await follow(written)
        return found

    def _end_of(self, task: QueuedTask, queue: TaskQueue, result: bytes) -> Change:
        """Return the change that deletes a task, and keeps its result or forgets its attempts."""
        config, now, wall = queue.config, self._reactor.seconds(), self._wall()
        if not config.keep:
            return to_deletion(queue.name, [task])
        kept = TaskResult(task.number, "done", result, "", wall, now + config.keep)
        attempt = end_attempt(task, now, wall - now, "done")
        return Change(
            deletes=[task.number],
            results=[(queue.name, config.keep_count, kept)],
            attempts=[(queue.name, attempt)],
        )

    def _finished(self, _: None, local: LocalQueue, leases: list[Lease]) -> None:
        local.queue.finishing -= len(leases)
        local.queue.dones += len(leases)
        for lease in leases:
            local.queue.free_names(lease.task)
            local.note_end(lease.task, lease.outcome)
        self._upkeep.fill_places(local, None)
        if local.awaited:
            for lease in leases:
                local.task_ended(lease.task.number)
        if local.joiners.waiting:
            self._upkeep.after_change(local)
        elif local.queue.bare:
            self._table.note_bare(local)

    def _not_finished(self, failure: Failure, local: LocalQueue, leases: list[Lease]) -> Failure:
        local.queue.finishing -= len(leases)
        for task, until, span, holder, _ in leases:
            task.lease, task.span, task.holder = until, span, holder
            local.queue.place(task, self._reactor.seconds())
        self._upkeep.after_change(local)
        return failure


def _lease(task: QueuedTask, failed: bool) -> Lease:
    return Lease(task, task.lease, task.span, task.holder, "failed" if failed else "done")


class _Ends:
    """Joins the changes that end tasks to one."""

    def __init__(self) -> None:
        self._parts = list[Change]()
        self._deletes = list[int]()

    def add(self, end: Change | QueuedTask) -> None:
        """Add the end of a task: a change, or the task if it only has to be deleted."""
        if isinstance(end, QueuedTask):
            self._deletes.append(end.number)
        else:
            self._parts.append(end)

    def whole(self) -> Change:
        """Return the change that ends all the tasks."""
        return join_changes([Change(deletes=self._deletes), *self._parts])

"""Leases tasks to clients, and performs their requests about leased tasks.

A task is leased in memory at once, so that no other get receives it while the lease is being stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_appserver.queue.attempt import Attempt, Reason, Retry, end_attempt
from twisted_appserver.queue.interface import EMPTY, SHUTDOWN, STOPPING, StoreError
from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import Change, IStore, to_deletion, to_update
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.repeated_requests import RepeatedRequests
from twisted_appserver.queue.local.storing import follow, log_if_not_stored, until_stored
from twisted_appserver.queue.model import QueuedTask, TaskQueue
from twisted_appserver.queue.task_result import TaskResult


class Leases:
    """
    @param reactor: an C{IReactorTime}.
    @param wall: returns the seconds since the epoch.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        store: IStore,
        table: QueueTable,
        upkeep: Upkeep,
        repeated: RepeatedRequests,
        wall: Callable[[], float],
    ) -> None:
        self._reactor, self._store, self._table = reactor, store, table
        self._upkeep, self._repeated, self._wall = upkeep, repeated, wall

    async def get(
        self, name: str, seconds: float | None, key: str, timeout: float, by: str
    ) -> QueuedTask | str:
        """Lease a task, as L{IBroker.get} describes."""
        if self._table.find(name) is None and timeout <= 0:
            return STOPPING if self._upkeep.stopping else EMPTY
        local = self._table.find_or_make(name)
        queue = local.queue
        self._upkeep.expire(local)
        local.getters.supersede(key)
        held = queue.holders.get(key) if key else None
        if held is not None:
            written = self._repeated.write_of("get", name, key)
            if written is not None:
                await follow(written)
            if queue.holders.get(key) is not held:  # the first request has been cancelled meanwhile
                return await self.get(name, seconds, key, timeout, by)
            await self._until_lease_stored(held, self._write(self._extend(local, held, seconds)))
            return held
        if not queue.ready or queue.config.paused or local.getters.waiting:
            if local.drained:
                return SHUTDOWN
            if timeout <= 0 or self._upkeep.stopping:
                return STOPPING if self._upkeep.stopping else EMPTY
            reason = await local.getters.wait(timeout, key)
            if reason:
                return reason
        task = queue.take(self._reactor.seconds(), seconds or queue.config.lease, key, by)
        if task is None:
            return EMPTY
        self._upkeep.after_change(local)
        return await self._store_lease(local, task, key)

    async def _store_lease(self, local: LocalQueue, task: QueuedTask, key: str) -> QueuedTask:
        queue, delivery = local.queue, task.deliveries
        written = self._store.write(Change(updates=[to_update(task)]))
        if written is None:
            return task
        if key:
            self._repeated.track("get", queue.name, key, written)
        try:
            await self._until_lease_stored(task, written)
        except CancelledError:  # the client was gone before it received the task
            if queue.find(task.number, delivery) is task:
                log_if_not_stored(Deferred.fromCoroutine(self._take_back(local, task)))
            raise
        return task

    async def _until_lease_stored(self, task: QueuedTask, written: Deferred[None] | None) -> None:
        """
        Wait until a lease is stored.

        A lease that cannot be stored is valid too, so that work continues when the disk is full. If the
        server ends before the task is done, the task is handed out again.
        """
        try:
            await until_stored(written)
        except StoreError as error:
            self.log.warn("the lease of task {n} was not stored: {e}", n=task.number, e=error)

    def _extend(self, local: LocalQueue, task: QueuedTask, seconds: float | None) -> list[tuple[Any, ...]]:
        """Extend a lease, and return the change that must be stored: none if its length is the same."""
        before = task.span
        local.queue.extend(task, self._reactor.seconds(), seconds or local.queue.config.lease)
        self._upkeep.set_timer(local)
        return [] if task.span == before else [to_update(task)]

    def _write(self, updates: list[tuple[Any, ...]]) -> Deferred[None] | None:
        return self._store.write(Change(updates=updates)) if updates else None

    def _find(self, name: str, number: int, delivery: int) -> tuple[LocalQueue, QueuedTask | None]:
        """Find a leased task."""
        local = self._table.find(name)
        if local is None:
            return LocalQueue(TaskQueue(name), self._reactor), None
        self._upkeep.expire(local)
        return local, local.queue.find(number, delivery)

    async def done(self, name: str, number: int, delivery: int, result: bytes) -> QueuedTask | None:
        """Finish a task. If this cannot be stored, it stays leased."""
        local, task = self._find(name, number, delivery)
        if task is None:
            return None
        queue, lease, span, holder = local.queue, task.lease, task.span, task.holder
        queue.unlease(task)
        queue.finishing += 1
        change = Change(deletes=[number])
        if queue.config.keep or task.attempts:
            change = self._end_of(task, queue, result)
        written = self._store.write(change)
        if written is None:
            self._finished(None, local, number)
            return task
        written.addCallbacks(
            self._finished,
            self._not_finished,
            (local, number),
            errbackArgs=(local, task, lease, span, holder),
        )
        await follow(written)
        return task

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

    def _finished(self, _: None, local: LocalQueue, number: int) -> None:
        local.queue.finishing -= 1
        local.queue.dones += 1
        if local.awaited:
            local.task_ended(number)
        if local.joiners.waiting:
            self._upkeep.after_change(local)
        elif local.queue.bare:
            self._table.note_bare(local)

    def _not_finished(
        self, failure: Failure, local: LocalQueue, task: QueuedTask, lease: float, span: float, holder: str
    ) -> Failure:
        local.queue.finishing -= 1
        task.lease, task.span, task.holder = lease, span, holder
        local.queue.place(task, self._reactor.seconds())
        self._upkeep.after_change(local)
        return failure

    async def extend(self, name: str, number: int, seconds: float | None, delivery: int) -> QueuedTask | None:
        """Make a lease end C{seconds} from now."""
        local, task = self._find(name, number, delivery)
        if task is not None:
            await until_stored(self._write(self._extend(local, task, seconds)))
        return task

    async def renew(self, name: str, tasks: list[tuple[int, int]], seconds: float | None) -> list[bool]:
        """Make many leases end C{seconds} from now, with one write."""
        found, changed = [], list[tuple[Any, ...]]()
        for number, delivery in tasks:
            local, task = self._find(name, number, delivery)
            found.append(task is not None)
            if task is not None:
                changed += self._extend(local, task, seconds)
        await until_stored(self._write(changed))
        return found

    async def release(self, name: str, number: int, delay: float, delivery: int) -> QueuedTask | None:
        """Give a task back, so that it is ready after C{delay} seconds."""
        local, task = self._find(name, number, delivery)
        if task is not None:
            task.due = self._reactor.seconds() + delay if delay > 0 else 0.0
            await self._take_back(local, task, "released")
        return task

    async def fail(
        self, name: str, number: int, delivery: int, failure: tuple[str, str], retry: Retry
    ) -> QueuedTask | None:
        """Give back a task that has failed, as L{IBroker.fail} describes."""
        local, task = self._find(name, number, delivery)
        if task is not None:
            task.due = self._reactor.seconds() + retry if retry else 0.0
            task.buried = retry is False
            await self._take_back(local, task, "failed", *failure)
        return task

    async def bury(self, name: str, number: int, delivery: int) -> QueuedTask | None:
        """Put a leased task aside until it is kicked."""
        local, task = self._find(name, number, delivery)
        if task is not None:
            task.buried = True
            await self._take_back(local, task, "buried")
        return task

    async def _take_back(
        self,
        local: LocalQueue,
        task: QueuedTask,
        reason: Reason | None = None,
        error: str = "",
        traceback: str = "",
    ) -> None:
        """
        End the lease of a task.

        @param reason: how the attempt has ended; C{None} if it did not begin.
        """
        queue, now, attempts = local.queue, self._reactor.seconds(), list[tuple[str, Attempt]]()
        queue.take_back(task, now)
        if reason is not None:
            attempts = [(queue.name, end_attempt(task, now, self._wall() - now, reason, error, traceback))]
        # Before the next get receives it.
        written = self._store.write(Change(updates=[to_update(task)], attempts=attempts))
        self._upkeep.after_change(local)
        if task.buried:
            local.task_ended(task.number)
        await until_stored(written)

"""Leases tasks to clients, and performs their requests about leased tasks.

A task is leased in memory at once, so that no other get receives it while the lease is being stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from twisted_appserver.queue.attempt import Attempt, Reason, RetryAfter, end_attempt
from twisted_appserver.queue.interface import EMPTY, SHUTDOWN, STOPPING, StoreError
from twisted_appserver.queue.local.expiry import Upkeep
from twisted_appserver.queue.local.journal import Change, IStore, to_update
from twisted_appserver.queue.local.local_queue import LocalQueue
from twisted_appserver.queue.local.queue_table import QueueTable
from twisted_appserver.queue.local.repeated_requests import RepeatedRequests
from twisted_appserver.queue.local.storing import follow, log_if_not_stored, until_stored
from twisted_appserver.queue.model import TaskQueue
from twisted_appserver.queue.queued_task import QueuedTask
from twisted_appserver.queue.terms import pause_after


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
            await self.until_lease_stored(held, self.write(self.extend_in_memory(local, held, seconds)))
            return held
        if local.getters.waiting or not queue.can_hand_out(self._reactor.seconds()):
            if local.drained:
                return SHUTDOWN
            if timeout <= 0 or self._upkeep.stopping:
                return STOPPING if self._upkeep.stopping else EMPTY
            waiting = local.getters.wait(timeout, key)
            self._upkeep.keep_pace(local)
            if reason := await waiting:
                return reason
        task = queue.take(self._reactor.seconds(), seconds or queue.config.lease, key, by)
        if task is None:
            return EMPTY
        self._upkeep.after_change(local)
        return await self._store_lease(local, task, key)

    async def _store_lease(self, local: LocalQueue, task: QueuedTask, key: str) -> QueuedTask:
        queue, delivery = local.queue, task.deliveries
        paces = () if queue.pace is None else [(queue.name, queue.pace.last)]
        written = self._store.write(Change(updates=[to_update(task)], paces=paces))
        if written is None:
            return task
        if key:
            self._repeated.track("get", queue.name, key, written)
        try:
            await self.until_lease_stored(task, written)
        except CancelledError:  # the client was gone before it received the task
            self.give_back(local, task, delivery)
            raise
        return task

    def give_back(self, local: LocalQueue, task: QueuedTask, delivery: int) -> None:
        """End the lease of a task that its client never received, unless the lease has ended."""
        if local.queue.find(task.number, delivery) is task:
            log_if_not_stored(Deferred.fromCoroutine(self._take_back(local, task)))

    async def until_lease_stored(self, task: QueuedTask, written: Deferred[None] | None) -> None:
        """
        Wait until a lease is stored.

        A lease that cannot be stored is valid too, so that work continues when the disk is full. If the
        server ends before the task is done, the task is handed out again.
        """
        try:
            await until_stored(written)
        except StoreError as error:
            self.log.warn("the lease of task {n} was not stored: {e}", n=task.number, e=error)

    def extend_in_memory(
        self, local: LocalQueue, task: QueuedTask, seconds: float | None
    ) -> list[tuple[Any, ...]]:
        """
        Extend a lease, and return the change that must be stored, which is empty if the length is the same.
        """
        before = task.span
        local.queue.extend(task, self._reactor.seconds(), seconds or local.queue.config.lease)
        self._upkeep.set_timer(local)
        return [] if task.span == before else [to_update(task)]

    def write(self, updates: list[tuple[Any, ...]]) -> Deferred[None] | None:
        """Store the new fields of tasks. C{None} if there is nothing to store, or it is stored already."""
        return self._store.write(Change(updates=updates)) if updates else None

    def _find(self, name: str, number: int, delivery: int) -> tuple[LocalQueue, QueuedTask | None]:
        """Find a leased task."""
        local = self._table.find(name)
        if local is None:
            return LocalQueue(TaskQueue(name), self._reactor), None
        self._upkeep.expire(local)
        return local, local.queue.find(number, delivery)

    async def extend(self, name: str, number: int, seconds: float | None, delivery: int) -> QueuedTask | None:
        """Make a lease end C{seconds} from now."""
        local, task = self._find(name, number, delivery)
        if task is not None:
            await until_stored(self.write(self.extend_in_memory(local, task, seconds)))
        return task

    async def renew(
        self,
        name: str,
        tasks: list[tuple[int, int]],
        seconds: float | None,
        progress: Mapping[int, bytes],
    ) -> list[bool]:
        """Make many leases end C{seconds} from now, with one write."""
        found, changed = [], list[tuple[Any, ...]]()
        for number, delivery in tasks:
            local, task = self._find(name, number, delivery)
            found.append(task is not None)
            if task is not None:
                changed += self.extend_in_memory(local, task, seconds)
                if number in progress:
                    local.note_progress(task, progress[number])
        await until_stored(self.write(changed))
        return found

    async def release(self, name: str, number: int, delay: float, delivery: int) -> QueuedTask | None:
        """Give a task back, so that it is ready after C{delay} seconds."""
        local, task = self._find(name, number, delivery)
        if task is not None:
            task.due = self._reactor.seconds() + delay if delay > 0 else 0.0
            await self._take_back(local, task, "released")
        return task

    async def fail(
        self, name: str, number: int, delivery: int, failure: tuple[str, str], retry: RetryAfter
    ) -> tuple[QueuedTask, float | Literal[False]] | None:
        """Give back a task that has failed, as L{IBroker.fail} describes."""
        local, task = self._find(name, number, delivery)
        if task is None:
            return None
        if retry is None:
            retry = pause_after(local.queue.config.backoff, task.deliveries, task.terms)
        task.due = self._reactor.seconds() + retry if retry else 0.0
        task.buried = retry is False
        over = task.terms is not None and task.terms.is_over(self._reactor.seconds())
        local.note_end(task, "failed")
        await self._take_back(local, task, "failed", *failure)
        return task, False if task.buried or over else retry

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
        # Written before the next get receives the task.
        written = self._store.write(Change(updates=[to_update(task)], attempts=attempts))
        self._upkeep.fill_places(local, written)
        if task.terms is not None:
            self._upkeep.end_lifetimes(local)  # perhaps of this task
        self._upkeep.after_change(local)
        if task.buried:
            local.task_ended(task.number)
        await until_stored(written)
